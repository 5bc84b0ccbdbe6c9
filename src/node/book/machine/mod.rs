//! The rules: told events and the time, they answer what to do.

mod act;
mod addresses;
mod backoff;
mod choose;
mod exchange;
mod saved;
mod score;
mod share;
#[cfg(test)]
mod tests;
mod timer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

pub use self::act::{BookAction, Purpose};
use self::addresses::Addresses;
use self::exchange::Exchange;
pub(super) use self::exchange::PATIENT;
pub use self::exchange::{Breach, MOST_ADDRESSES};
pub use self::score::BAN;
use self::score::Scores;
use self::timer::Timer;
use super::BookConfig;
use super::location::{Location, is_dialable, seen_at};
use crate::node::PeerId;
use crate::runtime::Instant;
use crate::transport::Endpoint;

/// The longest address that is taken from a peer, in bytes.
const LONGEST_ADDRESS: usize = 256;

/// The own addresses that are known, the oldest forgotten first.
const MOST_OWN: usize = 256;

/// The longest that a peer may ask not to be dialled.
const LONGEST_REFUSAL: Duration = Duration::from_hours(24);

/// Which addresses there are, which to dial next, and who is banned.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::node::book::{Book, BookAction, BookConfig, DialFailure};
/// use sessionwire::runtime::Instant;
///
/// let mut now = Instant::now();
/// let mut book = Book::new(BookConfig::default(), rand::random(), now);
/// book.keep("tcp://seed.example:9000".parse()?, now);
/// let Some(BookAction::Dial { endpoint, .. }) = book.poll(now) else {
///     panic!("there is an address, and nobody is connected");
/// };
///
/// book.failed(&endpoint, DialFailure::Unreachable, now);
/// now += Duration::from_secs(1);
/// assert!(book.poll(now).is_some(), "it is dialled again, after a while");
/// # Ok::<(), sessionwire::transport::TransportError>(())
/// ```
#[derive(Debug)]
pub struct Book {
    config: BookConfig,
    random: StdRng,
    addresses: Addresses,
    peer_scores: Scores<PeerId>,
    /// Of what can be dialled: never of a port that somebody dialled from.
    address_scores: Scores<Endpoint>,
    peers: BTreeMap<PeerId, Peer>,
    dials: Vec<Dial>,
    /// Those that lead to this node itself.
    own: Vec<Endpoint>,
    asking: Timer,
    pushing: Timer,
    feeling: Timer,
    rotating: Timer,
    saving: Timer,
    is_changed: bool,
    /// No address can be dialled before, unless something changes.
    nobody_until: Option<Instant>,
}

/// Why a dial came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialFailure {
    /// Nobody answered in time, or nobody that speaks the protocol.
    Unreachable,
    /// A peer answered, and did not want the connection.
    Refused {
        /// How long it asked not to be dialled; a day is the most that it gets.
        retry_after: Option<Duration>,
    },
    /// The peer that answered is connected already.
    Duplicate {
        /// Who it is.
        peer: PeerId,
    },
    /// This node itself answered: the address is never dialled again.
    OwnAddress,
    /// Whoever answered is hostile, or of another network: the address is banned.
    Hostile,
}

/// A peer that is connected.
#[derive(Debug)]
struct Peer {
    /// What was dialled to get there; `None` if the peer dialled.
    dialed: Option<Arc<Endpoint>>,
    /// Where it is seen, if that is known.
    remote: Option<Endpoint>,
    location: Location,
    since: Instant,
    exchange: Exchange,
}

/// A dial that was asked for.
#[derive(Debug)]
struct Dial {
    endpoint: Arc<Endpoint>,
    purpose: Purpose,
    /// Without news until then, it has failed.
    until: Instant,
}

impl Book {
    /// An empty book, with what randomness it needs.
    pub fn new(config: BookConfig, seed: [u8; 32], now: Instant) -> Self {
        let mut random = StdRng::from_seed(seed);
        let secret = random.random();
        Self::with_secret(config, random, secret, now)
    }

