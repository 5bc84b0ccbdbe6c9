//! The addresses that are known, in buckets that no single party can fill.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::backoff::Backoff;
use crate::node::PeerId;
use crate::node::book::location::{Group, Location};
use crate::runtime::Instant;
use crate::transport::Endpoint;

/// The addresses of one bucket.
pub(super) const PLACES: usize = 64;

/// The buckets that all which the peers of one group tell can get into.
pub(super) const BUCKETS_OF_SOURCE: usize = 4;

/// The buckets that tried addresses of one group can get into.
pub(super) const BUCKETS_OF_GROUP: usize = 4;

/// The addresses that the user may have kept.
pub(super) const MOST_KEPT: usize = 256;

/// The tried addresses that may wait to be checked because others want their place.
const MOST_CHECKS: usize = 16;

/// An address where nobody has ever answered is forgotten after so many failures.
const MOST_FAILURES: u32 = 3;

/// An address that is not up for so long makes room for any other.
const STALE: Duration = Duration::from_hours(24 * 30);

/// One address.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) location: Location,
    /// The group of the peer that told of it first.
    pub(super) source: Group,
    pub(super) place: Place,
    pub(super) found_at: Instant,
    /// Who answered there last.
    pub(super) id: Option<PeerId>,
    pub(super) last_up: Option<Instant>,
    /// In a row.
    pub(super) failures: u32,
    pub(super) backoff: Backoff,
    /// It is being dialled, or there is a connection of it.
    pub(super) in_use: bool,
}

/// What an address is filed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The user wants it.
    Kept,
    /// Somebody told of it; in this bucket.
    New(usize),
    /// A peer has answered there; in this bucket.
    Tried(usize),
}

#[derive(Debug)]
pub(super) struct Addresses {
    secret: [u8; 16],
    entries: Slab<Entry>,
    index: HashMap<Arc<Endpoint>, usize>,
    kept: Vec<usize>,
    new: Vec<Vec<usize>>,
    tried: Vec<Vec<usize>>,
    /// Tried addresses in whose place others would be.
    checks: VecDeque<usize>,
}

impl Addresses {
    pub(super) fn new(secret: [u8; 16], new_buckets: usize, tried_buckets: usize) -> Self {
        Self {
            secret,
            entries: Slab::new(),
            index: HashMap::new(),
            kept: Vec::new(),
            new: vec![Vec::new(); new_buckets.max(1)],
            tried: vec![Vec::new(); tried_buckets.max(1)],
            checks: VecDeque::new(),
        }
    }

    pub(super) fn secret(&self) -> [u8; 16] {
        self.secret
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// In an order that depends on nothing but what has happened.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter()
    }

    pub(super) fn get(&self, endpoint: &Endpoint) -> Option<&Entry> {
        self.entries.get(*self.index.get(endpoint)?)
    }

    pub(super) fn get_mut(&mut self, endpoint: &Endpoint) -> Option<&mut Entry> {
        self.entries.get_mut(*self.index.get(endpoint)?)
    }

    pub(super) fn entry(&self, key: usize) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn is_kept(&self, endpoint: &Endpoint) -> bool {
        self.get(endpoint)
            .is_some_and(|entry| entry.place == Place::Kept)
    }

    /// The addresses in a place.
    pub(super) fn in_place(&self, place: Place) -> &[usize] {
        let keys = match place {
            Place::Kept => Some(&self.kept),
            Place::New(bucket) => self.new.get(bucket),
            Place::Tried(bucket) => self.tried.get(bucket),
        };
        keys.map_or(&[], Vec::as_slice)
    }

    /// How many places there are of the same kind.
    pub(super) fn buckets(&self, place: Place) -> usize {
        match place {
            Place::Kept => 1,
            Place::New(_) => self.new.len(),
            Place::Tried(_) => self.tried.len(),
        }
    }

    /// The tried addresses to dial to see whether they still answer.
    pub(super) fn checks(&self) -> impl Iterator<Item = usize> {
        self.checks.iter().copied()
    }

