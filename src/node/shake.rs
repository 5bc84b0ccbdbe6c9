//! The handshake over a connection, the same for both directions.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use event_listener::listener;

use super::app::{App, Direction, Introduction};
use super::error::HandshakeError;
use super::guard::{Guarded, guarded};
use super::handshake::{Failure, Handshake, Hello, LONGEST, Message, Step};
use super::identity::PeerId;
use super::link::Link;
use super::message::{MESSAGES_PROTOCOL, NODE_PROTOCOL};
use super::registry::{Entrance, Key};
use super::rejection::{Reason, Rejection};
use super::shared::Shared;
use crate::codec::{self, CodecError, MaxMessageSize};
use crate::mux::{Code, Connection, IncomingChannel, Priority, RawChannel};
use crate::runtime::timeout;
use crate::transport::Endpoint;

/// The longest that an application may say of itself, in bytes.
const LONGEST_APPLICATION: usize = LONGEST / 2;
/// The messages of a handshake, by who says them: larger ones are not put together. What follows may be
/// larger, and may be there before the handshake is over here.
const MESSAGES_OF_DIALER: u32 = 2;
const MESSAGES_OF_DIALED: u32 = 1;
#[expect(clippy::cast_possible_truncation, reason = "it is 4096")]
const LONGEST_MESSAGE: u32 = LONGEST as u32;

/// When a node that is full is worth another try.
const FULL_RETRY: Duration = Duration::from_secs(30);

/// What a handshake comes to.
pub(super) enum Shaken<A: App> {
    Open {
        link: Arc<Link<A>>,
        node: RawChannel,
        messages: RawChannel,
    },
    /// There is a connection with that peer, and this one is not needed.
    Duplicate(PeerId),
    /// That peer is there, and that was all there was to find out.
    Felt(PeerId),
}

/// How this end comes to a connection.
pub(super) struct Approach {
    pub(super) direction: Direction,
    /// Who has to be there.
    pub(super) expected: Option<PeerId>,
    /// What was dialed, if it was an endpoint.
    pub(super) dialed: Option<Endpoint>,
    /// It only wants to know who is there.
    pub(super) is_feeler: bool,
}

impl Approach {
    pub(super) fn inbound() -> Self {
        Self {
            direction: Direction::Inbound,
            expected: None,
            dialed: None,
            is_feeler: false,
        }
    }

    pub(super) fn outbound(expected: Option<PeerId>) -> Self {
        Self {
            direction: Direction::Outbound,
            expected,
            ..Self::inbound()
        }
    }
}

/// The channel of the application's messages, before it may be used.
enum Messages {
    Opened(RawChannel),
    Incoming(IncomingChannel),
}

impl Messages {
    fn begin(self) -> RawChannel {
        match self {
            Self::Opened(channel) => channel,
            Self::Incoming(channel) => channel.accept_raw(),
        }
    }
}

