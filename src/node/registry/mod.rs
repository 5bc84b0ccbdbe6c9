//! Which connections there are with whom, without I/O: places, duplicates, and whose turn to be read
//! it is.
//!
//! Two nodes that dial each other at once make two connections. The one whose dialer has the smaller
//! id wins. Only its listener retires the other, and only when it has the Ack: it knows then that both
//! ends hold the winner. What is sent goes to the loser until it is retired, and never to the loser
//! again; what comes is read from the loser to its end, and only then from the winner. So nothing is
//! lost, doubled or reordered, and there is one connection in the end.
//!
//! A connection may be lost at one end long before the other knows, and either end may leave at any
//! moment. So messages go from the loser to the winner only when the other end has released the loser:
//! it held both then, and reads the loser to its end or cuts the winner. The listener of the winner
//! releases it by saying that it moves, the other end by finishing in answer to that. Until then
//! messages wait; a goodbye instead says that the winner is of another session there, and they are not
//! sent at all.

mod entry;
mod order;
mod places;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::entry::View;
use self::entry::{Entry, Record, Stage};
pub(crate) use self::places::Limits;
pub use self::places::Occupancy;
use self::places::Places;
use super::app::Direction;
use super::identity::PeerId;
use crate::runtime::Instant;

/// A connection.
pub(crate) type Key = u64;
/// A time during which a peer was connected without a break.
pub(crate) type Session = u64;

#[derive(Debug)]
pub(crate) struct Registry {
    own: PeerId,
    connections: BTreeMap<Key, Entry>,
    peers: BTreeMap<PeerId, Record>,
    places: Places,
    next_key: Key,
    next_session: Session,
    /// How long a connection that is to end may still be read.
    drain: Duration,
}

/// What comes of a peer's wish to be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// It may.
    Granted,
    /// There is a connection like this already: find out whether it answers. If it does, the new one is
    /// a duplicate; if not, [`close`](Registry::close) it and ask again.
    Probe(Key),
    /// There is a better connection already.
    Duplicate,
    /// There was a better connection, which is about to end: ask again when it has.
    Wait,
    /// No place is free.
    Full,
}

/// What opening a connection leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) session: Session,
    /// No other connection of the session was there before.
    pub(crate) is_new: bool,
    /// A session of the same peer that is over with this.
    pub(crate) ended: Option<Session>,
    /// A connection that loses, to say on that this end moves.
    pub(crate) retire: Option<Key>,
}

/// The two already have a connection that wins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Duplicate;

/// What the end of a connection leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The peer that is no longer connected.
    pub(crate) down: Option<(PeerId, Session)>,
    /// Connections to cut: messages were lost between them and this one.
    pub(crate) cut: Vec<Key>,
    /// Connections to say goodbye on.
    pub(crate) left: Vec<Key>,
}

/// How the other end says that it sends nothing more on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// It goes on with the connection that wins.
    Moves,
    /// It leaves.
    Leaves,
    /// It says nothing more.
    Finishes,
}

impl Registry {
    pub(crate) fn new(own: PeerId, limits: Limits, drain: Duration) -> Self {
        Self {
            own,
            connections: BTreeMap::new(),
            peers: BTreeMap::new(),
            places: Places::new(limits),
            next_key: 0,
            next_session: 0,
            drain,
        }
    }

    /// A connection came: answers its key, and another that has waited longest to say who it is and has
    /// to give way.
    pub(crate) fn arrive(&mut self, address: Option<&str>) -> (Key, Option<Key>) {
        let key = self.insert(Direction::Inbound, address);
        let displaced = self.places.arrive(key);
        if let Some(displaced) = displaced {
            self.remove(displaced);
        }
        (key, displaced)
    }

    /// A connection is to be made; none if there is no place for it.
    pub(crate) fn dial(&mut self) -> Option<Key> {
        let key = self.feel();
        if self.places.dial(key) {
            return Some(key);
        }
        self.remove(key);
        None
    }

    /// A connection is to be made only to see who answers: it takes no place.
    pub(crate) fn feel(&mut self) -> Key {
        self.insert(Direction::Outbound, None)
    }

