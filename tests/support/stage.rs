//! Connections on the test's own thread, under a clock that stands still: what stalls is seen at
//! once, and memory is counted to the byte.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use sessionwire::mux::{Config, Connection, Driver, Role};
use sessionwire::runtime::{Runtime, VirtualClock};
use sessionwire::transport::{ByteStream, MemoryStream, pipe};

use super::Watchdog;
use super::wire::{self, Heard};

#[derive(Debug, Clone, Default)]
pub(crate) struct Stage {
    pub(crate) clock: VirtualClock,
    _watchdog: Arc<Watchdog>,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Stage {
    /// Two ends joined by a pipe that holds `capacity` bytes each way, their drivers running.
    pub(crate) fn pair(&self, capacity: usize, config: &Config) -> (Connection, Connection) {
        let (one, other) = pipe(capacity);
        let here = self.running(one, Role::Dialer, config);
        (here, self.running(other, Role::Acceptor, config))
    }

    pub(crate) fn running(&self, io: impl ByteStream, role: Role, config: &Config) -> Connection {
        let (connection, driver) = self.end(io, role, config);
        driver.spawn();
        connection
    }

    pub(crate) fn end(
        &self,
        io: impl ByteStream,
        role: Role,
        config: &Config,
    ) -> (Connection, Driver) {
        Connection::with_runtime(io, role, config.clone(), Arc::new(self.clock.clone()))
    }

    /// An end of the crate, which accepted, and a peer that says what the test wants.
    pub(crate) fn faced(&self, config: &Config) -> (Connection, Peer) {
        let (one, other) = pipe(64 * 1024);
        (self.running(one, Role::Acceptor, config), self.peer(other))
    }

    pub(crate) fn peer(&self, stream: MemoryStream) -> Peer {
        Peer {
            stream,
            stage: self.clone(),
            heard: Vec::new(),
        }
    }

    /// Runs `future` to its end; fails when it waits and nothing that runs will wake it.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            match self.step(future.as_mut()) {
                (Poll::Ready(output), _) => return output,
                (Poll::Pending, woken) => assert!(woken, "stalls: nothing will wake it"),
            }
        }
    }

    /// Runs `future` until it is done or nothing moves any more.
    pub(crate) fn run_until_stalled<T>(
        &self,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Poll<T> {
        loop {
            let (polled, woken) = self.step(future.as_mut());
            if polled.is_ready() || !woken {
                return polled;
            }
        }
    }

    /// Polls once, then lets all tasks run; tells whether they woke the future.
    fn step<T>(&self, future: Pin<&mut impl Future<Output = T>>) -> (Poll<T>, bool) {
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(flag.clone());
        let polled = future.poll(&mut Context::from_waker(&waker));
        self.settle();
        (polled, flag.0.load(Ordering::SeqCst))
    }

    /// Lets all tasks run until they wait.
    pub(crate) fn settle(&self) {
        self.clock.run_until_stalled();
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Runs a task of its own, which goes on only when it is woken.
    pub(crate) fn task<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        let (sender, receiver) = mpsc::channel();
        self.spawn(async move {
            // Nobody need want to know.
            let _ = sender.send(task.await);
        });
        self.settle();
        Running(receiver)
    }

    /// Runs a task of its own.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.clock.spawn(Box::pin(task));
    }
}

/// A task that may still wait.
#[derive(Debug)]
pub(crate) struct Running<T>(mpsc::Receiver<T>);

impl<T> Running<T> {
    pub(crate) fn output(&self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

/// Polls once with a waker that nobody hears, as whoever drops the future afterwards.
pub(crate) fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A peer that says what the test wants.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: MemoryStream,
    stage: Stage,
    heard: Vec<u8>,
}

impl Peer {
    /// Writes all of it, the other end running; answers false when that takes no more.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> bool {
        let (mut rest, mut stuck) = (bytes, false);
        while !rest.is_empty() {
            let mut context = Context::from_waker(Waker::noop());
            match Pin::new(&mut self.stream).poll_write(&mut context, rest) {
                Poll::Ready(Ok(count)) => (rest, stuck) = (&rest[count..], false),
                Poll::Pending if !stuck => {
                    self.stage.settle();
                    stuck = true;
                }
                _ => return false,
            }
        }
        self.stage.settle();
        true
    }

    /// All frames that came since the last time.
    pub(crate) fn hear(&mut self) -> Vec<Heard> {
        self.stage.settle();
        let mut buffer = [0; 4096];
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(count @ 1..)) =
            Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer)
        {
            self.heard.extend(&buffer[..count]);
            self.stage.settle();
        }
        wire::take_frames(&mut self.heard)
    }

    /// The code and reason of the goodbye that came, if one did.
    pub(crate) fn goodbye(&mut self) -> Option<(u32, String)> {
        self.hear().into_iter().find_map(|heard| match heard {
            Heard::GoAway { code, reason, .. } => {
                Some((u32::try_from(code).expect("a code"), reason))
            }
            _ => None,
        })
    }
}
