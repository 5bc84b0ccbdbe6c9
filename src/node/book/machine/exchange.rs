use std::time::Duration;

use crate::runtime::Instant;

/// The addresses that one message may have.
pub const MOST_ADDRESSES: usize = 250;

/// How often a peer may ask, and how often it may push.
const PAUSE: Duration = Duration::from_secs(30);

/// How often a peer is asked at most: what is late on the way one time is not too soon the next.
pub(in crate::node::book) const PATIENT: Duration = Duration::from_secs(35);

/// What a peer did that it may not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// It answered what was not asked.
    #[error("the peer answered with addresses that it was not asked for; it is faulty or hostile")]
    Unasked,

    /// It sent too many addresses.
    #[error(
        "the peer sent {count} addresses in one message, and {limit} are the most; it is faulty or hostile"
    )]
    TooMany {
        /// How many it sent.
        count: usize,
        /// [`MOST_ADDRESSES`].
        limit: usize,
    },

    /// It asked or pushed again too soon.
    #[error("the peer asked for or pushed addresses again after {after:?}; it may every {limit:?}")]
    TooSoon {
        /// How long after the last time.
        after: Duration,
        /// How long it should have waited.
        limit: Duration,
    },

    /// It is not connected, as far as the book was told.
    #[error("the book was not told that the peer is connected; tell it first")]
    Unknown,
}

impl Breach {
    /// What it is worth: 100 is a ban.
    pub(super) fn points(&self) -> u32 {
        match self {
            Self::Unasked | Self::TooMany { .. } => super::BAN,
            Self::TooSoon { .. } => 10,
            Self::Unknown => 0,
        }
    }
}

/// Who asked whom for addresses, of one peer.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// When the peer was asked last.
    asked_at: Option<Instant>,
    /// It owes the answer, however late that comes.
    is_owed: bool,
    /// When the peer asked last.
    question_at: Option<Instant>,
    /// When addresses were pushed to it last.
    pushed_at: Option<Instant>,
    /// When it pushed addresses last.
    push_at: Option<Instant>,
}

impl Exchange {
    pub(super) fn may_be_asked(&self, now: Instant) -> bool {
        !self.is_owed && is_over(self.asked_at, PATIENT, now)
    }

    /// When it may be asked, if that is only a matter of time.
    pub(super) fn may_be_asked_at(&self, now: Instant) -> Option<Instant> {
        let at = self.asked_at.map_or(now, |asked| asked + PATIENT);
        (!self.is_owed).then_some(at)
    }

    /// The peer is asked.
    pub(super) fn ask(&mut self, now: Instant) {
        self.asked_at = Some(now);
        self.is_owed = true;
    }

    /// The peer answers.
    pub(super) fn answer(&mut self, count: usize) -> Result<(), Breach> {
        if !std::mem::take(&mut self.is_owed) {
            return Err(Breach::Unasked);
        }
        check_count(count)
    }

    /// The peer asks.
    pub(super) fn question(&mut self, now: Instant) -> Result<(), Breach> {
        check_pause(self.question_at, now)?;
        self.question_at = Some(now);
        Ok(())
    }

    pub(super) fn may_be_pushed(&self, now: Instant) -> bool {
        is_over(self.pushed_at, PATIENT, now)
    }

    /// Addresses are pushed to the peer.
    pub(super) fn push(&mut self, now: Instant) {
        self.pushed_at = Some(now);
    }

    /// The peer pushes addresses.
    pub(super) fn pushed(&mut self, count: usize, now: Instant) -> Result<(), Breach> {
        check_count(count)?;
        check_pause(self.push_at, now)?;
        self.push_at = Some(now);
        Ok(())
    }
}

fn is_over(since: Option<Instant>, pause: Duration, now: Instant) -> bool {
    since.is_none_or(|since| now.saturating_duration_since(since) >= pause)
}

fn check_pause(last: Option<Instant>, now: Instant) -> Result<(), Breach> {
    match last.map(|last| now.saturating_duration_since(last)) {
        Some(after) if after < PAUSE => Err(Breach::TooSoon {
            after,
            limit: PAUSE,
        }),
        _ => Ok(()),
    }
}

fn check_count(count: usize) -> Result<(), Breach> {
    let limit = MOST_ADDRESSES;
    if count > limit {
        return Err(Breach::TooMany { count, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_question_has_one_answer_however_late() {
        let start = Instant::now();
        let mut exchange = Exchange::default();
        assert_eq!(exchange.answer(0), Err(Breach::Unasked));
        exchange.ask(start);
        assert!(!exchange.may_be_asked(start + 1000 * SECOND), "it is owed");
        assert_eq!(exchange.answer(250), Ok(()));
        assert_eq!(exchange.answer(1), Err(Breach::Unasked));
        assert!(!exchange.may_be_asked(start + 34 * SECOND));
        assert_eq!(exchange.may_be_asked_at(start), Some(start + 35 * SECOND));
        assert!(exchange.may_be_asked(start + 35 * SECOND));
    }

    #[test]
    fn an_answer_has_so_many_addresses_and_no_more() {
        let mut exchange = Exchange::default();
        let (count, limit) = (251, 250);
        exchange.ask(Instant::now());
        assert_eq!(
            exchange.answer(count),
            Err(Breach::TooMany { count, limit })
        );
        let pushed = exchange.pushed(count, Instant::now());
        assert_eq!(pushed, Err(Breach::TooMany { count, limit }));
        assert_eq!(exchange.pushed(limit, Instant::now()), Ok(()));
    }

    #[test]
    fn a_peer_asks_and_pushes_every_thirty_seconds_at_most() {
        let start = Instant::now();
        let mut exchange = Exchange::default();
        let (after, limit) = (29 * SECOND, 30 * SECOND);
        let too_soon = Err(Breach::TooSoon { after, limit });
        assert_eq!(exchange.question(start), Ok(()));
        assert_eq!(exchange.question(start + after), too_soon);
        assert_eq!(exchange.question(start + limit), Ok(()));
        assert_eq!(exchange.pushed(1, start), Ok(()));
        assert_eq!(exchange.pushed(1, start + after), too_soon);
        assert_eq!(exchange.pushed(1, start + limit), Ok(()));
    }
}
