//! Sessions: protocols whose order the compiler checks, over connections.

#[path = "../support/mod.rs"]
mod support;

mod cancellation;
mod enumeration;
mod faults;
mod isolation;
mod openings;
mod protocols;
mod seed;
mod steps;
mod vectors;
mod walks;
