use std::sync::Arc;
use std::time::Duration;

use super::book::{BookConfig, Store};
use super::identity::Identity;
use super::outbox::Slow;
use crate::mux::{Config, Router};
use crate::transport::{Endpoint, TransportConfig};

/// The limits and times of a node, all on by default, and what it offers its peers.
///
/// ```
/// use sessionwire::node::NodeConfig;
///
/// let config = NodeConfig::default().inbound(32).outbound(8).capabilities(0b1);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeConfig {
    pub(super) versions: (u16, u16),
    pub(super) capabilities: u64,
    pub(super) advertised: Vec<Endpoint>,
    pub(super) identity: Identity,
    pub(super) router: Router,
    pub(super) connection: Config,
    pub(super) transport: TransportConfig,
    pub(super) dial_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) probe_timeout: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) pending: usize,
    pub(super) inbound: usize,
    pub(super) outbound: usize,
    pub(super) per_address: usize,
    pub(super) queue_messages: usize,
    pub(super) queue_bytes: usize,
    pub(super) slow: Slow,
    pub(super) inbox_messages: usize,
    pub(super) inbox_bytes: usize,
    pub(super) events: usize,
    pub(super) remembered_items: usize,
    pub(super) wanted_items: usize,
    pub(super) request_timeout: Duration,
    pub(super) discovery: Option<BookConfig>,
    pub(super) store: Option<Arc<dyn Store>>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            versions: (1, 1),
            capabilities: 0,
            advertised: Vec::new(),
            identity: Identity::claimed(),
            router: Router::new(),
            connection: Config::default()
                .ping_interval(Duration::from_secs(10))
                .idle_timeout(Duration::from_secs(25))
                .write_timeout(Duration::from_secs(20)),
            transport: TransportConfig::default(),
            dial_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(5),
            pending: 64,
            inbound: 128,
            outbound: 12,
            per_address: 16,
            queue_messages: 256,
            queue_bytes: 1024 * 1024,
            slow: Slow::DropOldest,
            inbox_messages: 64,
            inbox_bytes: 256 * 1024,
            events: 1024,
            remembered_items: 65_536,
            wanted_items: 16_384,
            request_timeout: Duration::from_secs(10),
            discovery: None,
            store: None,
        }
    }
}

impl NodeConfig {
    /// The lowest and the highest version of the application's protocol. Default 1 and 1.
    #[must_use]
    pub fn versions(mut self, lowest: u16, highest: u16) -> Self {
        self.versions = (lowest, highest);
        self
    }

    /// What the node can do, in bits that the application gives their meaning. Default none.
    #[must_use]
    pub fn capabilities(mut self, bits: u64) -> Self {
        self.capabilities = bits;
        self
    }

    /// Tells peers one more place where this node can be dialed. Without any, they are told where it
    /// listens. At most 8 are told.
    #[must_use]
    pub fn advertise(mut self, endpoint: Endpoint) -> Self {
        self.advertised.push(endpoint);
        self
    }

    /// How peers prove who they are. Default [`Identity::claimed`]: they do not.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Serves every peer, in either direction: any protocols, sessions and services beside the node's
    /// own messages. Default none.
    #[must_use]
    pub fn router(mut self, router: Router) -> Self {
        self.router = router;
        self
    }

    /// The limits of each connection. Default those of [`Config`], but for a ping when nothing came for
    /// 10 s, given up after 25 s, or when nothing could be written for 20 s.
    #[must_use]
    pub fn connection(mut self, connection: Config) -> Self {
        self.connection = connection;
        self
    }

