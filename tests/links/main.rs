//! Links through a network that fails, and the network that fails for them.
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

mod network;
