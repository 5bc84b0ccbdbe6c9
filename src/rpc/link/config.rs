use std::time::Duration;

use super::backoff::Policy;
use crate::mux::Config;
use crate::transport::TransportConfig;

/// The times and limits of a [`Link`](super::Link), all on by default.
///
/// A value outside its range is moved to the nearest end of it; [`Duration::MAX`] is a time that never
/// comes.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::rpc::LinkConfig;
///
/// let patient = LinkConfig::default()
///     .backoff_base(Duration::from_secs(1))
///     .backoff_cap(Duration::from_secs(60));
/// let in_a_hurry = LinkConfig::default().max_attempts(3);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinkConfig {
    pub(super) backoff_base: Duration,
    pub(super) backoff_cap: Duration,
    pub(super) max_attempts: u32,
    pub(super) attempt_timeout: Duration,
    pub(super) stable_after: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) connection: Config,
    pub(super) transport: TransportConfig,
}

/// Pauses without this could be no pauses.
const SHORTEST_BASE: Duration = Duration::from_millis(1);
/// Longer than any link lives, and short enough to be added to the time. About 68 years.
const NEVER: Duration = Duration::from_secs(1 << 31);

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            backoff_base: Duration::from_millis(250),
            backoff_cap: Duration::from_secs(15),
            max_attempts: u32::MAX,
            attempt_timeout: Duration::from_secs(10),
            stable_after: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            connection: Config::default(),
            transport: TransportConfig::default(),
        }
    }
}

impl LinkConfig {
    /// The longest that the first pause between two attempts may be; each later one may be twice as
    /// long. Default 250 ms, at least 1 ms.
    ///
    /// How long a pause is, is drawn evenly from nothing to that, so that many clients of one server do
    /// not come back at once. For thousands of them, choose a second or more.
    #[must_use]
    pub fn backoff_base(mut self, time: Duration) -> Self {
        self.backoff_base = time.clamp(SHORTEST_BASE, NEVER);
        self
    }

    /// The longest that any pause between two attempts may be. Default 15 s, at least 1 ms.
    #[must_use]
    pub fn backoff_cap(mut self, time: Duration) -> Self {
        self.backoff_cap = time.clamp(SHORTEST_BASE, NEVER);
        self
    }

    /// How many attempts in a row may come to no connection that is stable, before the link is down for
    /// good. Default [`u32::MAX`], which takes longer than any link lives; at least 1.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// How long one attempt may take in all: to reach the other end, for the handshakes of its
    /// transport, and until its first frame is here. Default 10 s.
    ///
    /// The transport's own times hold too: see [`TransportConfig`].
    #[must_use]
    pub fn attempt_timeout(mut self, time: Duration) -> Self {
        self.attempt_timeout = time.min(NEVER);
        self
    }

    /// How long a connection must have been up to count as a success: losing an earlier one counts as an
    /// attempt that failed. Default 10 s.
    #[must_use]
    pub fn stable_after(mut self, time: Duration) -> Self {
        self.stable_after = time.min(NEVER);
        self
    }

    /// How long open channels may take to finish when the link is [closed](super::Link::close), or on a
    /// connection that is replaced because the peer drains it. Default 30 s.
    #[must_use]
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.drain_timeout = time.min(NEVER);
        self
    }

    /// The limits of each connection.
    #[must_use]
    pub fn connection(mut self, config: Config) -> Self {
        self.connection = config;
        self
    }

    /// The limits and the credentials of each connection's transport.
    #[must_use]
    pub fn transport(mut self, config: TransportConfig) -> Self {
        self.transport = config;
        self
    }

    pub(super) fn policy(&self) -> Policy {
        Policy {
            base: self.backoff_base,
            cap: self.backoff_cap,
            stable_after: self.stable_after,
            max_attempts: self.max_attempts,
        }
    }
}
