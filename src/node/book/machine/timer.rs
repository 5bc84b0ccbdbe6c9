use std::time::Duration;

use crate::runtime::Instant;

/// Something that is done again and again.
#[derive(Debug)]
pub(super) struct Timer {
    interval: Duration,
    at: Instant,
}

impl Timer {
    pub(super) fn starting(at: Instant, interval: Duration) -> Self {
        Self { interval, at }
    }

    /// When it is due.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// Whether it is due; then it is again an interval later.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.at <= now;
        if is_due {
            self.restart(now);
        }
        is_due
    }

    /// It was done now, due or not.
    pub(super) fn restart(&mut self, now: Instant) {
        self.at = now + self.interval;
    }
}
