//! Who came and who went, for observers by [`pharos`].

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_sink::Sink;
use pharos::{ObserveConfig, PharErr, Pharos};

use super::guard::guarded;
use super::identity::PeerId;

/// A change among the peers of a node, as [`pharos`](crate::transport::pharos) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerChange {
    /// A peer is connected.
    Up(PeerId),
    /// A peer is no longer connected.
    Down(PeerId),
    /// So many changes found no room in the observer's channel: [`Node::peers`](super::Node::peers)
    /// tells how things stand.
    Lagged(u64),
}

/// Everyone who wants to know.
#[derive(Default)]
pub(super) struct Observers(Mutex<State>);

#[derive(Default)]
struct State {
    all: Vec<Observer>,
    /// They are being told something, where no lock is held: that wakes them.
    is_telling: bool,
}

impl Observers {
    pub(super) fn add(&self, observer: Observer) {
        self.lock().all.push(observer);
    }

    /// Tells all of them what `told` answers; false if somebody else is at it.
    pub(super) fn tell(&self, told: impl FnOnce() -> VecDeque<PeerChange>) -> bool {
        let mut state = self.lock();
        if std::mem::replace(&mut state.is_telling, true) {
            return false;
        }
        let mut all = std::mem::take(&mut state.all);
        drop(state);
        all.retain_mut(Observer::is_heard);
        for change in told() {
            // Its filter is the application's.
            all.retain_mut(|observer| guarded(|| observer.tell(change.clone())).is_some());
        }
        let mut state = self.lock();
        all.append(&mut state.all);
        state.all = all;
        state.is_telling = false;
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who observes by [`pharos`]. It never holds up the node: what finds no room in its channel is
/// missed, and it is told how much.
pub(super) struct Observer {
    lighthouse: Pharos<PeerChange>,
    missed: u64,
}

impl Observer {
    pub(super) fn new() -> Self {
        Self {
            lighthouse: Pharos::new(1),
            missed: 0,
        }
    }

    pub(super) async fn observe(
        &mut self,
        options: ObserveConfig<PeerChange>,
    ) -> Result<pharos::Events<PeerChange>, PharErr> {
        pharos::Observable::observe(&mut self.lighthouse, options).await
    }

    fn is_heard(&mut self) -> bool {
        self.lighthouse.num_observers() > 0
    }

    fn tell(&mut self, change: PeerChange) {
        if self.missed > 0 && self.try_send(PeerChange::Lagged(self.missed)) {
            self.missed = 0;
        }
        if self.missed > 0 || !self.try_send(change) {
            self.missed = self.missed.saturating_add(1);
        }
    }

    fn try_send(&mut self, change: PeerChange) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut lighthouse = Pin::new(&mut self.lighthouse);
        match lighthouse.as_mut().poll_ready(&mut context) {
            Poll::Ready(_) => lighthouse.start_send(change).is_ok(),
            Poll::Pending => false,
        }
    }
}
