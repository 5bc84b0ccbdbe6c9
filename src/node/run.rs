//! From a connection to a peer, and the peer's whole life: one path for both directions.

use std::sync::Arc;

use bytes::Bytes;
use event_listener::listener;
use futures_util::future::{AbortHandle, Abortable, Either, join4, select};
use std::pin::pin;

use super::app::{App, Direction};
use super::error::{DialError, HandshakeError};
use super::identity::PeerId;
use super::link::Link;
use super::message::{self, Notice};
use super::node::Received;
use super::peer::{Peer, count};
use super::registry::Key;
use super::shake::{Shaken, shake};
use super::shared::Shared;
use crate::codec;
use crate::mux::{Code, Connection, RawChannel, RawReceiver, RawSender, Role};
use crate::runtime::{MaybeSend, timeout};
use crate::transport::{self, Endpoint, Established, Incoming, TransportError};

/// A place in the registry, given back when it is dropped.
struct Seat<A: App> {
    shared: Arc<Shared<A>>,
    key: Key,
}

impl<A: App> Drop for Seat<A> {
    fn drop(&mut self) {
        self.shared.close(self.key);
    }
}

/// Accepts for as long as it can.
pub(super) async fn accept_all<A: App>(shared: Arc<Shared<A>>, mut listener: transport::Listener) {
    loop {
        match listener.accept().await {
            Ok(incoming) => accept(&shared, incoming),
            Err(error) => {
                let endpoint = listener.endpoint();
                tracing::error!(%endpoint, %error, "a node listens there no more");
                return;
            }
        }
    }
}

/// A connection that a listener accepted.
fn accept<A: App>(shared: &Arc<Shared<A>>, incoming: Incoming) {
    let peer = incoming.info().peer.clone();
    let address = peer.as_ref().and_then(Endpoint::host);
    welcome(shared, address, incoming.handshake());
}

/// The whole of a connection that came, in a task of its own; false if the node has stopped.
pub(super) fn welcome<A: App>(
    shared: &Arc<Shared<A>>,
    address: Option<&str>,
    coming: impl Future<Output = Result<Established, TransportError>> + MaybeSend + 'static,
) -> bool {
    let (abort, registration) = AbortHandle::new_pair();
    let Some(key) = shared.arrive(address, abort) else {
        return false;
    };
    let shared = Arc::clone(shared);
    let seat = Seat {
        shared: Arc::clone(&shared),
        key,
    };
    shared.runtime.clone().spawn(Box::pin(async move {
        let meeting = Abortable::new(meet(&shared, key, coming), registration);
        match meeting.await {
            Ok(Ok(Shaken::Open {
                link,
                node,
                messages,
            })) => live(seat, link, node, messages).await,
            Ok(Ok(Shaken::Duplicate(id))) => tracing::debug!(%id, "a peer was there already"),
            Ok(Err(error)) => tracing::debug!(%error, "a node did not become a peer"),
            Err(_) => tracing::debug!("a handshake gave way to newer ones"),
        }
    }));
    true
}

/// Both handshakes of a connection that came, the transport's and the node's, in one limit of time.
async fn meet<A: App>(
    shared: &Arc<Shared<A>>,
    key: Key,
    coming: impl Future<Output = Result<Established, TransportError>>,
) -> Result<Shaken<A>, DialError> {
    let after = shared.config.handshake_timeout;
    let mut reached = None;
    let meeting = async {
        let connection = start(shared, coming.await?, Role::Acceptor);
        let connection = reached.insert(connection);
        let shaken = shake(shared, key, connection, Direction::Inbound, None).await;
        Ok::<_, DialError>(shaken?)
    };
    let met = timeout(&*shared.runtime, after, meeting).await;
    let met = met.unwrap_or(Err(HandshakeError::TimedOut { after }.into()));
    if let Some(connection) = reached.filter(|_| !is_open(&met)) {
        farewell(shared, connection).await;
    }
    met
}

/// Dials an endpoint, and answers the peer that was found.
pub(super) async fn dial<A: App>(
    shared: &Arc<Shared<A>>,
    endpoint: &Endpoint,
    expected: Option<PeerId>,
) -> Result<Peer<A>, DialError> {
    reach(
        shared,
        transport::connect(endpoint, &shared.config.transport),
        expected,
    )
    .await
}

