//! Who came and who went.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::{Event, listener};

use super::app::App;
use super::identity::PeerId;
use super::peer::Peer;
use super::shared::Shared;

/// A change among the peers of a node.
pub enum NodeEvent<A: App> {
    /// All peers there are: the first event of those who follow them, and what comes after
    /// [`Lagged`](Self::Lagged).
    Snapshot(Vec<Peer<A>>),
    /// A peer is connected.
    Up(Peer<A>),
    /// A peer is no longer connected. Why, [`closed`](crate::Connection::closed) of the
    /// [`connection`](Peer::connection) of the peer that came [`Up`](Self::Up) tells.
    Down(PeerId),
    /// So many events were missed.
    Lagged(u64),
}

/// The peers of a node and all changes among them, in order.
///
/// What is missed by who does not keep up is made good by a new
/// [`Snapshot`](NodeEvent::Snapshot), so the set of peers that follows from the events is always right.
pub struct Events<A: App> {
    node: Arc<Shared<A>>,
    feed: Arc<Feed<A>>,
}

impl<A: App> Events<A> {
    pub(super) fn new(node: Arc<Shared<A>>, feed: Arc<Feed<A>>) -> Self {
        Self { node, feed }
    }

    /// Waits for the next event; none when the node has been shut down and all were told.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `next` has missed nothing.
    pub async fn next(&mut self) -> Option<NodeEvent<A>> {
        loop {
            listener!(self.feed.arrival => arrival);
            let (event, closed) = {
                let mut queue = self.feed.lock();
                (queue.take(), queue.closed)
            };
            match event {
                Taken::Event(event) => return Some(event),
                Taken::Lagged(missed) => {
                    self.node.refill(&self.feed);
                    return Some(NodeEvent::Lagged(missed));
                }
                Taken::Nothing if closed => return None,
                Taken::Nothing => arrival.await,
            }
        }
    }
}

/// What waits for one who follows the events.
pub(super) struct Feed<A: App> {
    queue: Mutex<Queue<A>>,
    arrival: Event,
    most: usize,
}

struct Queue<A: App> {
    events: VecDeque<NodeEvent<A>>,
    missed: u64,
    closed: bool,
}

enum Taken<A: App> {
    Event(NodeEvent<A>),
    Lagged(u64),
    Nothing,
}

impl<A: App> Queue<A> {
    fn take(&mut self) -> Taken<A> {
        if self.missed > 0 {
            return Taken::Lagged(self.missed);
        }
        self.events.pop_front().map_or(Taken::Nothing, Taken::Event)
    }
}

impl<A: App> Feed<A> {
    pub(super) fn new(most: usize, peers: Vec<Peer<A>>, closed: bool) -> Self {
        Self {
            queue: Mutex::new(Queue {
                events: VecDeque::from([NodeEvent::Snapshot(peers)]),
                missed: 0,
                closed,
            }),
            arrival: Event::new(),
            most,
        }
    }

    /// Answers what is to be dropped where no lock is held.
    #[must_use]
    pub(super) fn push(&self, event: &NodeEvent<A>) -> VecDeque<NodeEvent<A>> {
        let mut queue = self.lock();
        if queue.missed == 0 && queue.events.len() < self.most {
            queue.events.push_back(event.clone());
            return VecDeque::new();
        }
        let dropped = std::mem::take(&mut queue.events);
        queue.missed = queue.missed.saturating_add(1 + dropped.len() as u64);
        dropped
    }

    pub(super) fn refill(&self, peers: Vec<Peer<A>>) {
        let mut queue = self.lock();
        queue.missed = 0;
        queue.events.push_back(NodeEvent::Snapshot(peers));
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    pub(super) fn notify(&self) {
        self.arrival.notify(usize::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, Queue<A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: App> Clone for NodeEvent<A> {
    fn clone(&self) -> Self {
        match self {
            Self::Snapshot(peers) => Self::Snapshot(peers.clone()),
            Self::Up(peer) => Self::Up(peer.clone()),
            Self::Down(id) => Self::Down(*id),
            Self::Lagged(missed) => Self::Lagged(*missed),
        }
    }
}

impl<A: App> fmt::Debug for NodeEvent<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(peers) => formatter.debug_tuple("Snapshot").field(peers).finish(),
            Self::Up(peer) => formatter.debug_tuple("Up").field(peer).finish(),
            Self::Down(id) => formatter.debug_tuple("Down").field(id).finish(),
            Self::Lagged(missed) => formatter.debug_tuple("Lagged").field(missed).finish(),
        }
    }
}

impl<A: App> fmt::Debug for Events<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Events").finish_non_exhaustive()
    }
}
