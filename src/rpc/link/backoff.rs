//! When to dial, and where: told what became of each attempt, the time and a random fraction.

use std::time::Duration;

use super::dialer::Attempt;
use crate::runtime::Instant;

/// The rules of a [`Backoff`].
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) base: Duration,
    pub(super) cap: Duration,
    pub(super) stable_after: Duration,
    /// Attempts without a connection that was stable; all of them fail before the link gives up.
    pub(super) max_attempts: u32,
}

/// The next attempt, and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) attempt: Attempt,
    pub(super) at: Instant,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Lost,
    /// And another one to the same target would end so again.
    ForGood,
    /// It takes nothing new.
    Retired,
}

/// Plans attempts: the very first at once, each other after a pause that is drawn evenly from nothing
/// to a longest one, which doubles.
#[derive(Debug)]
pub(super) struct Backoff {
    policy: Policy,
    /// Whether each target is worth another attempt.
    hopeful: Vec<bool>,
    target: usize,
    /// Attempts since the last connection that was stable.
    attempts: u32,
    /// Pauses since then.
    pauses: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(policy: Policy, targets: usize) -> Self {
        Self {
            policy,
            hopeful: vec![true; targets.max(1)],
            target: 0,
            attempts: 0,
            pauses: 0,
            up_since: None,
        }
    }

    /// The very first attempt.
    pub(super) fn first(&mut self, now: Instant) -> Planned {
        self.plan(now)
    }

    /// The attempt gave a connection.
    pub(super) fn connected(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The attempt failed; a target that failed for good is not tried again before a connection to
    /// another one was stable, or the pauses are at their longest. None when no attempt is left.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        fraction: f64,
        for_good: bool,
    ) -> Option<Planned> {
        if let Some(hopeful) = self.hopeful.get_mut(self.target) {
            *hopeful = !for_good;
        }
        if self.attempts >= self.policy.max_attempts {
            return None;
        }
        self.target = self.next_target()?;
        let pause = self.pause(fraction);
        Some(self.plan(now + pause))
    }

    /// The connection is of no more use. If it was stable and is lost, the same target comes first.
    pub(super) fn ended(&mut self, now: Instant, fraction: f64, ending: Ending) -> Option<Planned> {
        let up_since = self.up_since.take().unwrap_or(now);
        let was_stable = now.saturating_duration_since(up_since) >= self.policy.stable_after;
        if was_stable {
            self.attempts = 0;
            self.pauses = 0;
            self.hopeful.fill(true);
        }
        if ending != Ending::Lost || !was_stable {
            return self.failed(now, fraction, ending == Ending::ForGood);
        }
        let pause = self.pause(fraction);
        Some(self.plan(now + pause))
    }

    fn plan(&mut self, at: Instant) -> Planned {
        self.attempts = self.attempts.saturating_add(1);
        let attempt = Attempt {
            number: self.attempts,
            target: self.target,
        };
        Planned { attempt, at }
    }

    /// The next one in turn that is worth an attempt, the present one after all others.
    fn next_target(&self) -> Option<usize> {
        if !self.hopeful.contains(&true) {
            return None;
        }
        let later = self.target.saturating_add(1)..self.hopeful.len();
        let mut in_turn = later.chain(0..=self.target);
        let all = self.longest_pause() >= self.policy.cap;
        in_turn.find(|target| all || self.hopeful.get(*target) == Some(&true))
    }

    fn pause(&mut self, fraction: f64) -> Duration {
        let longest = self.longest_pause();
        self.pauses = self.pauses.saturating_add(1);
        longest.mul_f64(fraction)
    }

    fn longest_pause(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.pauses).unwrap_or(u32::MAX);
        let longest = self.policy.base.saturating_mul(doubled);
        longest.min(self.policy.cap)
    }
}
