//! Sessions: protocols whose order the compiler checks, over connections.
#![cfg(all(
    unix,
    feature = "async-std",
    feature = "smol",
    feature = "tls",
    feature = "tokio",
    feature = "websocket"
))]

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
