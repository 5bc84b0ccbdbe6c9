//! What a service remembers of idempotent calls, so that it runs none of them twice: told who came and
//! went, what began and ended, and what time it is.
//!
//! What is forgotten too early, for want of room, is never run again: of each client, the largest id
//! among the forgotten calls is kept, and calls keep their ids when they are sent again.
//!
//! All clients share one memory, and none pushes the others out of it: whoever holds most gives first,
//! and is given no more calls to run than it leaves to others.

mod client;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use self::client::{CLIENT, Client, Entry, KEY};
use super::limits::CallLimits;
use crate::rpc::fault::Fault;
use crate::runtime::Instant;

/// What came of a call, for every time that it is sent.
pub(super) type Remembered = Result<Bytes, Fault>;

/// `R` stands for a call that is running, for those who wait for it.
#[derive(Debug)]
pub(super) struct Window<R> {
    limits: CallLimits,
    clients: BTreeMap<u128, Client<R>>,
    /// Calls that ended, the earliest first: when, whose and which.
    finished: BTreeMap<u64, (Instant, u128, u128)>,
    /// Clients that have no conversation, the one first that left first.
    absent: BTreeMap<u64, (Instant, u128)>,
    /// Those among them of whom nothing else is kept.
    vacant: BTreeSet<u64>,
    /// Clients of whom answers are remembered, who holds most last.
    holders: BTreeSet<(usize, u128)>,
    last_number: u64,
    running: usize,
    /// What running calls hold of the memory.
    running_memory: usize,
    memory: usize,
    /// So much of it cannot be forgotten now.
    held: usize,
}

/// What to do with a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin<R> {
    Run(R),
    /// It runs already, since it was sent before.
    Wait(R),
    Answer(Remembered),
    /// It may have been run, and what came of it is not known any more.
    Forgotten,
    /// There is no room to remember it, or too many run.
    Full,
}

/// So long is a client remembered that has no conversation, at least.
const ABSENCE: Duration = Duration::from_mins(10);

/// So much that is old is forgotten each time that something happens, so that nothing waits for long.
const FORGOTTEN_AT_ONCE: usize = 64;

impl<R: Clone> Window<R> {
    pub(super) fn new(limits: CallLimits) -> Self {
        Self {
            limits,
            clients: BTreeMap::new(),
            finished: BTreeMap::new(),
            absent: BTreeMap::new(),
            vacant: BTreeSet::new(),
            holders: BTreeSet::new(),
            last_number: 0,
            running: 0,
            running_memory: 0,
            memory: 0,
            held: 0,
        }
    }

    /// A client begins a conversation; it has sent calls up to that id before, over others.
    pub(super) fn enter(&mut self, now: Instant, client: u128, sent_up_to: u64) {
        self.time(now);
        self.clients.entry(client).or_insert_with(|| {
            self.memory = self.memory.saturating_add(CLIENT);
            // One that is new here and has sent something was forgotten, or is older than this start of
            // the service.
            Client::new(sent_up_to)
        });
        let absent = self.update(client, |known| {
            known.conversations = known.conversations.saturating_add(1);
            known.absent.take()
        });
        if let Some(number) = absent.flatten() {
            self.absent.remove(&number);
        }
        self.make_room();
    }

    /// A conversation of the client is over.
    pub(super) fn leave(&mut self, now: Instant, client: u128) {
        self.time(now);
        self.update(client, |known| {
            known.conversations = known.conversations.saturating_sub(1);
        });
        self.note_absence(now, client);
        self.make_room();
    }