    /// Files an address that the user wants for good: answers false if there are too many.
    pub(super) fn keep(&mut self, endpoint: Endpoint, now: Instant) -> bool {
        if self.is_kept(&endpoint) {
            return true;
        }
        if self.kept.len() >= MOST_KEPT {
            return false;
        }
        if let Some(&key) = self.index.get(&endpoint) {
            self.take_from_place(key);
            self.put(key, Place::Kept);
        } else {
            let location = Location::of(&endpoint);
            let source = location.group.clone();
            self.insert(endpoint, location, source, Place::Kept, now);
        }
        true
    }

    /// Files an address that somebody told of, unless it is known or its bucket is full of what
    /// has more right to be there.
    pub(super) fn add(
        &mut self,
        endpoint: Endpoint,
        location: Location,
        source: &Group,
        now: Instant,
    ) -> bool {
        if self.index.contains_key(&endpoint) {
            return false;
        }
        let bucket = self.new_bucket(&location.group, source);
        if !self.make_room(bucket, source, now) {
            return false;
        }
        self.insert(endpoint, location, source.clone(), Place::New(bucket), now);
        true
    }

    /// A peer has answered there: it is a tried one if there is room.
    ///
    /// Otherwise one of those in its place is to be checked, and it stays where it is.
    pub(super) fn promote(&mut self, endpoint: &Endpoint) {
        let Some((key, entry)) = self.find(endpoint) else {
            return;
        };
        if let Place::Kept | Place::Tried(_) = entry.place {
            self.checks.retain(|check| *check != key);
            return;
        }
        let bucket = self.tried_bucket(entry);
        let Some(rivals) = self.tried.get(bucket) else {
            return;
        };
        if rivals.len() < PLACES {
            self.take_from_place(key);
            self.put(key, Place::Tried(bucket));
        } else if self.checks.len() < MOST_CHECKS {
            let weakest = rivals
                .iter()
                .filter(|rival| !self.checks.contains(rival))
                .filter_map(|rival| Some((*rival, self.entries.get(*rival)?)))
                .filter(|(_, entry)| !entry.in_use)
                .min_by_key(|(_, entry)| entry.last_up);
            if let Some((rival, _)) = weakest {
                self.checks.push_back(rival);
            }
        }
    }

    /// Nobody has answered there: it is forgotten if nobody ever did, and loses its place if
    /// others want that.
    pub(super) fn failed(&mut self, endpoint: &Endpoint, now: Instant) {
        let Some(&key) = self.index.get(endpoint) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.failures = entry.failures.saturating_add(1);
        let is_hopeless = entry.last_up.is_none() && entry.failures >= MOST_FAILURES;
        match entry.place {
            Place::New(_) if is_hopeless => self.remove(key),
            Place::Tried(_) if self.checks.contains(&key) => self.demote(key, now),
            _ => {}
        }
    }

    /// Forgets an address, unless the user wants it.
    pub(super) fn forget(&mut self, endpoint: &Endpoint) {
        if let Some((key, entry)) = self.find(endpoint)
            && entry.place != Place::Kept
        {
            self.remove(key);
        }
    }

    /// Forgets an address, even if the user wants it.
    pub(super) fn erase(&mut self, endpoint: &Endpoint) {
        if let Some((key, _)) = self.find(endpoint) {
            self.remove(key);
        }
    }

    fn find(&self, endpoint: &Endpoint) -> Option<(usize, &Entry)> {
        let key = *self.index.get(endpoint)?;
        Some((key, self.entries.get(key)?))
    }

    fn insert(
        &mut self,
        endpoint: Endpoint,
        location: Location,
        source: Group,
        place: Place,
        now: Instant,
    ) {
        let endpoint = Arc::new(endpoint);
        let key = self.entries.insert(Entry {
            endpoint: Arc::clone(&endpoint),
            location,
            source,
            place,
            found_at: now,
            id: None,
            last_up: None,
            failures: 0,
            backoff: Backoff::default(),
            in_use: false,
        });
        self.index.insert(endpoint, key);
        self.put(key, place);
    }