/// Meets whoever is at the other end of what `reaching` comes to.
pub(super) async fn reach<A: App>(
    shared: &Arc<Shared<A>>,
    reaching: impl Future<Output = Result<Established, TransportError>>,
    expected: Option<PeerId>,
) -> Result<Peer<A>, DialError> {
    if let Some(peer) = expected.and_then(|id| shared.peer(&id)) {
        return Ok(peer);
    }
    let key = {
        let mut state = shared.lock();
        if state.stopped {
            return Err(DialError::Stopped);
        }
        state.registry.dial()
    };
    let most = shared.config.outbound;
    let key = key.ok_or(DialError::Full { most })?;
    let seat = Seat {
        shared: Arc::clone(shared),
        key,
    };
    let (runtime, after) = (&*shared.runtime, shared.config.dial_timeout);
    let reached = timeout(runtime, after, reaching).await;
    let reached = reached.ok_or(DialError::TimedOut { after })??;
    let connection = start(shared, reached, Role::Dialer);
    let after = shared.config.handshake_timeout;
    let shaking = shake(shared, key, &connection, Direction::Outbound, expected);
    let shaken = timeout(runtime, after, shaking).await;
    let shaken = shaken.unwrap_or(Err(HandshakeError::TimedOut { after }));
    match shaken {
        Ok(Shaken::Open {
            link,
            node,
            messages,
        }) => {
            let peer = link.peer.clone();
            let living = live(seat, link, node, messages);
            shared.runtime.spawn(Box::pin(living));
            Ok(peer)
        }
        other => {
            let bidding = Arc::clone(shared);
            shared.runtime.spawn(Box::pin(async move {
                farewell(&bidding, connection).await;
            }));
            match other {
                Ok(Shaken::Duplicate(id)) => {
                    let gone = HandshakeError::Malformed;
                    shared.peer(&id).ok_or(DialError::Handshake(gone))
                }
                Err(error) => Err(error.into()),
                Ok(Shaken::Open { .. }) => Err(DialError::Stopped),
            }
        }
    }
}

fn is_open<A: App>(met: &Result<Shaken<A>, DialError>) -> bool {
    matches!(met, Ok(Shaken::Open { .. }))
}

fn start<A: App>(shared: &Shared<A>, established: Established, role: Role) -> Connection {
    let Established { stream, info, .. } = established;
    let config = shared.config.connection.clone();
    let (connection, driver) =
        Connection::start(stream, role, config, info, shared.runtime.clone());
    driver.spawn();
    connection
}

/// Ends a connection that came to nothing, so that the other end learns why.
async fn farewell<A: App>(shared: &Shared<A>, connection: Connection) {
    if let Err(error) = connection.drain(shared.config.drain_timeout).await {
        tracing::debug!(%error, "a connection that was not wanted did not end well");
    }
}

/// The life of a peer's connection after the handshake.
async fn live<A: App>(seat: Seat<A>, link: Arc<Link<A>>, node: RawChannel, messages: RawChannel) {
    let shared = Arc::clone(&seat.shared);
    serve(&shared, &link.connection);
    let (node_sender, node_receiver) = node.split();
    let (sender, receiver) = messages.split();
    let work = join4(
        read_messages(&shared, &link, receiver),
        write_messages(&link, sender),
        read_notices(&shared, &link, node_receiver),
        write_notices(&link, node_sender),
    );
    let in_time = matches!(
        select(pin!(work), pin!(overdue(&shared, &link))).await,
        Either::Left(_)
    );
    drop(seat);
    if in_time {
        farewell(&shared, link.connection.clone()).await;
    } else {
        link.cut(Code::TIMED_OUT, "the connection was to end, and did not");
    }
}

/// Serves what the application offers beside its messages.
fn serve<A: App>(shared: &Arc<Shared<A>>, connection: &Connection) {
    let (router, connection) = (shared.config.router.clone(), connection.clone());
    shared.runtime.spawn(Box::pin(async move {
        if let Err(error) = router.serve(&connection).await {
            tracing::debug!(%error, "the connection of a peer failed");
        }
    }));
}

