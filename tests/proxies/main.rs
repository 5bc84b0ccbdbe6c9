//! Calls and subscriptions through proxies that other people wrote, with the configurations of docs/proxies.md.
//!
//! A proxy that is not installed is skipped, and its tests say so. Where everything is to be tested,
//! `SESSIONWIRE_CLIENTS=required` makes that a failure; `.ci/run` installs them and sets it.
#![cfg(all(
    target_os = "linux",
    feature = "async-std",
    feature = "smol",
    feature = "tls",
    feature = "tokio",
    feature = "websocket"
))]

#[path = "../support/mod.rs"]
mod support;

mod forward;
mod program;
mod reverse;
mod stage;
