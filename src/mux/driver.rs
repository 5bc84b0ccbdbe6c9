//! The one loop of a connection: write what the machine has, read what the transport has, keep time.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_io::{AsyncRead as _, AsyncWrite as _};

use super::code::Code;
use super::error::ConnectionError;
use super::input::Input;
use super::machine::Phase;
use super::machine::transmit::Transmit;
use super::shared::Shared;
use crate::runtime::{Instant, Task};
use crate::transport::BoxedStream;

/// What one turn reads at most before other tasks get theirs, in bytes.
const READ_BUDGET: usize = 512 * 1024;
/// Reads after a failed write, at most.
const LAST_READS: usize = 64;
/// Pieces given to one write.
const SLICES: usize = 16;
/// How long small messages may gather while more are queued.
const GATHER: Duration = Duration::from_micros(100);
/// How long a connection is quiet before it gives its large buffers back.
const QUIET: Duration = Duration::from_secs(1);

/// Moves a connection's bytes: a future to spawn, or to poll beside other work.
///
/// Nothing of the connection moves unless this is polled. It resolves when the connection has
/// ended, with the reason if that was not wanted by either end. Dropping it ends the connection at
/// once, without a goodbye.
#[must_use = "a connection moves nothing unless its driver is polled"]
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Runs the driver in the background, on the connection's runtime.
    pub fn spawn(self) {
        let runtime = self.shared.runtime.clone();
        runtime.spawn(Box::pin(async move {
            // It has logged why.
            let _ = self.await;
        }));
    }
}

impl Future for Driver {
    type Output = Result<(), ConnectionError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = &self.shared;
        let _entered = shared.span.enter();
        shared.driver.register(context.waker());
        let waker = Waker::from(Arc::clone(&shared.driver));
        let mut engine = shared.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = engine.as_mut() {
            if running.gathers(shared) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(running.turn(shared, &mut Context::from_waker(&waker)));
            *engine = None;
        }
        drop(engine);
        shared.finish();
        Poll::Ready(shared.with_driver(|state| match state.machine.outcome() {
            Some(error) if !error.is_clean() => Err(error.clone()),
            _ => Ok(()),
        }))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared
            .with_driver(|state| state.machine.end(ConnectionError::DriverDropped));
        let engine = self
            .shared
            .engine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(engine);
        self.shared.finish();
    }
}

/// The I/O of a connection.
pub(crate) struct Engine {
    io: BoxedStream,
    input: Input,
    output: Transmit,
    flush: Flush,
    /// The transport has said that it will wake us, and has not yet: asking again would cost a
    /// system call.
    read_waits: bool,
    write_waits: bool,
    timer: Option<(Instant, Task)>,
    gathering: Option<Gathering>,
    /// When the large buffers are given back, unless something moves before.
    quiet_at: Option<Instant>,
    ending: Ending,
}

/// A sender is busy queueing small messages: the driver lets them become a batch.
#[derive(Debug)]
struct Gathering {
    until: Instant,
    queued: usize,
}

/// What was written may still sit in a buffer of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    Done,
    Due,
    /// The transport is at it: nothing more is written before it is done.
    Waits,
}

/// What is left to do once the connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    NotYet,
    /// Close the transport, then wait for the peer's end until then.
    Closing(Instant),
    Lingering(Instant),
    Done,
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

impl Engine {
    pub(super) fn new(io: BoxedStream) -> Self {
        Self {
            io,
            input: Input::new(),
            output: Transmit::default(),
            flush: Flush::Done,
            read_waits: false,
            write_waits: false,
            timer: None,
            gathering: None,
            quiet_at: None,
            ending: Ending::NotYet,
        }
    }

    /// Whether to let other tasks go first, because a sender is adding to a batch at this moment.
    ///
    /// Without this a driver on an idle thread would write every few messages for themselves and
    /// take the time that the sender or the receiver needs.
    fn gathers(&mut self, shared: &Shared) -> bool {
        let idle = self.output.is_empty() && !shared.driver.ready.load(Ordering::Acquire);
        let queued = shared.with_driver(|state| state.machine.only_little_queued());
        let Some(queued) = queued.filter(|_| idle && self.ending == Ending::NotYet) else {
            self.gathering = None;
            return false;
        };
        let now = shared.runtime.now();
        let until = match &self.gathering {
            None => now + GATHER,
            Some(before) if queued > before.queued && now < before.until => before.until,
            Some(_) => {
                self.gathering = None;
                return false;
            }
        };
        self.gathering = Some(Gathering { until, queued });
        true
    }

