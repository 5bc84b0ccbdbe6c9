//! The rights to have one more call going on, granted in the order of asking.

use std::collections::{BTreeMap, BTreeSet};

use crate::rpc::calls::error::CallError;
use crate::runtime::Instant;

#[derive(Debug)]
pub(super) struct Permits<W> {
    free: usize,
    /// By ticket, so in the order of asking.
    waiting: BTreeMap<u64, Waiting<W>>,
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
        self.waiting.remove(&ticket);
        None
    }

    /// Gives a permit to whoever waited longest, and answers who that is.
    pub(super) fn release(&mut self) -> Option<W> {
        let Some((ticket, first)) = self.waiting.pop_first() else {
            self.free = self.free.saturating_add(1);
            return None;
        };
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
        let is_late = |_: &u64, waiting: &mut Waiting<W>| {
            waiting.deadline.is_some_and(|deadline| deadline <= now)
        };
        let late = self.waiting.extract_if(.., is_late);
        told.extend(late.filter_map(|(_, waiting)| waiting.caller));
        let deadlines = self.waiting.values().filter_map(|waiting| waiting.deadline);
        deadlines.min()
    }
}
