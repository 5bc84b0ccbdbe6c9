//! Nodes among nodes: who becomes a peer of whom, and what they hear of each other.
//!
//! Most of these run on the test's own thread under a clock that stands still.
#![cfg(all(
    feature = "async-std",
    feature = "smol",
    feature = "tls",
    feature = "tokio",
    feature = "websocket"
))]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of tests are small"
)]

#[path = "../support/mod.rs"]
mod support;

mod application;
mod bans;
mod crowd;
mod dials;
mod discovery;
mod duplicates;
mod handshakes;
mod impostor;
mod inventory;
mod messages;
mod saving;
mod services;
mod sockets;
mod stage;
mod wires;