    pub(super) fn with_secret(
        config: BookConfig,
        mut random: StdRng,
        secret: [u8; 16],
        now: Instant,
    ) -> Self {
        // Nodes that begin together do not do everything together.
        let mut starting = |interval: Duration| {
            let first = random.random_range(Duration::ZERO..=interval);
            Timer::starting(now + first, interval)
        };
        Self {
            asking: Timer::starting(now, config.ask_interval),
            pushing: starting(config.push_interval),
            feeling: starting(config.feeler_interval),
            rotating: starting(config.rotate_interval),
            saving: Timer::starting(now + config.save_interval, config.save_interval),
            addresses: Addresses::new(secret, config.new_buckets, config.tried_buckets),
            peer_scores: Scores::default(),
            address_scores: Scores::default(),
            peers: BTreeMap::new(),
            dials: Vec::new(),
            own: Vec::new(),
            is_changed: false,
            nobody_until: None,
            config,
            random,
        }
    }

    /// Takes an address that the user wants: it is dialled before others and never forgotten.
    ///
    /// Answers false if 256 are kept already, or if it is this node's own.
    pub fn keep(&mut self, endpoint: Endpoint, now: Instant) -> bool {
        self.changed();
        !self.is_own(&endpoint) && self.addresses.keep(endpoint, now)
    }

    /// Says that this node can be dialled at `endpoint`: others are told nothing of it by the
    /// book, and it is never dialled.
    pub fn listening(&mut self, endpoint: Endpoint) {
        self.addresses.erase(&endpoint);
        if self.own.contains(&endpoint) {
            return;
        }
        if self.own.len() >= MOST_OWN {
            self.own.remove(0);
        }
        self.own.push(endpoint);
    }

    /// A peer is connected: `dialed` is what was dialled to get there, if this node dialled;
    /// `remote` is where the stream comes from or leads to, as
    /// [`ConnectionInfo`](crate::transport::ConnectionInfo) tells it, or else where this node
    /// listens.
    ///
    /// A peer that is said to be connected once more has another connection now. Whoever calls
    /// this bounds how many there are.
    pub fn connected(
        &mut self,
        peer: PeerId,
        dialed: Option<&Endpoint>,
        remote: Option<&Endpoint>,
        now: Instant,
    ) {
        let remote = remote.or(dialed).cloned();
        let location = remote.as_ref().map_or_else(Location::unknown, Location::of);
        if let Some(before) = self.peers.remove(&peer) {
            self.release(before.dialed.as_deref());
        }
        let dialed = dialed.map(|endpoint| {
            self.end_dial(endpoint);
            if !self.is_own(endpoint) {
                let location = Location::of(endpoint);
                let source = location.group.clone();
                self.addresses.add(endpoint.clone(), location, &source, now);
            }
            self.answered_at(endpoint, peer, now);
            match self.addresses.get_mut(endpoint) {
                Some(entry) => {
                    entry.in_use = true;
                    Arc::clone(&entry.endpoint)
                }
                None => Arc::new(endpoint.clone()),
            }
        });
        let connected = Peer {
            dialed,
            remote,
            location,
            since: now,
            exchange: Exchange::new(now),
        };
        self.peers.insert(peer, connected);
        self.changed();
    }

