use std::collections::VecDeque;

use crate::runtime::Instant;

/// The most dials that are remembered at once.
const MOST: usize = 1024;

/// The numbers that this node's own dials carry: whoever hears one of them hears itself.
///
/// A number is kept until its handshake must be over, and not taken out when it is heard: somebody
/// who saw it could make it forgotten otherwise.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    known: VecDeque<(u64, Instant)>,
}

impl Nonces {
    /// Remembers a number; of too many, the oldest is forgotten.
    pub(crate) fn remember(&mut self, nonce: u64, until: Instant, now: Instant) {
        self.known.retain(|(_, until)| *until > now);
        if self.known.len() >= MOST {
            self.known.pop_front();
        }
        self.known.push_back((nonce, until));
    }

    pub(crate) fn is_own(&self, nonce: u64) -> bool {
        self.known.iter().any(|(known, _)| *known == nonce)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_number_is_known_until_its_time_is_up_however_often_it_is_heard() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut nonces = Nonces::default();
        nonces.remember(1, later, now);
        assert!(nonces.is_own(1) && nonces.is_own(1) && !nonces.is_own(2));
        nonces.remember(2, later + Duration::from_secs(5), later);
        assert!(!nonces.is_own(1) && nonces.is_own(2));
    }

    #[test]
    fn of_one_too_many_the_oldest_is_forgotten() {
        let now = Instant::now();
        let mut nonces = Nonces::default();
        for nonce in 0..=MOST as u64 {
            nonces.remember(nonce, now + Duration::from_secs(5), now);
        }
        assert!(!nonces.is_own(0) && nonces.is_own(1) && nonces.is_own(MOST as u64));
        assert_eq!(nonces.known.len(), MOST);
    }
}
