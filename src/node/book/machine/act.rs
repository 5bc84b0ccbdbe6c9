use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Book, Dial, DialFailure};
use crate::node::PeerId;
use crate::runtime::Instant;
use crate::transport::Endpoint;

/// How long a dial may go on without news of it.
const LONGEST_DIAL: Duration = Duration::from_mins(2);

/// How long to wait at most before it is looked for somebody to dial again.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// What a node is to do for its [`Book`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BookAction {
    /// Dial, and then call [`connected`](Book::connected), [`reached`](Book::reached) or
    /// [`failed`](Book::failed); without any for two minutes, the dial has failed.
    Dial {
        /// Where.
        endpoint: Endpoint,
        /// What for.
        purpose: Purpose,
    },
    /// Ask a peer for addresses; its answer goes to [`answered`](Book::answered).
    Ask {
        /// Whom.
        peer: PeerId,
    },
    /// Send addresses to a peer that has not asked.
    Push {
        /// To whom.
        peer: PeerId,
        /// Which.
        addresses: Vec<String>,
    },
    /// Disconnect a peer, for another will be dialled instead; nothing is wrong with it.
    Drop {
        /// Which.
        peer: PeerId,
    },
    /// Save a [`snapshot`](Book::snapshot).
    Save,
}

/// What an address is dialled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// To have the peer as one of the outbound ones.
    Outbound,
    /// To learn whether a peer answers: it hangs up after the handshake.
    Feeler,
}

impl Book {
    /// What is to be done now, one thing at a time, until it answers `None`.
    pub fn poll(&mut self, now: Instant) -> Option<BookAction> {
        self.give_up_dials(now);
        if self.is_changed && self.saving.take(now) {
            self.is_changed = false;
            return Some(BookAction::Save);
        }
        self.poll_outbound(now)
            .or_else(|| self.poll_ask(now))
            .or_else(|| self.poll_push(now))
            .or_else(|| self.poll_feeler(now))
            .or_else(|| self.poll_rotate(now))
    }

    /// When [`poll`](Self::poll) may have something to do although nothing happened.
    pub fn poll_timeout(&self, now: Instant) -> Instant {
        let asking = self.next_question(now);
        let saving = self.is_changed.then_some(self.saving.at());
        let dialing = self
            .wants_outbound()
            .then(|| self.nobody_until.unwrap_or(now));
        let dials = self.dials.iter().map(|dial| dial.until);
        [asking, saving, dialing]
            .into_iter()
            .flatten()
            .chain(dials)
            .chain([self.pushing.at(), self.feeling.at(), self.rotating.at()])
            .min()
            .unwrap_or(now)
            .max(now)
    }

    fn give_up_dials(&mut self, now: Instant) {
        while let Some(dial) = self.dials.iter().find(|dial| dial.until <= now) {
            let endpoint = dial.endpoint.clone();
            self.failed(&endpoint, DialFailure::Unreachable, now);
        }
    }

    /// When there is a peer to be asked.
    fn next_question(&self, now: Instant) -> Option<Instant> {
        self.peers
            .values()
            .filter(|peer| peer.dialed.is_some())
            .filter_map(|peer| peer.exchange.may_be_asked_at(now))
            .min()
            .map(|at| {
                if self.is_hungry(now) {
                    at
                } else {
                    at.max(self.asking.at())
                }
            })
    }

    /// Whether it knows of nobody to dial although it lacks outbound peers.
    fn is_hungry(&self, now: Instant) -> bool {
        self.wants_outbound() && self.nobody_until.is_some_and(|until| until > now)
    }

    fn poll_ask(&mut self, now: Instant) -> Option<BookAction> {
        if self.asking.at() > now && !self.is_hungry(now) {
            return None;
        }
        let peers = self.peers.iter().filter(|(_, peer)| peer.dialed.is_some());
        let ready = peers.filter(|(_, peer)| peer.exchange.may_be_asked(now));
        let peer = one_of(&mut self.random, ready.map(|(id, _)| *id))?;
        self.asking.restart(now);
        self.peers.get_mut(&peer)?.exchange.ask(now);
        Some(BookAction::Ask { peer })
    }

    fn poll_push(&mut self, now: Instant) -> Option<BookAction> {
        if !self.pushing.take(now) {
            return None;
        }
        let ready = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.exchange.may_be_pushed(now));
        let peer = one_of(&mut self.random, ready.map(|(id, _)| *id))?;
        let addresses = self.share(&peer);
        self.peers.get_mut(&peer)?.exchange.push(now);
        Some(BookAction::Push { peer, addresses })
    }

    fn wants_outbound(&self) -> bool {
        let dialing = self.dials.iter();
        let dialing = dialing.filter(|dial| dial.purpose == Purpose::Outbound);
        self.outbound().saturating_add(dialing.count()) < self.config.outbound
    }

    fn poll_outbound(&mut self, now: Instant) -> Option<BookAction> {
        if !self.wants_outbound() || self.nobody_until.is_some_and(|until| until > now) {
            return None;
        }
        if let Some(chosen) = self.choose_outbound(now) {
            return self.dial(&chosen, Purpose::Outbound, now);
        }
        let next = self.next_ready(now).unwrap_or(now + LOOK_AGAIN);
        self.nobody_until = Some(next.min(now + LOOK_AGAIN));
        None
    }

    fn poll_feeler(&mut self, now: Instant) -> Option<BookAction> {
        // Whoever lacks peers dials new addresses anyway.
        if !self.feeling.take(now) || self.wants_outbound() {
            return None;
        }
        let chosen = self.choose_feeler(now)?;
        self.dial(&chosen, Purpose::Feeler, now)
    }

    /// Drops an outbound peer if there is another to take its place.
    fn poll_rotate(&mut self, now: Instant) -> Option<BookAction> {
        if !self.rotating.take(now) || self.wants_outbound() || !self.has_successor(now) {
            return None;
        }
        let settled = self.peers.iter().filter(|(_, peer)| {
            let kept = |endpoint: &Endpoint| self.addresses.is_kept(endpoint);
            let is_long = now.saturating_duration_since(peer.since) >= self.config.stable;
            is_long && peer.dialed.as_deref().is_some_and(|it| !kept(it))
        });
        let peer = one_of(&mut self.random, settled.map(|(id, _)| *id))?;
        Some(BookAction::Drop { peer })
    }

    fn dial(&mut self, endpoint: &Endpoint, purpose: Purpose, now: Instant) -> Option<BookAction> {
        let entry = self.addresses.get_mut(endpoint)?;
        entry.in_use = true;
        self.dials.push(Dial {
            endpoint: entry.endpoint.clone(),
            purpose,
            until: now + LONGEST_DIAL,
        });
        let endpoint = endpoint.clone();
        Some(BookAction::Dial { endpoint, purpose })
    }
}

/// One of them, each as likely.
pub(super) fn one_of<T>(random: &mut StdRng, of: impl Iterator<Item = T>) -> Option<T> {
    let mut all: Vec<T> = of.collect();
    (!all.is_empty()).then(|| all.swap_remove(random.random_range(0..all.len())))
}
