//! Which items there are, who has them, and whom to ask, without I/O.
//!
//! Places for items that are wanted count as those of the peer that named them first. When all are taken,
//! one of whoever has the most gives way to a peer that has fewer: peers that name what they do not
//! have take places from each other and not from everybody.

mod entry;
mod item;
mod seen;
mod shares;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::entry::{Source, Wanted};
pub use self::item::ItemId;
use self::seen::Seen;
use super::identity::PeerId;
use crate::runtime::Instant;

/// The most items that one message names, and that one peer is asked for at once.
pub(crate) const MOST_AT_ONCE: usize = 500;
/// How many times the limit of time a peer may owe something, if it goes on sending.
const MOST_TIMEOUTS: u32 = 6;
/// The most peers that are known to have an item that is wanted.
const MOST_SOURCES: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Items that are known not to be wanted, and how long they are.
    pub(crate) remembered: usize,
    pub(crate) memory: Duration,
    /// Items that are wanted, and of those so many that one peer was the first to name.
    pub(crate) wanted: usize,
    pub(crate) wanted_of_one: usize,
    /// How long a peer that was asked may send nothing of it.
    pub(crate) timeout: Duration,
}

/// The items that nodes tell each other of: each is asked for once, of one peer after another.
#[derive(Debug)]
pub(crate) struct Inventory {
    limits: Limits,
    seen: Seen,
    /// Items whose places others have taken, and that may come still.
    given_up: Seen,
    wanted: BTreeMap<ItemId, Wanted>,
    peers: BTreeMap<PeerId, Source>,
    next_ticket: Ticket,
    /// When it is looked next for what nobody has.
    next_look: Option<Instant>,
}

/// A place in the queue of a peer: lower ones are asked for first.
type Ticket = u64;

/// What an item is that a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It was asked for, and is the first.
    Fresh,
    /// It was asked for, and another was faster.
    Duplicate,
    /// Nobody asked for it.
    Unasked,
}

/// Ask a peer for items.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) peer: PeerId,
    pub(crate) items: Vec<ItemId>,
}

