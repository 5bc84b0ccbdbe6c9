use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_listener::listener;
use pharos::{Observable, Observe, ObserveConfig, PharErr};

use super::app::App;
use super::book::SaveError;
use super::broadcast::{Report, Select};
use super::config::NodeConfig;
use super::discovery;
use super::error::{DialError, NodeError};
use super::events::Events;
use super::identity::{NetworkId, PeerId};
use super::inventory::ItemId;
use super::items;
use super::message;
use super::observer::{Observer, PeerChange};
use super::outbox::Offer;
use super::peer::Peer;
use super::registry::Occupancy;
use super::run::{self, Reached};
use super::saving;
use super::shake::Approach;
use super::shared::Shared;
use crate::codec::CodecError;
use crate::mux::Code;
use crate::runtime::{self, MaybeSend, SharedRuntime, timeout};
use crate::transport::{ByteStream, Endpoint, Established, TransportError};

/// One node among others; a handle that can be cloned.
///
/// When the last handle is dropped, the node stops: it says goodbye to its peers.
///
/// ```
/// # futures::executor::block_on(async {
/// use sessionwire::node::{App, Direction, NetworkId, Node, NodeConfig, PeerId, Select};
///
/// struct Shouting;
///
/// impl App for Shouting {
///     type Message = String;
///     type Hello = ();
///     fn hello(&self, _: Direction) {}
/// }
///
/// let network = NetworkId::new("shouting/1").expect("a short name");
/// let node = || Node::new(PeerId::random(), network.clone(), Shouting, NodeConfig::default());
/// let (one, other) = (node(), node());
///
/// let endpoint = one.listen("tcp://127.0.0.1:0").await?;
/// let peer = other.dial(&endpoint, None).await?;
/// assert_eq!(peer.id(), one.id());
///
/// other.broadcast(&"hello".to_owned(), &Select::All)?;
/// let received = one.recv().await.expect("the node runs");
/// assert_eq!((received.from, received.message.as_str()), (other.id(), "hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Node<A: App> {
    shared: Arc<Shared<A>>,
    owner: Arc<Owner<A>>,
}

/// Stops the node with its last handle.
struct Owner<A: App>(Arc<Shared<A>>);

impl<A: App> Drop for Owner<A> {
    fn drop(&mut self) {
        self.0.stop();
        self.0.finish();
    }
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received<M> {
    /// From whom.
    pub from: PeerId,
    /// The message.
    pub message: M,
    /// The item that it is, if it came because it had been [announced](Node::announce).
    pub item: Option<ItemId>,
}

impl<A: App> Node<A> {
    /// A node that neither listens nor dials yet, on the runtime that this is called in.
    pub fn new(id: PeerId, network: NetworkId, app: A, config: NodeConfig) -> Self {
        Self::with_runtime(id, network, app, config, runtime::current())
    }

    /// As [`new`](Self::new), with the tasks and the time of `runtime`.
    pub fn with_runtime(
        id: PeerId,
        network: NetworkId,
        app: A,
        config: NodeConfig,
        runtime: SharedRuntime,
    ) -> Self {
        let shared = Arc::new(Shared::new(id, network, app, config, runtime));
        discovery::start(&shared);
        items::start(&shared);
        Self {
            owner: Arc::new(Owner(Arc::clone(&shared))),
            shared,
        }
    }

    /// Who it is.
    pub fn id(&self) -> PeerId {
        self.shared.id
    }

    /// What it is for.
    pub fn app(&self) -> &A {
        &self.shared.app
    }

    /// Listens at one more endpoint, of any kind, until the node stops; answers where, with the real
    /// port.
    ///
    /// # Errors
    ///
    /// As [`transport::Listener::bind`](crate::transport::Listener::bind).
    ///
    /// # Cancel safety
    ///
    /// A cancelled `listen` listens nowhere.
    pub async fn listen<E>(&self, endpoint: E) -> Result<Endpoint, TransportError>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        run::listen(&self.shared, &endpoint.try_into()?).await
    }

