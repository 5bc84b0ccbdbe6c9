//! The keys of calls that may have been run, and of which nobody here knows what came.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::Outcome;
use crate::rpc::calls::error::CallError;
use crate::rpc::fault::FaultKind;

/// Which start of the service each went to: another one must not be given it, as it would run it again.
///
/// As long as a call goes on, its key is here; of too many that have ended, the oldest is forgotten.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    going_on: FxHashMap<u128, GoingOn>,
    boots: FxHashMap<u128, u128>,
    /// Oldest first.
    keys: VecDeque<u128>,
}

/// Calls with one key.
#[derive(Debug)]
struct GoingOn {
    boot: Option<u128>,
    calls: usize,
}

/// What the end of a call says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing new: this call was not run.
    NotRun,
    /// A call may have been run, and what it did is not known.
    Unknown,
    Known,
}

impl End {
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(_) => Self::Known,
            Err(error) => Self::of_error(error),
        }
    }

    pub(super) fn of_error(error: &CallError) -> Self {
        match error {
            error if error.is_not_run() => Self::NotRun,
            CallError::Fault(fault) => match fault.kind() {
                FaultKind::Refused | FaultKind::UnknownTopic | FaultKind::Application(_) => {
                    Self::Known
                }
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

impl Unsettled {
    /// 48 KiB and what the maps need besides.
    pub(super) const MOST: usize = 1024;

    /// Someone has a call with the key, until they [leave](Self::leave).
    pub(super) fn enter(&mut self, key: u128) {
        let boot = self.boot(key);
        let calls = self.going_on.entry(key);
        calls.or_insert(GoingOn { boot, calls: 0 }).calls += 1;
    }

    pub(super) fn leave(&mut self, key: u128) {
        if let Some(going_on) = self.going_on.get_mut(&key) {
            going_on.calls -= 1;
            if going_on.calls == 0 {
                self.going_on.remove(&key);
            }
        }
    }

    pub(super) fn goes_on(&self, key: u128) -> bool {
        self.going_on.contains_key(&key)
    }

    /// A call is to go to that start, if none did before; answers which one it is.
    pub(super) fn send(&mut self, key: u128, boot: u128) -> u128 {
        let boot = self.boot(key).unwrap_or(boot);
        if let Some(going_on) = self.going_on.get_mut(&key) {
            going_on.boot = Some(boot);
        }
        boot
    }

    /// A call that went to that start has ended.
    pub(super) fn settle(&mut self, key: u128, boot: u128, end: End) {
        match end {
            End::NotRun => {}
            End::Unknown => self.insert(key, boot),
            End::Known => self.remove(key),
        }
    }

    /// The start that one with the key went to; of several the first.
    pub(super) fn boot(&self, key: u128) -> Option<u128> {
        let going_on = self.going_on.get(&key).and_then(|calls| calls.boot);
        going_on.or_else(|| self.boots.get(&key).copied())
    }

    fn insert(&mut self, key: u128, boot: u128) {
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

    fn remove(&mut self, key: u128) {
        if self.boots.remove(&key).is_some() {
            self.keys.retain(|kept| *kept != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::fault::Fault;

    #[test]
    fn of_too_many_the_oldest_is_forgotten() {
        let mut unsettled = Unsettled::default();
        let most = u128::try_from(Unsettled::MOST).unwrap();
        for key in 0..most {
            unsettled.settle(key, key + 1, End::Unknown);
        }
        unsettled.settle(0, 77, End::Unknown);
        assert_eq!(unsettled.boot(0), Some(1), "the first one may have run it");
        unsettled.settle(most, 5, End::Unknown);
        assert_eq!(unsettled.boot(0), None);
        unsettled.settle(1, 2, End::NotRun);
        assert_eq!(unsettled.boot(1), Some(2));
        unsettled.settle(1, 2, End::Known);
        unsettled.settle(most + 1, 6, End::Unknown);
        assert_eq!(unsettled.boot(2), Some(3), "there was room");
        assert_eq!(unsettled.keys.len(), Unsettled::MOST);
        assert_eq!(unsettled.boots.len(), Unsettled::MOST);
    }

    #[test]
    fn those_of_calls_that_go_on_are_kept_until_the_last_of_them_ends() {
        let mut unsettled = Unsettled::default();
        unsettled.enter(7);
        unsettled.enter(7);
        assert_eq!(unsettled.boot(7), None);
        assert_eq!([1, 2].map(|boot| unsettled.send(7, boot)), [1, 1]);
        unsettled.settle(7, 1, End::Known);
        unsettled.leave(7);
        assert_eq!(unsettled.boot(7), Some(1));
        unsettled.leave(7);
        assert_eq!(unsettled.boot(7), None);
        assert!(unsettled.going_on.is_empty());
    }

    #[test]
    fn what_a_fault_says_of_a_key() {
        use FaultKind::*;
        let end = |kind| End::of_error(&CallError::Fault(Fault::new(kind, "")));
        for kind in [Busy, Undecodable] {
            assert_eq!(end(kind), End::NotRun, "{kind:?}");
        }
        for kind in [
            Unencodable,
            DeadlinePassed,
            Panicked,
            KeyForgotten,
            Unavailable,
            Unknown(99),
        ] {
            assert_eq!(end(kind), End::Unknown, "{kind:?}");
        }
        for kind in [Refused, UnknownTopic, Application(1)] {
            assert_eq!(end(kind), End::Known, "{kind:?}");
        }
    }
}
