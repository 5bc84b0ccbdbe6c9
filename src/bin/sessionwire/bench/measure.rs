//! The client's side of `bench/1`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::sync::Mutex;
use async_std::task;
use sessionwire::{Channel, Connection};

use super::row::{Bulk, RoundTrips};
use crate::failure::Failure;
use crate::protocol::{self, Message, Outgoing, Summary, Work};

/// Sends messages for `time` on several channels at once, after a tenth of it to warm up.
pub(super) async fn bulk(
    connection: &Connection,
    size: usize,
    channels: usize,
    time: Duration,
) -> Result<Bulk, Failure> {
    let payload = protocol::payload(size);
    let turns = Arc::new(Turns::new(size, channels));
    let mut flows = Vec::new();
    for _ in 0..channels {
        let work = Work::Bulk { size: size as u64 };
        flows.push(Flow {
            channel: protocol::open_work(connection, work).await?,
            message: Outgoing {
                sequence: 0,
                payload: Arc::clone(&payload),
            },
            turns: Arc::clone(&turns),
        });
    }
    let (flows, _) = run_all(flows, time / 10).await?;
    let (flows, measured) = run_all(flows, time).await?;
    for mut flow in flows {
        flow.channel.finish();
    }
    Ok(measured)
}

/// Sends a message after another there and back for `time`, after a tenth of it to warm up.
pub(super) async fn round_trips(
    connection: &Connection,
    size: usize,
    time: Duration,
) -> Result<RoundTrips, Failure> {
    let work = Work::RoundTrips { size: size as u64 };
    let mut channel: Channel<Outgoing, Message> = protocol::open_work(connection, work).await?;
    let mut message = Outgoing {
        sequence: 0,
        payload: protocol::payload(size),
    };
    send_there_and_back(&mut channel, &mut message, time / 10).await?;
    let measured = send_there_and_back(&mut channel, &mut message, time).await?;
    channel.finish();
    Ok(measured)
}

async fn send_there_and_back(
    channel: &mut Channel<Outgoing, Message>,
    message: &mut Outgoing,
    time: Duration,
) -> Result<RoundTrips, Failure> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut sent = start;
    loop {
        channel.send(message).await?;
        let answer = channel.recv().await?.ok_or_else(ended)?;
        answer
            .check(message.sequence, message.payload.len() as u64)
            .map_err(|problem| Failure::new(problem, WRONG_ANSWER))?;
        message.sequence += 1;
        let now = Instant::now();
        times.push(now - sent);
        sent = now;
        let elapsed = now - start;
        if elapsed >= time {
            return Ok(RoundTrips { times, elapsed });
        }
    }
}

async fn run_all(flows: Vec<Flow>, time: Duration) -> Result<(Vec<Flow>, Bulk), Failure> {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for (index, flow) in flows.into_iter().enumerate() {
        // One message must go, however short the time is.
        let at_least = u64::from(index == 0);
        tasks.push(task::spawn(flow.run(start + time, at_least)));
    }
    let mut flows = Vec::new();
    let mut messages = 0;
    for task in tasks {
        let (flow, sent) = task.await?;
        flows.push(flow);
        messages += sent;
    }
    let elapsed = start.elapsed();
    Ok((flows, Bulk { messages, elapsed }))
}

/// One channel of a bulk measurement.
struct Flow {
    channel: Channel<Outgoing, Summary>,
    message: Outgoing,
    turns: Arc<Turns>,
}

impl Flow {
    /// Sends until `end`, then waits until the server has checked all.
    async fn run(mut self, end: Instant, at_least: u64) -> Result<(Self, u64), Failure> {
        // Asking for the time costs about a tenth of sending a small message.
        let batch = (16 * 1024 / self.message.payload.len()).clamp(1, 64);
        let mut sent = 0;
        while sent < at_least || Instant::now() < end {
            let turns = Arc::clone(&self.turns);
            let _turn = turns.take().await;
            if sent >= at_least && Instant::now() >= end {
                break;
            }
            for _ in 0..batch {
                self.channel.send(&self.message).await?;
                self.message.sequence += 1;
                sent += 1;
            }
        }
        let sequence = self.message.sequence;
        self.channel
            .send(&Outgoing {
                sequence,
                payload: Arc::default(),
            })
            .await?;
        let summary = self.channel.recv().await?.ok_or_else(ended)?;
        if summary.messages == sent {
            return Ok((self, sent));
        }
        let problem = format!(
            "sent {sent} messages, the server counted {}",
            summary.messages
        );
        Err(Failure::new(problem, WRONG_ANSWER))
    }
}

/// Whose turn it is to encode a message, where one of each channel would take too much memory.
struct Turns(Option<Mutex<()>>);

impl Turns {
    fn new(size: usize, channels: usize) -> Self {
        const MOST_AT_ONCE: usize = 256 * 1024 * 1024;
        let crowded = size.saturating_mul(channels) > MOST_AT_ONCE;
        Self(crowded.then(|| Mutex::new(())))
    }

    async fn take(&self) -> Option<async_std::sync::MutexGuard<'_, ()>> {
        match &self.0 {
            Some(mutex) => Some(mutex.lock().await),
            None => None,
        }
    }
}

const WRONG_ANSWER: &str = "this is a bug: please report it with the command that you ran";

fn ended() -> Failure {
    let hint = "is `sessionwire serve` still running there?";
    Failure::new("the server ended the channel before it had answered", hint)
}