async fn read_messages<A: App>(shared: &Shared<A>, link: &Link<A>, mut receiver: RawReceiver) {
    loop {
        match receiver.recv().await {
            Ok(Some(message)) => {
                wait_for_turn(link).await;
                hand_on(shared, link, &message).await;
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "the messages of a peer ended");
                link.cut(Code::PROTOCOL_ERROR, "the channel of messages was lost");
                break;
            }
        }
    }
    shared.drained(link.key);
}

/// Waits until what was sent before on other connections of the peer has been read.
async fn wait_for_turn<A: App>(link: &Link<A>) {
    loop {
        listener!(link.peer.shared.signal => signal);
        if link.view().may_read {
            return;
        }
        signal.await;
    }
}

/// A message that cannot be decoded concerns nothing but itself.
async fn hand_on<A: App>(shared: &Shared<A>, link: &Link<A>, message: &Bytes) {
    let peer = &link.peer;
    let max = shared.config.connection.max_message_size as usize;
    let decoded = message::parse(message).and_then(|(item, body)| {
        let message = codec::decode(&body, message::body_limit(max)).ok()?;
        Some((item, message))
    });
    let Some((item, decoded)) = decoded else {
        count(&peer.shared.counters.undecodable);
        tracing::debug!(peer = %peer.id(), "a message cannot be decoded");
        return;
    };
    count(&peer.shared.counters.received);
    let received = Received {
        from: peer.id(),
        message: decoded,
        item,
    };
    let share = &peer.shared.share;
    shared.inbox.put(received, message.len(), share).await;
}

async fn write_messages<A: App>(link: &Link<A>, mut sender: RawSender) {
    let shared = &link.peer.shared;
    loop {
        listener!(shared.signal => signal);
        let next = link.peer.outbox().pop(link.key);
        if let Some(message) = next {
            shared.room.notify(usize::MAX);
            if sender.send(message).await.is_err() {
                return;
            }
            count(&shared.counters.sent);
        } else if link.is_ending() {
            sender.finish();
            return;
        } else {
            signal.await;
        }
    }
}

async fn read_notices<A: App>(shared: &Shared<A>, link: &Link<A>, mut receiver: RawReceiver) {
    while let Ok(Some(message)) = receiver.recv().await {
        match Notice::decode(&message) {
            Some(Notice::Bye) => shared.retire(link.key, false),
            Some(_) => {}
            None => link.cut(Code::PROTOCOL_ERROR, "no notice of a node"),
        }
    }
    shared.retire(link.key, false);
    link.set_over();
}

async fn write_notices<A: App>(link: &Link<A>, mut sender: RawSender) {
    loop {
        listener!(link.peer.shared.signal => signal);
        if let Some(notice) = link.next_notice() {
            if sender.send(notice).await.is_err() {
                return;
            }
        } else if link.is_ending() {
            sender.finish();
            return;
        } else {
            signal.await;
        }
    }
}

/// Resolves when the connection should have ended.
async fn overdue<A: App>(shared: &Shared<A>, link: &Link<A>) {
    loop {
        listener!(link.peer.shared.signal => signal);
        match link.view().deadline {
            Some(deadline) if shared.runtime.now() >= deadline => return,
            Some(deadline) => {
                select(shared.runtime.sleep_until(deadline), signal).await;
            }
            None => signal.await,
        }
    }
}

/// Listens at an endpoint until the node is stopped.
pub(super) async fn listen<A: App>(
    shared: &Arc<Shared<A>>,
    endpoint: &Endpoint,
) -> Result<Endpoint, TransportError> {
    let listener = transport::Listener::bind(endpoint, &shared.config.transport).await?;
    let endpoint = listener.endpoint().clone();
    let (abort, registration) = AbortHandle::new_pair();
    let accepting = Abortable::new(accept_all(Arc::clone(shared), listener), registration);
    {
        let mut state = shared.lock();
        if state.stopped {
            abort.abort();
        }
        state.listening.push((endpoint.clone(), abort));
    }
    shared.runtime.spawn(Box::pin(async move {
        // That it is aborted is how it ends.
        let _ = accepting.await;
    }));
    Ok(endpoint)
}
