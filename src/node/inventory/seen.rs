use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::ItemId;
use crate::node::identity::PeerId;
use crate::runtime::Instant;

/// The most peers that are known to owe an item that was seen before.
const MOST_OWING: usize = 64;

/// Items that need not be asked for, for some time.
#[derive(Debug)]
pub(super) struct Seen {
    most: usize,
    memory: Duration,
    items: BTreeMap<ItemId, Entry>,
    /// The oldest first.
    order: VecDeque<(Instant, ItemId)>,
}

#[derive(Debug)]
struct Entry {
    until: Instant,
    /// Who was asked for it as well, and may send it still.
    owed: Vec<PeerId>,
}

impl Seen {
    pub(super) fn new(most: usize, memory: Duration) -> Self {
        Self {
            most,
            memory,
            items: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Remembers an item; of too many, the oldest is forgotten. Whoever owed it before owes it still.
    pub(super) fn add(&mut self, item: ItemId, mut owed: Vec<PeerId>, now: Instant) {
        self.forget(now);
        let until = super::later(now, self.memory);
        if let Some(before) = self.items.get_mut(&item) {
            before.owed.retain(|peer| !owed.contains(peer));
            owed.append(&mut before.owed);
            owed.truncate(MOST_OWING);
        }
        let entry = Entry { until, owed };
        if self.items.insert(item, entry).is_none() {
            self.order.push_back((until, item));
        }
    }

    pub(super) fn contains(&mut self, item: &ItemId, now: Instant) -> bool {
        self.items.get(item).is_some_and(|entry| entry.until > now)
    }

    /// A peer has sent an item; false if it did not owe it.
    pub(super) fn settle(&mut self, item: &ItemId, peer: &PeerId) -> bool {
        let Some(entry) = self.items.get_mut(item) else {
            return false;
        };
        let before = entry.owed.len();
        entry.owed.retain(|owing| owing != peer);
        entry.owed.len() < before
    }

    /// Makes room for one more.
    fn forget(&mut self, now: Instant) {
        while let Some((until, item)) = self.order.front().copied() {
            if until > now && self.order.len() < self.most {
                return;
            }
            self.order.pop_front();
            // What was seen again since is kept, at the back.
            match self.items.get(&item) {
                Some(entry) if entry.until > until => {
                    self.order.push_back((entry.until, item));
                }
                _ => {
                    self.items.remove(&item);
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.items.len(), self.order.len());
        self.items.len()
    }
}
