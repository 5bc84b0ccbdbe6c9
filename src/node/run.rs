//! From a connection to a peer: one path for both directions.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, Either, select};

use super::app::App;
use super::book::owner;
use super::error::{DialError, HandshakeError};
use super::identity::PeerId;
use super::live::live;
use super::peer::Peer;
use super::registry::Key;
use super::rejection::{Reason, Rejection};
use super::shake::{Approach, Shaken, shake};
use super::shared::Shared;
use crate::mux::{Connection, Driver, Role};
use crate::runtime::{MaybeSend, timeout};
use crate::transport::{self, Endpoint, Established, Incoming, TransportError};

/// How long a node that is refused may take to hear why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A place in the registry, given back when it is dropped.
pub(super) struct Seat<A: App> {
    pub(super) shared: Arc<Shared<A>>,
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
    if let Some(peer) = approach.expected.and_then(|id| shared.lasting_peer(&id)) {
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
        Shaken::Duplicate(id) => match shared.lasting_peer(&id) {
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
pub(super) async fn farewell<A: App>(shared: &Shared<A>, connection: Connection) {
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
