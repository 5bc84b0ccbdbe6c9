//! Of several connections with one peer: which wins, what is sent on which, and what is read first.

use super::entry::{Entry, Stage};
use super::{Key, Registry, Session};
use crate::node::app::Direction;
use crate::node::identity::PeerId;
use crate::runtime::Instant;

impl Registry {
    /// The connection that what is for a peer is sent on.
    pub(crate) fn writer(&self, id: &PeerId) -> Option<Key> {
        self.peers.get(id)?.writer
    }

    /// As [`writer`](Self::writer), for messages: none while those sent before may be lost.
    pub(crate) fn message_writer(&self, id: &PeerId) -> Option<Key> {
        let writer = self.writer(id)?;
        let entry = self.connections.get(&writer)?;
        let may_write = !entry.is_cut && !entry.is_mute && !self.is_held(writer, entry);
        may_write.then_some(writer)
    }

    /// Whether anything new may be sent to a peer.
    pub(crate) fn is_open(&self, id: &PeerId) -> bool {
        let writer = self.writer(id).and_then(|key| self.connections.get(&key));
        writer.is_some_and(|entry| entry.stage == Stage::Open)
    }

    /// Whether a connection of that direction is the one that stays, of two.
    pub(super) fn wins(&self, direction: Direction, id: &PeerId) -> bool {
        match direction {
            Direction::Outbound => self.own < *id,
            Direction::Inbound => *id < self.own,
        }
    }

    /// Whether a connection would lose against one that is left and not yet over. As what comes on a loser
    /// is read first, it must not be opened beside that, or what is old would be read after what is new.
    pub(super) fn is_after_winner(&self, id: &PeerId, direction: Direction, instance: u64) -> bool {
        self.of(id).any(|(_, entry)| {
            let is_crossing = entry.direction != direction && entry.instance == instance;
            let is_left = entry.stage == Stage::Retiring;
            is_crossing && is_left && self.wins(entry.direction, id)
        })
    }

    /// Two connections are open, and the other end is to retire the loser: it does not take for ever.
    pub(super) fn hurry_losers(&mut self, id: &PeerId, now: Instant) {
        let open = |(key, entry): (Key, &Entry)| {
            (entry.stage == Stage::Open).then_some((key, entry.direction))
        };
        let open: Vec<(Key, Direction)> = self.of(id).filter_map(open).collect();
        if open.len() < 2 {
            return;
        }
        for (key, direction) in open {
            if self.wins(direction, id) {
                continue;
            }
            if let Some(entry) = self.connections.get_mut(&key) {
                entry.deadline = entry.deadline.or_else(|| now.checked_add(self.drain));
            }
        }
    }

    /// Something may have been lost on a connection: what was sent after it, on others, is not read.
    pub(super) fn cut_beside(
        &mut self,
        lost: &Entry,
        id: &PeerId,
        current: Option<Session>,
    ) -> Vec<Key> {
        let session = lost.session.or(current);
        let is_beside = |(_, other): &(Key, &Entry)| {
            let is_crossing = other.direction != lost.direction && other.instance == lost.instance;
            let is_after = other.session == session || self.is_before(lost, other);
            other.session.is_some() && is_after && is_crossing
        };
        let beside: Vec<Key> = self.of(id).filter(is_beside).map(|(key, _)| key).collect();
        for key in &beside {
            if let Some(entry) = self.connections.get_mut(key) {
                entry.is_cut = true;
            }
        }
        beside
    }

    /// No messages of the session go to connections after this one, which the other end has not released:
    /// answers those to say goodbye on.
    pub(super) fn sever(&mut self, key: Key, now: Instant) -> Vec<Key> {
        let Some((id, entry)) = self
            .connections
            .get(&key)
            .and_then(|entry| Some((entry.peer?, entry)))
        else {
            return Vec::new();
        };
        let is_after = |(other, after): &(Key, &Entry)| {
            let is_of_session = entry.session.is_some() && after.session == entry.session;
            *other != key && is_of_session && self.is_before(entry, after)
        };
        let mut after: Vec<Key> = self.of(&id).filter(is_after).map(|(key, _)| key).collect();
        for key in &after {
            if let Some(entry) = self.connections.get_mut(key) {
                entry.is_mute = true;
            }
        }
        after.retain(|key| self.retire(*key, now));
        after
    }

    /// The writer stays as long as it can, and never goes back: then nothing is sent on the loser after the
    /// winner. Without another, one that is to end takes what waited before.
    pub(super) fn choose_writer(&mut self, id: &PeerId) {
        let Some(writer) = self.peers.get(id).map(|record| record.writer) else {
            return;
        };
        let current = writer.and_then(|writer| self.connections.get(&writer));
        let stage = current.map(|entry| entry.stage);
        if stage == Some(Stage::Open) {
            return;
        }
        let may_follow = |(_, entry): &(Key, &Entry)| {
            let is_back = current.is_some_and(|current| self.is_before(entry, current));
            entry.stage == Stage::Open && !entry.is_cut && !is_back
        };
        let next = self.of(id).find(may_follow).map(|(key, _)| key);
        let kept = writer.filter(|_| stage == Some(Stage::Retiring));
        if let Some(record) = self.peers.get_mut(id) {
            record.writer = next.or(kept);
        }
    }

    /// Messages wait to be sent on a connection while the other end has not released one that they were
    /// sent on before.
    pub(super) fn is_held(&self, key: Key, entry: &Entry) -> bool {
        let is_writer = |id: &PeerId| self.writer(id) == Some(key) && !entry.is_mute;
        let Some(id) = entry.peer.filter(is_writer) else {
            return false;
        };
        self.of(&id).any(|(other, before)| {
            let is_left = before.stage == Stage::Retiring && !before.is_released;
            let is_of_session = before.session == entry.session;
            other != key && is_left && is_of_session && self.is_before(before, entry)
        })
    }

    /// Messages are read from a connection only when those that were sent before on others of the same
    /// peer have been.
    pub(super) fn may_read(&self, key: Key, entry: &Entry) -> bool {
        let Some(id) = entry.peer.filter(|_| !entry.is_cut) else {
            return false;
        };
        entry.session.is_some()
            && self.of(&id).all(|(other, before)| {
                other == key || before.is_drained || !self.is_before(before, entry)
            })
    }

    /// Whether what comes on one connection of a peer was sent before what comes on another.
    fn is_before(&self, one: &Entry, other: &Entry) -> bool {
        match one.session.zip(other.session) {
            Some((earlier, session)) if earlier != session => earlier < session,
            // Of one session, or about to be: the loser goes first.
            _ => {
                let wins = |id: PeerId| self.wins(other.direction, &id);
                one.direction != other.direction && other.peer.is_some_and(wins)
            }
        }
    }
}
