//! What the handles and the driver of a connection share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::BytesMut;
use event_listener::Event;
use futures_util::task::AtomicWaker;
use tracing::Span;
use tracing::field::{Empty, display};

use super::driver::Engine;
use super::machine::{Machine, Wake};
use super::places::Places;
use super::pool::Pool;
use crate::runtime::SharedRuntime;
use crate::transport::ConnectionInfo;

/// The state of one connection, behind one short lock that is never held over I/O, and the engine
/// that does the I/O behind another.
///
/// Lock order: engine, then state.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(super) engine: Mutex<Option<Engine>>,
    pub(super) driver: Arc<DriverWaker>,
    /// The driver has nothing left to do: the transport is closed.
    finished: AtomicBool,
    pub(crate) info: ConnectionInfo,
    /// What is logged about the connection is logged in there.
    pub(crate) span: Span,
    pub(crate) runtime: SharedRuntime,
    pub(crate) events: Events,
    /// For large messages.
    pub(crate) buffers: Pool<BytesMut>,
    pub(crate) places: Arc<Places>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    /// By the machine's keys.
    wakers: Vec<Wakers>,
    /// How many of them wait to read.
    readers: usize,
    /// The driver knows that there is something to send.
    notified: bool,
    handles: usize,
}

/// One slot for each half of a channel.
#[derive(Debug, Default)]
struct Wakers {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// For those who wait for the connection as a whole, however many they are.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) places: Event,
    pub(crate) incoming: Event,
    pub(crate) pong: Event,
    pub(crate) accepted: Event,
    pub(crate) ended: Event,
}

/// Wakes the driver's task, whichever that is at the time. All I/O is polled with this waker, so
/// that any task may do a turn of the driver's work.
#[derive(Debug, Default)]
pub(super) struct DriverWaker {
    task: AtomicWaker,
    /// Readiness came that no turn has seen yet.
    pub(super) ready: AtomicBool,
}

impl DriverWaker {
    pub(super) fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    pub(super) fn notify(&self) {
        self.task.wake();
    }
}

impl std::task::Wake for DriverWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Shared {
    pub(crate) fn new(
        machine: Machine,
        engine: Engine,
        info: ConnectionInfo,
        runtime: SharedRuntime,
    ) -> Arc<Self> {
        // Of the highest level, so that it is there whenever something is logged.
        let span = tracing::error_span!("connection", peer = Empty);
        if let Some(peer) = &info.peer {
            span.record("peer", display(peer.without_query()));
        }
        Arc::new(Self {
            buffers: machine.buffers().clone(),
            state: Mutex::new(State {
                machine,
                wakers: Vec::new(),
                readers: 0,
                notified: false,
                handles: 0,
            }),
            engine: Mutex::new(Some(engine)),
            driver: Arc::default(),
            finished: AtomicBool::new(false),
            info,
            span,
            runtime,
            events: Events::default(),
            places: Arc::default(),
        })
    }

