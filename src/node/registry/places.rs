use std::collections::{BTreeMap, BTreeSet};

use super::Key;
use crate::node::app::Direction;

/// How many connections there may be, of each kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) pending: usize,
    pub(crate) inbound: usize,
    pub(crate) outbound: usize,
    pub(crate) per_address: usize,
}

/// How many places of a node are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupancy {
    /// By connections that came and have not said from whom, or are told that they are not wanted.
    pub pending: usize,
    /// By connections that came, from peers that are known.
    pub inbound: usize,
    /// By connections that this node has made or is making.
    pub outbound: usize,
}

/// The places of a node, and who has them.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    pending: BTreeSet<Key>,
    /// Each with its address.
    inbound: BTreeMap<Key, Option<Box<str>>>,
    pub(super) addresses: BTreeMap<Box<str>, usize>,
    outbound: BTreeSet<Key>,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            pending: BTreeSet::new(),
            inbound: BTreeMap::new(),
            addresses: BTreeMap::new(),
            outbound: BTreeSet::new(),
        }
    }

    /// Takes a place for a connection that came; of one too many, the oldest has to give way.
    pub(super) fn arrive(&mut self, key: Key) -> Option<Key> {
        let is_full = self.pending.len() >= self.limits.pending;
        let displaced = if is_full {
            self.pending.pop_first()
        } else {
            None
        };
        self.pending.insert(key);
        displaced
    }

    pub(super) fn dial(&mut self, key: Key) -> bool {
        self.outbound.len() < self.limits.outbound && self.outbound.insert(key)
    }

    /// A connection that came is with a peer now.
    pub(super) fn enter(&mut self, key: Key, address: Option<&str>) -> bool {
        let at_address = address.and_then(|address| self.addresses.get(address));
        if self.inbound.len() >= self.limits.inbound
            || at_address.is_some_and(|count| *count >= self.limits.per_address)
        {
            return false;
        }
        self.pending.remove(&key);
        let address: Option<Box<str>> = address.map(Into::into);
        if let Some(address) = &address {
            *self.addresses.entry(address.clone()).or_default() += 1;
        }
        self.inbound.insert(key, address);
        true
    }

    pub(super) fn leave(&mut self, key: Key, direction: Direction) {
        if direction == Direction::Outbound {
            self.outbound.remove(&key);
            return;
        }
        self.pending.remove(&key);
        let Some(address) = self.inbound.remove(&key).flatten() else {
            return;
        };
        if let Some(count) = self.addresses.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        Occupancy {
            pending: self.pending.len(),
            inbound: self.inbound.len(),
            outbound: self.outbound.len(),
        }
    }
}
