//! What `serve` speaks, and `bench` and `ping` rely on.
//!
//! | protocol | the client sends | the server answers |
//! |---|---|---|
//! | `echo/1` | raw messages | each of them, unchanged |
//! | `ping/1` | [`Message`]s | each of them, unchanged |
//! | `bench/1` | one [`Work`], then [`Message`]s | as the work says |
//!
//! A channel of `bench/1` begins with [`Work`], which says what the messages after it are for and
//! how large their payloads are:
//!
//! - [`Work::Bulk`]: the messages come as fast as they can, numbered from 0. One with an empty
//!   payload ends a run, and is answered with a [`Summary`] of the run; another run may follow, its
//!   numbers going on. So the client can time a run from before its first message until the server
//!   has decoded and checked its last one.
//! - [`Work::RoundTrips`]: each message is answered with itself before the next one comes.
//!
//! The server checks each message's number, the length of its payload and the payload's last byte,
//! and resets the channel with [`OUT_OF_ORDER`] if one is wrong. The client finishes the channel
//! when it needs no more.

use std::sync::Arc;

use async_std::channel::Receiver;
use bytes::BytesMut;
use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize, Serializer};
use sessionwire::codec::{self, MaxMessageSize};
use sessionwire::{Channel, ChannelError, Code, Config, Connection, RawChannel, Router};

use crate::failure::Failure;

/// The largest payload that can be measured, in bytes.
pub(crate) const LARGEST_SIZE: usize = 64 * 1024 * 1024;

/// The most channels that can be measured at once.
pub(crate) const MOST_CHANNELS: usize = 1000;

/// What a server tells whose message was not the one that it expected.
pub(crate) const OUT_OF_ORDER: Code = Code::application(1);

/// What the messages of a channel are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Throughput.
    Bulk { size: u64 },
    /// Latency.
    RoundTrips { size: u64 },
}

/// What is received.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) payload: Vec<u8>,
}

/// What is sent: a [`Message`], whose payload many channels may share.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outgoing {
    pub(crate) sequence: u64,
    #[serde(serialize_with = "as_bytes")]
    pub(crate) payload: Arc<[u8]>,
}

/// What a run of bulk messages came to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// Resolves (to an error) when the server shuts down.
pub(crate) type Stopping = Receiver<()>;

/// The default limits, with room for messages with payloads of `size` on so many channels.
pub(crate) fn config(size: usize, channels: usize) -> Config {
    const ENVELOPE: usize = 64;
    const DEFAULT_CHANNELS: usize = 128;
    const DEFAULT_WINDOW: usize = 128 * 1024;
    const DEFAULT_SHARED_MEMORY: usize = 32 * 1024 * 1024;
    let channels = channels.max(DEFAULT_CHANNELS);
    let guaranteed = channels.saturating_mul(2 * DEFAULT_WINDOW);
    let shared = DEFAULT_SHARED_MEMORY.max(size.saturating_mul(4));
    Config::default()
        .max_message_size(size.saturating_add(ENVELOPE).max(1024 * 1024))
        .max_channels(channels)
        .accept_backlog(channels)
        .receive_memory(guaranteed.saturating_add(shared))
}

/// The server's side of all protocols.
pub(crate) fn router(stopping: &Stopping) -> Router {
    let (echo_stopping, ping_stopping) = (stopping.clone(), stopping.clone());
    Router::new()
        .on_raw("bench/1", serve_bench)
        .on_raw("echo/1", move |channel| {
            echo(channel, echo_stopping.clone())
        })
        .on("ping/1", move |channel| {
            pong(channel, ping_stopping.clone())
        })
}

/// The client's side of `bench/1`, up to where the messages begin.
pub(crate) async fn open_work<Answer>(
    connection: &Connection,
    work: Work,
) -> Result<Channel<Outgoing, Answer>, Failure> {
    let mut channel = connection.open_raw("bench/1").await?;
    let mut body = BytesMut::new();
    codec::encode(&work, &mut body, MaxMessageSize::default()).map_err(ChannelError::from)?;
    let sent = channel.send(body.freeze()).await;
    sent.map_err(|failed| failed.error)?;
    Ok(Channel::from_raw(channel))
}

/// A payload that receivers can check.
pub(crate) fn payload(size: usize) -> Arc<[u8]> {
    let mut payload = vec![0; size];
    if let Some(last) = payload.last_mut() {
        *last = LAST_BYTE;
    }
    payload.into()
}

impl Message {
    /// Whether this is the message that had to come.
    pub(crate) fn check(&self, sequence: u64, size: u64) -> Result<(), String> {
        let (found, length) = (self.sequence, self.payload.len() as u64);
        if found != sequence || length != size {
            return Err(format!(
                "expected message {sequence} of {size} bytes, got {found} of {length}"
            ));
        }
        match self.payload.last() {
            Some(&LAST_BYTE) => Ok(()),
            _ => Err(format!("message {sequence} ends wrongly")),
        }
    }
}

const LAST_BYTE: u8 = 1;

fn as_bytes<S: Serializer>(payload: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(payload)
}

async fn serve_bench(mut channel: RawChannel) -> Result<(), ChannelError> {
    let Some(first) = channel.recv().await? else {
        channel.finish();
        return Ok(());
    };
    match codec::decode(&first, MaxMessageSize::default())? {
        Work::Bulk { size } => serve_bulk(Channel::from_raw(channel), size).await,
        Work::RoundTrips { size } => serve_round_trips(Channel::from_raw(channel), size).await,
    }
}

async fn serve_bulk(mut channel: Channel<Summary, Message>, size: u64) -> Result<(), ChannelError> {
    let (mut sequence, mut run_start) = (0_u64, 0_u64);
    while let Some(message) = channel.recv().await? {
        if message.payload.is_empty() {
            let messages = sequence.saturating_sub(run_start);
            let bytes = messages.saturating_mul(size);
            channel.send(&Summary { messages, bytes }).await?;
            run_start = sequence;
            continue;
        }
        if let Err(problem) = message.check(sequence, size) {
            channel.reset(OUT_OF_ORDER, &problem);
            return Ok(());
        }
        sequence = sequence.saturating_add(1);
    }
    channel.finish();
    Ok(())
}

async fn serve_round_trips(
    mut channel: Channel<Message, Message>,
    size: u64,
) -> Result<(), ChannelError> {
    let mut sequence = 0_u64;
    while let Some(message) = channel.recv().await? {
        if let Err(problem) = message.check(sequence, size) {
            channel.reset(OUT_OF_ORDER, &problem);
            return Ok(());
        }
        channel.send(&message).await?;
        sequence = sequence.saturating_add(1);
    }
    channel.finish();
    Ok(())
}

async fn echo(mut channel: RawChannel, stopping: Stopping) -> Result<(), ChannelError> {
    while let Some(message) = next(channel.recv(), &stopping).await? {
        let sent = channel.send(message).await;
        sent.map_err(|failed| failed.error)?;
    }
    channel.finish();
    Ok(())
}

async fn pong(
    mut channel: Channel<Message, Message>,
    stopping: Stopping,
) -> Result<(), ChannelError> {
    while let Some(message) = next(channel.recv(), &stopping).await? {
        channel.send(&message).await?;
    }
    channel.finish();
    Ok(())
}

/// What is received, or nothing more once the server shuts down.
async fn next<T>(
    receiving: impl Future<Output = Result<Option<T>, ChannelError>>,
    stopping: &Stopping,
) -> Result<Option<T>, ChannelError> {
    match select(Box::pin(receiving), stopping.recv()).await {
        Either::Left((received, _)) => received,
        Either::Right(_) => Ok(None),
    }
}