    /// A peer is no longer connected.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        let Some(gone) = self.peers.remove(peer) else {
            return;
        };
        self.changed();
        let Some(endpoint) = gone.dialed else {
            return;
        };
        self.release(Some(&endpoint));
        if let Some(entry) = self.addresses.get_mut(&endpoint) {
            entry.last_up = Some(now);
            if now.saturating_duration_since(gone.since) >= self.config.stable {
                entry.backoff.reset();
            }
            entry.backoff.wait(&self.config, &mut self.random, now);
        }
    }

    /// A dial for [`Purpose::Feeler`] was answered by `peer`, and hung up.
    pub fn reached(&mut self, endpoint: &Endpoint, peer: PeerId, now: Instant) {
        self.end_dial(endpoint);
        self.answered_at(endpoint, peer, now);
        if let Some(entry) = self.addresses.get_mut(endpoint) {
            entry.backoff.wait(&self.config, &mut self.random, now);
        }
        self.changed();
    }

    /// A dial came to nothing.
    pub fn failed(&mut self, endpoint: &Endpoint, failure: DialFailure, now: Instant) {
        self.end_dial(endpoint);
        self.changed();
        if let Some(entry) = self.addresses.get_mut(endpoint) {
            entry.backoff.wait(&self.config, &mut self.random, now);
        }
        match failure {
            // With nobody connected, it is not known whose fault it is.
            DialFailure::Unreachable if self.peers.is_empty() => {}
            DialFailure::Unreachable => self.addresses.failed(endpoint, now),
            DialFailure::Refused { retry_after } => {
                if let Some(entry) = self.addresses.get_mut(endpoint) {
                    let wait = retry_after.unwrap_or_default().min(LONGEST_REFUSAL);
                    entry.backoff.wait_until(now + wait);
                    entry.failures = 0;
                }
            }
            DialFailure::Duplicate { peer } => self.answered_at(endpoint, peer, now),
            DialFailure::OwnAddress => self.listening(endpoint.clone()),
            DialFailure::Hostile => {
                let scores = &mut self.address_scores;
                scores.punish(endpoint.clone(), BAN, &self.config, now);
                self.addresses.forget(endpoint);
            }
        }
    }

    /// A peer misbehaved, `points` much: answers how long it is banned if that was too much.
    ///
    /// At [`BAN`] points it is banned, and what was dialled to reach it; whoever calls this then
    /// disconnects it. A point is forgiven every 6 s.
    pub fn misbehaved(&mut self, peer: &PeerId, points: u32, now: Instant) -> Option<Duration> {
        let dialed = self.peers.get(peer).and_then(|peer| peer.dialed.clone());
        if let Some(endpoint) = dialed {
            let endpoint = Endpoint::clone(&endpoint);
            let scores = &mut self.address_scores;
            scores.punish(endpoint, points, &self.config, now);
        }
        let ban = self.peer_scores.punish(*peer, points, &self.config, now);
        self.is_changed |= ban.is_some();
        ban
    }

    /// The points that a peer has at the moment, out of [`BAN`].
    pub fn points(&self, peer: &PeerId, now: Instant) -> u32 {
        self.peer_scores.points(peer, now)
    }

    /// How much longer a peer is banned, by whatever address it comes.
    pub fn is_banned(&self, peer: &PeerId, now: Instant) -> Option<Duration> {
        self.peer_scores.ban_left(peer, now)
    }

    /// How much longer an address is not dialled because of a ban.
    pub fn is_address_banned(&self, endpoint: &Endpoint, now: Instant) -> Option<Duration> {
        self.address_scores.ban_left(endpoint, now)
    }

    /// Forgets what a peer has done, and where it was reached before.
    pub fn pardon(&mut self, peer: &PeerId) {
        self.peer_scores.pardon(peer);
        for (_, entry) in self.addresses.iter() {
            if entry.id == Some(*peer) {
                self.address_scores.pardon(&entry.endpoint);
            }
        }
        self.changed();
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether no address is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The peer that is connected and was dialled at `endpoint`.
    pub fn dialed_at(&self, endpoint: &Endpoint) -> Option<PeerId> {
        let mut peers = self.peers.iter();
        let found = peers.find(|(_, peer)| peer.dialed.as_deref() == Some(endpoint));
        found.map(|(id, _)| *id)
    }

    /// How many peers are connected that this node has dialled.
    fn outbound(&self) -> usize {
        let peers = self.peers.values();
        peers.filter(|peer| peer.dialed.is_some()).count()
    }

    /// A peer has answered at an address.
    fn answered_at(&mut self, endpoint: &Endpoint, peer: PeerId, now: Instant) {
        if let Some(entry) = self.addresses.get_mut(endpoint) {
            entry.id = Some(peer);
            entry.last_up = Some(now);
            entry.failures = 0;
        }
        self.addresses.promote(endpoint);
    }

    fn end_dial(&mut self, endpoint: &Endpoint) {
        let before = self.dials.len();
        self.dials.retain(|dial| *dial.endpoint != *endpoint);
        if self.dials.len() < before {
            self.release(Some(endpoint));
        }
    }

    fn release(&mut self, endpoint: Option<&Endpoint>) {
        let entry = endpoint.and_then(|endpoint| self.addresses.get_mut(endpoint));
        if let Some(entry) = entry {
            entry.in_use = false;
        }
    }

    /// Something changed by which more may be dialled, or saved.
    fn changed(&mut self) {
        self.is_changed = true;
        self.nobody_until = None;
    }

    fn is_own(&self, endpoint: &Endpoint) -> bool {
        self.own.contains(endpoint)
    }
}

/// What a peer wrote, if it is an address that can be dialled: its own, if it is `seen` there.
fn read_address(text: &str, seen: Option<&Endpoint>) -> Option<Endpoint> {
    if text.len() > LONGEST_ADDRESS {
        return None;
    }
    let endpoint = seen_at(text.parse().ok()?, seen);
    is_dialable(&endpoint).then_some(endpoint)
}
