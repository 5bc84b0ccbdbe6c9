//! Subscriptions over sockets, through a network that fails.
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
#[cfg(feature = "redis")]
mod redis;
mod stage;
