use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::allowance::Allowance;
use super::cursor::Cursor;
use super::doorbell::Doorbell;
use super::error::PublishError;
use super::feed::FeedLimits;
use super::ring::Ring;
use crate::rpc::fault::Fault;
use crate::runtime::SharedRuntime;

/// A feed without its type: its items, and who waits for more.
#[derive(Debug)]
pub(super) struct Source {
    state: Mutex<State>,
    /// Its items are numbered elsewhere.
    is_mirror: bool,
    runtime: SharedRuntime,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    /// Those who have read everything, by tickets that are never used twice.
    waiting: FxHashMap<u64, Waiting>,
    next_ticket: u64,
    followers: usize,
    closed: Option<Closed>,
}

/// The publisher's last word, if there is one.
#[derive(Debug, Clone)]
pub(super) struct Closed(pub(super) Option<Fault>);

/// Who is to be told that there is more.
#[derive(Debug)]
pub(super) struct Waiting {
    bell: Arc<Doorbell>,
    id: u64,
}

/// One who reads a source at a pace of its own: a place in it, and nothing of its items.
#[derive(Debug)]
pub(super) struct Follower {
    source: Arc<Source>,
    place: Cursor,
    ticket: Option<u64>,
}

/// What a follower comes upon.
#[derive(Debug)]
pub(super) enum Step {
    /// What was there up to this place is gone.
    Gap(Cursor),
    Item(Cursor, Bytes),
    Closed(Closed),
}

/// What a follower does after it has read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    ReadOn,
    /// The bell will ring.
    WaitForBell,
    WaitForCredit,
    Over,
}

/// What a follower reads at once before others have their turn: so many items, or so many bytes.
const ITEMS_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 16 * 1024;

impl Source {
    pub(super) fn new(limits: FeedLimits, runtime: SharedRuntime, is_mirror: bool) -> Arc<Self> {
        Arc::new(Self {
            is_mirror,
            state: Mutex::new(State {
                ring: Ring::new(rand::random(), limits),
                waiting: FxHashMap::default(),
                next_ticket: 0,
                followers: 0,
                closed: None,
            }),
            runtime,
        })
    }

    pub(super) fn publish(&self, body: Bytes) -> Result<Cursor, PublishError> {
        if self.is_mirror {
            return Err(PublishError::Mirror);
        }
        let now = self.runtime.now();
        let mut state = self.lock();
        if state.closed.is_some() {
            return Err(PublishError::Closed);
        }
        let cursor = state.ring.push(body, now);
        let waiting = state.take_waiting();
        drop(state);
        Waiting::ring_all(waiting);
        Ok(cursor)
    }

    /// Publishes no more; only the first word about it counts.
    pub(super) fn close(&self, fault: Option<Fault>) {
        let mut state = self.lock();
        state.closed.get_or_insert(Closed(fault));
        let waiting = state.take_waiting();
        drop(state);
        Waiting::ring_all(waiting);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    pub(super) fn end(&self) -> Cursor {
        self.lock().ring.end()
    }

    pub(super) fn followers(&self) -> usize {
        self.lock().followers
    }

    /// Follows from behind `after` on, or else from the next item on; answers also the number of the newest
    /// item that there is, of the origin that is read.
    pub(super) fn follow(self: &Arc<Self>, after: Option<Cursor>) -> (Follower, u64) {
        let now = self.runtime.now();
        let mut state = self.lock();
        state.followers = state.followers.saturating_add(1);
        state.ring.expire(now);
        let place = match after {
            Some(after) => state.ring.resume(after),
            None => state.ring.end(),
        };
        let newest = state.ring.newest(place);
        drop(state);
        let follower = Follower {
            source: Arc::clone(self),
            place,
            ticket: None,
        };
        (follower, newest)
    }

    /// Begins at a place that was set elsewhere.
    pub(super) fn begin(&self, place: Cursor) -> Vec<Waiting> {
        let mut state = self.lock();
        if state.closed.is_some() {
            return Vec::new();
        }
        state.ring.restart(place);
        state.take_waiting()
    }

    /// Adds an item that was numbered elsewhere.
    pub(super) fn put(&self, cursor: Cursor, body: Bytes) -> Vec<Waiting> {
        let now = self.runtime.now();
        let mut state = self.lock();
        if state.closed.is_some() || !state.ring.put(cursor, body, now) {
            return Vec::new();
        }
        state.take_waiting()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_waiting(&mut self) -> Vec<Waiting> {
        self.waiting.drain().map(|(_, waiting)| waiting).collect()
    }
}

impl Waiting {
    /// To be called without a lock.
    pub(super) fn ring_all(all: Vec<Self>) {
        for Self { bell, id } in all {
            bell.ring(id);
        }
    }
}

impl Follower {
    pub(super) fn place(&self) -> Cursor {
        self.place
    }

    /// Adds what comes next to `steps`, as far as `allowance` goes if there is one. When there is no more, the
    /// bell will ring for `id`.
    pub(super) fn read(
        &mut self,
        allowance: &mut Option<Allowance>,
        bell: &Arc<Doorbell>,
        id: u64,
        steps: &mut Vec<Step>,
    ) -> Next {
        let now = self.source.runtime.now();
        let mut state = self.source.lock();
        if let Some(ticket) = self.ticket.take() {
            state.waiting.remove(&ticket);
        }
        state.ring.expire(now);
        let (mut items, mut bytes) = (0, 0);
        loop {
            let place = state.ring.resume(self.place);
            if place != self.place {
                self.place = place;
                steps.push(Step::Gap(place));
            }
            let Some(body) = state.ring.next(self.place) else {
                break;
            };
            if allowance.is_some_and(Allowance::is_spent) {
                return Next::WaitForCredit;
            }
            if items >= ITEMS_AT_ONCE || bytes >= BYTES_AT_ONCE {
                return Next::ReadOn;
            }
            items += 1;
            bytes = bytes.saturating_add(body.len());
            if let Some(allowance) = allowance {
                allowance.spend(body.len());
            }
            let sequence = self.place.sequence().saturating_add(1);
            self.place = Cursor::new(self.place.origin(), sequence);
            steps.push(Step::Item(self.place, body.clone()));
        }
        if let Some(closed) = &state.closed {
            steps.push(Step::Closed(closed.clone()));
            return Next::Over;
        }
        let ticket = state.next_ticket;
        state.next_ticket = ticket.wrapping_add(1);
        let bell = Arc::clone(bell);
        state.waiting.insert(ticket, Waiting { bell, id });
        self.ticket = Some(ticket);
        Next::WaitForBell
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.source.lock();
        state.followers = state.followers.saturating_sub(1);
        let waiting = self.ticket.and_then(|ticket| state.waiting.remove(&ticket));
        drop(state);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::VirtualClock;

    #[test]
    fn a_mirror_that_is_closed_begins_no_more() {
        let source = Source::new(FeedLimits::default(), Arc::new(VirtualClock::new()), true);
        let place = |sequence| Cursor::new(7, sequence);
        source.begin(place(0));
        source.put(place(1), Bytes::new());
        let (mut follower, _) = source.follow(Some(place(0)));
        source.close(None);
        source.begin(Cursor::new(9, 0));
        let mut steps = Vec::new();
        let next = follower.read(&mut None, &Arc::default(), 1, &mut steps);
        assert_eq!(next, Next::Over);
        let [Step::Item(cursor, _), Step::Closed(_)] = &steps[..] else {
            panic!("{steps:?}");
        };
        assert_eq!(*cursor, place(1));
    }
}
