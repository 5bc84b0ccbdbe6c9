//! The rights to have one more call going on, granted in the order of asking.

use std::collections::{BTreeMap, BTreeSet};

use crate::rpc::calls::error::CallError;
use crate::runtime::Instant;

#[derive(Debug)]
pub(super) struct Permits<W> {
    free: usize,
    /// By ticket, so in the order of asking.
    waiting: BTreeMap<u64, Waiting<W>>,
    /// Of those that wait: there may be any number, and their times are up one after the other.
    deadlines: BTreeSet<(Instant, u64)>,
    /// Tickets whose permit was not fetched yet.
    granted: BTreeSet<u64>,
    last_ticket: u64,
}

#[derive(Debug)]
struct Waiting<W> {
    deadline: Option<Instant>,
    caller: Option<W>,
}

impl<W> Permits<W> {
    pub(super) fn new(permits: usize) -> Self {
        Self {
            free: permits.max(1),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            granted: BTreeSet::new(),
            last_ticket: 0,
        }
    }

    /// A permit, or that there was none in time; nothing while the ticket waits.
    pub(super) fn ask(
        &mut self,
        ticket: &mut Option<u64>,
        deadline: Option<Instant>,
        caller: impl FnOnce() -> W,
    ) -> Option<Result<(), CallError>> {
        let Some(number) = *ticket else {
            if self.free > 0 {
                self.free -= 1;
                return Some(Ok(()));
            }
            self.last_ticket = self.last_ticket.saturating_add(1);
            *ticket = Some(self.last_ticket);
            let caller = Some(caller());
            self.waiting
                .insert(self.last_ticket, Waiting { deadline, caller });
            let deadline = deadline.map(|deadline| (deadline, self.last_ticket));
            self.deadlines.extend(deadline);
            return None;
        };
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.caller = Some(caller());
            return None;
        }
        *ticket = None;
        if self.granted.remove(&number) {
            return Some(Ok(()));
        }
        Some(Err(CallError::DeadlinePassed { sent: false }))
    }

    /// Leaves the queue; answers who has the permit that was granted meanwhile.
    pub(super) fn leave(&mut self, ticket: u64) -> Option<W> {
        if self.granted.remove(&ticket) {
            return self.release();
        }
        if let Some(waiting) = self.waiting.remove(&ticket) {
            self.forget_deadline(ticket, &waiting);
        }
        None
    }

    /// Gives a permit to whoever waited longest, and answers who that is.
    pub(super) fn release(&mut self) -> Option<W> {
        let Some((ticket, first)) = self.waiting.pop_first() else {
            self.free = self.free.saturating_add(1);
            return None;
        };
        self.forget_deadline(ticket, &first);
        self.granted.insert(ticket);
        first.caller
    }

    /// Those who wait are to ask again, to be told why that is in vain.
    pub(super) fn tell_all(&mut self, told: &mut Vec<W>) {
        let waiting = self.waiting.values_mut();
        told.extend(waiting.filter_map(|waiting| waiting.caller.take()));
    }

    /// Ends the waiting of those whose time is up; answers when the next one's is.
    pub(super) fn time(&mut self, now: Instant, told: &mut Vec<W>) -> Option<Instant> {
        while let Some((deadline, ticket)) = self.deadlines.first().copied() {
            if deadline > now {
                return Some(deadline);
            }
            self.deadlines.pop_first();
            let late = self.waiting.remove(&ticket);
            told.extend(late.and_then(|waiting| waiting.caller));
        }
        None
    }

    fn forget_deadline(&mut self, ticket: u64, waiting: &Waiting<W>) {
        if let Some(deadline) = waiting.deadline {
            self.deadlines.remove(&(deadline, ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn those_who_wait_are_told_when_their_own_time_is_up() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut permits = Permits::new(1);
        let ask = |permits: &mut Permits<u64>, seconds| {
            let mut ticket = None;
            let answer = permits.ask(&mut ticket, Some(at(seconds)), || seconds);
            assert_eq!(answer.is_some(), ticket.is_none());
            ticket
        };
        assert_eq!(ask(&mut permits, 9), None, "it has the permit");
        let tickets = [5, 3, 4, 2, 6].map(|seconds| ask(&mut permits, seconds).unwrap());
        assert_eq!(permits.release(), Some(5));
        assert_eq!(permits.leave(tickets[1]), None);
        let mut told = Vec::new();
        assert_eq!(permits.time(at(1), &mut told), Some(at(2)));
        assert_eq!(permits.time(at(2), &mut told), Some(at(4)));
        assert_eq!(permits.time(at(5), &mut told), Some(at(6)));
        assert_eq!(told, [2, 4]);
        assert_eq!(permits.time(at(6), &mut told), None);
        assert!(permits.waiting.is_empty() && permits.deadlines.is_empty());
    }
}
