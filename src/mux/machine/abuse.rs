use std::time::Duration;

use crate::runtime::Instant;

/// How many frames without use a peer may still send: a token bucket.
#[derive(Debug)]
pub(crate) struct AbuseBucket {
    burst: u32,
    per_second: u32,
    left: u32,
    refilled_at: Instant,
}

impl AbuseBucket {
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self {
            burst,
            per_second,
            left: burst,
            refilled_at: now,
        }
    }

    /// Takes one: answers false when none is left.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.left == 0 {
            self.refill(now);
        }
        let taken = self.left.checked_sub(1);
        self.left = taken.unwrap_or(0);
        taken.is_some()
    }

    fn refill(&mut self, now: Instant) {
        let Some(every) = Duration::from_secs(1).checked_div(self.per_second) else {
            return;
        };
        let passed = now.saturating_duration_since(self.refilled_at);
        let tokens = passed.as_nanos() / every.as_nanos().max(1);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        if tokens > 0 {
            self.left = tokens.min(self.burst);
            self.refilled_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut bucket = AbuseBucket::new(3, 20, start);
        assert!((0..3).all(|_| bucket.take(start)));
        assert!(!bucket.take(start));
        assert!(!bucket.take(start + Duration::from_millis(49)));
        assert!(bucket.take(start + Duration::from_millis(50)));
        assert!(!bucket.take(start + Duration::from_millis(50)));
        let later = start + Duration::from_mins(1);
        assert!((0..3).all(|_| bucket.take(later)));
        assert!(!bucket.take(later));
    }
}