    /// Where it listens.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let state = self.shared.lock();
        let listening = state.listening.iter();
        listening.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// Dials another node, and answers the peer that is there; `expected` if it must be a certain one.
    ///
    /// If the two are connected already, that peer is the answer, provided that it was `expected` or was
    /// dialed at the same endpoint; else the error is [`Reason::Duplicate`](super::Reason::Duplicate).
    ///
    /// The other node may count this one among its peers only a moment later than this answers.
    ///
    /// # Errors
    ///
    /// Why it was not reached, or did not want to be a peer, or was not wanted.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `dial` closes what it had opened.
    pub async fn dial<E>(&self, endpoint: E, expected: Option<PeerId>) -> Result<Peer<A>, DialError>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(TransportError::from)?;
        // Boxed, so that the future of a program that dials is not large.
        Box::pin(discovery::dial(&self.shared, &endpoint, expected)).await
    }

    /// As [`dial`](Self::dial), over a stream that was made elsewhere, on which the other end is to
    /// [accept](Self::accept_over).
    pub async fn dial_over(
        &self,
        stream: impl ByteStream,
        expected: Option<PeerId>,
    ) -> Result<Peer<A>, DialError> {
        let reached = std::future::ready(Ok(Established::of(stream)));
        let approach = Approach::outbound(expected);
        match Box::pin(run::reach(&self.shared, reached, approach)).await? {
            Reached::New(peer) | Reached::Known(peer) => Ok(peer),
            Reached::Felt(_) => Err(DialError::Stopped),
        }
    }

    /// Takes a stream that was made elsewhere, as if it had come to an endpoint of this node: the other
    /// end is to [dial](Self::dial_over) on it. The handshake goes on in the background.
    ///
    /// False if the node has stopped.
    pub fn accept_over(&self, stream: impl ByteStream) -> bool {
        let coming = std::future::ready(Ok(Established::of(stream)));
        run::welcome(&self.shared, None, coming)
    }

    /// All peers.
    pub fn peers(&self) -> Vec<Peer<A>> {
        self.shared.peers()
    }

    /// The peer of that id, if it is connected.
    pub fn peer(&self, id: &PeerId) -> Option<Peer<A>> {
        self.shared.peer(id)
    }

    /// Takes an address that is to be dialed before others and never forgotten, if the node
    /// [discovers](NodeConfig::discover) peers. Answers false if 256 are kept already, or if it is the
    /// node's own.
    pub fn keep(&self, address: Endpoint) -> bool {
        let now = self.shared.runtime.now();
        let kept = self.shared.lock().book.keep(address, now);
        self.shared.booked.notify(usize::MAX);
        kept
    }

    /// How many addresses it knows.
    pub fn addresses(&self) -> usize {
        self.shared.lock().book.len()
    }

    /// A peer misbehaved, `points` much: with 100 it is banned and cut off, and answers for how long.
    /// A point is forgiven every 6 s.
    pub fn misbehaved(&self, id: &PeerId, points: u32) -> Option<Duration> {
        self.shared.misbehaved(id, points)
    }

    /// How much longer a peer is banned.
    pub fn is_banned(&self, id: &PeerId) -> Option<Duration> {
        self.shared
            .lock()
            .book
            .is_banned(id, self.shared.runtime.now())
    }

    /// Forgets what a peer has done.
    pub fn pardon(&self, id: &PeerId) {
        self.shared.lock().book.pardon(id);
    }

    /// How many of its places are taken.
    pub fn occupancy(&self) -> Occupancy {
        self.shared.occupancy()
    }

    /// Follows who comes and goes, from a snapshot on.
    pub fn events(&self) -> Events<A> {
        Events::new(Arc::clone(&self.shared), self.shared.follow())
    }

    /// Waits for the next message of any peer; none when the node has stopped.
    ///
    /// Each peer has room for as much as [`NodeConfig::inbox`] says; it waits when that is not received.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `recv` has taken nothing.
    pub async fn recv(&self) -> Option<Received<A::Message>> {
        self.shared.inbox.take().await
    }

    /// Sends a message to one peer: waits until there is room in its queue.
    ///
    /// The message is on its way when this returns, not yet with the peer: if the connection fails, it
    /// is lost.
    ///
    /// # Errors
    ///
    /// [`NodeError::NotConnected`], that the node has been shut down, or that the message cannot be encoded.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `send` has sent nothing.
    pub fn send(
        &self,
        to: &PeerId,
        message: &A::Message,
    ) -> impl Future<Output = Result<(), NodeError>> + MaybeSend + use<A> {
        let peer = self.shared.peer(to).ok_or_else(|| self.shared.absence(*to));
        let (encoded, class) = (self.encode(message, None), A::class(message));
        async move { peer?.queue(class, encoded?).await }
    }

    /// Sends a message to many peers, without waiting for any: what a slow peer has no room for is
    /// dropped, as [`NodeConfig::slow`] says. It is encoded once, and its bytes are shared.
    ///
    /// # Errors
    ///
    /// If the message cannot be encoded, or is too large.
    pub fn broadcast(&self, message: &A::Message, to: &Select) -> Result<Report, CodecError> {
        let encoded = self.encode(message, None)?;
        let class = A::class(message);
        let (peers, skipped) = self.shared.select(to);
        let mut report = Report {
            skipped,
            ..Report::default()
        };
        let now = self.shared.runtime.now();
        let slow = self.shared.config.slow;
        for peer in peers {
            let offer = peer.outbox().offer(class, &encoded, slow, now);
            match offer {
                Offer::Queued => report.queued += 1,
                Offer::Displaced(others) => {
                    report.queued += 1;
                    report.shed += usize::try_from(others).unwrap_or(usize::MAX);
                }
                Offer::Shed => report.shed += 1,
                Offer::Overflow => {
                    report.shed += 1;
                    let reason = "the peer takes messages too slowly";
                    peer.connection().close(Code::TIMED_OUT, reason);
                }
            }
            peer.shared.signal.notify(usize::MAX);
        }
        Ok(report)
    }

    /// Tells peers of items that are here: those that do not have them ask for them, each one peer after
    /// another, and get what [`App::item`] answers; it comes as a [`Received`] with its id.
    ///
    /// What came, or was announced here, within the last 60 s is not asked for. To relay what came,
    /// announce it to [`Select::Except`] whoever sent it.
    pub fn announce(&self, items: &[ItemId], to: &Select) -> Report {
        items::announce(&self.shared, items, to)
    }

    /// Says goodbye to a peer: what waits is sent, what comes is still received, for as long as
    /// [`NodeConfig::drain_timeout`]. Answers whether it was connected.
    ///
    /// It may come back, and where this node [discovers](NodeConfig::discover), be dialed again: to keep it
    /// away, report how it [`misbehaved`](Self::misbehaved), or refuse it in [`App::admit`].
    pub fn disconnect(&self, id: &PeerId) -> bool {
        self.shared.disconnect(id)
    }

    /// Stops the node: it listens and dials no more, and says goodbye to its peers. Resolves when the
    /// last of them is gone, or is cut off after `drain`, and the address book is saved, if there is a
    /// [store](NodeConfig::store) for it; what came is still received.
    ///
    /// # Errors
    ///
    /// The book was not saved, or not within 5 s of the last peer's end. The node has stopped all the same.
    ///
    /// # Cancel safety
    ///
    /// The node stops nevertheless when this is cancelled.
    pub async fn shutdown(&self, drain: Duration) -> Result<(), SaveError> {
        self.shared.stop();
        let emptied = async {
            loop {
                listener!(self.shared.departure => departure);
                if !self.shared.has_connections() {
                    return;
                }
                departure.await;
            }
        };
        let runtime = &*self.shared.runtime;
        if timeout(runtime, drain, emptied).await.is_none() {
            self.shared.cut_all();
        }
        self.shared.finish();
        saving::finish(&self.shared).await
    }

    fn encode(&self, message: &A::Message, item: Option<&ItemId>) -> Result<Bytes, CodecError> {
        let max = self.shared.config.connection.max_message_size as usize;
        message::encode(message, item, max)
    }
}

/// `observe` fails only for a channel with no room at all. An observer is told of what happens from now
/// on, and never holds up the node: what finds no room in its channel is
/// [`Lagged`](PeerChange::Lagged).
impl<A: App> Observable<PeerChange> for Node<A> {
    type Error = PharErr;

    fn observe(&mut self, options: ObserveConfig<PeerChange>) -> Observe<'_, PeerChange, PharErr> {
        let observers = Arc::clone(&self.shared.observers);
        Box::pin(async move {
            let mut observer = Observer::new();
            let events = observer.observe(options).await?;
            observers.add(observer);
            Ok(events)
        })
    }
}

impl<A: App> Clone for Node<A> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            owner: Arc::clone(&self.owner),
        }
    }
}

impl<A: App> fmt::Debug for Node<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Node")
            .field("id", &self.shared.id)
            .field("network", &self.shared.network)
            .field("peers", &self.shared.peers().len())
            .finish_non_exhaustive()
    }
}
