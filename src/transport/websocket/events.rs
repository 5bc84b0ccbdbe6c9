use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_sink::Sink;
use pharos::{Observable, Observe, ObserveConfig, PharErr, Pharos};

use super::{WsClose, WsStream};

/// What happens on a WebSocket beside its bytes.
///
/// Observers get them by [`pharos::Observable`]. They never hold up the stream: one whose channel is
/// full misses events and is told how many.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WsEvent {
    /// The peer sent a ping; it is answered.
    Ping(Bytes),
    /// The peer sent a pong.
    Pong(Bytes),
    /// The peer sent a text, which [`WsText::Observed`](super::WsText::Observed) allows.
    Text(String),
    /// The peer's Close has come: nothing more can be read.
    Close(WsClose),
    /// Both ends' Closes have been sent.
    Closed,
    /// Nothing more can be read, because of this; reading says the same.
    Error(Arc<io::Error>),
    /// So many events had no room in this observer's channel. A filter should let this through;
    /// events that it would have held back are among those counted.
    Missed(u64),
}

/// `observe` fails only for a channel with no room at all.
///
/// A channel of [`Channel::Unbounded`](pharos::Channel::Unbounded), which is pharos' default, grows
/// with what the peer sends for as long as it is not read.
impl<S> Observable<WsEvent> for WsStream<S> {
    type Error = PharErr;

    fn observe(&mut self, options: ObserveConfig<WsEvent>) -> Observe<'_, WsEvent, PharErr> {
        let observers = &mut self.observers;
        Box::pin(async move {
            let mut lighthouse = Pharos::new(1);
            let events = lighthouse.observe(options).await?;
            observers.all.push(Observer {
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
    all: Vec<Observer>,
    told_closed: bool,
}

/// A lighthouse for one observer: a lighthouse for all is only ready when all of them are, so one
/// that is full would keep events from the others.
struct Observer {
    lighthouse: Pharos<WsEvent>,
    missed: u64,
}

impl Observers {
    /// Nothing is made for nobody.
    pub(super) fn tell(&mut self, event: impl FnOnce() -> WsEvent) {
        if self.all.is_empty() {
            return;
        }
        self.all
            .retain_mut(|observer| observer.lighthouse.num_observers() > 0);
        let event = event();
        for observer in &mut self.all {
            observer.tell(event.clone());
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Tells of the end, if that has not been told.
    pub(super) fn tell_closed(&mut self) {
        if !std::mem::replace(&mut self.told_closed, true) {
            self.tell(|| WsEvent::Closed);
        }
    }
}

impl Observer {
    fn tell(&mut self, event: WsEvent) {
        if self.missed > 0 && self.try_send(WsEvent::Missed(self.missed)) {
            self.missed = 0;
        }
        if self.missed > 0 || !self.try_send(event) {
            self.missed = self.missed.saturating_add(1);
        }
    }

    /// Nobody waits: the channel has room at this moment, or the event is missed. To send without having
    /// asked would make pharos take a full channel for a closed one.
    fn try_send(&mut self, event: WsEvent) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
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
            .field(&self.all.len())
            .finish()
    }
}
