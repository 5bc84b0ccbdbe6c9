//! Which items there are, who has them, and whom to ask, without I/O.

mod item;
mod seen;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

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
    wanted: BTreeMap<ItemId, Wanted>,
    peers: BTreeMap<PeerId, Source>,
    /// When it is looked next for what nobody has.
    next_look: Option<Instant>,
}

/// An item that was announced and is not here.
#[derive(Debug)]
struct Wanted {
    /// Whose share of the places it takes.
    first: PeerId,
    /// Who else has it, and was not asked yet.
    sources: VecDeque<PeerId>,
    /// Whose turn it is, asked or about to be.
    turn: Option<PeerId>,
    /// Who was asked, and may answer still.
    asked: Vec<PeerId>,
    /// When it is given up.
    until: Instant,
}

/// A peer that has announced something.
#[derive(Debug, Default)]
struct Source {
    /// What it is to be asked for.
    queue: VecDeque<ItemId>,
    /// How many items it was asked for and owes.
    owes: usize,
    /// When others are asked for what it owes; not later than `latest`, however much it sends.
    deadline: Option<Instant>,
    latest: Option<Instant>,
    /// How many items are wanted because of it.
    share: usize,
}

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
            wanted: BTreeMap::new(),
            peers: BTreeMap::new(),
            next_look: None,
        }
    }

    /// These are here: nobody needs to be asked for them.
    pub(crate) fn have(&mut self, items: &[ItemId], now: Instant) {
        for item in items {
            if !self.finish(item, now) {
                self.seen.add(*item, Vec::new(), now);
            }
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
        if self.wanted.get(item).is_some_and(was_asked) {
            self.finish_except(item, Some(peer), now);
            return Arrival::Fresh;
        }
        if self.seen.settle(item, &peer) {
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
    pub(crate) fn gone(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        let mut orphans = Vec::new();
        for (item, wanted) in &mut self.wanted {
            wanted.sources.retain(|source| source != peer);
            wanted.asked.retain(|asked| asked != peer);
            if wanted.turn == Some(*peer) {
                wanted.turn = None;
                orphans.push(*item);
            }
        }
        for item in orphans {
            self.next_source(item);
        }
    }

    /// Whom to ask for what now, one peer at a time.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Request> {
        self.expire(now);
        let ready = |source: &Source| !source.queue.is_empty() && source.owes < MOST_AT_ONCE;
        let peer = *self.peers.iter().find(|(_, source)| ready(source))?.0;
        let source = self.peers.get_mut(&peer)?;
        let mut items = Vec::new();
        while source.owes < MOST_AT_ONCE
            && let Some(item) = source.queue.pop_front()
        {
            // Others may have sent it since.
            if let Some(wanted) = self.wanted.get_mut(&item)
                && wanted.turn == Some(peer)
                && !wanted.asked.contains(&peer)
            {
                wanted.asked.push(peer);
                source.owes += 1;
                items.push(item);
            }
        }
        if items.is_empty() {
            return self.poll(now);
        }
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
        if self.wanted.len() >= self.limits.wanted || source.share >= self.limits.wanted_of_one {
            return;
        }
        source.share += 1;
        source.queue.push_back(item);
        let wanted = Wanted {
            first: peer,
            sources: VecDeque::new(),
            turn: Some(peer),
            asked: Vec::new(),
            until: later(now, self.limits.memory),
        };
        self.wanted.insert(item, wanted);
    }

    /// Gives the turn to the next that has the item.
    fn next_source(&mut self, item: ItemId) {
        let Some(wanted) = self.wanted.get_mut(&item) else {
            return;
        };
        wanted.turn = wanted.sources.pop_front();
        let next = wanted.turn.and_then(|next| self.peers.get_mut(&next));
        if let Some(source) = next {
            source.queue.push_back(item);
        }
    }

    /// The item is here; false if nobody was asked for it.
    fn finish(&mut self, item: &ItemId, now: Instant) -> bool {
        self.finish_except(item, None, now)
    }

    /// The same, from that peer: others that were asked owe it still.
    fn finish_except(&mut self, item: &ItemId, from: Option<PeerId>, now: Instant) -> bool {
        let Some(wanted) = self.wanted.remove(item) else {
            return false;
        };
        if let Some(source) = self.peers.get_mut(&wanted.first) {
            source.share = source.share.saturating_sub(1);
        }
        if let Some(turn) = wanted.turn.filter(|turn| wanted.asked.contains(turn)) {
            self.no_longer_owed(&turn);
        }
        let mut owed = wanted.asked;
        owed.retain(|asked| Some(*asked) != from);
        self.seen.add(*item, owed, now);
        true
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
            self.give_up(now);
        }
    }

    /// Nobody has these any more.
    fn give_up(&mut self, now: Instant) {
        let peers = &mut self.peers;
        if self.next_look.is_some_and(|next| now < next) {
            return;
        }
        self.next_look = Some(later(now, self.limits.memory / 8));
        self.wanted.retain(|_, wanted| {
            let is_kept = wanted.turn.is_some() || wanted.until > now;
            if !is_kept && let Some(source) = peers.get_mut(&wanted.first) {
                source.share = source.share.saturating_sub(1);
            }
            is_kept
        });
    }
}

fn later(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}

#[cfg(test)]
mod tests;
