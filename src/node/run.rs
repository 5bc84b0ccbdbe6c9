//! From a connection to a peer, and the peer's whole life: one path for both directions.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use event_listener::listener;
use futures_util::future::{AbortHandle, Abortable, Either, join5, select};

use super::app::App;
use super::book::{BAN, owner};
use super::discovery;
use super::error::{DialError, HandshakeError};
use super::guard::guarded;
use super::identity::PeerId;
use super::items;
use super::link::Link;
use super::message::{self, Notice};
use super::node::Received;
use super::peer::{Peer, count};
use super::registry::{Key, Parting};
use super::rejection::{Reason, Rejection};
use super::shake::{Approach, Shaken, shake};
use super::shared::Shared;
use crate::codec;
use crate::mux::{Code, Connection, Driver, RawChannel, RawReceiver, RawSender, Role};
use crate::runtime::{MaybeSend, timeout};
use crate::transport::{self, Endpoint, Established, Incoming, TransportError};

/// What a message that cannot be decoded counts, of 100 points.
const UNDECODABLE: u32 = 10;

/// So many notices of a peer are heard before others have their turn: nothing in them waits.
const NOTICES_AT_ONCE: usize = 16;

/// How long a node that is refused may take to hear why.
const LAST_WORDS: Duration = Duration::from_secs(1);

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

/// Who was reached.
pub(super) enum Reached<A: App> {
    New(Peer<A>),
    /// A peer that was connected already.
    Known(Peer<A>),
    /// Somebody who is there, and no peer.
    Felt(PeerId),
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
    let host = incoming.info().peer.as_ref().and_then(Endpoint::host);
    let address = host.map(owner);
    welcome(shared, address.as_deref(), incoming.handshake());
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
            Ok(Ok((shaken, driver))) => {
                driver.spawn();
                begin(seat, shaken).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a node did not become a peer"),
            Err(_) => tracing::debug!("a handshake gave way to newer ones"),
        }
    }));
    true
}

/// Both handshakes of a connection that came, the transport's and the node's, in one limit of time.
/// Nothing is left of it when this is dropped.
async fn meet<A: App>(
    shared: &Arc<Shared<A>>,
    key: Key,
    coming: impl Future<Output = Result<Established, TransportError>>,
) -> Result<(Shaken<A>, Driver), DialError> {
    let after = shared.config.handshake_timeout;
    let meeting = async {
        let (connection, mut driver) = start(shared, coming.await?, Role::Acceptor);
        let approach = Approach::inbound();
        let shaking = pin!(shake(shared, key, &connection, &approach));
        let shaken = match select(shaking, &mut driver).await {
            Either::Left((shaken, _)) => shaken,
            // The connection has ended, which is what it says too.
            Either::Right((_, shaking)) => shaking.await,
        };
        if !matches!(shaken, Ok(Shaken::Open { .. })) {
            select(pin!(connection.drain(LAST_WORDS)), &mut driver).await;
        }
        Ok((shaken?, driver))
    };
    let met = timeout(&*shared.runtime, after, meeting).await;
    met.unwrap_or(Err(HandshakeError::TimedOut { after }.into()))
}

/// Meets whoever is at the other end of what `reaching` comes to.
pub(super) async fn reach<A: App>(
    shared: &Arc<Shared<A>>,
    reaching: impl Future<Output = Result<Established, TransportError>>,
    approach: Approach,
) -> Result<Reached<A>, DialError> {
    if let Some(peer) = approach.expected.and_then(|id| shared.peer(&id)) {
        return Ok(Reached::Known(peer));
    }
    let seat = Seat {
        key: shared.dial(approach.is_feeler)?,
        shared: Arc::clone(shared),
    };
    let (runtime, after) = (&*shared.runtime, shared.config.dial_timeout);
    let reached = timeout(runtime, after, reaching).await;
    let reached = reached.ok_or(DialError::TimedOut { after })??;
    let (connection, driver) = start(shared, reached, Role::Dialer);
    driver.spawn();
    let after = shared.config.handshake_timeout;
    let shaking = shake(shared, seat.key, &connection, &approach);
    let shaken = timeout(runtime, after, shaking).await;
    let shaken = shaken.unwrap_or(Err(HandshakeError::TimedOut { after }));
    if let Ok(Shaken::Open {
        link,
        node,
        messages,
    }) = shaken
    {
        let peer = link.peer.clone();
        let living = live(seat, link, node, messages);
        shared.runtime.spawn(Box::pin(living));
        return Ok(Reached::New(peer));
    }
    let bidding = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        farewell(&bidding, connection).await;
    }));
    match shaken? {
        Shaken::Open { link, .. } => Ok(Reached::Known(link.peer.clone())),
        Shaken::Felt(id) => Ok(Reached::Felt(id)),
        Shaken::Duplicate(id) => match shared.peer(&id) {
            Some(peer) => Ok(Reached::Known(peer)),
            None => Err(HandshakeError::Refused(Rejection::new(Reason::Duplicate)).into()),
        },
    }
}