/// Shakes hands; whoever is refused has been told when this returns.
pub(super) async fn shake<A: App>(
    shared: &Arc<Shared<A>>,
    key: Key,
    connection: &Connection,
    approach: &Approach,
) -> Result<Shaken<A>, HandshakeError> {
    let direction = approach.direction;
    let (mut node, messages) = channels(connection, direction).await?;
    let hello = own_hello(shared, direction)?;
    if direction == Direction::Outbound {
        let now = shared.runtime.now();
        let until = now.checked_add(shared.config.handshake_timeout);
        let nonces = &mut shared.lock().nonces;
        nonces.remember(hello.nonce, until.unwrap_or(now), now);
    }
    let mut handshake = Handshake::new(direction, hello, approach.expected);
    if let Some(first) = handshake.first() {
        send(&mut node, first).await?;
    }
    let mut examined = None;
    loop {
        let message = node.recv().await?.ok_or(HandshakeError::Malformed)?;
        let is_own = |nonce| shared.lock().nonces.is_own(nonce);
        let bar = |hello: &Hello| bar(shared, connection, &hello.id);
        let opens = match handshake.receive(&message, is_own, bar) {
            Ok(Step::Examine(hello, version)) => {
                let id = hello.id;
                if approach.is_feeler {
                    return refuse(node, Rejection::new(Reason::Feeler), Some(id)).await;
                }
                let examination = examine(shared, key, connection, direction, hello, version);
                match examination.await {
                    Ok(introduction) => examined = Some(Guarded::new(introduction)),
                    Err(rejection) => {
                        shared.turn_away(key);
                        return refuse(node, rejection, Some(id)).await;
                    }
                }
                let (answer, opens) = handshake.accept();
                if !opens {
                    shared.lock().registry.answered(key);
                    send(&mut node, answer).await?;
                    continue;
                }
                Some(answer)
            }
            Ok(Step::Open) => None,
            Err(Failure::Rejected(rejection)) => {
                shared.lock().registry.rejected(key);
                return Err(HandshakeError::Rejected(rejection));
            }
            Err(Failure::Refused(rejection)) => return refuse(node, rejection, None).await,
            Err(Failure::Malformed) => {
                connection.close(Code::PROTOCOL_ERROR, "no part of a handshake of nodes");
                return Err(HandshakeError::Malformed);
            }
        };
        let introduction = examined.as_mut().and_then(Guarded::take);
        let introduction = introduction.ok_or(HandshakeError::Malformed)?;
        let id = introduction.id;
        let opened = shared.open(key, introduction, connection, approach.dialed.as_ref());
        let link = match opened.map_err(Rejection::new) {
            Ok(link) => link,
            Err(rejection) if opens.is_some() => return refuse(node, rejection, Some(id)).await,
            // The dialer takes itself for a peer already, and waits for no rejection.
            Err(rejection) => {
                connection.close(Code::REFUSED, &rejection.to_string());
                return refused(rejection, Some(id));
            }
        };
        if let Some(ack) = opens {
            send(&mut node, ack).await?;
        }
        let messages = messages.begin();
        return Ok(Shaken::Open {
            link,
            node,
            messages,
        });
    }
}

/// The dialer opens both channels, that of the node first.
async fn channels(
    connection: &Connection,
    direction: Direction,
) -> Result<(RawChannel, Messages), HandshakeError> {
    if direction == Direction::Outbound {
        let node = connection.open_raw_with(NODE_PROTOCOL, Priority::High);
        let node = node.await?;
        node.limit_first(MESSAGES_OF_DIALED, LONGEST_MESSAGE);
        let messages = connection.open_raw(MESSAGES_PROTOCOL).await?;
        return Ok((node, Messages::Opened(messages)));
    }
    let node = next_channel(connection, NODE_PROTOCOL).await?.accept_raw();
    node.limit_first(MESSAGES_OF_DIALER, LONGEST_MESSAGE);
    let messages = next_channel(connection, MESSAGES_PROTOCOL).await?;
    Ok((node, Messages::Incoming(messages)))
}

async fn next_channel(
    connection: &Connection,
    protocol: &str,
) -> Result<IncomingChannel, HandshakeError> {
    let incoming = connection.accept().await?;
    let expected = incoming.filter(|channel| channel.protocol() == protocol);
    expected.ok_or_else(|| {
        let reason = "the first channels are those of a node";
        connection.close(Code::UNKNOWN_PROTOCOL, reason);
        HandshakeError::Malformed
    })
}

fn own_hello<A: App>(shared: &Shared<A>, direction: Direction) -> Result<Hello, CodecError> {
    let said = guarded(|| {
        let mut said = BytesMut::new();
        let hello = shared.app.hello(direction);
        codec::encode(&hello, &mut said, application_limit()).map(|_| said.freeze())
    });
    let application = said.unwrap_or_else(|| {
        Err(CodecError::Unserializable {
            reason: "the application's code panicked".into(),
        })
    })?;
    let advertised = shared.config.advertised.clone();
    let endpoints = if advertised.is_empty() {
        let listening = &shared.lock().listening;
        listening
            .iter()
            .map(|(endpoint, _)| endpoint.clone())
            .collect()
    } else {
        advertised
    };
    Ok(Hello {
        network: shared.network.as_str().to_owned(),
        id: shared.id,
        instance: shared.instance,
        nonce: rand::random(),
        versions: shared.config.versions,
        capabilities: shared.config.capabilities,
        endpoints,
        application,
    })
}

