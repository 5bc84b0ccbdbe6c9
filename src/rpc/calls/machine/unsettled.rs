//! The keys of calls that may have been run, and of which nobody here knows what came.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

/// Which start of the service each went to: another one must not be given it, as it would run it again. Of too many
/// the oldest is forgotten.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    boots: FxHashMap<u128, u128>,
    /// Oldest first.
    keys: VecDeque<u128>,
}

impl Unsettled {
    /// 48 KiB and what the maps need besides.
    pub(super) const MOST: usize = 1024;

    /// That start may have run the call. An earlier one that may have, too, is kept.
    pub(super) fn insert(&mut self, key: u128, boot: u128) {
        if self.boots.contains_key(&key) {
            return;
        }
        if self.keys.len() >= Self::MOST
            && let Some(oldest) = self.keys.pop_front()
        {
            self.boots.remove(&oldest);
        }
        self.keys.push_back(key);
        self.boots.insert(key, boot);
    }

    pub(super) fn boot(&self, key: u128) -> Option<u128> {
        self.boots.get(&key).copied()
    }

    pub(super) fn remove(&mut self, key: u128) {
        if self.boots.remove(&key).is_some() {
            self.keys.retain(|kept| *kept != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_oldest_is_forgotten() {
        let mut unsettled = Unsettled::default();
        let most = u128::try_from(Unsettled::MOST).unwrap();
        for key in 0..most {
            unsettled.insert(key, key + 1);
        }
        unsettled.insert(0, 77);
        assert_eq!(unsettled.boot(0), Some(1), "the first one may have run it");
        unsettled.insert(most, 5);
        assert_eq!(unsettled.boot(0), None);
        assert_eq!(unsettled.boot(1), Some(2));
        unsettled.remove(1);
        unsettled.insert(most + 1, 6);
        assert_eq!(unsettled.boot(2), Some(3), "there was room");
        assert_eq!(unsettled.keys.len(), Unsettled::MOST);
        assert_eq!(unsettled.boots.len(), Unsettled::MOST);
    }
}
