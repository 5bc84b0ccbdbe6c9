use std::time::Duration;

/// What a [`Book`](super::Book) aims at, and its limits and times.
///
/// A value outside its range is moved to the nearest end of it; [`Duration::MAX`] is a time that
/// never comes.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::node::book::BookConfig;
///
/// let config = BookConfig::default()
///     .outbound(8)
///     .push_interval(Duration::from_mins(1));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BookConfig {
    pub(crate) outbound: usize,
    pub(crate) new_buckets: usize,
    pub(crate) tried_buckets: usize,
    pub(crate) ask_interval: Duration,
    pub(crate) push_interval: Duration,
    pub(crate) feeler_interval: Duration,
    pub(crate) rotate_interval: Duration,
    pub(crate) save_interval: Duration,
    pub(crate) redial_base: Duration,
    pub(crate) redial_cap: Duration,
    pub(crate) stable: Duration,
    pub(crate) shortest_ban: Duration,
    pub(crate) longest_ban: Duration,
}

/// Longer than any node lives, and short enough to be added to the time. About 68 years.
pub(super) const NEVER: Duration = Duration::from_secs(1 << 31);

const MOST_BUCKETS: usize = 1024;

impl Default for BookConfig {
    fn default() -> Self {
        Self {
            outbound: 12,
            new_buckets: 64,
            tried_buckets: 16,
            ask_interval: Duration::from_secs(30),
            push_interval: NEVER,
            feeler_interval: Duration::from_mins(2),
            rotate_interval: Duration::from_mins(10),
            save_interval: Duration::from_mins(2),
            redial_base: Duration::from_secs(1),
            redial_cap: Duration::from_mins(5),
            stable: Duration::from_secs(30),
            shortest_ban: Duration::from_hours(1),
            longest_ban: Duration::from_hours(24),
        }
    }
}

impl BookConfig {
    /// How many peers to be connected to by dialling them. Default 12.
    #[must_use]
    pub fn outbound(mut self, peers: usize) -> Self {
        self.outbound = peers;
        self
    }

    /// The buckets of 64 addresses each for those that were only heard of. Default 64, which is
    /// 4,096 addresses; at least 1, at most 1,024.
    #[must_use]
    pub fn new_buckets(mut self, buckets: usize) -> Self {
        self.new_buckets = buckets.clamp(1, MOST_BUCKETS);
        self
    }

    /// The buckets of 64 addresses each for those where a peer has answered. Default 16, which is
    /// 1,024 addresses; at least 1, at most 1,024.
    #[must_use]
    pub fn tried_buckets(mut self, buckets: usize) -> Self {
        self.tried_buckets = buckets.clamp(1, MOST_BUCKETS);
        self
    }

    /// How often to ask one of the outbound peers for addresses. Default 30 s.
    ///
    /// A node that lacks outbound peers and knows of nobody to dial does not wait for it. However
    /// that be, one peer is asked every 35 s at most, for peers answer every 30 s.
    #[must_use]
    pub fn ask_interval(mut self, time: Duration) -> Self {
        self.ask_interval = time.clamp(SHORTEST, NEVER);
        self
    }

    /// How often to send addresses to a random peer that has not asked. Default never; at least
    /// 35 s, for a peer takes them every 30 s at most.
    #[must_use]
    pub fn push_interval(mut self, time: Duration) -> Self {
        self.push_interval = time.clamp(super::machine::PATIENT, NEVER);
        self
    }

    /// How often to dial an address only to learn whether a peer answers there. Default 2 min.
    #[must_use]
    pub fn feeler_interval(mut self, time: Duration) -> Self {
        self.feeler_interval = time.clamp(SHORTEST, NEVER);
        self
    }

    /// How often to exchange one outbound peer for another. Default 10 min.
    ///
    /// Without it, a network that fell apart into parts that are each large enough for themselves
    /// would never grow together again.
    #[must_use]
    pub fn rotate_interval(mut self, time: Duration) -> Self {
        self.rotate_interval = time.clamp(SHORTEST, NEVER);
        self
    }

    /// How often to save the book if it has changed. Default 2 min.
    #[must_use]
    pub fn save_interval(mut self, time: Duration) -> Self {
        self.save_interval = time.clamp(SHORTEST, NEVER);
        self
    }

    /// How long to wait at most before an address is dialled for the second time, and at most
    /// before any later time. Default 1 s and 5 min.
    ///
    /// The bound doubles with each attempt; the wait is drawn evenly from zero to the bound.
    #[must_use]
    pub fn redial(mut self, base: Duration, cap: Duration) -> Self {
        self.redial_base = base.clamp(SHORTEST, NEVER);
        self.redial_cap = cap.clamp(self.redial_base, NEVER);
        self
    }

    /// How long a connection must last so that its address is dialled again as if for the first
    /// time. Default 30 s.
    #[must_use]
    pub fn stable(mut self, time: Duration) -> Self {
        self.stable = time.min(NEVER);
        self
    }

    /// How long the first ban lasts, and at most any later one. Default 1 h and 24 h.
    ///
    /// Each doubles the one before, unless the longest has passed since.
    #[must_use]
    pub fn ban(mut self, shortest: Duration, longest: Duration) -> Self {
        self.shortest_ban = shortest.min(NEVER);
        self.longest_ban = longest.clamp(self.shortest_ban, NEVER);
        self
    }
}

/// The least time between two of what a book does again and again.
const SHORTEST: Duration = Duration::from_millis(10);
