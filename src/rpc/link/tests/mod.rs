//! Links in virtual time, over memory: what is dialled is what the test says.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::dialer::{Attempt, Dialer};
use super::error::DialError;
use super::{Link, LinkConfig, LinkState};
use crate::mux::{Code, Config, Connection, ConnectionError, Role};
use crate::runtime::{Instant, SharedRuntime, VirtualClock};
use crate::transport::{ByteStream, MemoryStream, pipe};

mod backoff;
mod dark;
mod endings;
mod events;
mod lives;
mod walks;

/// What becomes of an attempt.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// The peer accepts, and holds the connection.
    Up,
    /// The attempt fails.
    Fails(DialError),
    /// Nothing comes of it, ever.
    Hangs,
    /// A stream whose peer says nothing.
    Silent,
    /// The peer accepts, and says this goodbye at once.
    Goodbye(Code),
    /// As [`Up`](Self::Up), over a stream that can go dark.
    UpInDanger,
}

/// A link, what it dials and its time.
pub(super) struct World {
    pub(super) clock: VirtualClock,
    pub(super) peer: Arc<Peer>,
}

/// The other end of all attempts.
#[derive(Debug)]
pub(super) struct Peer {
    runtime: SharedRuntime,
    config: Config,
    /// What becomes of the next attempts, and then of all others.
    fates: Mutex<(VecDeque<Fate>, Fate)>,
    dials: Mutex<Vec<(Instant, Attempt)>>,
    accepted: Mutex<Vec<Connection>>,
    silent: Mutex<Vec<MemoryStream>>,
    targets: AtomicUsize,
    darkness: dark::Darkness,
}

pub(super) struct Dial(Arc<Peer>);

impl World {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let clock = VirtualClock::new();
        let peer = Peer {
            runtime: Arc::new(clock.clone()),
            config,
            fates: Mutex::new((VecDeque::new(), Fate::Up)),
            dials: Mutex::default(),
            accepted: Mutex::default(),
            silent: Mutex::default(),
            targets: AtomicUsize::new(1),
            darkness: dark::Darkness::default(),
        };
        Self {
            clock,
            peer: Arc::new(peer),
        }
    }

    /// A link whose pauses are half of the longest.
    pub(super) fn link(&self) -> Link {
        self.link_with(LinkConfig::default())
    }

    pub(super) fn link_with(&self, config: LinkConfig) -> Link {
        let dial = Dial(Arc::clone(&self.peer));
        Link::drawing(dial, config, Arc::new(self.clock.clone()), || 0.5)
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Lets all tasks run until they wait; answers how many there are.
    pub(super) fn settle(&self) -> usize {
        self.clock.run_until_stalled()
    }

    /// Runs a future as far as it goes without time.
    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        for _ in 0..100 {
            if let Poll::Ready(output) = poll(future.as_mut()) {
                return Some(output);
            }
            self.settle();
        }
        None
    }

    /// Says what becomes of the next attempts.
    pub(super) fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.peer.fates.lock().unwrap().0.extend(fates);
    }

    /// Says what becomes of all attempts after those.
    pub(super) fn always(&self, fate: Fate) {
        self.peer.fates.lock().unwrap().1 = fate;
    }

    /// All attempts that nothing more is said of give a connection.
    pub(super) fn forget_fates(&self) {
        *self.peer.fates.lock().unwrap() = (VecDeque::new(), Fate::Up);
    }

    pub(super) fn dials(&self) -> usize {
        self.peer.dials.lock().unwrap().len()
    }

    /// Milliseconds from the start of the world to each attempt.
    pub(super) fn times(&self, start: Instant) -> Vec<u128> {
        let dials = self.peer.dials.lock().unwrap();
        let since = |(at, _): &(Instant, Attempt)| (*at - start).as_millis();
        dials.iter().map(since).collect()
    }

    pub(super) fn targets(&self) -> Vec<usize> {
        let dials = self.peer.dials.lock().unwrap();
        dials.iter().map(|(_, attempt)| attempt.target).collect()
    }

    /// The other end of the connection that was accepted last.
    pub(super) fn there(&self) -> Connection {
        let accepted = self.peer.accepted.lock().unwrap();
        accepted.last().expect("a connection").clone()
    }
}

pub(super) fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The link's connection and its number, if it is up.
pub(super) fn up(link: &Link) -> Option<(u64, Connection)> {
    match link.state() {
        LinkState::Up { epoch, connection } => Some((epoch, connection)),
        _ => None,
    }
}

pub(super) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What trying again mends.
pub(super) fn passing() -> DialError {
    DialError::other("out of order")
}

/// What trying again does not mend.
pub(super) fn fatal() -> DialError {
    ConnectionError::Version { min: 9, max: 9 }.into()
}

impl Dialer for Dial {
    fn targets(&self) -> usize {
        self.0.targets.load(Ordering::SeqCst)
    }

    fn name(&self, target: usize) -> Option<String> {
        Some(format!("place {target}"))
    }

    async fn dial(&self, attempt: Attempt) -> Result<Connection, DialError> {
        match self.0.fate_of(attempt) {
            Fate::Up => Ok(self.0.connect(|stream| stream).0),
            Fate::UpInDanger => {
                let darkness = self.0.darkness.clone();
                Ok(self.0.connect(|stream| dark::Dark::new(stream, darkness)).0)
            }
            Fate::Goodbye(code) => {
                let (here, there) = self.0.connect(|stream| stream);
                there.close(code, "go away");
                Ok(here)
            }
            Fate::Silent => {
                let (here, there) = pipe(64 * 1024);
                self.0.silent.lock().unwrap().push(there);
                Ok(self.0.start(here, Role::Dialer))
            }
            Fate::Fails(error) => Err(error),
            Fate::Hangs => pending().await,
        }
    }

    /// The application's code 7 says "banned".
    fn is_fatal(&self, error: &DialError) -> bool {
        match error {
            DialError::Connection(ConnectionError::ClosedByPeer { code, .. }) => {
                *code == Code::application(7)
            }
            other => other.is_fatal(),
        }
    }
}

impl Peer {
    fn fate_of(&self, attempt: Attempt) -> Fate {
        self.dials
            .lock()
            .unwrap()
            .push((self.runtime.now(), attempt));
        let mut fates = self.fates.lock().unwrap();
        fates.0.pop_front().unwrap_or_else(|| fates.1.clone())
    }

    /// Two ends: the first for the link.
    fn connect<S: ByteStream>(
        &self,
        wrap: impl FnOnce(MemoryStream) -> S,
    ) -> (Connection, Connection) {
        let (here, there) = pipe(64 * 1024);
        let there = self.start(there, Role::Acceptor);
        self.accepted.lock().unwrap().push(there.clone());
        (self.start(wrap(here), Role::Dialer), there)
    }

    fn start(&self, stream: impl ByteStream, role: Role) -> Connection {
        let runtime = Arc::clone(&self.runtime);
        let (connection, driver) =
            Connection::with_runtime(stream, role, self.config.clone(), runtime);
        driver.spawn();
        connection
    }
}
