use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use event_listener::{Event, listener};

use super::app::{App, Class, Direction, Introduction};
use super::error::NodeError;
use super::identity::PeerId;
use super::inbox::Share;
use super::outbox::Outbox;
use crate::mux::Connection;

/// A node that this one is connected to; a handle that can be cloned.
///
/// It stands for one session: when the peer is gone and comes back, it is another.
pub struct Peer<A: App> {
    pub(super) shared: Arc<Shared<A>>,
}

pub(super) struct Shared<A: App> {
    pub(super) introduction: Introduction<A::Hello>,
    /// What waits to be sent to it.
    pub(super) outbox: Mutex<Outbox>,
    /// What it may do on its connections has changed, or there is something to send.
    pub(super) signal: Event,
    /// There is room in the outbox, or never will be.
    pub(super) room: Event,
    pub(super) share: Arc<Share>,
    pub(super) counters: Counters,
    /// The one that is sent on.
    connection: Mutex<Connection>,
}

/// What passed between this node and a peer.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) undecodable: AtomicU64,
    pub(super) announced: AtomicU64,
    pub(super) asked: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) was_asked: AtomicU64,
    pub(super) unasked: AtomicU64,
}

/// What passed between this node and a peer, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatistics {
    /// Messages that were sent to it.
    pub messages_sent: u64,
    /// Messages that came from it.
    pub messages_received: u64,
    /// Messages for it that were dropped because it was slow.
    pub messages_shed: u64,
    /// Messages that wait to be sent to it, and their bytes.
    pub waiting: (usize, usize),
    /// Messages from it that could not be decoded, and were dropped.
    pub undecodable: u64,
    /// Items that it announced.
    pub announced: u64,
    /// Items that it was asked for.
    pub asked: u64,
    /// Items that came from it as it was asked.
    pub answered: u64,
    /// Items that it asked for.
    pub was_asked: u64,
    /// Answers from it that nobody had asked for.
    pub unasked: u64,
}

impl<A: App> Peer<A> {
    pub(super) fn new(
        introduction: Introduction<A::Hello>,
        outbox: Outbox,
        connection: Connection,
    ) -> Self {
        let shared = Shared {
            introduction,
            outbox: Mutex::new(outbox),
            signal: Event::new(),
            room: Event::new(),
            share: Arc::default(),
            counters: Counters::default(),
            connection: Mutex::new(connection),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Who it is.
    pub fn id(&self) -> PeerId {
        self.shared.introduction.id
    }

    /// Who dialed first, as this end saw it: of two nodes that dialed each other at once, both may say
    /// that they did, and the smaller id's connection remains.
    pub fn direction(&self) -> Direction {
        self.shared.introduction.direction
    }

    /// What it said of itself in the handshake.
    pub fn introduction(&self) -> &Introduction<A::Hello> {
        &self.shared.introduction
    }

    /// Whether this session of it goes on.
    pub fn is_connected(&self) -> bool {
        self.outbox().accepts()
    }

    /// Its connection, for calls, sessions and channels of all kinds beside the node's messages:
    /// [`rpc::Client::over`](crate::rpc::Client::over) asks its services.
    ///
    /// Of two nodes that dialed each other at once, one connection ends soon; what was opened on it may
    /// finish for [`drain_timeout`](super::NodeConfig::drain_timeout), and no more is opened. A
    /// [`Link`](crate::rpc::Link::dialing) whose [`Dialer`](crate::rpc::Dialer) answers the connection
    /// that there is now goes on with the next, and with the next session of the peer.
    pub fn connection(&self) -> Connection {
        self.connection_lock().clone()
    }

    /// What passed between it and this node.
    pub fn statistics(&self) -> PeerStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        let outbox = self.outbox();
        PeerStatistics {
            messages_sent: read(&counters.sent),
            messages_received: read(&counters.received),
            messages_shed: outbox.shed(),
            waiting: outbox.waiting(),
            undecodable: read(&counters.undecodable),
            announced: read(&counters.announced),
            asked: read(&counters.asked),
            answered: read(&counters.answered),
            was_asked: read(&counters.was_asked),
            unasked: read(&counters.unasked),
        }
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.shared
            .outbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for a message.
    pub(super) async fn queue(&self, class: Class, message: Bytes) -> Result<(), NodeError> {
        loop {
            listener!(self.shared.room => room);
            {
                let mut outbox = self.outbox();
                if !outbox.accepts() {
                    return Err(NodeError::NotConnected(self.id()));
                }
                if outbox.push(class, &message) {
                    break;
                }
            }
            room.await;
        }
        self.shared.signal.notify(usize::MAX);
        Ok(())
    }

    /// Answers the one before, to be dropped where no lock is held.
    pub(super) fn set_connection(&self, connection: Connection) -> Connection {
        std::mem::replace(&mut *self.connection_lock(), connection)
    }

    fn connection_lock(&self) -> MutexGuard<'_, Connection> {
        self.shared
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: App> Clone for Peer<A> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<A: App> fmt::Debug for Peer<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Peer")
            .field("id", &self.id())
            .field("direction", &self.direction())
            .finish_non_exhaustive()
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    count_many(counter, 1);
}

/// So many more.
pub(super) fn count_many(counter: &AtomicU64, many: usize) {
    counter.fetch_add(many as u64, Ordering::Relaxed);
}
