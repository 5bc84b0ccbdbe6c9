//! The state of one node, behind one short lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use futures_util::future::AbortHandle;

use super::app::App;
use super::book::Book;
use super::events::{Feed, NodeEvent};
use super::handshake::Nonces;
use super::identity::PeerId;
use super::link::Link;
use super::message::Notice;
use super::observer::PeerChange;
use super::peer::Peer;
use super::registry::{Key, Registry};
use crate::mux::{Code, Connection};
use crate::runtime::Instant;
use crate::transport::Endpoint;

pub(super) struct State<A: App> {
    pub(super) registry: Registry,
    pub(super) book: Book,
    pub(super) nonces: Nonces,
    /// Those whose handshake is over.
    pub(super) links: BTreeMap<Key, Arc<Link<A>>>,
    pub(super) peers: BTreeMap<PeerId, Peer<A>>,
    /// Those that have given back their places, and end when all on them is sent.
    pub(super) parting: BTreeMap<Key, Connection>,
    /// The handshakes of those who came.
    pub(super) pending: BTreeMap<Key, AbortHandle>,
    pub(super) listening: Vec<(Endpoint, AbortHandle)>,
    pub(super) feeds: Vec<Weak<Feed<A>>>,
    /// For the observers, which are told outside of the lock.
    pub(super) told: VecDeque<PeerChange>,
    pub(super) stopped: bool,
}

/// What is to be done when the state is unlocked: it wakes, and drops what may run anything.
pub(super) struct Aftermath<A: App> {
    pub(super) peers: Vec<Peer<A>>,
    pub(super) down: Vec<Peer<A>>,
    pub(super) gone: Vec<PeerId>,
    pub(super) feeds: Vec<Arc<Feed<A>>>,
    pub(super) links: Vec<Arc<Link<A>>>,
    pub(super) cut: Vec<Arc<Link<A>>>,
    pub(super) aborted: Vec<AbortHandle>,
    pub(super) dropped: Vec<VecDeque<NodeEvent<A>>>,
    pub(super) connections: Vec<Connection>,
    pub(super) departed: bool,
    pub(super) is_booked: bool,
}

impl<A: App> State<A> {
    /// Something has changed with a peer: its connections are told what they may do.
    pub(super) fn review(&mut self, id: &PeerId, aftermath: &mut Aftermath<A>) {
        let writer = self.registry.writer(id);
        for key in self.registry.connections_of(id) {
            if let (Some(link), Some(view)) = (self.links.get(&key), self.registry.view(key)) {
                link.set_view(view);
                aftermath.peers.push(link.peer.clone());
            }
        }
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        let accepts = self.registry.is_open(id);
        peer.outbox()
            .set_writer(self.registry.message_writer(id), accepts);
        if !accepts {
            aftermath.down.push(peer.clone());
        }
        if let Some(link) = writer.and_then(|writer| self.links.get(&writer)) {
            let before = peer.set_connection(link.connection.clone());
            aftermath.connections.push(before);
        }
        aftermath.peers.push(peer.clone());
    }

    pub(super) fn review_of(&mut self, key: Key, aftermath: &mut Aftermath<A>) {
        if let Some(id) = self.registry.peer_of(key) {
            self.review(&id, aftermath);
        }
    }

    /// Says goodbye on connections.
    pub(super) fn say_goodbye(&self, left: &[Key]) {
        for link in left.iter().filter_map(|key| self.links.get(key)) {
            link.notice(&Notice::Bye);
        }
    }

    /// A session is over.
    pub(super) fn down(&mut self, id: &PeerId, now: Instant, aftermath: &mut Aftermath<A>) {
        if let Some(peer) = self.peers.remove(id) {
            peer.outbox().close();
            self.book.disconnected(id, now);
            aftermath.is_booked = true;
            aftermath.gone.push(*id);
            aftermath.down.push(peer);
            self.tell(NodeEvent::Down(*id), aftermath);
        }
    }

    pub(super) fn tell(&mut self, event: NodeEvent<A>, aftermath: &mut Aftermath<A>) {
        self.feeds.retain(|feed| feed.strong_count() > 0);
        for feed in self.feeds.iter().filter_map(Weak::upgrade) {
            aftermath.dropped.push(feed.push(&event));
            aftermath.feeds.push(feed);
        }
        self.told.extend(match event {
            NodeEvent::Up(peer) => Some(PeerChange::Up(peer.id())),
            NodeEvent::Down(id) => Some(PeerChange::Down(id)),
            NodeEvent::Snapshot(_) | NodeEvent::Lagged(_) => None,
        });
    }
}

impl<A: App> Default for Aftermath<A> {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            down: Vec::new(),
            gone: Vec::new(),
            feeds: Vec::new(),
            links: Vec::new(),
            cut: Vec::new(),
            aborted: Vec::new(),
            dropped: Vec::new(),
            connections: Vec::new(),
            departed: false,
            is_booked: false,
        }
    }
}

impl<A: App> Aftermath<A> {
    /// Tells everyone whom it concerns.
    pub(super) fn pass(&self) {
        self.aborted.iter().for_each(AbortHandle::abort);
        for link in &self.cut {
            link.cut(Code::CANCELLED, "another connection of the peer was lost");
        }
        for peer in self.peers.iter().chain(&self.down) {
            peer.shared.signal.notify(usize::MAX);
        }
        for peer in &self.down {
            peer.shared.room.notify(usize::MAX);
        }
        for feed in &self.feeds {
            feed.notify();
        }
    }
}
