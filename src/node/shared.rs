//! What the handles, listeners and peers of one node share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use event_listener::Event;
use futures_util::future::AbortHandle;

use super::app::{App, Direction, Introduction};
use super::book::Book;
use super::broadcast::Select;
use super::config::NodeConfig;
use super::error::DialError;
use super::events::{Feed, NodeEvent};
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
use super::outbox::{self, Outbox};
use super::peer::Peer;
use super::registry::{self, Duplicate, Entrance, Key, Occupancy, Parting, Registry};
use super::saving::Saving;
use super::state::{Aftermath, State};
use crate::mux::{Code, Connection};
use crate::runtime::SharedRuntime;
use crate::transport::Endpoint;

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

    /// A connection came; none if the node is stopping.
    pub(super) fn arrive(&self, address: Option<&str>, abort: AbortHandle) -> Option<Key> {
        self.change(|state, aftermath| {
            if state.stopped {
                return None;
            }
            let (key, displaced) = state.registry.arrive(address);
            let displaced = displaced.and_then(|displaced| state.pending.remove(&displaced));
            aftermath.aborted.extend(displaced);
            state.pending.insert(key, abort);
            Some(key)
        })
    }

    /// A connection is to be made.
    pub(super) fn dial(&self, is_feeler: bool) -> Result<Key, DialError> {
        let mut state = self.lock();
        if state.stopped {
            return Err(DialError::Stopped);
        }
        if is_feeler {
            return Ok(state.registry.feel());
        }
        let most = self.config.outbound;
        state.registry.dial().ok_or(DialError::Full { most })
    }

    /// A peer misbehaved: if that was too much, it is banned and cut off.
    pub(super) fn misbehaved(&self, id: &PeerId, points: u32) -> Option<Duration> {
        let banned = self
            .lock()
            .book
            .misbehaved(id, points, self.runtime.now())?;
        self.cut_peer(id, "banned for misbehaving");
        Some(banned)
    }

    /// Cuts all connections of a peer.
    pub(super) fn cut_peer(&self, id: &PeerId, reason: &str) {
        let links: Vec<_> = {
            let state = self.lock();
            let keys = state.registry.connections_of(id);
            let links = keys.iter().filter_map(|key| state.links.get(key));
            links.cloned().collect()
        };
        for link in links {
            link.cut(Code::CALM, reason);
        }
    }

    /// Says goodbye to a peer, false if it is not there.
    pub(super) fn disconnect(&self, id: &PeerId) -> bool {
        let now = self.runtime.now();
        self.change(|state, aftermath| {
            let was_there = !state.registry.connections_of(id).is_empty();
            let left = state.registry.leave(id, now);
            state.say_goodbye(&left);
            state.review(id, aftermath);
            was_there
        })
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

    /// The other end of a connection has said who it is. Its place is no longer one of the pending.
    pub(super) fn enter(&self, key: Key, id: PeerId, instance: u64) -> Entrance {
        self.change(|state, aftermath| {
            let entrance = state.registry.enter(key, id, instance);
            if entrance == Entrance::Granted {
                state.pending.remove(&key);
                state.review(&id, aftermath);
            }
            entrance
        })
    }

    /// This end holds the connection now.
    pub(super) fn open(
        &self,
        key: Key,
        introduction: Introduction<A::Hello>,
        connection: &Connection,
        dialed: Option<&Endpoint>,
    ) -> Result<Arc<Link<A>>, Duplicate> {
        let now = self.runtime.now();
        let id = introduction.id;
        let limits = outbox::Limits {
            messages: self.config.queue_messages,
            bytes: self.config.queue_bytes,
        };
        // Made and dropped where no lock is held: the introduction has the application's own Drop.
        let fresh = Peer::new(introduction, Outbox::new(limits), connection.clone());
        let opened = self.change(|state, aftermath| {
            if state.stopped {
                return Err(Duplicate);
            }
            let opened = state.registry.open(key, now)?;
            if opened.ended.is_some() {
                state.down(&id, now, aftermath);
            }
            let known = state.peers.get(&id).filter(|_| !opened.is_new).cloned();
            let is_up = known.is_none();
            let peer = known.unwrap_or_else(|| fresh.clone());
            let link = Arc::new(Link::new(key, peer.clone(), connection.clone()));
            state.links.insert(key, Arc::clone(&link));
            if is_up || dialed.is_some() {
                let info = connection.info();
                let remote = info.peer.as_ref().or(info.local.as_ref());
                state.book.connected(id, dialed, remote, now);
                let said = peer.introduction().endpoints.iter();
                let said: Vec<String> = said.map(Endpoint::to_string).collect();
                state.book.found(&id, &said, now);
                aftermath.is_booked = true;
            }
            if is_up {
                state.peers.insert(id, peer.clone());
                state.tell(NodeEvent::Up(peer), aftermath);
            }
            if let Some(loser) = opened.retire.and_then(|loser| state.links.get(&loser)) {
                loser.notice(&Notice::Moved);
            }
            state.review(&id, aftermath);
            Ok(link)
        });
        guarded(|| drop(fresh));
        opened
    }

    /// Nothing more is sent on a connection that has failed.
    pub(super) fn retire(&self, key: Key) {
        let now = self.runtime.now();
        self.change(|state, aftermath| {
            if state.registry.retire(key, now) {
                state.review_of(key, aftermath);
            }
        });
    }

    /// The peer has said that it sends nothing more on a connection.
    pub(super) fn parted(&self, key: Key, parting: Parting) {
        let now = self.runtime.now();
        self.change(|state, aftermath| {
            let left = state.registry.parted(key, parting, now);
            state.say_goodbye(&left);
            state.review_of(key, aftermath);
        });
    }

    pub(super) fn drained(&self, key: Key) {
        self.change(|state, aftermath| {
            state.registry.drained(key);
            state.review_of(key, aftermath);
        });
    }

    /// A connection has ended, or is to.
    pub(super) fn close(&self, key: Key) {
        let now = self.runtime.now();
        self.change(|state, aftermath| {
            let id = state.registry.peer_of(key);
            let closed = state.registry.close(key, now);
            state.say_goodbye(&closed.left);
            state.pending.remove(&key);
            aftermath.links.extend(state.links.remove(&key));
            let cut = closed.cut.iter().filter_map(|cut| state.links.get(cut));
            aftermath.cut.extend(cut.cloned());
            if let Some((id, _)) = closed.down {
                state.down(&id, now, aftermath);
            }
            if let Some(id) = id {
                state.review(&id, aftermath);
            }
            aftermath.departed = true;
        });
    }

    /// The open connection of that key.
    pub(super) fn link(&self, key: Key) -> Option<Arc<Link<A>>> {
        self.lock().links.get(&key).cloned()
    }

    pub(super) fn peer(&self, id: &PeerId) -> Option<Peer<A>> {
        self.lock().peers.get(id).cloned()
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
            aftermath
                .aborted
                .extend(std::mem::take(&mut state.pending).into_values());
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

    /// Cuts all connections.
    pub(super) fn cut_all(&self) {
        let links: Vec<_> = self.lock().links.values().cloned().collect();
        for link in links {
            link.cut(Code::SHUTDOWN, "the node is shutting down");
        }
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

    pub(super) fn has_connections(&self) -> bool {
        !self.lock().registry.keys().is_empty()
    }

    /// Changes the state, then wakes whom it concerns.
    fn change<T>(&self, act: impl FnOnce(&mut State<A>, &mut Aftermath<A>) -> T) -> T {
        let mut aftermath = Aftermath::default();
        let mut state = self.lock();
        let result = act(&mut state, &mut aftermath);
        drop(state);
        self.tell_observers();
        if aftermath.departed {
            self.departure.notify(usize::MAX);
        }
        for peer in &aftermath.gone {
            items::with(self, |inventory| inventory.gone(peer));
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