impl Inventory {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            seen: Seen::new(limits.remembered, limits.memory),
            given_up: Seen::new(limits.wanted, limits.memory),
            wanted: BTreeMap::new(),
            peers: BTreeMap::new(),
            next_ticket: 0,
            next_look: None,
        }
    }

    /// These are here: nobody needs to be asked for them.
    pub(crate) fn have(&mut self, items: &[ItemId], now: Instant) {
        for item in items {
            self.finish(item, None, now);
        }
    }

    /// A peer says that it has these.
    pub(crate) fn announced(&mut self, peer: PeerId, items: &[ItemId], now: Instant) {
        self.expire(now);
        for item in items {
            if self.seen.contains(item, now) {
                continue;
            }
            match self.wanted.get_mut(item) {
                Some(wanted) => {
                    wanted.until = later(now, self.limits.memory);
                    let is_known = wanted.turn == Some(peer) || wanted.asked.contains(&peer);
                    if !is_known
                        && !wanted.sources.contains(&peer)
                        && wanted.sources.len() < MOST_SOURCES
                    {
                        wanted.sources.push_back(peer);
                        self.peers.entry(peer).or_default();
                    }
                    if wanted.turn.is_none() {
                        self.next_source(*item);
                    }
                }
                None => self.want(peer, *item, now),
            }
        }
    }

    /// A peer has sent an item.
    pub(crate) fn arrived(&mut self, peer: PeerId, item: &ItemId, now: Instant) -> Arrival {
        let limit = later(now, self.limits.timeout);
        if let Some(source) = self.peers.get_mut(&peer)
            && source.deadline.is_some()
        {
            source.deadline = source.latest.map(|latest| latest.min(limit));
        }
        let was_asked = |wanted: &Wanted| wanted.asked.contains(&peer);
        let is_wanted = self.wanted.get(item).is_some_and(was_asked);
        let was_wanted = !is_wanted && self.given_up.settle(item, &peer);
        if is_wanted || was_wanted && !self.seen.contains(item, now) {
            self.finish(item, Some(peer), now);
            return Arrival::Fresh;
        }
        if was_wanted || self.seen.settle(item, &peer) {
            return Arrival::Duplicate;
        }
        Arrival::Unasked
    }

    /// A peer does not have these any more.
    pub(crate) fn missing(&mut self, peer: PeerId, items: &[ItemId]) {
        for item in items {
            let Some(wanted) = self.wanted.get_mut(item) else {
                continue;
            };
            if wanted.turn == Some(peer) && wanted.asked.contains(&peer) {
                wanted.turn = None;
                wanted.asked.retain(|asked| *asked != peer);
                self.no_longer_owed(&peer);
                self.next_source(*item);
            }
        }
    }

    /// A peer is no longer connected.
    pub(crate) fn gone(&mut self, peer: &PeerId, now: Instant) {
        self.peers.remove(peer);
        let mut concerned = Vec::new();
        for (item, wanted) in &mut self.wanted {
            wanted.sources.retain(|source| source != peer);
            wanted.asked.retain(|asked| asked != peer);
            if wanted.turn == Some(*peer) {
                (wanted.turn, wanted.ticket) = (None, None);
                concerned.push(*item);
            } else if wanted.first == *peer {
                concerned.push(*item);
            }
        }
        for item in concerned {
            self.pass_on(item, peer, now);
        }
    }

    /// Whom to ask for what now, one peer at a time.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Request> {
        self.expire(now);
        let ready = |source: &Source| !source.queue.is_empty() && source.owes < MOST_AT_ONCE;
        let peer = *self.peers.iter().find(|(_, source)| ready(source))?.0;
        let mut items = Vec::new();
        while let Some(item) = self.next_of(&peer) {
            items.push(item);
        }
        let source = self.peers.get_mut(&peer)?;
        let timeout = self.limits.timeout;
        let latest = later(now, timeout.saturating_mul(MOST_TIMEOUTS));
        let latest = *source.latest.get_or_insert(latest);
        source.deadline = Some(later(now, timeout).min(latest));
        Some(Request { peer, items })
    }

    /// When [`poll`](Self::poll) may have something to do although nothing happened.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.peers
            .values()
            .filter_map(|source| source.deadline)
            .min()
    }

    fn want(&mut self, peer: PeerId, item: ItemId, now: Instant) {
        let source = self.peers.entry(peer).or_default();
        let share = source.share();
        if share >= self.limits.wanted_of_one {
            return;
        }
        if self.wanted.len() >= self.limits.wanted && !self.make_room(share, now) {
            return;
        }
        let wanted = Wanted {
            first: peer,
            sources: VecDeque::from([peer]),
            turn: None,
            ticket: None,
            asked: Vec::new(),
            until: later(now, self.limits.memory),
        };
        self.wanted.insert(item, wanted);
        self.next_source(item);
    }

    /// Gives the turn to the next that has the item.
    fn next_source(&mut self, item: ItemId) {
        let Some(wanted) = self.wanted.get_mut(&item) else {
            return;
        };
        wanted.turn = wanted.sources.pop_front();
        wanted.ticket = None;
        let next = wanted.turn.and_then(|next| self.peers.get_mut(&next));
        if let Some(source) = next {
            wanted.ticket = Some(self.next_ticket);
            source.queue.insert(self.next_ticket, item);
            self.next_ticket = self.next_ticket.wrapping_add(1);
        }
        if let Some(owner) = self.peers.get_mut(&wanted.first) {
            owner.busy.remove(&item);
            owner.spare.insert(item);
        }
    }

    /// Takes what a peer is to be asked for next, unless that would be too much at once.
    fn next_of(&mut self, peer: &PeerId) -> Option<ItemId> {
        let source = self.peers.get_mut(peer)?;
        if source.owes >= MOST_AT_ONCE {
            return None;
        }
        let (_, item) = source.queue.pop_first()?;
        source.owes = source.owes.saturating_add(1);
        let wanted = self.wanted.get_mut(&item)?;
        wanted.ticket = None;
        wanted.asked.push(*peer);
        if let Some(owner) = self.peers.get_mut(&wanted.first) {
            owner.spare.remove(&item);
            owner.busy.insert(item);
        }
        Some(item)
    }

    /// A peer has gone: the turn passes to the next that has the item, its place to whose turn it is.
    fn pass_on(&mut self, item: ItemId, gone: &PeerId, now: Instant) {
        let has_turn = |wanted: &Wanted| wanted.turn.is_some();
        if !self.wanted.get(&item).is_some_and(has_turn) {
            self.next_source(item);
        }
        let Some(wanted) = self.wanted.get_mut(&item) else {
            return;
        };
        if wanted.first != *gone {
            return;
        }
        let heir = wanted.turn.and_then(|turn| self.peers.get_mut(&turn));
        match (wanted.turn, heir) {
            (Some(turn), Some(heir)) if heir.share() < self.limits.wanted_of_one => {
                wanted.first = turn;
                match wanted.ticket {
                    Some(_) => heir.spare.insert(item),
                    None => heir.busy.insert(item),
                };
            }
            _ => self.displace(item, now),
        }
    }

    /// The item is no longer wanted, and whoever was asked for it last does not owe it any more.
    fn give_up(&mut self, item: &ItemId) -> Option<Wanted> {
        let wanted = self.remove(item)?;
        if let Some(turn) = wanted.turn.filter(|turn| wanted.asked.contains(turn)) {
            self.no_longer_owed(&turn);
        }
        Some(wanted)
    }

    fn remove(&mut self, item: &ItemId) -> Option<Wanted> {
        let wanted = self.wanted.remove(item)?;
        if let Some(owner) = self.peers.get_mut(&wanted.first) {
            owner.spare.remove(item);
            owner.busy.remove(item);
        }
        if let Some((turn, ticket)) = wanted.turn.zip(wanted.ticket)
            && let Some(source) = self.peers.get_mut(&turn)
        {
            source.queue.remove(&ticket);
        }
        Some(wanted)
    }

    /// The item is here, from that peer if from any: others that were asked for it owe it still.
    fn finish(&mut self, item: &ItemId, from: Option<PeerId>, now: Instant) {
        let wanted = self.give_up(item);
        let mut owed = wanted.map(|wanted| wanted.asked).unwrap_or_default();
        owed.retain(|asked| Some(*asked) != from);
        self.seen.add(*item, owed, now);
    }

    /// One item less is waited for from a peer.
    fn no_longer_owed(&mut self, peer: &PeerId) {
        if let Some(source) = self.peers.get_mut(peer) {
            source.owes = source.owes.saturating_sub(1);
            if source.owes == 0 {
                (source.deadline, source.latest) = (None, None);
            }
        }
    }

    /// Whoever owes for too long is no longer waited for.
    fn expire(&mut self, now: Instant) {
        let is_late = |source: &Source| source.deadline.is_some_and(|deadline| deadline <= now);
        let late = self.peers.iter().filter(|(_, source)| is_late(source));
        let late: Vec<PeerId> = late.map(|(peer, _)| *peer).collect();
        for peer in &late {
            if let Some(source) = self.peers.get_mut(peer) {
                source.owes = 0;
                (source.deadline, source.latest) = (None, None);
            }
            let owed = self
                .wanted
                .iter()
                .filter(|(_, wanted)| wanted.turn == Some(*peer) && wanted.asked.contains(peer));
            let owed: Vec<ItemId> = owed.map(|(item, _)| *item).collect();
            for item in owed {
                self.next_source(item);
            }
        }
        if !self.wanted.is_empty() {
            self.forget(now);
        }
    }

    /// Nobody has these any more.
    fn forget(&mut self, now: Instant) {
        if self.next_look.is_some_and(|next| now < next) {
            return;
        }
        self.next_look = Some(later(now, self.limits.memory / 8));
        let is_over = |wanted: &Wanted| wanted.turn.is_none() && wanted.until <= now;
        let over = self.wanted.iter().filter(|(_, wanted)| is_over(wanted));
        let over: Vec<ItemId> = over.map(|(item, _)| *item).collect();
        for item in &over {
            self.remove(item);
        }
    }
}

fn later(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}

#[cfg(test)]
mod tests;
