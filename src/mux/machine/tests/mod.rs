//! The machine's rules, each held by a test: two machines on a fake wire, or one whose peer is the
//! test.

mod alone;
mod application;
mod check;
mod draining;
mod ending;
mod fairness;
mod floods;
mod memory;
mod messages;
mod opening;
mod operations;
mod pair;
mod time;
mod violations;
mod windows;
mod wire;
