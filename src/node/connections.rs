//! What happens to the connections of a node, each step of which changes its state as a whole.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::AbortHandle;

use super::app::{App, Introduction};
use super::error::DialError;
use super::events::NodeEvent;
use super::guard::guarded;
use super::identity::PeerId;
use super::link::Link;
use super::message::Notice;
use super::outbox::{self, Outbox};
use super::peer::Peer;
use super::registry::{Duplicate, Entrance, Key, Parting};
use super::rejection::Reason;
use super::shared::Shared;
use crate::mux::{Code, Connection};
use crate::transport::Endpoint;

impl<A: App> Shared<A> {
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

    /// The other end of a connection has said who it is.
    pub(super) fn enter(&self, key: Key, id: PeerId, instance: u64) -> Entrance {
        self.change(|state, aftermath| {
            let entrance = state.registry.enter(key, id, instance);
            if entrance == Entrance::Granted {
                state.review(&id, aftermath);
            }
            entrance
        })
    }

    /// The other end is about to hear that it is not wanted.
    pub(super) fn turn_away(&self, key: Key) {
        self.change(|state, aftermath| {
            let id = state.registry.peer_of(key);
            let displaced = state.registry.turn_away(key);
            let displaced = displaced.and_then(|displaced| state.pending.remove(&displaced));
            aftermath.aborted.extend(displaced);
            if let Some(id) = id {
                state.review(&id, aftermath);
            }
            aftermath.departed = true;
        });
    }

    /// This end holds the connection now.
    pub(super) fn open(
        &self,
        key: Key,
        introduction: Introduction<A::Hello>,
        connection: &Connection,
        dialed: Option<&Endpoint>,
    ) -> Result<Arc<Link<A>>, Reason> {
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
                return Err(Reason::Stopping);
            }
            let opened = state.registry.open(key, now);
            let opened = opened.map_err(|Duplicate| Reason::Duplicate)?;
            state.pending.remove(&key);
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

    /// A connection goes on without its place, until all on it is sent. There are as many of them as places
    /// at most: the oldest gives way.
    pub(super) fn part(&self, key: Key, connection: Connection) {
        let most = self.config.inbound.saturating_add(self.config.outbound);
        let oldest = {
            let mut state = self.lock();
            state.parting.insert(key, connection);
            let is_over = state.parting.len() > most;
            is_over.then(|| state.parting.pop_first()).flatten()
        };
        if let Some((_, oldest)) = oldest {
            oldest.close(Code::TIMED_OUT, "others are to end too, and it has not");
        }
    }

    /// A connection that went on without its place has ended.
    pub(super) fn parted_from(&self, key: Key) {
        self.change(|state, aftermath| {
            aftermath.connections.extend(state.parting.remove(&key));
            aftermath.departed = true;
        });
    }

    /// Cuts all connections.
    pub(super) fn cut_all(&self) {
        let connections: Vec<_> = {
            let state = self.lock();
            let linked = state.links.values().map(|link| &link.connection);
            linked.chain(state.parting.values()).cloned().collect()
        };
        for connection in connections {
            connection.close(Code::SHUTDOWN, "the node is shutting down");
        }
    }

    pub(super) fn has_connections(&self) -> bool {
        let state = self.lock();
        !state.registry.keys().is_empty() || !state.parting.is_empty()
    }
}
