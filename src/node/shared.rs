//! What the handles, listeners and peers of one node share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use event_listener::Event;

use super::app::{App, Direction};
use super::book::Book;
use super::broadcast::Select;
use super::config::NodeConfig;
use super::error::NodeError;
use super::events::Feed;
use super::guard::guarded;
use super::handshake::Nonces;
use super::identity::{NetworkId, PeerId};
use super::inbox::Inbox;
use super::inventory::{self, Inventory};
use super::items;
use super::link::Link;
use super::message::Notice;
use super::node::Received;
use super::observer::Observers;
use super::outbox;
use super::peer::Peer;
use super::registry::{self, Key, Occupancy, Registry};
use super::saving::Saving;
use super::state::{Aftermath, State};
use crate::mux::Code;
use crate::runtime::SharedRuntime;

/// How long an item that came is not asked for again, and one that nobody has is looked for.
const ITEM_MEMORY: Duration = Duration::from_mins(1);

pub(super) struct Shared<A: App> {
    pub(super) id: PeerId,
    pub(super) network: NetworkId,
    /// Which run of the node this is.
    pub(super) instance: u64,
    pub(super) app: A,
    pub(super) config: NodeConfig,
    pub(super) runtime: SharedRuntime,
    pub(super) inbox: Inbox<Received<A::Message>>,
    /// A connection has ended.
    pub(super) departure: Event,
    /// The book may have something to do.
    pub(super) booked: Event,
    /// There may be something to ask for.
    pub(super) stocked: Event,
    pub(super) inventory: Mutex<Inventory>,
    pub(super) saving: Saving,
    state: Mutex<State<A>>,
    pub(super) observers: Arc<Observers>,
}

