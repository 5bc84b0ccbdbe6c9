//! The handlers that did not end at once, and their deadlines.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream};
use rustc_hash::FxHashMap;

use super::serve::Handler;
use crate::runtime::{Instant, SharedRuntime, Task};

/// Handlers by the ids of their calls.
pub(super) struct Running<T> {
    handlers: FuturesUnordered<Handling<T>>,
    /// Those that were not aborted.
    open: FxHashMap<u64, Open>,
    deadlines: BTreeSet<(Instant, u64)>,
    timer: Option<(Instant, Task)>,
    runtime: SharedRuntime,
}

struct Open {
    handle: AbortHandle,
    deadline: Instant,
}

struct Handling<T> {
    id: u64,
    handler: Abortable<Handler<T>>,
}

impl<T> Future for Handling<T> {
    type Output = (u64, Result<T, Aborted>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.handler.poll_unpin(context));
        Poll::Ready((self.id, outcome))
    }
}

impl<T> Running<T> {
    pub(super) fn new(runtime: SharedRuntime) -> Self {
        Self {
            handlers: FuturesUnordered::new(),
            open: FxHashMap::default(),
            deadlines: BTreeSet::new(),
            timer: None,
            runtime,
        }
    }

    /// How many there are, with those that were aborted and not dropped yet.
    pub(super) fn len(&self) -> usize {
        self.handlers.len()
    }

    /// Adds a handler, which is polled next by [`poll_ended`](Self::poll_ended).
    pub(super) fn push(&mut self, id: u64, handler: Handler<T>, deadline: Instant) {
        let (handle, registration) = AbortHandle::new_pair();
        let handler = Abortable::new(handler, registration);
        self.open.insert(id, Open { handle, deadline });
        self.deadlines.insert((deadline, id));
        self.handlers.push(Handling { id, handler });
    }

    /// Has a handler dropped by the next [`poll_ended`](Self::poll_ended); false if there is none of that
    /// id.
    pub(super) fn abort(&mut self, id: u64) -> bool {
        let Some(open) = self.open.remove(&id) else {
            return false;
        };
        self.deadlines.remove(&(open.deadline, id));
        open.handle.abort();
        true
    }

    /// Ready with a call that has ended, and what came of it.
    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<(u64, T)> {
        loop {
            match ready!(Pin::new(&mut self.handlers).poll_next(context)) {
                Some((id, Ok(outcome))) => {
                    if let Some(open) = self.open.remove(&id) {
                        self.deadlines.remove(&(open.deadline, id));
                        return Poll::Ready((id, outcome));
                    }
                }
                Some((_, Err(Aborted))) => {}
                None => return Poll::Pending,
            }
        }
    }

    /// Ready with a call whose time is up: its handler is aborted.
    pub(super) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<u64> {
        let Some((first, id)) = self.deadlines.first().copied() else {
            return Poll::Pending;
        };
        // A timer that fires too early is set again then: deadlines mostly move away.
        while self.runtime.now() < first {
            if self.timer.as_ref().is_none_or(|(at, _)| *at > first) {
                self.timer = Some((first, self.runtime.sleep_until(first)));
            }
            if let Some((_, timer)) = &mut self.timer {
                ready!(timer.as_mut().poll(context));
            }
            self.timer = None;
        }
        self.abort(id);
        Poll::Ready(id)
    }
}
