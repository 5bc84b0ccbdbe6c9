//! When to ask the peer whether it lives, when to give it up, and how far away it is.

use std::time::Duration;

use crate::mux::statistics::RoundTrip;
use crate::runtime::Instant;

/// Pings at the start, because the first one often measures how a process warms up.
const FIRST_PINGS: u64 = 8;

/// Pings, one in flight at a time, and what their answers tell.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    ping_interval: Duration,
    idle_timeout: Duration,
    last_heard: Instant,
    /// A ping is to be sent.
    due: bool,
    in_flight: Option<(u64, Instant)>,
    /// Pings sent so far: the number of the last is its nonce.
    sent: u64,
    answered: u64,
    round_trip: Option<RoundTrip>,
}

impl KeepAlive {
    pub(crate) fn new(ping_interval: Duration, idle_timeout: Duration, now: Instant) -> Self {
        Self {
            ping_interval,
            idle_timeout,
            last_heard: now,
            due: false,
            in_flight: None,
            sent: 0,
            answered: 0,
            round_trip: None,
        }
    }

    pub(crate) fn round_trip(&self) -> Option<RoundTrip> {
        self.round_trip
    }

    /// Something came from the peer.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Asks for a ping: answers the number of the answer to wait for.
    pub(crate) fn request(&mut self) -> u64 {
        self.due = true;
        self.sent + 1
    }

    /// How many pings were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Whether [`take_ping`](Self::take_ping) has one.
    pub(crate) fn has_ping(&self) -> bool {
        self.due && self.in_flight.is_none()
    }

    /// The ping to send now, if one is due and none is in flight.
    pub(crate) fn take_ping(&mut self, now: Instant) -> Option<u64> {
        if !self.has_ping() {
            return None;
        }
        self.due = false;
        self.sent += 1;
        self.in_flight = Some((self.sent, now));
        Some(self.sent)
    }

    /// A pong came: answers whether it was the one in flight.
    pub(crate) fn pong(&mut self, nonce: u64, now: Instant) -> bool {
        match self.in_flight {
            Some((expected, at)) if expected == nonce => {
                self.in_flight = None;
                self.answered = nonce;
                self.due |= nonce < FIRST_PINGS;
                let sample = now.saturating_duration_since(at);
                self.round_trip = Some(match self.round_trip {
                    None => RoundTrip {
                        last: sample,
                        min: sample,
                        smoothed: sample,
                    },
                    Some(before) => RoundTrip {
                        last: sample,
                        min: before.min.min(sample),
                        smoothed: (before.smoothed * 7 + sample) / 8,
                    },
                });
                true
            }
            _ => false,
        }
    }

    /// Time has passed: answers false when the peer is to be given up.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let silence = now.saturating_duration_since(self.last_heard);
        if silence >= self.idle_timeout {
            return false;
        }
        if silence >= self.ping_interval && self.in_flight.is_none() {
            self.due = true;
        }
        true
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let wait = if self.due || self.in_flight.is_some() {
            self.idle_timeout
        } else {
            self.ping_interval.min(self.idle_timeout)
        };
        self.last_heard + wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);
    const TIMEOUT: Duration = Duration::from_secs(45);

    #[test]
    fn a_silent_peer_is_asked_and_then_given_up() {
        let start = Instant::now();
        let mut keepalive = KeepAlive::new(INTERVAL, TIMEOUT, start);
        assert_eq!(keepalive.poll_timeout(), start + INTERVAL);
        assert!(keepalive.handle_timeout(start + INTERVAL));
        assert_eq!(keepalive.take_ping(start + INTERVAL), Some(1));
        assert_eq!(keepalive.poll_timeout(), start + TIMEOUT);
        let just_before = start + TIMEOUT.saturating_sub(Duration::from_nanos(1));
        assert!(keepalive.handle_timeout(just_before));
        assert!(!keepalive.handle_timeout(start + TIMEOUT));
    }

    #[test]
    fn one_ping_is_in_flight_and_its_answer_is_measured() {
        let start = Instant::now();
        let mut keepalive = KeepAlive::new(INTERVAL, TIMEOUT, start);
        assert_eq!(keepalive.request(), 1);
        assert_eq!(keepalive.take_ping(start), Some(1));
        assert_eq!(keepalive.request(), 2);
        assert_eq!(keepalive.take_ping(start), None);
        assert!(!keepalive.pong(7, start));
        assert!(keepalive.pong(1, start + Duration::from_millis(8)));
        assert!(!keepalive.pong(1, start + Duration::from_millis(9)));
        assert_eq!(keepalive.answered(), 1);
        assert_eq!(
            keepalive.round_trip().unwrap().min,
            Duration::from_millis(8)
        );
        assert_eq!(keepalive.take_ping(start), Some(2));
    }
}