    /// The other end has said who it is.
    pub(crate) fn enter(&mut self, key: Key, id: PeerId, instance: u64) -> Entrance {
        let Some(entry) = self.connections.get(&key) else {
            return Entrance::Full;
        };
        let direction = entry.direction;
        if self.is_after_winner(&id, direction, instance) {
            return Entrance::Wait;
        }
        for (other, entry) in self.of(&id) {
            if other == key || entry.stage != Stage::Open {
                continue;
            }
            if entry.direction == direction || entry.instance != instance {
                return Entrance::Probe(other);
            }
            if self.wins(entry.direction, &id) && entry.direction == Direction::Inbound {
                return Entrance::Duplicate;
            }
        }
        let Some(entry) = self.connections.get_mut(&key) else {
            return Entrance::Full;
        };
        if direction == Direction::Inbound && !self.places.enter(key, entry.address.as_deref()) {
            return Entrance::Full;
        }
        entry.stage = Stage::Entered;
        entry.peer = Some(id);
        entry.instance = instance;
        self.peers.entry(id).or_default().connections.push(key);
        Entrance::Granted
    }

    /// A connection is not wanted: another may have its place before its other end hears so. One that came
    /// is among the pending again; answers another that has to give way to it.
    pub(crate) fn turn_away(&mut self, key: Key) -> Option<Key> {
        let entry = self.connections.get(&key)?;
        let (direction, address) = (entry.direction, entry.address.clone());
        self.remove(key);
        let entry = Entry::new(direction, address.as_deref());
        self.connections.insert(key, entry);
        if direction == Direction::Outbound {
            return None;
        }
        let displaced = self.places.arrive(key)?;
        self.remove(displaced);
        Some(displaced)
    }

