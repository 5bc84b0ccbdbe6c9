use std::sync::Arc;

use rand::RngExt as _;

use super::act::one_of;
use super::addresses::{Entry, Place};
use super::{Book, Purpose};
use crate::node::book::location::Group;
use crate::runtime::Instant;
use crate::transport::Endpoint;

/// The bucket of that number.
type Kind = fn(usize) -> Place;

impl Book {
    /// Whom to dial to have one more outbound peer: of a group that there is none of, if possible.
    pub(super) fn choose_outbound(&mut self, now: Instant) -> Option<Arc<Endpoint>> {
        let may_dial = |(_, entry): (usize, &Entry)| self.may_dial(entry, now);
        if !self.addresses.iter().any(may_dial) {
            return None;
        }
        let taken = self.outbound_groups();
        let is_fresh = |entry: &Entry| !taken.contains(&entry.location.group);
        let key = self
            .pick(now, is_fresh)
            .or_else(|| self.pick(now, |_| true));
        self.endpoint(key?)
    }

    /// Where to look whether somebody answers: where another address would be, or a new one.
    pub(super) fn choose_feeler(&mut self, now: Instant) -> Option<Arc<Endpoint>> {
        let is_ready = |key: &usize| self.is_ready(*key, now, |_| true);
        let check = self.addresses.checks().find(is_ready);
        let key = check.or_else(|| self.pick_of(Place::New, now, |_| true));
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

    fn is_ready(&self, key: usize, now: Instant, suits: impl Fn(&Entry) -> bool) -> bool {
        let entry = self.addresses.entry(key);
        entry.is_some_and(|entry| self.may_dial(entry, now) && suits(entry))
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

    /// One that may be dialled: a kept one first; otherwise tried or new, then of the bucket, then the
    /// better of two. Who has filled a bucket is no likelier to be picked than who has one address.
    fn pick(&mut self, now: Instant, suits: impl Fn(&Entry) -> bool + Copy) -> Option<usize> {
        let kept = self.addresses.in_place(Place::Kept).iter().copied();
        let kept: Vec<usize> = kept.filter(|key| self.is_ready(*key, now, suits)).collect();
        if !kept.is_empty() {
            return one_of(&mut self.random, kept.into_iter());
        }
        let mut kinds: [Kind; 2] = [Place::New, Place::Tried];
        if self.random.random() {
            kinds.reverse();
        }
        let mut kinds = kinds.into_iter();
        kinds.find_map(|kind| self.pick_of(kind, now, suits))
    }

    /// The same of one kind. It looks into one bucket after another, and seldom into many.
    fn pick_of(
        &mut self,
        kind: Kind,
        now: Instant,
        suits: impl Fn(&Entry) -> bool + Copy,
    ) -> Option<usize> {
        let mut buckets: Vec<usize> = (0..self.addresses.buckets(kind(0))).collect();
        while !buckets.is_empty() {
            let bucket = buckets.swap_remove(self.random.random_range(0..buckets.len()));
            let keys = self.addresses.in_place(kind(bucket)).iter().copied();
            let ready: Vec<usize> = keys.filter(|key| self.is_ready(*key, now, suits)).collect();
            if ready.is_empty() {
                continue;
            }
            let one = one_of(&mut self.random, ready.iter().copied())?;
            let other = one_of(&mut self.random, ready.iter().copied())?;
            let failures = |key| self.addresses.entry(key).map(|entry| entry.failures);
            let is_better = failures(other) < failures(one);
            return Some(if is_better { other } else { one });
        }
        None
    }

    fn endpoint(&self, key: usize) -> Option<Arc<Endpoint>> {
        Some(Arc::clone(&self.addresses.entry(key)?.endpoint))
    }
}
