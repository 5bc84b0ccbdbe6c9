//! Peers: nodes that dial and are dialed, over any transports at once, and are then alike.
//!
//! A [`Node`] has an id and is of a network. It [listens](Node::listen) at any number of endpoints and
//! [dials](Node::dial) others; a handshake finds out who is there. Of two nodes that dial each other at
//! once, one connection remains. Peers send each other messages of the [`App`]'s type:
//! [to one](Node::send), or [to many](Node::broadcast) without waiting for any. On the same connections
//! everything else of this crate goes on: sessions, calls, channels.

pub mod book;

mod app;
mod broadcast;
mod config;
mod connections;
mod discovery;
mod error;
mod events;
mod guard;
mod handshake;
mod identity;
mod inbox;
mod inventory;
mod items;
mod link;
mod live;
mod message;
#[expect(clippy::module_inception, reason = "it is what the layer is about")]
mod node;
mod observer;
mod outbox;
mod peer;
mod registry;
mod rejection;
mod run;
mod saving;
mod shake;
mod shared;
mod state;

pub use self::app::{App, Class, Direction, Introduction};
pub use self::broadcast::{Report, Select};
pub use self::config::NodeConfig;
pub use self::error::{DialError, HandshakeError, NodeError};
pub use self::events::{Events, NodeEvent};
pub use self::identity::{Identity, InvalidPeerId, NetworkId, PeerId};
pub use self::inventory::ItemId;
pub use self::node::{Node, Received};
pub use self::observer::PeerChange;
pub use self::outbox::Slow;
pub use self::peer::{Peer, PeerStatistics};
pub use self::registry::Occupancy;
pub use self::rejection::{Reason, Rejection};
