use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::BookConfig;
use crate::runtime::Instant;

/// When an address may be dialled again: each time within twice as long, drawn evenly from zero.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
    ready_at: Option<Instant>,
}

impl Backoff {
    /// When it may be dialled; `None` if it may be at once.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        self.ready_at
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.ready_at.is_none_or(|at| at <= now)
    }

    /// An attempt is over, or the connection that came of it.
    pub(super) fn wait(&mut self, config: &BookConfig, random: &mut StdRng, now: Instant) {
        let factor = 2_u32.checked_pow(self.attempts).unwrap_or(u32::MAX);
        let most = config.redial_base.saturating_mul(factor);
        self.attempts = self.attempts.saturating_add(1);
        let wait = random.random_range(Duration::ZERO..=most.min(config.redial_cap));
        self.ready_at = Some(now + wait);
    }

    /// Waits at least until `until`.
    pub(super) fn wait_until(&mut self, until: Instant) {
        self.ready_at = self.ready_at.max(Some(until));
    }

    /// A connection was stable: the next attempt is the first.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}