/// Whether the peer is who it says, and not banned.
fn bar<A: App>(shared: &Shared<A>, connection: &Connection, id: &PeerId) -> Result<(), Rejection> {
    let verified = guarded(|| shared.config.identity.verify(id, connection.info()));
    if verified != Some(true) {
        return Err(Rejection::new(Reason::Identity));
    }
    let now = shared.runtime.now();
    match shared.lock().book.is_banned(id, now) {
        Some(left) => Err(Rejection::new(Reason::Banned).retry_after(left)),
        None => Ok(()),
    }
}

/// The checks that come last: places and duplicates, then the application.
async fn examine<A: App>(
    shared: &Arc<Shared<A>>,
    key: Key,
    connection: &Connection,
    direction: Direction,
    hello: Hello,
    version: u16,
) -> Result<Introduction<A::Hello>, Rejection> {
    enter(shared, key, &hello).await?;
    let said = guarded(|| codec::decode(&hello.application, application_limit()));
    let said = said.and_then(Result::ok);
    let introduction = Introduction {
        id: hello.id,
        direction,
        version,
        capabilities: hello.capabilities,
        endpoints: hello.endpoints,
        hello: said.ok_or_else(|| Rejection::new(Reason::Undecodable))?,
        connection: connection.info().clone(),
    };
    let admitted = guarded(|| shared.app.admit(&introduction));
    let admitted = admitted.unwrap_or_else(|| Err(Rejection::application(0, "")));
    if let Err(rejection) = admitted {
        guarded(|| drop(introduction));
        return Err(rejection);
    }
    Ok(introduction)
}

/// A connection of the same kind that is there already must answer, or give way.
async fn enter<A: App>(shared: &Arc<Shared<A>>, key: Key, hello: &Hello) -> Result<(), Rejection> {
    loop {
        listener!(shared.departure => departure);
        match shared.enter(key, hello.id, hello.instance) {
            Entrance::Granted => return Ok(()),
            Entrance::Duplicate => return Err(Rejection::new(Reason::Duplicate)),
            Entrance::Wait => departure.await,
            Entrance::Full => {
                return Err(Rejection::new(Reason::Full).retry_after(FULL_RETRY));
            }
            Entrance::Probe(old) => {
                let Some(link) = shared.link(old) else {
                    shared.close(old);
                    continue;
                };
                let time = shared.config.probe_timeout;
                let pinged = timeout(&*shared.runtime, time, link.connection.ping()).await;
                if matches!(pinged, Some(Ok(_))) {
                    return Err(Rejection::new(Reason::Duplicate));
                }
                link.cut(Code::TIMED_OUT, "another connection took its place");
                shared.close(old);
            }
        }
    }
}

/// Tells the other end why it is not wanted.
async fn refuse<A: App>(
    mut node: RawChannel,
    rejection: Rejection,
    id: Option<PeerId>,
) -> Result<Shaken<A>, HandshakeError> {
    send(&mut node, Message::Reject(rejection.clone()).encode()).await?;
    node.finish();
    refused(rejection, id)
}

/// What a connection has come to that this end does not want.
fn refused<A: App>(rejection: Rejection, id: Option<PeerId>) -> Result<Shaken<A>, HandshakeError> {
    match (id, rejection.reason()) {
        (Some(id), Reason::Duplicate) => Ok(Shaken::Duplicate(id)),
        (Some(id), Reason::Feeler) => Ok(Shaken::Felt(id)),
        _ => Err(HandshakeError::Refused(rejection)),
    }
}

async fn send(channel: &mut RawChannel, message: Bytes) -> Result<(), HandshakeError> {
    let sent = channel.send(message).await;
    sent.map_err(|error| HandshakeError::Channel(error.error))
}

fn application_limit() -> MaxMessageSize {
    MaxMessageSize::new(LONGEST_APPLICATION).unwrap_or_default()
}
