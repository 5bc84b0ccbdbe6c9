//! Tells of items, asks for them, and hands them out.

use std::sync::{Arc, PoisonError};

use event_listener::listener;
use futures_util::future::select;

use super::app::{App, Class};
use super::broadcast::{Report, Select};
use super::guard::guarded;
use super::inventory::{Arrival, Inventory, ItemId, MOST_AT_ONCE};
use super::link::Link;
use super::message::{self, Notice};
use super::peer::{count, count_many};
use super::shared::Shared;

/// What an item that nobody asked for counts, of 100 points: it may have been asked for so long ago
/// that this was forgotten.
const UNASKED: u32 = 20;

/// Asks for what is wanted, for as long as the node runs.
pub(super) fn start<A: App>(shared: &Arc<Shared<A>>) {
    let asking = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        loop {
            listener!(asking.stocked => stocked);
            if asking.lock().stopped {
                return;
            }
            let now = asking.runtime.now();
            let (request, next) = with(&asking, |inventory| {
                (inventory.poll(now), inventory.poll_timeout())
            });
            match (request, next) {
                (Some(request), _) => {
                    if let Some(peer) = asking.peer(&request.peer) {
                        count_many(&peer.shared.counters.asked, request.items.len());
                    }
                    asking.notice(&request.peer, &Notice::Request(request.items));
                }
                (None, Some(next)) => {
                    select(stocked, asking.runtime.sleep_until(next)).await;
                }
                (None, None) => stocked.await,
            }
        }
    }));
}

/// Does something to the inventory; its lock is held no longer.
pub(super) fn with<A: App, T>(shared: &Shared<A>, act: impl FnOnce(&mut Inventory) -> T) -> T {
    let inventory = shared.inventory.lock();
    act(&mut inventory.unwrap_or_else(PoisonError::into_inner))
}

/// Tells peers of items that are here.
pub(super) fn announce<A: App>(shared: &Shared<A>, items: &[ItemId], to: &Select) -> Report {
    let now = shared.runtime.now();
    with(shared, |inventory| inventory.have(items, now));
    let (peers, skipped) = shared.select(to);
    for some in items.chunks(MOST_AT_ONCE) {
        let notice = Notice::Announce(some.to_vec());
        for peer in &peers {
            shared.notice(&peer.id(), &notice);
        }
    }
    Report {
        queued: peers.len(),
        skipped,
        ..Report::default()
    }
}

/// A peer tells of items.
pub(super) fn announced<A: App>(shared: &Shared<A>, link: &Link<A>, items: &[ItemId]) {
    count_many(&link.peer.shared.counters.announced, items.len());
    let (id, now) = (link.peer.id(), shared.runtime.now());
    with(shared, |inventory| inventory.announced(id, items, now));
    shared.stocked.notify(usize::MAX);
}

/// A peer has not what it was asked for.
pub(super) fn missing<A: App>(shared: &Shared<A>, link: &Link<A>, items: &[ItemId]) {
    with(shared, |inventory| inventory.missing(link.peer.id(), items));
    shared.stocked.notify(usize::MAX);
}

/// A peer asks for items. What it asks for beyond what may wait is not there for it.
pub(super) fn requested<A: App>(shared: &Shared<A>, link: &Link<A>, items: Vec<ItemId>) {
    count_many(&link.peer.shared.counters.was_asked, items.len());
    let refused = link.ask(items);
    if !refused.is_empty() {
        shared.notice(&link.peer.id(), &Notice::Missing(refused));
    }
    link.peer.shared.signal.notify(usize::MAX);
}

/// Whether an item that came is to be handed on.
pub(super) fn arrived<A: App>(shared: &Shared<A>, link: &Link<A>, item: &ItemId) -> bool {
    let (id, now) = (link.peer.id(), shared.runtime.now());
    let counters = &link.peer.shared.counters;
    let arrival = with(shared, |inventory| inventory.arrived(id, item, now));
    shared.stocked.notify(usize::MAX);
    match arrival {
        Arrival::Fresh | Arrival::Duplicate => count(&counters.answered),
        Arrival::Unasked => {
            count(&counters.unasked);
            shared.misbehaved(&id, UNASKED);
        }
    }
    arrival == Arrival::Fresh
}

/// Hands out what a peer asks for, one item after another as there is room for them.
pub(super) async fn answer<A: App>(shared: &Shared<A>, link: &Link<A>) {
    loop {
        listener!(link.peer.shared.signal => signal);
        if let Some(item) = link.next_asked() {
            hand_out(shared, link, &item).await;
        } else if link.is_ending() {
            return;
        } else {
            signal.await;
        }
    }
}

async fn hand_out<A: App>(shared: &Shared<A>, link: &Link<A>, item: &ItemId) {
    let max = shared.config.connection.max_message_size as usize;
    let encoded = guarded(|| {
        let found = shared.app.item(item);
        found.map(|found| message::encode(&found, Some(item), max))
    });
    let encoded = encoded.flatten();
    match encoded {
        Some(Ok(encoded)) => {
            // It fails when the peer goes, which is seen elsewhere. A slow peer may lose it to later
            // messages, and asks another.
            let _ = link.peer.queue(Class::Data, encoded).await;
        }
        Some(Err(error)) => {
            tracing::error!(%item, %error, "an item cannot be sent");
            shared.notice(&link.peer.id(), &Notice::Missing(vec![*item]));
        }
        None => shared.notice(&link.peer.id(), &Notice::Missing(vec![*item])),
    }
}
