//! What a connection and a channel keep on the heap once they were used and are idle, and how often a message
//! allocates. The two sides run in two processes, so that each is counted alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measure::sleep;
use crate::message::Message;
use crate::peer::{End, Peer, Result, Side};

/// The system's allocator, counted once `start_counting` was called.
pub struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count(bytes: i64, allocations: u64) {
    if COUNTING.load(Ordering::Relaxed) {
        LIVE_BYTES.fetch_add(bytes, Ordering::Relaxed);
        ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to `System` unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), 0);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64, 1);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// To be called before anything else runs.
pub fn start_counting() {
    COUNTING.store(true, Ordering::Relaxed);
}

fn live_bytes() -> f64 {
    LIVE_BYTES.load(Ordering::SeqCst) as f64
}

fn allocations() -> f64 {
    ALLOCATIONS.load(Ordering::SeqCst) as f64
}

/// How many idle connections, and how many idle channels on one more connection.
const COUNT: usize = 100;
const USE_SIZE: usize = 64;
const LAST_WORDS: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(3);
/// Size and number of the messages over which allocations are counted.
pub const RUNS: [(usize, u64); 2] = [(64, 200_000), (64 << 10, 4_000)];

/// One side's figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Bytes of a connection with one channel.
    pub connection: f64,
    /// Bytes of one channel more; nothing where channels are connections.
    pub channel: Option<f64>,
    /// Allocations per message, for each of `RUNS`.
    pub allocations: [f64; 2],
}

/// Runs both sides as processes of this program: the opener's and the acceptor's figures.
pub fn measure(name: &str) -> Result<[Report; 2]> {
    let program = std::env::current_exe()?;
    let mut acceptor = Command::new(&program)
        .args(["heap-acceptor", name])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = std::io::BufReader::new(acceptor.stdout.take().ok_or("no output")?).lines();
    let port = lines.next().ok_or("the acceptor said no port")??;
    let opener = Command::new(&program)
        .args(["heap-opener", name, &port])
        .stderr(Stdio::inherit())
        .output()?;
    if !opener.status.success() {
        acceptor.kill()?;
    }
    acceptor.wait()?;
    let report = lines.next().ok_or("the acceptor said nothing")??;
    Ok([
        serde_json::from_slice(&opener.stdout)?,
        serde_json::from_str(&report)?,
    ])
}

/// What each side does with a channel; they differ in who begins.
trait Turn: Send {
    fn connect<P: Peer>(
        &self,
        peer: P,
        channels: usize,
    ) -> impl Future<Output = Result<Side<P::End>>> + Send;
    fn exchange<E: End>(&self, end: &mut E) -> impl Future<Output = Result<()>> + Send;
    fn stream<E: End>(
        &self,
        end: &mut E,
        size: usize,
        count: u64,
    ) -> impl Future<Output = Result<()>> + Send;
}

struct Opens(SocketAddr);

impl Turn for Opens {
    async fn connect<P: Peer>(&self, peer: P, channels: usize) -> Result<Side<P::End>> {
        peer.open(self.0, channels).await
    }

    async fn exchange<E: End>(&self, end: &mut E) -> Result<()> {
        end.feed(&Message::new(USE_SIZE)).await?;
        end.flush().await?;
        end.receive(0, USE_SIZE).await
    }

    async fn stream<E: End>(&self, end: &mut E, size: usize, count: u64) -> Result<()> {
        let mut message = Message::new(size);
        for sequence in 0..count {
            message.sequence = sequence;
            end.feed(&message).await?;
        }
        end.flush().await?;
        end.receive(0, USE_SIZE).await
    }
}

struct Accepts(TcpListener);

impl Turn for Accepts {
    async fn connect<P: Peer>(&self, peer: P, channels: usize) -> Result<Side<P::End>> {
        peer.accept(self.0.try_clone()?, channels).await
    }

    async fn exchange<E: End>(&self, end: &mut E) -> Result<()> {
        end.receive(0, USE_SIZE).await?;
        end.feed(&Message::new(USE_SIZE)).await?;
        end.flush().await
    }

    async fn stream<E: End>(&self, end: &mut E, size: usize, count: u64) -> Result<()> {
        end.receive_run(0..count, size).await?;
        end.feed(&Message::new(USE_SIZE)).await?;
        end.flush().await
    }
}

pub async fn opener<P: Peer>(peer: P, port: u16) -> Result<Report> {
    side(peer, Opens(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).await
}

pub async fn acceptor<P: Peer>(peer: P) -> Result<Report> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    side(peer, Accepts(listener)).await
}

async fn side<P: Peer>(peer: P, turn: impl Turn + Sync) -> Result<Report> {
    let runtime = peer.runtime();
    let mut first = connected(peer, &turn, 1).await?;
    sleep(runtime, IDLE).await;

    let before = live_bytes();
    let mut sides = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        sides.push(connected(peer, &turn, 1).await?);
    }
    sleep(runtime, IDLE).await;
    let own = size_of::<Side<P::End>>() * COUNT;
    let connection = (live_bytes() - before - own as f64) / COUNT as f64;

    let mut channel = None;
    if peer.multiplexes() {
        let before = live_bytes();
        let crowded = connected(peer, &turn, 1 + COUNT).await?;
        sleep(runtime, IDLE).await;
        channel = Some((live_bytes() - before - connection) / COUNT as f64);
        drop(crowded);
    }

    let mut per_message = [0.0; 2];
    for (slot, (size, count)) in per_message.iter_mut().zip(RUNS) {
        let end = first.ends.first_mut().ok_or("no channel")?;
        turn.stream(end, size, count / 4).await?;
        let before = allocations();
        turn.stream(end, size, count).await?;
        *slot = (allocations() - before) / count as f64;
    }
    // Handing a message over is not having it sent: the other side still waits for the last one.
    sleep(runtime, LAST_WORDS).await;
    Ok(Report {
        connection,
        channel,
        allocations: per_message,
    })
}

/// Connects and uses every channel once.
async fn connected<P: Peer>(
    peer: P,
    turn: &(impl Turn + Sync),
    channels: usize,
) -> Result<Side<P::End>> {
    let mut side = turn.connect(peer, channels).await?;
    for end in &mut side.ends {
        turn.exchange(end).await?;
    }
    Ok(side)
}