fn start<A: App>(shared: &Shared<A>, established: Established, role: Role) -> (Connection, Driver) {
    let Established { stream, info, .. } = established;
    let config = shared.config.connection.clone();
    let (connection, driver) =
        Connection::start(stream, role, config, info, shared.runtime.clone());
    connection.hold_places();
    (connection, driver)
}

/// Ends a connection that came to nothing, so that the other end learns why.
async fn farewell<A: App>(shared: &Shared<A>, connection: Connection) {
    if let Err(error) = connection.drain(shared.config.drain_timeout).await {
        tracing::debug!(%error, "a connection that was not wanted did not end well");
    }
}

/// What follows a handshake.
async fn begin<A: App>(seat: Seat<A>, shaken: Shaken<A>) {
    match shaken {
        Shaken::Open {
            link,
            node,
            messages,
        } => live(seat, link, node, messages).await,
        Shaken::Duplicate(id) | Shaken::Felt(id) => {
            tracing::debug!(%id, "a peer was there already");
        }
    }
}

/// The life of a peer's connection after the handshake.
async fn live<A: App>(seat: Seat<A>, link: Arc<Link<A>>, node: RawChannel, messages: RawChannel) {
    let shared = Arc::clone(&seat.shared);
    link.connection.grant_places();
    serve(&shared, &link.connection);
    let (node_sender, node_receiver) = node.split();
    let (sender, receiver) = messages.split();
    let work = join5(
        read_messages(&shared, &link, receiver),
        write_messages(&link, sender),
        read_notices(&shared, &link, node_receiver),
        write_notices(&link, node_sender),
        items::answer(&shared, &link),
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
    // It may be the last that has what the peer said.
    guarded(|| drop(link));
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
            Ok(None) => {
                shared.drained(link.key);
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the messages of a peer ended");
                link.cut(Code::PROTOCOL_ERROR, "the channel of messages was lost");
                return;
            }
        }
    }
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
        let decoded = guarded(|| codec::decode(&body, message::body_limit(max)));
        Some((item, decoded?.ok()?))
    });
    let Some((item, decoded)) = decoded else {
        count(&peer.shared.counters.undecodable);
        shared.misbehaved(&peer.id(), UNDECODABLE);
        tracing::debug!(peer = %peer.id(), "a message cannot be decoded");
        return;
    };
    if item.is_some_and(|item| !items::arrived(shared, link, &item)) {
        guarded(|| drop::<A::Message>(decoded));
        return;
    }
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
        } else if link.is_ending() && !link.view().is_held {
            sender.finish();
            return;
        } else {
            signal.await;
        }
    }
}

async fn read_notices<A: App>(shared: &Shared<A>, link: &Link<A>, mut receiver: RawReceiver) {
    let mut heard = 0_usize;
    loop {
        match receiver.recv().await {
            Ok(Some(message)) => {
                heard = heard.wrapping_add(1);
                if heard.is_multiple_of(NOTICES_AT_ONCE) {
                    take_turns().await;
                }
                match Notice::decode(&message) {
                    Some(Notice::Bye) => shared.parted(link.key, Parting::Leaves),
                    Some(Notice::Moved) => shared.parted(link.key, Parting::Moves),
                    Some(notice) => hear(shared, link, notice),
                    None => {
                        shared.misbehaved(&link.peer.id(), BAN);
                        link.cut(Code::PROTOCOL_ERROR, "no notice of a node");
                    }
                }
            }
            Ok(None) => {
                shared.parted(link.key, Parting::Finishes);
                break;
            }
            Err(_) => {
                shared.retire(link.key);
                break;
            }
        }
    }
    link.set_over();
}

/// Lets others have their turn.
async fn take_turns() {
    let mut had_theirs = false;
    poll_fn(|context| {
        if std::mem::replace(&mut had_theirs, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What another node tells this one.
fn hear<A: App>(shared: &Shared<A>, link: &Link<A>, notice: Notice) {
    match notice {
        Notice::AskAddresses => discovery::questioned(shared, link),
        Notice::Addresses(addresses) => discovery::answered(shared, link, &addresses),
        Notice::PushAddresses(addresses) => discovery::pushed(shared, link, &addresses),
        Notice::Announce(items) => items::announced(shared, link, &items),
        Notice::Request(items) => items::requested(shared, link, items),
        Notice::Missing(items) => items::missing(shared, link, &items),
        Notice::Bye | Notice::Moved => {}
    }
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
        let view = link.view();
        match view.deadline {
            _ if view.is_cut => return,
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
    let stopped = {
        let mut state = shared.lock();
        state.book.listening(endpoint.clone());
        if !state.stopped {
            state.listening.push((endpoint.clone(), abort.clone()));
        }
        state.stopped
    };
    if stopped {
        abort.abort();
    }
    shared.runtime.spawn(Box::pin(async move {
        // That it is aborted is how it ends.
        let _ = accepting.await;
    }));
    Ok(endpoint)
}