    /// A client sends a call, perhaps again.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        client: u128,
        id: u64,
        key: u128,
        request: usize,
        call: impl FnOnce() -> R,
    ) -> Begin<R> {
        self.time(now);
        let Some(known) = self.clients.get_mut(&client) else {
            return Begin::Full;
        };
        match known.keys.get_mut(&key) {
            Some(Entry::Running {
                id: first, call, ..
            }) => {
                *first = id.max(*first);
                return Begin::Wait(call.clone());
            }
            Some(Entry::Finished { id: first, answer }) => {
                *first = id.max(*first);
                return Begin::Answer(answer.clone());
            }
            None if id <= known.forgotten_up_to => return Begin::Forgotten,
            None => {}
        }
        let weight = request.saturating_add(KEY);
        if !self.has_room(client, weight) {
            return Begin::Full;
        }
        if let Some(known) = self.clients.get(&client)
            && known.keys.len() >= self.limits.keys_per_client
            && let Some(oldest) = known.finished.front()
        {
            self.evict(*oldest);
        }
        let call = call();
        let running = Entry::Running {
            id,
            call: call.clone(),
            request,
        };
        self.update(client, |known| {
            known.keys.insert(key, running);
            known.take_on(weight);
        });
        self.make_room();
        Begin::Run(call)
    }

    /// Whether a client may run one more call, and what can be forgotten makes room for its weight.
    fn has_room(&self, client: u128, weight: usize) -> bool {
        let (limits, known) = (&self.limits, self.clients.get(&client));
        let Some(known) = known else {
            return false;
        };
        // Each of its conversations may have so many.
        let at_once = (limits.calls_at_once as usize).saturating_mul(known.conversations.max(1));
        let most = limits.keys_per_client.min(at_once);
        // It is given one more while more is free than it takes.
        let free = limits.keyed_at_once.saturating_sub(self.running);
        let free_memory = limits.key_memory.saturating_sub(self.running_memory);
        let others = self.held.saturating_sub(known.held());
        let own = known.running_memory.saturating_add(CLIENT);
        known.running < most.min(free)
            && known.running_memory < free_memory
            && others.saturating_add(own).saturating_add(weight) <= limits.key_memory
    }

    /// A call that was to be run has ended.
    pub(super) fn finish(&mut self, now: Instant, client: u128, key: u128, answer: Remembered) {
        let number = self.number();
        let ended = self.update(client, |known| known.finish(key, number, answer));
        if ended != Some(true) {
            return;
        }
        self.finished.insert(number, (now, client, key));
        self.note_absence(now, client);
        self.time(now);
        self.make_room();
    }

    /// A client without a conversation is remembered for some time, from its last answer on.
    fn note_absence(&mut self, now: Instant, client: u128) {
        let number = self.number();
        let before = self.update(client, |known| {
            (known.conversations == 0).then(|| known.absent.replace(number))
        });
        if let Some(before) = before.flatten() {
            if let Some(before) = before {
                self.absent.remove(&before);
            }
            self.absent.insert(number, (now, client));
        }
    }

    /// It is that late: forgets what is old.
    fn time(&mut self, now: Instant) {
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        let key_time = self.limits.key_time;
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.finished.first_key_value() {
                Some((&number, &(since, ..))) if is_over(since, key_time) => self.evict(number),
                _ => break,
            }
        }
        // Its answers are old by then.
        let absence = key_time.max(ABSENCE);
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.absent.first_key_value() {
                Some((_, &(since, client))) if is_over(since, absence) => {
                    self.absent.pop_first();
                    self.forget(client);
                }
                _ => break,
            }
        }
    }

    /// Forgets until what is kept is within its bound: the oldest answer of the client that holds most,
    /// or the client that left first, if those of whom nothing else is kept hold more together.
    fn make_room(&mut self) {
        while self.memory > self.limits.key_memory {
            let vacant = self.vacant.len().saturating_mul(CLIENT);
            let largest = self.holders.last().filter(|(held, _)| *held >= vacant);
            let known = largest.and_then(|(_, client)| self.clients.get(client));
            if let Some(oldest) = known.and_then(|known| known.finished.front()) {
                self.evict(*oldest);
            } else if let Some(left) = self.vacant.first()
                && let Some((_, client)) = self.absent.remove(left)
            {
                self.forget(client);
            } else {
                break;
            }
        }
    }

    /// Forgets the answer of that number.
    fn evict(&mut self, number: u64) {
        if let Some((_, client, key)) = self.finished.remove(&number) {
            self.update(client, |known| known.evict(key));
        }
    }

    /// Forgets a client that is absent, and its answers; one with running calls is kept until the
    /// next of them ends.
    fn forget(&mut self, client: u128) {
        let is_running = self.update(client, |known| {
            known.absent = None;
            known.running > 0
        });
        if is_running != Some(false) {
            return;
        }
        while let Some(oldest) = self
            .clients
            .get(&client)
            .and_then(|known| known.finished.front())
        {
            self.evict(*oldest);
        }
        self.clients.remove(&client);
        self.memory = self.memory.saturating_sub(CLIENT);
    }

    /// Changes what is kept of a client, and the sums and orders that follow from it.
    fn update<T>(&mut self, client: u128, change: impl FnOnce(&mut Client<R>) -> T) -> Option<T> {
        let known = self.clients.get_mut(&client)?;
        self.holders.remove(&(known.memory, client));
        if let Some(number) = known.vacant() {
            self.vacant.remove(&number);
        }
        self.memory = self.memory.saturating_sub(known.memory);
        self.running_memory = self.running_memory.saturating_sub(known.running_memory);
        self.running = self.running.saturating_sub(known.running);
        self.held = self.held.saturating_sub(known.held());
        let result = change(known);
        self.running = self.running.saturating_add(known.running);
        self.running_memory = self.running_memory.saturating_add(known.running_memory);
        self.memory = self.memory.saturating_add(known.memory);
        self.held = self.held.saturating_add(known.held());
        self.vacant.extend(known.vacant());
        if !known.finished.is_empty() {
            self.holders.insert((known.memory, client));
        }
        Some(result)
    }

    fn number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }
}
