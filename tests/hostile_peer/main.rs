//! Peers that keep no rules: each ends with the right word, and none costs memory.
//!
//! The peer's bytes are written by hand (`support/wire.rs`), all on the test's own thread, so that
//! memory is counted to the byte.
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

mod floods;
mod rules;
mod strangers;

use futures::FutureExt;
use sessionwire::{Connection, ConnectionError};

/// Why the connection ended, if it has; its transport may still linger. Channels that wait to be
/// accepted are refused.
fn ended(connection: &Connection) -> Option<ConnectionError> {
    loop {
        match connection.accept().now_or_never()? {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the connection ended as someone wanted"),
            Err(error) => return Some(error),
        }
    }
}

/// Why the connection ended; fails if it has not.
fn outcome(connection: &Connection) -> ConnectionError {
    ended(connection).expect("the connection to have ended")
}
