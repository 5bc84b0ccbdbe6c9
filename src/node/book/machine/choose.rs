use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt as _;

use super::act::one_of;
use super::addresses::{Entry, Place};
use super::{Book, Purpose};
use crate::node::book::location::Group;
use crate::runtime::Instant;
use crate::transport::Endpoint;

impl Book {
    /// Whom to dial to have one more outbound peer: of a group that there is none of, if possible.
    pub(super) fn choose_outbound(&mut self, now: Instant) -> Option<Arc<Endpoint>> {
        let ready = self.ready(now);
        let taken = self.outbound_groups();
        let is_fresh = |key: &usize| {
            let entry = self.addresses.entry(*key);
            entry.is_some_and(|entry| !taken.contains(&entry.location.group))
        };
        let fresh: Vec<usize> = ready.iter().copied().filter(is_fresh).collect();
        let key = match self.pick(&fresh) {
            Some(key) => key,
            None => self.pick(&ready)?,
        };
        self.endpoint(key)
    }

    /// Where to look whether somebody answers: where another address would be, or a new one.
    pub(super) fn choose_feeler(&mut self, now: Instant) -> Option<Arc<Endpoint>> {
        let ready = self.ready(now);
        let check = self.addresses.checks().find(|key| ready.contains(key));
        let key = check.or_else(|| {
            let is_new = |key: &usize| {
                let entry = self.addresses.entry(*key);
                entry.is_some_and(|entry| matches!(entry.place, Place::New(_)))
            };
            let new: Vec<usize> = ready.iter().copied().filter(is_new).collect();
            self.pick(&new)
        });
        self.endpoint(key?)
    }

    /// Whether somebody who has answered before could be dialled.
    pub(super) fn has_successor(&self, now: Instant) -> bool {
        self.addresses
            .iter()
            .any(|(_, entry)| entry.last_up.is_some() && self.may_dial(entry, now))
    }

    /// When the next of those that wait may be dialled.
    pub(super) fn next_ready(&self, now: Instant) -> Option<Instant> {
        let waiting = self.addresses.iter().filter(|(_, entry)| !entry.in_use);
        waiting
            .filter_map(|(_, entry)| entry.backoff.ready_at())
            .filter(|at| *at > now)
            .min()
    }

    fn ready(&self, now: Instant) -> Vec<usize> {
        self.addresses
            .iter()
            .filter(|(_, entry)| self.may_dial(entry, now))
            .map(|(key, _)| key)
            .collect()
    }

    fn may_dial(&self, entry: &Entry, now: Instant) -> bool {
        let is_shunned = |id| self.peers.contains_key(&id) || self.is_banned(&id, now).is_some();
        !entry.in_use
            && entry.backoff.is_ready(now)
            && !entry.id.is_some_and(is_shunned)
            && self.is_address_banned(&entry.endpoint, now).is_none()
    }

    fn outbound_groups(&self) -> Vec<Group> {
        let dials = self.dials.iter();
        let dials = dials.filter(|dial| dial.purpose == Purpose::Outbound);
        let dials = dials.map(|dial| &dial.endpoint);
        let peers = self.peers.values().filter_map(|peer| peer.dialed.as_ref());
        dials
            .chain(peers)
            .filter_map(|endpoint| self.addresses.get(endpoint))
            .map(|entry| entry.location.group.clone())
            .collect()
    }

    /// One of them: a kept one first; otherwise tried or new, then of the bucket, then the better
    /// of two. Who has filled a bucket is no likelier to be picked than who has one address.
    fn pick(&mut self, keys: &[usize]) -> Option<usize> {
        let (mut kept, mut new, mut tried) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for &key in keys {
            match self.addresses.entry(key)?.place {
                Place::Kept => kept.push(key),
                Place::New(bucket) => new.entry(bucket).or_insert_with(Vec::new).push(key),
                Place::Tried(bucket) => tried.entry(bucket).or_insert_with(Vec::new).push(key),
            }
        }
        if !kept.is_empty() {
            return one_of(&mut self.random, kept.into_iter());
        }
        let use_new = tried.is_empty() || !new.is_empty() && self.random.random();
        let buckets = if use_new { new } else { tried };
        let bucket = one_of(&mut self.random, buckets.into_values())?;
        let one = one_of(&mut self.random, bucket.iter().copied())?;
        let other = one_of(&mut self.random, bucket.iter().copied())?;
        let failures = |key| self.addresses.entry(key).map(|entry| entry.failures);
        Some(if failures(other) < failures(one) {
            other
        } else {
            one
        })
    }

    fn endpoint(&self, key: usize) -> Option<Arc<Endpoint>> {
        Some(Arc::clone(&self.addresses.entry(key)?.endpoint))
    }
}
