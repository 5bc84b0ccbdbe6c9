//! Channels under pressure: nothing deadlocks, nobody is forgotten, memory stays bounded.
//!
//! Most of these run on the test's own thread under a clock that stands still, so that whoever is
//! not woken fails the test at once.
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

mod bounds;
mod ends;
mod feeding;
mod pressure;
mod values;

use std::time::Duration;

use futures::future::join;
use sessionwire::ChannelError;
use sessionwire::mux::{RawChannel, RawReceiver, RawSender};

use support::{KIB, assert_same, pattern};

const LONG: Duration = Duration::from_mins(10);

async fn send_all(mut sender: RawSender, lengths: impl Iterator<Item = usize>) {
    for (seed, length) in lengths.enumerate() {
        sender.send(pattern(length, seed)).await.expect("to send");
    }
    sender.finish();
}

async fn expect_all(mut receiver: RawReceiver, lengths: impl Iterator<Item = usize>) {
    for (seed, length) in lengths.enumerate() {
        let heard = receiver.recv().await.expect("to receive");
        assert_same(&heard.expect("a message"), &pattern(length, seed));
    }
    assert_eq!(receiver.recv().await.expect("an end"), None);
}

/// Sends messages of these lengths from one end of a channel to the other.
async fn transfer(
    (one, other): (RawChannel, RawChannel),
    lengths: impl Iterator<Item = usize> + Clone,
) {
    let ((sender, _hears), (_sends, receiver)) = (one.split(), other.split());
    join(
        send_all(sender, lengths.clone()),
        expect_all(receiver, lengths),
    )
    .await;
}

/// Sends until that fails.
async fn fill(mut sender: RawSender) -> ChannelError {
    loop {
        if let Err(error) = sender.send(pattern(50 * KIB, 1)).await {
            return error.error;
        }
    }
}
