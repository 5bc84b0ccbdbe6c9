//! What a contestant has to be able to do: connect two sides, and on each of their channels send and receive.
//!
//! Everything that is measured is written once, in `measure.rs`, over these traits, so that every contestant runs
//! through the same loops.

use std::any::Any;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::RemoteHandle;
use futures::{FutureExt, try_join};

use crate::message::Message;
use crate::proxy::Proxy;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// One end of one bidirectional channel.
pub trait End: Send + 'static {
    /// Hands a message over, to be written now or when enough has gathered.
    fn feed(&mut self, message: &Message) -> impl Future<Output = Result<()>> + Send;

    /// Has everything that was fed written.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Receives one message, decodes it into an owned `Message` and calls `check` on it.
    fn receive(&mut self, sequence: u64, size: usize) -> impl Future<Output = Result<()>> + Send;

    /// Receives many.
    fn receive_run(
        &mut self,
        sequences: Range<u64>,
        size: usize,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            for sequence in sequences {
                self.receive(sequence, size).await?;
            }
            Ok(())
        }
    }
}

/// One side: its ends of the channels, in the order in which the opener opened them, and whatever has to live as
/// long as they do (connection handles, driver tasks).
pub struct Side<E> {
    pub ends: Vec<E>,
    pub keep: Keep,
}

pub type Keep = Box<dyn Any + Send>;

/// Both sides in one process.
pub struct Link<E> {
    pub opener: Side<E>,
    pub acceptor: Side<E>,
    /// The proxy between them, if there is one. It is dropped last.
    #[expect(dead_code, reason = "only lives")]
    pub proxy: Option<Proxy>,
}

/// How the opener reaches the acceptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    Direct,
    /// Through a proxy that delays and caps.
    LongFatPipe,
}

/// A contestant.
pub trait Peer: Copy + Send + Sync + 'static {
    type End: End;

    /// Unique; `--only` takes it or a beginning of it.
    fn name(&self) -> &'static str;

    fn runtime(&self) -> Runtime;

    /// Whether many channels share one connection. If not, `channels` are as many connections.
    fn multiplexes(&self) -> bool;

    /// Whether it runs on sockets that it is given. Otherwise there are no proxy and no second process: override
    /// `connect`, and `open` and `accept` are not called.
    fn uses_network(&self) -> bool {
        true
    }

    /// Connects to `address` and opens `channels` channels. Returns when they can be used.
    fn open(
        &self,
        address: SocketAddr,
        channels: usize,
    ) -> impl Future<Output = Result<Side<Self::End>>> + Send;

    /// Accepts one such connection with all its channels.
    fn accept(
        &self,
        listener: TcpListener,
        channels: usize,
    ) -> impl Future<Output = Result<Side<Self::End>>> + Send;

    /// Both at once.
    fn connect(
        &self,
        path: Path,
        channels: usize,
    ) -> impl Future<Output = Result<Link<Self::End>>> + Send {
        connect_by_network(self, path, channels)
    }
}

/// Both sides at once, over loopback.
pub async fn connect_by_network<P: Peer>(
    peer: &P,
    path: Path,
    channels: usize,
) -> Result<Link<P::End>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut address = listener.local_addr()?;
    let proxy = match path {
        Path::Direct => None,
        Path::LongFatPipe => Some(Proxy::start(address)?),
    };
    if let Some(proxy) = &proxy {
        address = proxy.address();
    }
    let (opener, acceptor) = try_join!(
        peer.open(address, channels),
        peer.accept(listener, channels)
    )?;
    Ok(Link {
        opener,
        acceptor,
        proxy,
    })
}

/// How many threads run a contestant's tasks, on either executor.
static THREADS: AtomicUsize = AtomicUsize::new(2);

/// Has all tasks run by so many threads, from now on.
pub fn use_threads(threads: usize) {
    THREADS.store(threads.max(1), Ordering::Relaxed);
}

/// Which executor runs a contestant's tasks, by as many threads either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    AsyncStd,
    Tokio,
}

impl Runtime {
    /// A task that ends when its handle is dropped.
    pub fn spawn<F>(self, future: F) -> RemoteHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let (task, handle) = future.remote_handle();
        match self {
            Self::AsyncStd => drop(async_std::task::spawn(task)),
            Self::Tokio => drop(tokio::spawn(task)),
        }
        handle
    }

    /// Runs the future as a task and waits for it on this thread, which does nothing else.
    pub fn run<T: Send + 'static>(
        self,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let threads = THREADS.load(Ordering::Relaxed);
        match self {
            Self::AsyncStd => {
                let config = async_global_executor::GlobalExecutorConfig::default()
                    .with_min_threads(threads)
                    .with_max_threads(threads);
                async_global_executor::init_with_config(config);
                async_std::task::block_on(async { self.spawn(future).await })
            }
            Self::Tokio => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads)
                    .enable_all()
                    .build()?;
                runtime.block_on(async { self.spawn(future).await })
            }
        }
    }
}
