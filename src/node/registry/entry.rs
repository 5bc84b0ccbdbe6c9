use super::{Key, Session};
use crate::node::app::Direction;
use crate::node::identity::PeerId;
use crate::runtime::Instant;

/// A connection, as the registry sees it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) direction: Direction,
    /// Where it came from, if that is known.
    pub(super) address: Option<Box<str>>,
    pub(super) stage: Stage,
    pub(super) peer: Option<PeerId>,
    /// Which run of the peer it is with.
    pub(super) instance: u64,
    pub(super) session: Option<Session>,
    /// All messages that came were read.
    pub(super) is_drained: bool,
    /// This end has said that it moves to the connection that wins.
    pub(super) has_moved: bool,
    /// The other end holds it beside the one that wins: it reads it to its end, or cuts that one.
    pub(super) is_released: bool,
    /// The other end has left: what it has beside this one is of another session there.
    pub(super) is_left: bool,
    /// No more messages are sent on it, not even those that wait: some before them may be lost.
    pub(super) is_mute: bool,
    /// The other end may have sent something on it that was not read.
    pub(super) may_lose: bool,
    /// What comes on it is not read, for what was sent before is lost.
    pub(super) is_cut: bool,
    /// When it is cut.
    pub(super) deadline: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody knows with whom it is.
    Pending,
    /// The peer is known, and the handshake goes on.
    Entered,
    Open,
    /// Nothing more is sent on it; what comes is still read.
    Retiring,
}

/// The connections of a peer.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// In the order in which the peer was known.
    pub(super) connections: Vec<Key>,
    pub(super) session: Option<Session>,
    pub(super) writer: Option<Key>,
}

/// What a connection may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Messages that come on it may be handed on.
    pub(crate) may_read: bool,
    /// Nothing more is to be sent on it.
    pub(crate) is_retiring: bool,
    /// Messages wait to be sent on it.
    pub(crate) is_held: bool,
    /// It is to end at once.
    pub(crate) is_cut: bool,
    /// It is to be cut then.
    pub(crate) deadline: Option<Instant>,
}

impl Entry {
    pub(super) fn new(direction: Direction, address: Option<&str>) -> Self {
        Self {
            direction,
            address: address.map(Into::into),
            stage: Stage::Pending,
            peer: None,
            instance: 0,
            session: None,
            is_drained: false,
            has_moved: false,
            is_released: false,
            is_left: false,
            is_mute: false,
            may_lose: false,
            is_cut: false,
            deadline: None,
        }
    }
}

impl Record {
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}
