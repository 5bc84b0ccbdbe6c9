use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_sink::Sink;
use pharos::{Observable, Observe, ObserveConfig, PharErr, Pharos};

use super::Link;
use super::dialer::Attempt;
use super::error::{DialError, LinkError};
use crate::mux::ConnectionError;
use crate::runtime::Instant;

/// What happens to a link, one thing after the other.
///
/// Observers get them by [`pharos::Observable`]. They never hold up the link: one whose channel is full
/// misses events and is told how many. [`Link::watch`] tells what *is*, and that cannot be missed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinkEvent {
    /// It makes a connection.
    Dialing(Attempt),
    /// That attempt failed.
    Failed(Attempt, DialError),
    /// It has a connection: which one of the link's, from 1.
    Up(u64),
    /// That connection takes no more channels, because one of the ends drains it or it has no more
    /// numbers; those that are open may go on.
    Retired(u64),
    /// That connection ended.
    Lost(u64, ConnectionError),
    /// It makes its next attempt then.
    Waiting(Attempt, Instant),
    /// It is down for good: nothing follows.
    Down(LinkError),
    /// So many events had no room in this observer's channel. A filter should let this through; events
    /// that it would have held back are among those counted.
    Missed(u64),
}

/// `observe` fails only for a channel with no room at all.
///
/// A channel of [`Channel::Unbounded`](pharos::Channel::Unbounded), which is pharos' default, grows for
/// as long as it is not read.
impl Observable<LinkEvent> for Link {
    type Error = PharErr;

    fn observe(&mut self, options: ObserveConfig<LinkEvent>) -> Observe<'_, LinkEvent, PharErr> {
        let observers = Arc::clone(self.observers());
        Box::pin(async move {
            let mut lighthouse = Pharos::new(1);
            let events = lighthouse.observe(options).await?;
            observers.lock().push(Observer {
                lighthouse,
                missed: 0,
            });
            Ok(events)
        })
    }
}

/// Everyone who wants to know.
#[derive(Default)]
pub(super) struct Observers {
    all: Mutex<Vec<Observer>>,
}

/// A lighthouse for one observer: a lighthouse for all is only ready when all of them are.
struct Observer {
    lighthouse: Pharos<LinkEvent>,
    missed: u64,
}

impl Observers {
    /// Only the task of the link tells, so that all hear the same order.
    pub(super) fn tell(&self, event: &LinkEvent) {
        // Not under the lock: whoever is woken may do anything.
        let mut told = std::mem::take(&mut *self.lock());
        told.retain_mut(|observer| observer.lighthouse.num_observers() > 0);
        for observer in &mut told {
            observer.tell(event);
        }
        self.lock().append(&mut told);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Observer>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer {
    fn tell(&mut self, event: &LinkEvent) {
        if self.missed > 0 && self.try_send(LinkEvent::Missed(self.missed)) {
            self.missed = 0;
        }
        if self.missed > 0 || !self.try_send(event.clone()) {
            self.missed = self.missed.saturating_add(1);
        }
    }

    /// Nobody waits: the channel has room at this moment, or the event is missed. To send without having
    /// asked would make pharos take a full channel for a closed one.
    fn try_send(&mut self, event: LinkEvent) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let mut lighthouse = Pin::new(&mut self.lighthouse);
        match lighthouse.as_mut().poll_ready(&mut context) {
            Poll::Ready(_) => lighthouse.start_send(event).is_ok(),
            Poll::Pending => false,
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Observers")
            .field(&self.lock().len())
            .finish()
    }
}