    fn remove(&mut self, key: usize) {
        self.take_from_place(key);
        if let Some(entry) = self.entries.try_remove(key) {
            self.index.remove(&entry.endpoint);
        }
    }

    fn demote(&mut self, key: usize, now: Instant) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        let source = entry.source.clone();
        let bucket = self.new_bucket(&entry.location.group, &source);
        if self.make_room(bucket, &source, now) {
            self.take_from_place(key);
            self.put(key, Place::New(bucket));
        } else {
            self.remove(key);
        }
    }

    /// Makes sure that the bucket has room for one more that `source` told of.
    ///
    /// What nobody answers at any more goes first; then what the source told of that told of the
    /// most there, if it stays ahead even so. Whoever tells of many pushes out only their own.
    fn make_room(&mut self, bucket: usize, source: &Group, now: Instant) -> bool {
        let Some(keys) = self.new.get(bucket) else {
            return false;
        };
        if keys.len() < PLACES {
            return true;
        }
        let entries = || {
            keys.iter()
                .filter_map(|key| Some((*key, self.entries.get(*key)?)))
        };
        let is_stale = |entry: &Entry| {
            let seen = entry.last_up.unwrap_or(entry.found_at);
            now.saturating_duration_since(seen) >= STALE
        };
        let stale = entries().find(|(_, entry)| !entry.in_use && is_stale(entry));
        let victim = stale.or_else(|| {
            let mut told: Vec<(&Group, usize)> = Vec::new();
            for (_, entry) in entries() {
                match told.iter_mut().find(|(group, _)| **group == entry.source) {
                    Some((_, count)) => *count = count.saturating_add(1),
                    None => told.push((&entry.source, 1)),
                }
            }
            let own = told.iter().find(|(group, _)| *group == source);
            let own = own.map_or(0, |(_, count)| *count);
            let (loudest, most) = told.iter().max_by_key(|(_, count)| *count)?;
            if *most <= own.saturating_add(1) {
                return None;
            }
            entries()
                .filter(|(_, entry)| !entry.in_use && entry.source == **loudest)
                .min_by_key(|(_, entry)| (entry.last_up, u32::MAX - entry.failures, entry.found_at))
        });
        let victim = victim.map(|(key, _)| key);
        if let Some(victim) = victim {
            self.remove(victim);
        }
        victim.is_some()
    }

    fn put(&mut self, key: usize, place: Place) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.place = place;
        }
        match self.keys(place) {
            Some(keys) => keys.push(key),
            None => self.remove(key),
        }
    }

    fn take_from_place(&mut self, key: usize) {
        let Some(place) = self.entries.get(key).map(|entry| entry.place) else {
            return;
        };
        if let Some(keys) = self.keys(place) {
            keys.retain(|other| *other != key);
        }
        self.checks.retain(|check| *check != key);
    }

    fn keys(&mut self, place: Place) -> Option<&mut Vec<usize>> {
        match place {
            Place::Kept => Some(&mut self.kept),
            Place::New(bucket) => self.new.get_mut(bucket),
            Place::Tried(bucket) => self.tried.get_mut(bucket),
        }
    }

    fn new_bucket(&self, group: &Group, source: &Group) -> usize {
        let choice = self.hash((group, source)) % BUCKETS_OF_SOURCE as u64;
        remainder(self.hash((source, choice)), self.new.len())
    }

    fn tried_bucket(&self, entry: &Entry) -> usize {
        let choice = self.hash(&entry.endpoint) % BUCKETS_OF_GROUP as u64;
        remainder(self.hash((&entry.location.group, choice)), self.tried.len())
    }

    fn hash(&self, what: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.secret.hash(&mut hasher);
        what.hash(&mut hasher);
        hasher.finish()
    }
}

fn remainder(hash: u64, buckets: usize) -> usize {
    let buckets = u64::try_from(buckets).unwrap_or(u64::MAX).max(1);
    usize::try_from(hash % buckets).unwrap_or(0)
}