    /// The handshake is over: this end holds the connection.
    pub(crate) fn open(&mut self, key: Key, now: Instant) -> Result<Opened, Duplicate> {
        let entry = self.connections.get(&key).ok_or(Duplicate)?;
        let (direction, instance) = (entry.direction, entry.instance);
        let id = entry.peer.ok_or(Duplicate)?;
        if self.is_after_winner(&id, direction, instance) {
            return Err(Duplicate);
        }
        let mut retire = None;
        let mut beside = None;
        for (other, entry) in self.of(&id) {
            if other == key || entry.stage != Stage::Open {
                continue;
            }
            if entry.direction == direction || entry.instance != instance {
                return Err(Duplicate);
            }
            beside = entry.session;
            match (self.wins(entry.direction, &id), entry.direction) {
                (true, Direction::Inbound) => return Err(Duplicate),
                (false, Direction::Outbound) => retire = Some(other),
                _ => {}
            }
        }
        let record = self.peers.get_mut(&id).ok_or(Duplicate)?;
        let is_new = beside.is_none();
        let session = beside.unwrap_or_else(|| {
            self.next_session += 1;
            self.next_session
        });
        let ended = record.session.filter(|_| is_new);
        record.session = Some(session);
        record.writer = record.writer.filter(|_| !is_new).or(Some(key));
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.stage = Stage::Open;
            entry.may_lose = true;
            entry.session = Some(session);
        }
        if let Some(loser) = retire {
            self.retire(loser, now);
            if let Some(entry) = self.connections.get_mut(&loser) {
                entry.has_moved = true;
            }
        }
        self.hurry_losers(&id, now);
        Ok(Opened {
            session,
            is_new,
            ended,
            retire,
        })
    }

    /// Nothing more is sent on the connection: a goodbye was said on it, here or there. Answers whether
    /// that is news.
    pub(crate) fn retire(&mut self, key: Key, now: Instant) -> bool {
        let Some(entry) = self.connections.get_mut(&key) else {
            return false;
        };
        if entry.stage != Stage::Open {
            return false;
        }
        entry.stage = Stage::Retiring;
        let deadline = now.checked_add(self.drain);
        entry.deadline = entry.deadline.or(deadline);
        if let Some(id) = entry.peer {
            self.choose_writer(&id);
        }
        true
    }

    /// This end leaves a peer: answers the connections to say goodbye on. The one that messages are sent on
    /// is the last, so that it takes those that wait.
    pub(crate) fn leave(&mut self, id: &PeerId, now: Instant) -> Vec<Key> {
        let mut keys = self.connections_of(id);
        let writer = self.writer(id);
        keys.sort_by_key(|key| Some(*key) == writer);
        keys.retain(|key| self.retire(*key, now));
        keys
    }

    /// The other end sends nothing more on the connection: answers connections to say goodbye on.
    pub(crate) fn parted(&mut self, key: Key, parting: Parting, now: Instant) -> Vec<Key> {
        let is_news = self.retire(key, now);
        let Some(entry) = self.connections.get_mut(&key) else {
            return Vec::new();
        };
        match parting {
            Parting::Moves => entry.is_released = true,
            Parting::Finishes if entry.has_moved && !entry.is_left => entry.is_released = true,
            Parting::Finishes if !is_news => {}
            Parting::Leaves | Parting::Finishes => {
                entry.is_left = true;
                if !entry.is_released {
                    return self.sever(key, now);
                }
            }
        }
        Vec::new()
    }

    /// All messages that came on the connection were read.
    pub(crate) fn drained(&mut self, key: Key) {
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.is_drained = true;
            entry.may_lose = false;
        }
    }

    /// The other end of a connection that came is told that it is wanted: it may send from now on.
    pub(crate) fn answered(&mut self, key: Key) {
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.may_lose = true;
        }
    }

    /// The other end does not want the connection: it has sent nothing.
    pub(crate) fn rejected(&mut self, key: Key) {
        if let Some(entry) = self.connections.get_mut(&key) {
            entry.may_lose = false;
        }
    }

    /// The connection has ended, whatever it was at. Closing one twice is nothing.
    pub(crate) fn close(&mut self, key: Key, now: Instant) -> Closed {
        let left = match self.connections.get(&key) {
            Some(entry) if !entry.is_released => self.sever(key, now),
            _ => Vec::new(),
        };
        Closed {
            left,
            ..self.remove(key)
        }
    }

    fn remove(&mut self, key: Key) -> Closed {
        let mut closed = Closed::default();
        let Some(entry) = self.connections.remove(&key) else {
            return closed;
        };
        self.places.leave(key, entry.direction);
        let Some(id) = entry.peer else {
            return closed;
        };
        if let Some(record) = self.peers.get_mut(&id) {
            record.connections.retain(|other| *other != key);
        }
        let current = self.peers.get(&id).and_then(|record| record.session);
        if entry.may_lose {
            closed.cut = self.cut_beside(&entry, &id, current);
        }
        let is_of_session = |(_, other): (Key, &Entry)| other.session == current;
        if entry.session.is_some() && entry.session == current && !self.of(&id).any(is_of_session) {
            closed.down = current.map(|session| (id, session));
            if let Some(record) = self.peers.get_mut(&id) {
                record.session = None;
            }
        }
        self.choose_writer(&id);
        if self.peers.get(&id).is_some_and(Record::is_empty) {
            self.peers.remove(&id);
        }
        closed
    }

    /// What the connection may do now.
    pub(crate) fn view(&self, key: Key) -> Option<View> {
        let entry = self.connections.get(&key)?;
        Some(View {
            may_read: self.may_read(key, entry),
            is_retiring: entry.stage == Stage::Retiring,
            is_held: self.is_held(key, entry),
            is_cut: entry.is_cut,
            deadline: entry.deadline,
        })
    }

    /// The connections with a peer.
    pub(crate) fn connections_of(&self, id: &PeerId) -> Vec<Key> {
        self.of(id).map(|(key, _)| key).collect()
    }

    /// All connections.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.connections.keys().copied().collect()
    }

    /// Who is at the other end, if it has said so.
    pub(crate) fn peer_of(&self, key: Key) -> Option<PeerId> {
        self.connections.get(&key)?.peer
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        self.places.occupancy()
    }

    fn insert(&mut self, direction: Direction, address: Option<&str>) -> Key {
        self.next_key += 1;
        let entry = Entry::new(direction, address);
        self.connections.insert(self.next_key, entry);
        self.next_key
    }

    fn of(&self, id: &PeerId) -> impl Iterator<Item = (Key, &Entry)> {
        let record = self.peers.get(id);
        let keys = record.map_or(&[][..], |record| &record.connections);
        keys.iter()
            .filter_map(|key| Some((*key, self.connections.get(key)?)))
    }
}

#[cfg(test)]
mod tests;
