//! Whole subscriptions over connections in memory, in virtual time.

mod ending;
mod lagging;
mod resuming;
mod sharing;
mod world;