    /// The limits of the transports, and who this node is over TLS.
    #[must_use]
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.transport = transport;
        self
    }

    /// How long reaching another node may take, with the handshakes of its transport. Default 10 s.
    #[must_use]
    pub fn dial_timeout(mut self, time: Duration) -> Self {
        self.dial_timeout = time;
        self
    }

    /// How long the handshake of nodes may take; of who dials this node, with the transport's own.
    /// Default 5 s.
    #[must_use]
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake_timeout = time;
        self
    }

    /// How long a peer has to show that its connection lives, when another comes in its name.
    /// Default 2 s; keep it well below [`handshake_timeout`](Self::handshake_timeout).
    #[must_use]
    pub fn probe_timeout(mut self, time: Duration) -> Self {
        self.probe_timeout = time;
        self
    }

    /// How long a connection that is to end may go on, so that what was sent is read. Default 5 s.
    #[must_use]
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.drain_timeout = time;
        self
    }

    /// The connections that came and have not said from whom, or are told that they are not wanted.
    /// Default 64; of one more, the oldest is closed, so that strangers who say nothing keep nobody out
    /// who is quick.
    #[must_use]
    pub fn pending(mut self, connections: usize) -> Self {
        self.pending = connections.max(1);
        self
    }

    /// The peers that may have dialed this node. Default 128; further ones are refused with
    /// [`Reason::Full`](super::Reason::Full), which they are not to be blamed for.
    ///
    /// A peer that has left gives its place back at once. Its connection may go on until all on it is
    /// sent, for `drain_timeout` at most; as many as there are places, of both directions, go on so.
    #[must_use]
    pub fn inbound(mut self, peers: usize) -> Self {
        self.inbound = peers;
        self
    }

    /// The peers that this node may have dialed. Default 12.
    #[must_use]
    pub fn outbound(mut self, peers: usize) -> Self {
        self.outbound = peers;
        self
    }

    /// Of those that dialed this node, how many may have come from one IP address; all
    /// IPv6 addresses of a /64 are one. Default 16.
    #[must_use]
    pub fn per_address(mut self, peers: usize) -> Self {
        self.per_address = peers;
        self
    }

    /// What may wait to be sent to one peer: messages and bytes. Default 256 and 1 MiB; one message
    /// may be larger.
    #[must_use]
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        (self.queue_messages, self.queue_bytes) = (messages.max(1), bytes);
        self
    }

    /// What happens to messages for a peer whose queue is full. Default [`Slow::DropOldest`].
    #[must_use]
    pub fn slow(mut self, slow: Slow) -> Self {
        self.slow = slow;
        self
    }

    /// What may wait to be received from one peer: messages and bytes. Default 64 and 256 KiB; one
    /// message may be larger. Beyond that the peer waits; as do all when what peers left that have gone
    /// fills the room of all peers that there may be.
    #[must_use]
    pub fn inbox(mut self, messages: usize, bytes: usize) -> Self {
        (self.inbox_messages, self.inbox_bytes) = (messages.max(1), bytes);
        self
    }

    /// The items that came or were announced here which are remembered, for a minute, so that nobody is
    /// asked for them again. Default 65,536; the oldest give way.
    #[must_use]
    pub fn remembered_items(mut self, items: usize) -> Self {
        self.remembered_items = items.max(1);
        self
    }

    /// The items that were announced to this node and have not come. Default 16,384, of which an eighth
    /// for those that one peer announced first; further ones are passed over. When all are taken, a peer
    /// gets places of whoever has the most, until it has as many.
    #[must_use]
    pub fn wanted_items(mut self, items: usize) -> Self {
        self.wanted_items = items.max(8);
        self
    }

    /// How long a peer that was asked for items may send none of them, before others are asked.
    /// Default 10 s; one that sends some has six times as long for all.
    #[must_use]
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = time;
        self
    }

    /// Finds peers by itself: dials known addresses until there are as many outbound peers as `book`
    /// says, and asks peers for more addresses. Default not: it dials whom it is told to.
    ///
    /// Whether or not it does, it tells others the addresses it knows when they ask.
    #[must_use]
    pub fn discover(mut self, book: BookConfig) -> Self {
        self.discovery = Some(book);
        self
    }

    /// Where the addresses and bans are kept between two runs of the program, if the node
    /// [discovers](Self::discover). Default nowhere.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// The events that wait for one who follows them. Default 1,024; who falls further behind is told
    /// so, and begins anew.
    #[must_use]
    pub fn events(mut self, events: usize) -> Self {
        self.events = events.max(1);
        self
    }
}