    /// Does what can be done now. Ready when the connection is over and the transport closed.
    pub(super) fn turn(&mut self, shared: &Shared, context: &mut Context<'_>) -> Poll<()> {
        if shared.driver.ready.swap(false, Ordering::AcqRel) {
            self.read_waits = false;
            self.write_waits = false;
        }
        let mut read = 0;
        while self.ending == Ending::NotYet {
            let mut moved = false;
            if !self.write_waits {
                match self.write(shared, context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        self.read_last_words(shared, context);
                        fail(shared, error);
                    }
                    Poll::Pending => self.write_waits = true,
                }
            }
            if !self.read_waits {
                match self.read(shared, context) {
                    Poll::Ready(Ok(count)) => {
                        moved = true;
                        read += count;
                    }
                    Poll::Ready(Err(error)) => fail(shared, error),
                    Poll::Pending => self.read_waits = true,
                }
            }
            self.begin_ending(shared);
            if read > READ_BUDGET {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if moved {
                self.quiet_at = None;
            } else if self.ending == Ending::NotYet && self.keep_time(shared, context).is_pending()
            {
                return Poll::Pending;
            }
        }
        self.end(shared, context)
    }

    /// Writes until nothing is left or the transport takes no more.
    fn write(&mut self, shared: &Shared, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.flush == Flush::Waits {
            ready!(self.flush(shared, context))?;
        }
        let mut wrote = false;
        loop {
            let now = shared.runtime.now();
            if self.output.is_empty() {
                let output = &mut self.output;
                let later = shared.with_driver(|state| {
                    let later = wrote && state.machine.only_little_queued().is_some();
                    if !later {
                        state.machine.poll_transmit(now, output);
                    }
                    later
                });
                if later {
                    shared.driver.notify();
                }
            }
            if self.output.is_empty() {
                break;
            }
            wrote = true;
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.output.slices(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            let Poll::Ready(written) = Pin::new(&mut self.io).poll_write_vectored(context, slices)
            else {
                shared.with_driver(|state| state.machine.handle_blocked(now));
                return Poll::Pending;
            };
            let written = written?;
            if written == 0 || written > self.output.len() {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
            self.flush = Flush::Due;
            shared.with_driver(|state| state.machine.handle_written(written, now));
        }
        if self.flush == Flush::Due {
            ready!(self.flush(shared, context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Waiting for a flush is a stall as waiting to write is: the bytes went only as far as a buffer
    /// of the transport.
    fn flush(&mut self, shared: &Shared, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = shared.runtime.now();
        let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(context) else {
            self.flush = Flush::Waits;
            shared.with_driver(|state| state.machine.handle_blocked(now));
            return Poll::Pending;
        };
        if std::mem::replace(&mut self.flush, Flush::Done) == Flush::Waits {
            shared.with_driver(|state| state.machine.handle_unblocked(now));
        }
        Poll::Ready(flushed)
    }

    /// Reads once, answers how many bytes.
    fn read(&mut self, shared: &Shared, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.input.room();
        let most = room.len();
        let count = ready!(Pin::new(&mut self.io).poll_read(context, room))?;
        if count > most {
            return Poll::Ready(Err(io::Error::other(
                "the transport read more than it was given room for",
            )));
        }
        if count == 0 {
            shared.with_driver(|state| state.machine.handle_end_of_stream());
            return Poll::Ready(Ok(0));
        }
        self.input.filled(count);
        let now = shared.runtime.now();
        let input = &mut self.input;
        shared.with_driver(|state| {
            let machine = &mut state.machine;
            machine.handle_bytes(count, now);
            let max = machine.config().max_frame_size as usize;
            if let Err(violation) = input.frames(max, |body, backing| {
                machine.handle_frame(body, backing, now);
            }) {
                machine.handle_violation(violation);
            }
        });
        Poll::Ready(Ok(count))
    }

    /// A peer that takes no more may have said why before it closed.
    fn read_last_words(&mut self, shared: &Shared, context: &mut Context<'_>) {
        for _ in 0..LAST_READS {
            if !matches!(self.read(shared, context), Poll::Ready(Ok(1..))) {
                return;
            }
        }
    }

    /// Waits for the next deadline. Ready when one has passed and was seen to.
    fn keep_time(&mut self, shared: &Shared, context: &mut Context<'_>) -> Poll<()> {
        let is_oversized =
            self.input.is_oversized() || self.output.is_oversized() || !shared.buffers.is_empty();
        if self.quiet_at.is_none() && is_oversized {
            self.quiet_at = Some(shared.runtime.now() + QUIET);
        }
        let machine = shared.with_driver(|state| state.machine.poll_timeout());
        let Some(deadline) = machine.into_iter().chain(self.quiet_at).min() else {
            return Poll::Pending;
        };
        // A timer that fires too early is set again then; deadlines mostly move away.
        if self.timer.as_ref().is_none_or(|(at, _)| *at > deadline) {
            self.timer = Some((deadline, shared.runtime.sleep_until(deadline)));
        }
        let Some((_, timer)) = &mut self.timer else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(context));
        self.timer = None;
        let now = shared.runtime.now();
        if self.quiet_at.is_some_and(|at| at <= now) {
            self.input.shrink();
            self.output.shrink();
            shared.buffers.clear();
            self.quiet_at = None;
        }
        shared.with_driver(|state| state.machine.handle_timeout(now));
        Poll::Ready(())
    }

    fn begin_ending(&mut self, shared: &Shared) {
        let (phase, close_timeout) = shared
            .with_driver(|state| (state.machine.phase(), state.machine.config().close_timeout));
        if matches!(phase, Phase::Closing | Phase::Closed) && self.ending == Ending::NotYet {
            self.ending = Ending::Closing(shared.runtime.now() + close_timeout);
        }
    }

    /// Says goodbye and closes the transport, in no more than `close_timeout`.
    fn end(&mut self, shared: &Shared, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let (Ending::Closing(deadline) | Ending::Lingering(deadline)) = self.ending else {
                return Poll::Ready(());
            };
            let step = if matches!(self.ending, Ending::Closing(_)) {
                self.close(shared, context)
            } else {
                self.linger(context)
            };
            if let Poll::Ready(next) = step {
                self.ending = next.map_or(Ending::Done, |()| Ending::Lingering(deadline));
                continue;
            }
            if self.timer.as_ref().is_none_or(|(at, _)| *at > deadline) {
                self.timer = Some((deadline, shared.runtime.sleep_until(deadline)));
            }
            if let Some((_, timer)) = &mut self.timer {
                ready!(timer.as_mut().poll(context));
            }
            self.timer = None;
            if shared.runtime.now() >= deadline {
                self.ending = Ending::Done;
            }
        }
    }

    /// Ready with something when the peer's end is to be waited for.
    fn close(&mut self, shared: &Shared, context: &mut Context<'_>) -> Poll<Option<()>> {
        // A transport that takes no more may still have to tell its peer why.
        let _written = ready!(self.write(shared, context));
        if ready!(Pin::new(&mut self.io).poll_close(context)).is_err() {
            return Poll::Ready(None);
        }
        // A peer that only drains may still write, and must be able to read our last messages then.
        let peer_is_gone = shared.with_driver(|state| match state.machine.outcome() {
            Some(ConnectionError::ClosedByPeer { code, .. }) => *code != Code::NONE,
            Some(ConnectionError::Io(_)) => true,
            _ => false,
        });
        Poll::Ready((!peer_is_gone).then_some(()))
    }

    /// Reads to the end, so that what was written is not cut off by a reset of the transport.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<Option<()>> {
        let mut scratch = [0; 2048];
        // Ready with a count: more may follow, but a peer that goes on for ever must not.
        for _ in 0..16 {
            match ready!(Pin::new(&mut self.io).poll_read(context, &mut scratch)) {
                Ok(0) | Err(_) => return Poll::Ready(None),
                Ok(_) => {}
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

fn fail(shared: &Shared, error: io::Error) {
    shared.with_driver(|state| state.machine.end(error.into()));
}
