//! The words that the tests of whole connections share.
#![allow(
    dead_code,
    reason = "each file of tests uses some of the words, none all"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of tests are small"
)]

use std::future::Future;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use futures_timer::Delay;
use sessionwire::mux::{Connection, RawChannel};

#[cfg(unix)]
pub(crate) mod installed;
pub(crate) mod proxy;
#[cfg(all(unix, feature = "redis", feature = "tokio"))]
pub(crate) mod redis;
pub(crate) mod stage;
pub(crate) mod transports;
pub(crate) mod wire;
pub(crate) mod world;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * 1024;

/// How long a test may take before it counts as hanging: far longer than any does.
const PATIENCE: Duration = Duration::from_secs(45);

/// Turns a test that hangs into one that fails.
pub(crate) async fn watched<T>(test: impl Future<Output = T>) -> T {
    match select(pin!(test), Delay::new(PATIENCE)).await {
        Either::Left((output, _)) => output,
        Either::Right(((), _)) => panic!("hangs: not done in {PATIENCE:?}"),
    }
}

/// Ends the whole run when a test spins, or waits for a lock, for ever: no future can time that out.
#[derive(Debug)]
pub(crate) struct Watchdog {
    _held: mpsc::Sender<()>,
}

impl Default for Watchdog {
    fn default() -> Self {
        let (held, dropped) = mpsc::channel::<()>();
        let test = thread::current().name().unwrap_or("a test").to_owned();
        thread::spawn(move || {
            if dropped.recv_timeout(2 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = writeln!(io::stderr(), "{test} hangs");
                std::process::abort();
            }
        });
        Self { _held: held }
    }
}

/// Bytes that differ from place to place and from one `seed` to the next.
pub(crate) fn pattern(length: usize, seed: usize) -> Bytes {
    /// Shares no factor with the sizes of frames and buffers.
    const PERIOD: usize = 4099;
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let byte = |index: usize| ((index * 31 + index / 251) % 253) as u8;
        (0..PERIOD).map(byte).collect()
    });
    let mut whole = bytes.repeat(length / PERIOD + 2);
    whole.drain(..seed % PERIOD);
    whole.truncate(length);
    whole.into()
}

/// Compares without printing a megabyte when they differ.
pub(crate) fn assert_same(heard: &[u8], sent: &[u8]) {
    if heard != sent {
        let at = heard
            .iter()
            .zip(sent)
            .position(|(heard, sent)| heard != sent);
        let (heard, sent) = (heard.len(), sent.len());
        panic!("{heard} bytes came of {sent}, the first wrong one is {at:?}");
    }
}

/// A channel that `here` opens and `there` accepts.
pub(crate) async fn channel(here: &Connection, there: &Connection) -> (RawChannel, RawChannel) {
    let opened = here
        .open_raw("test/1")
        .await
        .expect("a place for a channel");
    let accepted = there.accept().await.expect("a living connection");
    let accepted = accepted.expect("a channel").accept_raw();
    opened.accepted().await.expect("to be accepted");
    (opened, accepted)
}

/// Sends back what comes until the peer has finished, then finishes too.
pub(crate) async fn echo(mut channel: RawChannel) -> Result<(), sessionwire::ChannelError> {
    while let Some(message) = channel.recv().await? {
        channel.send(message).await?;
    }
    channel.finish();
    Ok(())
}
