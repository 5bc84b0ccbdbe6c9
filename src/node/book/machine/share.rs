use std::collections::BTreeMap;

use rand::seq::SliceRandom as _;

use super::addresses::{Entry, Place};
use super::exchange::{Breach, MOST_ADDRESSES};
use super::{Book, Peer, read_address};
use crate::node::PeerId;
use crate::node::book::location::Location;
use crate::runtime::Instant;
use crate::transport::Endpoint;

/// What is told of a book that is so small that a quarter of it would keep its network small.
const FEWEST_ADDRESSES: usize = 8;

impl Book {
    /// A peer said where it can be dialled itself: answers how many of the addresses are news.
    ///
    /// Only the first 250 are looked at. `0.0.0.0` and `[::]` stand for where the peer is seen.
    pub fn found<S: AsRef<str>>(&mut self, peer: &PeerId, addresses: &[S], now: Instant) -> usize {
        let known = self.peers.get(peer);
        let seen = known.and_then(|peer| peer.remote.clone());
        self.learn(peer, addresses, seen.as_ref(), now)
    }

    /// A peer asks for addresses: answers those to send it, 250 and a quarter of the book at most, or
    /// 8 of a small one.
    ///
    /// # Errors
    ///
    /// [`Breach::TooSoon`] within 30 s of the last time: it gets no answer, and 10 points.
    pub fn questioned(&mut self, peer: &PeerId, now: Instant) -> Result<Vec<String>, Breach> {
        self.judge(peer, now, |peer| peer.exchange.question(now))?;
        Ok(self.share(peer))
    }

    /// A peer has answered with addresses: answers how many of them are news.
    ///
    /// What is no address is passed over, for newer nodes may know of other kinds.
    ///
    /// # Errors
    ///
    /// [`Breach::Unasked`] and [`Breach::TooMany`]: it is banned, is to be disconnected, and
    /// nothing was taken.
    pub fn answered<S: AsRef<str>>(
        &mut self,
        peer: &PeerId,
        addresses: &[S],
        now: Instant,
    ) -> Result<usize, Breach> {
        let count = addresses.len();
        self.judge(peer, now, |peer| peer.exchange.answer(count))?;
        Ok(self.learn(peer, addresses, None, now))
    }

    /// A peer has sent addresses that it was not asked for: answers how many of them are news.
    ///
    /// # Errors
    ///
    /// [`Breach::TooMany`] as an answer, and [`Breach::TooSoon`] within 30 s of the last time:
    /// nothing was taken, and it has 10 points.
    pub fn pushed<S: AsRef<str>>(
        &mut self,
        peer: &PeerId,
        addresses: &[S],
        now: Instant,
    ) -> Result<usize, Breach> {
        let count = addresses.len();
        self.judge(peer, now, |peer| peer.exchange.pushed(count, now))?;
        Ok(self.learn(peer, addresses, None, now))
    }

    /// What to tell a peer: where somebody has answered first, then by bucket what was heard of.
    pub(super) fn share(&mut self, to: &PeerId) -> Vec<String> {
        let Some(reach) = self.peers.get(to).map(|peer| peer.location.reach) else {
            return Vec::new();
        };
        let may_tell = |entry: &Entry| {
            let is_theirs = entry.id == Some(*to);
            let is_doubtful = entry.last_up.is_none() && entry.failures > 0;
            entry.location.reach >= reach && !is_theirs && !is_doubtful
        };
        let (mut proven, mut heard) = (Vec::new(), BTreeMap::new());
        for (key, entry) in self.addresses.iter().filter(|(_, entry)| may_tell(entry)) {
            match entry.place {
                _ if entry.last_up.is_some() => proven.push(key),
                Place::New(bucket) => heard.entry(bucket).or_insert_with(Vec::new).push(key),
                Place::Kept | Place::Tried(_) => {}
            }
        }
        proven.shuffle(&mut self.random);
        let mut buckets: Vec<Vec<usize>> = heard.into_values().collect();
        buckets.shuffle(&mut self.random);
        for bucket in &mut buckets {
            bucket.shuffle(&mut self.random);
        }
        let quarter = self.addresses.len().div_ceil(4);
        let most = quarter.clamp(FEWEST_ADDRESSES, MOST_ADDRESSES);
        let deepest = buckets.iter().map(Vec::len).max().unwrap_or(0);
        let in_turn = (0..deepest).flat_map(|depth| {
            let at_depth = move |bucket: &Vec<usize>| bucket.get(depth).copied();
            buckets.iter().filter_map(at_depth)
        });
        let keys = proven.iter().copied().chain(in_turn).take(most);
        keys.filter_map(|key| Some(self.addresses.entry(key)?.endpoint.to_string()))
            .collect()
    }

    fn learn<S: AsRef<str>>(
        &mut self,
        from: &PeerId,
        addresses: &[S],
        seen: Option<&Endpoint>,
        now: Instant,
    ) -> usize {
        let Some(from) = self.peers.get(from).map(|peer| peer.location.clone()) else {
            return 0;
        };
        let mut news: usize = 0;
        for text in addresses.iter().take(MOST_ADDRESSES) {
            let Some(endpoint) = read_address(text.as_ref(), seen) else {
                continue;
            };
            let location = Location::of(&endpoint);
            if location.reach < from.reach || self.is_own(&endpoint) {
                continue;
            }
            let is_news = self.addresses.add(endpoint, location, &from.group, now);
            news = news.saturating_add(usize::from(is_news));
        }
        if news > 0 {
            self.changed();
        }
        news
    }

    fn judge(
        &mut self,
        peer: &PeerId,
        now: Instant,
        check: impl FnOnce(&mut Peer) -> Result<(), Breach>,
    ) -> Result<(), Breach> {
        let checked = match self.peers.get_mut(peer) {
            Some(peer) => check(peer),
            None => Err(Breach::Unknown),
        };
        if let Err(breach) = &checked
            && breach.points() > 0
        {
            self.misbehaved(peer, breach.points(), now);
        }
        checked
    }
}
