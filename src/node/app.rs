use serde::Serialize;
use serde::de::DeserializeOwned;

use super::identity::PeerId;
use super::inventory::ItemId;
use super::rejection::Rejection;
use crate::runtime::{MaybeSend, MaybeSync};
use crate::transport::{ConnectionInfo, Endpoint};

/// What a node is for: the types of its messages, and whom it wants for a peer.
///
/// The node calls it, and encodes, decodes and drops its values, while it holds no lock: all of that may
/// use the node. A panic in it costs the handshake, the item or the message that it was called for.
///
/// ```
/// use sessionwire::node::{App, Direction};
///
/// /// Nodes that shout words at each other.
/// struct Shouting;
///
/// impl App for Shouting {
///     type Message = String;
///     type Hello = ();
///     fn hello(&self, _: Direction) {}
/// }
/// ```
pub trait App: MaybeSend + MaybeSync + 'static {
    /// What peers send each other.
    type Message: Serialize + DeserializeOwned + MaybeSend + 'static;
    /// What peers tell each other first, in the handshake: what they have, what they know.
    type Hello: Serialize + DeserializeOwned + MaybeSend + MaybeSync + 'static;

    /// What this node tells a peer first: at most 2 KiB of encoding.
    fn hello(&self, direction: Direction) -> Self::Hello;

    /// Whether a node may become a peer: asked last, after all checks of the crate's own.
    ///
    /// # Errors
    ///
    /// Why not; the other node is told.
    fn admit(&self, introduction: &Introduction<Self::Hello>) -> Result<(), Rejection> {
        let _ = introduction;
        Ok(())
    }

    /// Whether a message may be dropped for a peer that is slow.
    fn class(message: &Self::Message) -> Class {
        let _ = message;
        Class::Data
    }

    /// The item that was [announced](super::Node::announce), for a peer that asks for it; none if it is
    /// not there any more.
    fn item(&self, id: &ItemId) -> Option<Self::Message> {
        let _ = id;
        None
    }
}

/// Who dialed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer dialed this node.
    Inbound,
    /// This node dialed the peer.
    Outbound,
}

/// What happens to a message when a peer is slow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// It may be dropped, as [`Slow`](super::Slow) says.
    #[default]
    Data,
    /// It is never dropped and goes before what may be: a peer that has no room for it is disconnected.
    Control,
}

/// What a peer said of itself, and what is known of the way to it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Introduction<Hello> {
    /// Who it is: to be believed as far as [`Identity`](super::Identity) makes it so.
    pub id: PeerId,
    /// Who dialed.
    pub direction: Direction,
    /// The highest version of the application's protocol that both ends speak.
    pub version: u16,
    /// What it can do, in bits that the application gives their meaning.
    pub capabilities: u64,
    /// Where it says that it listens.
    pub endpoints: Vec<Endpoint>,
    /// What the application there said.
    pub hello: Hello,
    /// What the transport knows.
    pub connection: ConnectionInfo,
}