impl<A: App> Shared<A> {
    pub(super) fn new(
        id: PeerId,
        network: NetworkId,
        app: A,
        config: NodeConfig,
        runtime: SharedRuntime,
    ) -> Self {
        let places = registry::Limits {
            pending: config.pending,
            inbound: config.inbound,
            outbound: config.outbound,
            per_address: config.per_address,
        };
        let now = runtime.now();
        let state = State {
            registry: Registry::new(id, places, config.drain_timeout),
            book: Book::new(
                config.discovery.clone().unwrap_or_default(),
                rand::random(),
                now,
            ),
            nonces: Nonces::default(),
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            parting: BTreeMap::new(),
            pending: BTreeMap::new(),
            listening: Vec::new(),
            feeds: Vec::new(),
            told: VecDeque::new(),
            stopped: false,
        };
        let items = inventory::Limits {
            remembered: config.remembered_items,
            memory: ITEM_MEMORY,
            wanted: config.wanted_items,
            wanted_of_one: config.wanted_items / 8,
            timeout: config.request_timeout,
        };
        let inbox = outbox::Limits {
            messages: config.inbox_messages,
            bytes: config.inbox_bytes,
        };
        let peers = config.inbound.saturating_add(config.outbound);
        let longest = config.connection.max_message_size as usize;
        Self {
            id,
            network,
            instance: rand::random(),
            app,
            config,
            runtime,
            inbox: Inbox::new(inbox, peers, longest),
            departure: Event::new(),
            booked: Event::new(),
            stocked: Event::new(),
            inventory: Mutex::new(Inventory::new(items)),
            saving: Saving::default(),
            state: Mutex::new(state),
            observers: Arc::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that what is for a peer is sent on.
    pub(super) fn writer(&self, id: &PeerId) -> Option<Arc<Link<A>>> {
        let state = self.lock();
        let key = state.registry.writer(id)?;
        state.links.get(&key).cloned()
    }

    /// Says something to a peer, which is cut off if it has no room for it.
    pub(super) fn notice(&self, id: &PeerId, notice: &Notice) {
        let Some(link) = self.writer(id) else {
            return;
        };
        if !link.notice(notice) {
            link.cut(Code::TIMED_OUT, "the node takes notices too slowly");
        }
        link.peer.shared.signal.notify(usize::MAX);
    }

    /// The open connection of that key.
    pub(super) fn link(&self, key: Key) -> Option<Arc<Link<A>>> {
        self.lock().links.get(&key).cloned()
    }

    pub(super) fn peer(&self, id: &PeerId) -> Option<Peer<A>> {
        self.lock().peers.get(id).cloned()
    }

    /// Why a peer is not there.
    pub(super) fn absence(&self, id: PeerId) -> NodeError {
        if self.lock().stopped {
            NodeError::Stopped
        } else {
            NodeError::NotConnected(id)
        }
    }

    /// The peer, if it is not about to leave.
    pub(super) fn lasting_peer(&self, id: &PeerId) -> Option<Peer<A>> {
        self.peer(id).filter(Peer::is_connected)
    }

    pub(super) fn peers(&self) -> Vec<Peer<A>> {
        self.lock().peers.values().cloned().collect()
    }

    /// The peers that are meant, and how many others there are.
    pub(super) fn select(&self, to: &Select) -> (Vec<Peer<A>>, usize) {
        if let Select::Ids(ids) = to {
            let found: Vec<_> = ids.iter().filter_map(|id| self.peer(id)).collect();
            let skipped = ids.len() - found.len();
            return (found, skipped);
        }
        let mut peers = self.peers();
        let all = peers.len();
        match to {
            Select::All | Select::Ids(_) => {}
            Select::Inbound => peers.retain(|peer| peer.direction() == Direction::Inbound),
            Select::Outbound => peers.retain(|peer| peer.direction() == Direction::Outbound),
            Select::Capabilities(bits) => {
                peers.retain(|peer| peer.introduction().capabilities & bits == *bits);
            }
            Select::Except(id) => peers.retain(|peer| peer.id() != *id),
            Select::Random(count) => {
                let count = (*count).min(all);
                for place in 0..count {
                    peers.swap(place, rand::random_range(place..all));
                }
                peers.truncate(count);
            }
        }
        let skipped = all - peers.len();
        (peers, skipped)
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        self.lock().registry.occupancy()
    }

    pub(super) fn follow(&self) -> Arc<Feed<A>> {
        let mut state = self.lock();
        let peers = state.peers.values().cloned().collect();
        let feed = Arc::new(Feed::new(self.config.events, peers, state.stopped));
        state.feeds.retain(|feed| feed.strong_count() > 0);
        state.feeds.push(Arc::downgrade(&feed));
        feed
    }

    pub(super) fn refill(&self, feed: &Feed<A>) {
        let state = self.lock();
        feed.refill(state.peers.values().cloned().collect());
    }

    /// Stops listening and dialing, and says goodbye to all peers. Doing it twice is nothing.
    pub(super) fn stop(&self) {
        let now = self.runtime.now();
        self.change(|state, aftermath| {
            if std::mem::replace(&mut state.stopped, true) {
                return;
            }
            let listeners = std::mem::take(&mut state.listening);
            let aborted = listeners.into_iter().map(|(_, listener)| listener);
            aftermath.aborted.extend(aborted);
            // Others have said who they are, and hear why it ends.
            let is_stranger = |key: &Key| state.registry.peer_of(*key).is_none();
            let strangers = state.pending.iter().filter(|(key, _)| is_stranger(key));
            let aborted = strangers.map(|(_, handshake)| handshake.clone());
            aftermath.aborted.extend(aborted);
            let ids: Vec<PeerId> = state.peers.keys().copied().collect();
            for id in ids {
                let left = state.registry.leave(&id, now);
                state.say_goodbye(&left);
                state.review(&id, aftermath);
            }
            aftermath.departed = true;
            aftermath.is_booked = true;
        });
        self.saving.end();
    }

    /// No connection is left, when the node has been stopped: nothing comes any more.
    pub(super) fn finish(&self) {
        self.inbox.close();
        let feeds = std::mem::take(&mut self.lock().feeds);
        for feed in feeds.iter().filter_map(Weak::upgrade) {
            feed.close();
            feed.notify();
        }
    }

    /// Changes the state, then wakes whom it concerns.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut State<A>, &mut Aftermath<A>) -> T) -> T {
        let mut aftermath = Aftermath::default();
        let mut state = self.lock();
        let result = act(&mut state, &mut aftermath);
        drop(state);
        self.tell_observers();
        if aftermath.departed {
            self.departure.notify(usize::MAX);
        }
        for peer in &aftermath.gone {
            let now = self.runtime.now();
            items::with(self, |inventory| inventory.gone(peer, now));
        }
        if aftermath.is_booked {
            self.stocked.notify(usize::MAX);
            self.booked.notify(usize::MAX);
        }
        aftermath.pass();
        guarded(|| drop(aftermath));
        result
    }

    /// Who finds another at it leaves its events to them.
    fn tell_observers(&self) {
        while !self.lock().told.is_empty() {
            let told = || std::mem::take(&mut self.lock().told);
            if !self.observers.tell(told) {
                return;
            }
        }
    }
}