    /// Does something to the state, then wakes whom it concerns, the driver among them.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        self.with_state(self.lock(), act)
    }

    /// The same, unless the state is busy.
    pub(crate) fn try_with<T>(&self, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let state = self.state.try_lock().ok()?;
        Some(self.with_state(state, act))
    }

    fn with_state<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        act: impl FnOnce(&mut State) -> T,
    ) -> T {
        let result = act(&mut state);
        let notify = !state.notified && state.machine.has_transmit();
        state.notified |= notify;
        self.release(state);
        if notify {
            self.driver.notify();
        }
        result
    }

    /// Does something to the state that the caller follows with a turn of the driver's work.
    pub(crate) fn with_quietly<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        self.release(state);
        result
    }

    /// The same for the driver, which looks for itself what is to be sent.
    pub(super) fn with_driver<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.notified = true;
        let result = act(&mut state);
        state.notified = state.machine.has_transmit();
        self.release(state);
        result
    }

    /// Does a turn of the driver's work in the caller's task, unless someone does already: the
    /// driver is told then.
    pub(crate) fn drive(&self) {
        match self.engine.try_lock() {
            Ok(mut engine) => {
                let waker = Waker::from(Arc::clone(&self.driver));
                let over = match engine.as_mut() {
                    Some(engine) => engine
                        .turn(self, &mut Context::from_waker(&waker))
                        .is_ready(),
                    None => false,
                };
                drop(engine);
                if over {
                    self.driver.notify();
                }
            }
            Err(_) => self.driver.notify(),
        }
    }

    pub(super) fn finish(&self) {
        if !self.finished.swap(true, Ordering::AcqRel) {
            let outcome = self.lock().machine.outcome().cloned();
            let why = outcome.as_ref().map(display);
            self.span
                .in_scope(|| tracing::debug!(why, "a connection ended"));
        }
        self.events.ended.notify(usize::MAX);
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(crate) fn add_handle(&self) {
        self.lock().handles += 1;
    }

    /// With the last handle gone the connection ends, once what was finished has been sent.
    pub(crate) fn drop_handle(&self) {
        let now = self.runtime.now();
        self.with(|state| {
            state.handles = state.handles.saturating_sub(1);
            if state.handles == 0 {
                let close_timeout = state.machine.config().close_timeout;
                state.machine.drain(now + close_timeout);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks, then wakes whom the machine names: wakers may run anything.
    fn release(&self, mut state: MutexGuard<'_, State>) {
        if !state.machine.has_news() {
            return;
        }
        let mut first = None;
        let mut rest = Vec::new();
        while let Some(wake) = state.machine.poll_wake() {
            if let Some(waker) = state.take_waker(wake)
                && let Some(earlier) = first.replace(waker)
            {
                rest.push(earlier);
            }
        }
        let signals = state.machine.take_signals();
        drop(state);
        first.into_iter().chain(rest).for_each(Waker::wake);
        for (event, is_set) in [
            (&self.events.places, signals.places),
            (&self.events.incoming, signals.incoming),
            (&self.events.pong, signals.pong),
            (&self.events.accepted, signals.accepted),
            (&self.events.ended, signals.ended),
        ] {
            if is_set {
                event.notify(usize::MAX);
            }
        }
    }
}

impl State {
    pub(crate) fn wait_to_read(&mut self, key: usize, waker: &Waker) {
        let slot = &mut self.wakers(key).reader;
        let is_new = slot.is_none();
        set(slot, waker);
        self.readers += usize::from(is_new);
    }

    /// Whether readers of other channels wait: what their tasks do is better done for all at once.
    pub(crate) fn others_wait_to_read(&self, key: usize) -> bool {
        let is_known = |wakers: &Wakers| wakers.reader.is_some();
        let own = self.wakers.get(key).is_some_and(is_known);
        self.readers > usize::from(own)
    }

    /// To be dropped when the state is unlocked: that may run anything.
    pub(crate) fn take_reader(&mut self, key: usize) -> Option<Waker> {
        self.take_waker(Wake::Reader(key))
    }

    pub(crate) fn wait_to_write(&mut self, key: usize, waker: &Waker) {
        set(&mut self.wakers(key).writer, waker);
    }

    fn take_waker(&mut self, wake: Wake) -> Option<Waker> {
        match wake {
            Wake::Reader(key) => {
                let reader = self.wakers.get_mut(key)?.reader.take()?;
                self.readers = self.readers.saturating_sub(1);
                Some(reader)
            }
            Wake::Writer(key) => self.wakers.get_mut(key)?.writer.take(),
        }
    }

    fn wakers(&mut self, key: usize) -> &mut Wakers {
        if self.wakers.len() <= key {
            self.wakers.resize_with(key + 1, Wakers::default);
        }
        &mut self.wakers[key]
    }
}

fn set(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(known) if known.will_wake(waker) => {}
        _ => *slot = Some(waker.clone()),
    }
}
