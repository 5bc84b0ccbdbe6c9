//! Sessions: protocols whose order the compiler checks, over connections.

#[path = "../support/mod.rs"]
mod support;

mod enumeration;
mod faults;
mod openings;
mod protocols;
mod steps;
mod vectors;
mod walks;
