//! What the callers and the tasks of one client share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::machine::Machine;
use crate::codec::MaxMessageSize;
use crate::runtime::{Instant, SharedRuntime, Task};

/// The machine behind one short lock, and the wakers of the two tasks.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pump: AtomicWaker,
    clock: AtomicWaker,
    closed: AtomicBool,
    /// The longest message that a connection takes, of all there were: one before the present may still
    /// bring answers.
    max_message: AtomicUsize,
    welcome_timeout: Duration,
    pub(super) runtime: SharedRuntime,
}

#[derive(Debug)]
struct State {
    machine: Machine<Waker>,
    /// What the clock waits for.
    armed: Option<Instant>,
}

impl Shared {
    pub(super) fn new(
        runtime: SharedRuntime,
        calls_at_once: usize,
        welcome_timeout: Duration,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                machine: Machine::new(calls_at_once),
                armed: None,
            }),
            pump: AtomicWaker::new(),
            clock: AtomicWaker::new(),
            closed: AtomicBool::new(false),
            max_message: AtomicUsize::new(0),
            welcome_timeout,
            runtime,
        }
    }

    /// Does something to the machine, then wakes whom it concerns, the tasks among them.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Machine<Waker>) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state.machine);
        // Of each channel for itself: on one that takes nothing, there may be something to write for long.
        let notify = state.machine.has_news();
        self.release(state, notify);
        result
    }

    /// The same for the pump, which looks for itself what is to be written.
    pub(super) fn with_pump<T>(&self, act: impl FnOnce(&mut Machine<Waker>) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state.machine);
        state.machine.has_news();
        self.release(state, false);
        result
    }

    /// When the clock is to tell the time.
    pub(super) fn arm(&self) -> Option<Instant> {
        let mut state = self.lock();
        state.armed = state.machine.next_deadline();
        state.armed
    }

    pub(super) fn register_pump(&self, context: &Context<'_>) {
        self.pump.register(context.waker());
    }

    pub(super) fn register_clock(&self, context: &Context<'_>) {
        self.clock.register(context.waker());
    }

    /// Nobody is left to call.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.pump.wake();
        self.clock.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// When a service that is greeted now is to have said its welcome.
    pub(super) fn welcome_deadline(&self) -> Task {
        let now = self.runtime.now();
        let deadline = now.checked_add(self.welcome_timeout).unwrap_or(now);
        self.runtime.sleep_until(deadline)
    }

    pub(super) fn max_message(&self) -> MaxMessageSize {
        MaxMessageSize::new(self.max_message.load(Ordering::Relaxed)).unwrap_or_default()
    }

    pub(super) fn raise_max_message(&self, max: MaxMessageSize) {
        self.max_message.fetch_max(max.get(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks, then wakes: wakers may run anything.
    fn release(&self, mut state: MutexGuard<'_, State>, notify: bool) {
        let told = state.machine.take_told();
        let sooner = match (state.machine.next_deadline(), state.armed) {
            (Some(next), Some(armed)) => next < armed,
            (next, None) => next.is_some(),
            (None, Some(_)) => false,
        };
        if sooner {
            state.armed = state.machine.next_deadline();
        }
        drop(state);
        told.into_iter().for_each(Waker::wake);
        if notify {
            self.pump.wake();
        }
        if sooner {
            self.clock.wake();
        }
    }
}
