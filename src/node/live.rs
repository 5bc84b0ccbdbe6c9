//! A peer's whole life after the handshake, on one connection with it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use event_listener::listener;
use futures_util::future::{Either, join5, select};

use super::app::App;
use super::book::BAN;
use super::discovery;
use super::guard::guarded;
use super::items;
use super::link::Link;
use super::message::{self, Notice};
use super::node::Received;
use super::peer::count;
use super::registry::{Key, Parting};
use super::run::{Seat, farewell};
use super::shared::Shared;
use crate::codec;
use crate::mux::{Code, Connection, RawChannel, RawReceiver, RawSender};

/// What a message that cannot be decoded counts, of 100 points.
const UNDECODABLE: u32 = 10;

/// So many notices of a peer are heard before others have their turn: nothing in them waits.
const NOTICES_AT_ONCE: usize = 16;

/// The life of a peer's connection after the handshake.
pub(super) async fn live<A: App>(
    seat: Seat<A>,
    link: Arc<Link<A>>,
    node: RawChannel,
    messages: RawChannel,
) {
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
    if in_time {
        let leaving = Leaving::new(seat, &link);
        farewell(&shared, link.connection.clone()).await;
        drop(leaving);
    } else {
        drop(seat);
        link.cut(Code::TIMED_OUT, "the connection was to end, and did not");
    }
    // It may be the last that has what the peer said.
    guarded(|| drop(link));
}

/// A connection whose place is given back, and on which something may wait to be sent.
struct Leaving<A: App> {
    shared: Arc<Shared<A>>,
    key: Key,
}

impl<A: App> Leaving<A> {
    fn new(seat: Seat<A>, link: &Link<A>) -> Self {
        let shared = Arc::clone(&seat.shared);
        shared.part(link.key, link.connection.clone());
        drop(seat);
        let key = link.key;
        Self { shared, key }
    }
}

impl<A: App> Drop for Leaving<A> {
    fn drop(&mut self) {
        self.shared.parted_from(self.key);
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
