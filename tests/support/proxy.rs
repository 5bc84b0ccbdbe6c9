//! A network that fails on command: a TCP proxy on the loopback, for `tcp://` and `ws://` alike.
//!
//! It runs on a thread of its own, so that it serves tests on any runtime. What it is told holds for
//! all of its connections, those that are open and those that come.
//!
//! ```ignore
//! let listener = sessionwire::listen("ws://127.0.0.1:0/wire").await?;
//! let proxy = Proxy::before(&listener.endpoint().to_string());
//! let connection = sessionwire::connect(proxy.endpoint()).await?;
//! proxy.set(Fault::Blackhole(Direction::Both));
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Bytes that are read at a time.
const PIECE: usize = 16 * 1024;

/// What the network does to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Carries them.
    Pass,
    /// Takes none and tells nobody; they go on when another fault, or none, is set.
    Blackhole(Direction),
    /// Resets connections, those that come as soon as they are accepted. Wait for
    /// [`Counts::open`] to be 0 before another fault is set.
    Reset,
    /// Says that nothing more comes in that direction, and loses what comes after all. A connection
    /// stays so.
    HalfClose(Direction),
    /// Carries each piece that long after it came, and takes the next one after that.
    Delay(Duration),
    /// Carries so many bytes more of each connection, then says to both ends that nothing more comes,
    /// and loses what comes after all.
    CutAfter(usize, Direction),
    /// Carries so many bytes at a time.
    Split(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
    Both,
}

impl Direction {
    fn covers(self, other: Self) -> bool {
        self == Self::Both || self == other
    }
}

/// What went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections that were ever accepted.
    pub(crate) accepted: usize,
    /// Connections that are open.
    pub(crate) open: usize,
    /// Bytes of all connections that were carried to the server.
    pub(crate) to_server: u64,
    /// Bytes of all connections that were carried to the client.
    pub(crate) to_client: u64,
    /// Writes that carried them, both ways.
    pub(crate) writes: u64,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    endpoint: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    server: watch::Sender<SocketAddr>,
    fault: watch::Sender<Fault>,
    counts: watch::Sender<Counts>,
}

impl Proxy {
    /// A proxy before a server at an endpoint such as `ws://127.0.0.1:9000/wire`, on a port of its own.
    pub(crate) fn before(endpoint: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("to listen");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            server: watch::Sender::new(address_of(endpoint)),
            fault: watch::Sender::new(Fault::Pass),
            counts: watch::Sender::default(),
        });
        let accepting = accept(listener, Arc::clone(&shared));
        runtime.spawn(accepting);
        Self {
            endpoint: endpoint.replacen(authority(endpoint), &address.to_string(), 1),
            shared,
            runtime: Some(runtime),
        }
    }

    /// Where to dial: the server's endpoint with the proxy's port.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sets what happens to bytes from now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// Sends connections that come to another server.
    pub(crate) fn move_to(&self, endpoint: &str) {
        self.shared.server.send_replace(address_of(endpoint));
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until the counts are as asked for.
    pub(crate) async fn until(&self, is_enough: impl Fn(&Counts) -> bool) -> Counts {
        let mut counts = self.shared.counts.subscribe();
        let reached = counts.wait_for(is_enough).await;
        *reached.expect("the proxy to live")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The host and port of an endpoint.
fn authority(endpoint: &str) -> &str {
    let (_, rest) = endpoint.split_once("://").expect("an endpoint");
    rest.split('/').next().expect("an authority")
}

fn address_of(endpoint: &str) -> SocketAddr {
    authority(endpoint).parse().expect("an address and a port")
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a socket");
    loop {
        let (client, _) = listener.accept().await.expect("to accept");
        shared.count(|counts| {
            counts.accepted += 1;
            counts.open += 1;
        });
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            carry(client, &shared).await;
            shared.count(|counts| counts.open -= 1);
        });
    }
}

/// Carries one connection to its end.
async fn carry(mut client: TcpStream, shared: &Shared) {
    let mut fault = shared.fault.subscribe();
    let address = *shared.server.borrow();
    // Nobody there: the client's connection just ends.
    let Ok(mut server) = TcpStream::connect(address).await else {
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let cut = watch::Sender::new(false);
        let pumps = async {
            tokio::join!(
                pump(from_client, to_server, Direction::ToServer, &cut, shared),
                pump(from_server, to_client, Direction::ToClient, &cut, shared),
            )
        };
        tokio::select! {
            biased;
            _ = fault.wait_for(|fault| *fault == Fault::Reset) => {}
            _ = pumps => return,
        }
    }
    for stream in [client, server] {
        stream.set_zero_linger().expect("a socket");
    }
}

/// Carries one direction of a connection to its end.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    cut: &watch::Sender<bool>,
    shared: &Shared,
) {
    let (mut fault, mut is_cut) = (shared.fault.subscribe(), cut.subscribe());
    fault.mark_changed();
    // `left` are the bytes until the cut, if one is to come.
    let (mut left, mut closed) = (None, false);
    let mut buffer = vec![0; PIECE];
    loop {
        if fault.has_changed().unwrap_or(false) {
            left = match *fault.borrow_and_update() {
                Fault::CutAfter(bytes, covered) if covered.covers(direction) => Some(bytes),
                _ => None,
            };
        }
        if left == Some(0) {
            cut.send_if_modified(|is_cut| !std::mem::replace(is_cut, true));
        }
        let now = *fault.borrow();
        let half_closed = matches!(now, Fault::HalfClose(covered) if covered.covers(direction));
        if !closed && (half_closed || *is_cut.borrow()) {
            closed = true;
            // A peer that is gone needs not be told.
            let _ = to.shutdown().await;
        }
        let most = left.unwrap_or(PIECE).clamp(1, PIECE);
        let read = tokio::select! {
            biased;
            _ = fault.changed() => {
                fault.mark_changed();
                continue;
            }
            _ = is_cut.changed() => continue,
            read = from.read(&mut buffer[..most]), if !is_dark(now, direction) => read,
        };
        let Ok(count @ 1..) = read else { break };
        if closed {
            continue;
        }
        let written = write(&mut to, &buffer[..count], direction, shared).await;
        if written.is_err() {
            break;
        }
        left = left.map(|left| left.saturating_sub(count));
    }
    let _ = to.shutdown().await;
}

/// Writes what came in the way that the network is in now.
async fn write(
    to: &mut WriteHalf<'_>,
    bytes: &[u8],
    direction: Direction,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut fault = shared.fault.subscribe();
    let now = *fault.borrow();
    if let Fault::Delay(time) = now {
        tokio::time::sleep(time).await;
    }
    // It may have gone dark since these were read.
    let seen = fault.wait_for(|fault| !is_dark(*fault, direction)).await;
    let now = *seen.expect("the proxy to live");
    let most = match now {
        Fault::Split(most) => most.max(1),
        _ => bytes.len(),
    };
    for piece in bytes.chunks(most) {
        to.write_all(piece).await?;
        shared.count(|counts| {
            counts.writes += 1;
            match direction {
                Direction::ToServer => counts.to_server += piece.len() as u64,
                _ => counts.to_client += piece.len() as u64,
            }
        });
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn is_dark(fault: Fault, direction: Direction) -> bool {
    matches!(fault, Fault::Blackhole(covered) if covered.covers(direction))
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }
}
