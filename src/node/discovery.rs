//! Does what the book asks for, and tells it what happens.

use std::sync::Arc;

use event_listener::listener;
use futures_util::future::select;

use super::app::App;
use super::book::{self, Book, BookAction, Breach, DialFailure, Purpose};
use super::error::{DialError, HandshakeError};
use super::identity::PeerId;
use super::link::Link;
use super::message::Notice;
use super::peer::Peer;
use super::rejection::{Reason, Rejection};
use super::run::{Reached, reach};
use super::saving;
use super::shake::Approach;
use super::shared::Shared;
use crate::mux::Code;
use crate::runtime::Instant;
use crate::transport::{self, Endpoint};

/// Begins to look for peers, if the node does that.
pub(super) fn start<A: App>(shared: &Arc<Shared<A>>) {
    let Some(config) = &shared.config.discovery else {
        return;
    };
    if let Some(store) = &shared.config.store {
        match book::open(&**store, config, rand::random(), shared.runtime.now()) {
            Ok(known) => shared.lock().book = known,
            Err(error) => tracing::error!(%error, "the address book cannot be read"),
        }
        saving::start(shared, Arc::clone(store));
    }
    let looking = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        look(&looking).await;
    }));
}

/// Dials for the application.
pub(super) async fn dial<A: App>(
    shared: &Arc<Shared<A>>,
    endpoint: &Endpoint,
    expected: Option<PeerId>,
) -> Result<Peer<A>, DialError> {
    let mut approach = Approach::outbound(expected);
    approach.dialed = Some(endpoint.clone());
    let reaching = transport::connect(endpoint, &shared.config.transport);
    let reached = reach(shared, reaching, approach).await;
    let reached = or_known(shared, endpoint, expected, reached);
    tell(shared, endpoint, &reached);
    match reached? {
        Reached::New(peer) | Reached::Known(peer) => Ok(peer),
        Reached::Felt(_) => Err(DialError::Stopped),
    }
}

/// A peer asks for addresses.
pub(super) fn questioned<A: App>(shared: &Shared<A>, link: &Link<A>) {
    let id = link.peer.id();
    let now = shared.runtime.now();
    let answer = shared.lock().book.questioned(&id, now);
    if let Some(addresses) = judge(shared, link, answer) {
        shared.notice(&id, &Notice::Addresses(addresses));
    }
}

/// A peer answers with addresses.
pub(super) fn answered<A: App>(shared: &Shared<A>, link: &Link<A>, addresses: &[String]) {
    let now = shared.runtime.now();
    let answer = shared.lock().book.answered(&link.peer.id(), addresses, now);
    judge(shared, link, answer);
    shared.booked.notify(usize::MAX);
}

/// A peer tells of addresses though nobody asked.
pub(super) fn pushed<A: App>(shared: &Shared<A>, link: &Link<A>, addresses: &[String]) {
    let now = shared.runtime.now();
    let answer = shared.lock().book.pushed(&link.peer.id(), addresses, now);
    judge(shared, link, answer);
    shared.booked.notify(usize::MAX);
}

/// Whoever broke the rules too often is cut off: the book has banned it.
fn judge<A: App, T>(shared: &Shared<A>, link: &Link<A>, answer: Result<T, Breach>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(breach) => {
            let id = link.peer.id();
            tracing::debug!(%id, %breach, "a peer misbehaved");
            let now = shared.runtime.now();
            if shared.lock().book.is_banned(&id, now).is_some() {
                link.cut(Code::CALM, &breach.to_string());
            }
            None
        }
    }
}

async fn look<A: App>(shared: &Arc<Shared<A>>) {
    loop {
        listener!(shared.booked => booked);
        let (action, next) = {
            let now = shared.runtime.now();
            let mut state = shared.lock();
            if state.stopped {
                break;
            }
            let action = state.book.poll(now);
            (action, state.book.poll_timeout(now))
        };
        match action {
            Some(action) => act(shared, action),
            None => {
                select(booked, shared.runtime.sleep_until(next)).await;
            }
        }
    }
}

