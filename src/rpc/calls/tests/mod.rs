//! Clients and a service over connections in memory, under a clock that stands still.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod basics;
mod cutting;
mod draining;
mod dropping;
mod ending;
mod hostile;
mod queueing;
mod walks;
mod world;
