//! The measurements, written once for every contestant.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, RemoteHandle};

use crate::calls;
use crate::heap;
use crate::message::Message;
use crate::peer::{End, Path, Peer, Result, Runtime};

/// A `Peer` with its types forgotten.
pub trait Contestant: Send + Sync {
    fn name(&self) -> &'static str;
    fn runtime(&self) -> Runtime;
    fn multiplexes(&self) -> bool;
    fn uses_network(&self) -> bool;
    fn bulk(&self, work: Bulk) -> BoxFuture<'static, Result<Duration>>;
    fn round_trips(&self, work: RoundTrips) -> BoxFuture<'static, Result<Samples>>;
    fn long_fat_pipe(&self, seconds: f64) -> BoxFuture<'static, Result<u64>>;
    fn heap_of_opener(&self, port: u16) -> BoxFuture<'static, Result<heap::Report>>;
    fn heap_of_acceptor(&self) -> BoxFuture<'static, Result<heap::Report>>;
    fn traced_round_trips(&self, count: u64) -> BoxFuture<'static, Result<()>>;
}

impl<P: Peer> Contestant for P {
    fn name(&self) -> &'static str {
        Peer::name(self)
    }

    fn runtime(&self) -> Runtime {
        Peer::runtime(self)
    }

    fn multiplexes(&self) -> bool {
        Peer::multiplexes(self)
    }

    fn uses_network(&self) -> bool {
        Peer::uses_network(self)
    }

    fn bulk(&self, work: Bulk) -> BoxFuture<'static, Result<Duration>> {
        bulk(*self, work).boxed()
    }

    fn round_trips(&self, work: RoundTrips) -> BoxFuture<'static, Result<Samples>> {
        round_trips(*self, work).boxed()
    }

    fn long_fat_pipe(&self, seconds: f64) -> BoxFuture<'static, Result<u64>> {
        long_fat_pipe(*self, seconds).boxed()
    }

    fn heap_of_opener(&self, port: u16) -> BoxFuture<'static, Result<heap::Report>> {
        heap::opener(*self, port).boxed()
    }

    fn heap_of_acceptor(&self) -> BoxFuture<'static, Result<heap::Report>> {
        heap::acceptor(*self).boxed()
    }

    fn traced_round_trips(&self, count: u64) -> BoxFuture<'static, Result<()>> {
        calls::round_trips(*self, count).boxed()
    }
}

/// `count` messages of `size` bytes, from the opener to the acceptor, spread evenly over the channels.
#[derive(Debug, Clone, Copy)]
pub struct Bulk {
    pub size: usize,
    pub count: u64,
    pub channels: usize,
}

/// From before the first message is made until the last receiver has checked its last one. A tenth of the work goes
/// over the same connection first, unmeasured.
async fn bulk<P: Peer>(peer: P, work: Bulk) -> Result<Duration> {
    let mut link = peer.connect(Path::Direct, work.channels).await?;
    let each = work.count / work.channels as u64;
    let warm_up = (each / 10).max(1);
    let mut elapsed = Duration::ZERO;
    for sequences in [0..warm_up, warm_up..warm_up + each] {
        let start = Instant::now();
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for mut end in link.acceptor.ends.drain(..) {
            let sequences = sequences.clone();
            receivers.push(Peer::runtime(&peer).spawn(async move {
                end.receive_run(sequences, work.size).await?;
                Result::Ok(end)
            }));
        }
        for mut end in link.opener.ends.drain(..) {
            let sequences = sequences.clone();
            senders.push(Peer::runtime(&peer).spawn(async move {
                let mut message = Message::new(work.size);
                for sequence in sequences {
                    message.sequence = sequence;
                    end.feed(&message).await?;
                }
                end.flush().await?;
                Result::Ok(end)
            }));
        }
        for receiver in receivers {
            link.acceptor.ends.push(receiver.await?);
        }
        elapsed = start.elapsed();
        for sender in senders {
            link.opener.ends.push(sender.await?);
        }
    }
    Ok(elapsed)
}

/// Messages of 64 bytes there and back, one at a time.
#[derive(Debug, Clone, Copy)]
pub struct RoundTrips {
    pub duration: Duration,
    /// The size of the messages that a second channel carries meanwhile, as fast as it can.
    pub load: Option<usize>,
}