fn act<A: App>(shared: &Arc<Shared<A>>, action: BookAction) {
    match action {
        BookAction::Dial { endpoint, purpose } => {
            let dialing = Arc::clone(shared);
            shared.runtime.spawn(Box::pin(async move {
                dial_for_the_book(&dialing, &endpoint, purpose).await;
            }));
        }
        BookAction::Ask { peer } => shared.notice(&peer, &Notice::AskAddresses),
        BookAction::Push { peer, addresses } => {
            shared.notice(&peer, &Notice::PushAddresses(addresses));
        }
        BookAction::Drop { peer } => {
            shared.disconnect(&peer);
        }
        BookAction::Save => shared.saving.request(),
    }
}

async fn dial_for_the_book<A: App>(shared: &Arc<Shared<A>>, endpoint: &Endpoint, purpose: Purpose) {
    let mut approach = Approach::outbound(None);
    approach.dialed = Some(endpoint.clone());
    approach.is_feeler = purpose == Purpose::Feeler;
    let reaching = transport::connect(endpoint, &shared.config.transport);
    let reached = reach(shared, reaching, approach).await;
    tell(shared, endpoint, &reached);
    if let Err(error) = reached {
        tracing::debug!(%endpoint, %error, "an address was dialed in vain");
    }
}

/// A node that refuses a second connection does not say who it is: it is who was dialed there before.
fn or_known<A: App>(
    shared: &Shared<A>,
    endpoint: &Endpoint,
    expected: Option<PeerId>,
    reached: Result<Reached<A>, DialError>,
) -> Result<Reached<A>, DialError> {
    let is_duplicate = matches!(
        &reached,
        Err(DialError::Handshake(HandshakeError::Rejected(rejection)))
            if *rejection.reason() == Reason::Duplicate
    );
    if !is_duplicate {
        return reached;
    }
    let id = shared.lock().book.dialed_at(endpoint);
    let id = id.filter(|id| expected.is_none_or(|expected| expected == *id));
    let known = id.and_then(|id| shared.lasting_peer(&id));
    known.map_or(reached, |peer| Ok(Reached::Known(peer)))
}

/// Tells the book what a dial came to.
fn tell<A: App>(shared: &Shared<A>, endpoint: &Endpoint, reached: &Result<Reached<A>, DialError>) {
    let now = shared.runtime.now();
    {
        let book = &mut shared.lock().book;
        match reached {
            // It was told when the connection was opened.
            Ok(Reached::New(_)) => {}
            Ok(Reached::Known(peer)) => {
                let peer = peer.id();
                book.failed(endpoint, DialFailure::Duplicate { peer }, now);
            }
            Ok(Reached::Felt(peer)) => book.reached(endpoint, *peer, now),
            Err(error) => failed(book, endpoint, error, now),
        }
    }
    shared.booked.notify(usize::MAX);
}

fn failed(book: &mut Book, endpoint: &Endpoint, error: &DialError, now: Instant) {
    let failure = match error {
        DialError::Handshake(HandshakeError::Malformed) => DialFailure::Hostile,
        DialError::Handshake(
            HandshakeError::Rejected(rejection) | HandshakeError::Refused(rejection),
        ) => refusal(rejection),
        // Nobody was dialed.
        DialError::Full { .. } | DialError::Stopped => DialFailure::Refused { retry_after: None },
        _ => DialFailure::Unreachable,
    };
    book.failed(endpoint, failure, now);
}

fn refusal(rejection: &Rejection) -> DialFailure {
    match rejection.reason() {
        Reason::SelfDial => DialFailure::OwnAddress,
        Reason::Network => DialFailure::Hostile,
        _ => DialFailure::Refused {
            retry_after: rejection.retried_after(),
        },
    }
}