pub const ROUND_TRIP_SIZE: usize = 64;

/// Every round trip's time, and what the load moved.
pub struct Samples {
    pub times: Vec<Duration>,
    pub load_bytes_per_second: f64,
}

async fn round_trips<P: Peer>(peer: P, work: RoundTrips) -> Result<Samples> {
    let channels = 1 + usize::from(work.load.is_some());
    let mut link = peer.connect(Path::Direct, channels).await?;
    let runtime = Peer::runtime(&peer);

    let moved = Arc::new(AtomicU64::new(0));
    let load = work.load.and_then(|size| {
        let (from, to) = (link.opener.ends.pop()?, link.acceptor.ends.pop()?);
        Some(flood(runtime, from, to, size, &moved))
    });
    let (mut near, mut far) = (link.opener.ends.remove(0), link.acceptor.ends.remove(0));
    let echo = runtime.spawn(async move {
        let mut message = Message::new(ROUND_TRIP_SIZE);
        for sequence in 0.. {
            far.receive(sequence, ROUND_TRIP_SIZE).await?;
            message.sequence = sequence;
            far.feed(&message).await?;
            far.flush().await?;
        }
        Result::Ok(())
    });
    let pings = runtime.spawn(async move {
        let mut message = Message::new(ROUND_TRIP_SIZE);
        let mut times = Vec::new();
        let warm = Instant::now() + work.duration / 5;
        let end = warm + work.duration;
        let mut moved_when_warm = None;
        for sequence in 0.. {
            let start = Instant::now();
            message.sequence = sequence;
            near.feed(&message).await?;
            near.flush().await?;
            near.receive(sequence, ROUND_TRIP_SIZE).await?;
            if start >= warm {
                moved_when_warm.get_or_insert_with(|| (start, moved.load(Ordering::Relaxed)));
                times.push(start.elapsed());
            }
            if start >= end {
                break;
            }
        }
        let (since, before) = moved_when_warm.ok_or("no round trip in time")?;
        let bytes = moved.load(Ordering::Relaxed) - before;
        let load_bytes_per_second = bytes as f64 / since.elapsed().as_secs_f64();
        Result::Ok(Samples {
            times,
            load_bytes_per_second,
        })
    });
    let samples = pings.await?;
    if load.is_some() && samples.load_bytes_per_second == 0.0 {
        return Err("the load moved nothing".into());
    }
    drop((echo, load));
    Ok(samples)
}

/// Sends and receives until the handles are dropped; counts the payload that arrived.
fn flood<E: End>(
    runtime: Runtime,
    mut from: E,
    mut to: E,
    size: usize,
    moved: &Arc<AtomicU64>,
) -> [RemoteHandle<Result<()>>; 2] {
    let moved = Arc::clone(moved);
    let sender = runtime.spawn(async move {
        let mut message = Message::new(size);
        for sequence in 0.. {
            message.sequence = sequence;
            from.feed(&message).await?;
        }
        Ok(())
    });
    let receiver = runtime.spawn(async move {
        for sequence in 0.. {
            to.receive(sequence, size).await?;
            moved.fetch_add(size as u64, Ordering::Relaxed);
        }
        Ok(())
    });
    [sender, receiver]
}

pub const LONG_FAT_PIPE_SIZE: usize = 64 << 10;

/// The payload that arrived through the proxy within `seconds` of the first message.
async fn long_fat_pipe<P: Peer>(peer: P, seconds: f64) -> Result<u64> {
    let mut link = peer.connect(Path::LongFatPipe, 1).await?;
    let runtime = Peer::runtime(&peer);
    let moved = Arc::new(AtomicU64::new(0));
    let (from, to) = (link.opener.ends.remove(0), link.acceptor.ends.remove(0));
    let tasks = flood(runtime, from, to, LONG_FAT_PIPE_SIZE, &moved);
    sleep(runtime, Duration::from_secs_f64(seconds)).await;
    let bytes = moved.load(Ordering::Relaxed);
    drop(tasks);
    Ok(bytes)
}

/// Sleeps by the runtime's own timer.
pub async fn sleep(runtime: Runtime, duration: Duration) {
    match runtime {
        Runtime::AsyncStd => async_std::task::sleep(duration).await,
        Runtime::Tokio => tokio::time::sleep(duration).await,
    }
}
