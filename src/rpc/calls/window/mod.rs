//! What a service remembers of idempotent calls, so that it runs none of them twice: told who came and
//! went, what began and ended, and what time it is.
//!
//! What is forgotten too early, for want of room, is never run again: of each client, the largest id
//! among the forgotten calls is kept, and calls keep their ids when they are sent again.
//!
//! All clients share one memory, and none pushes the others out of it: whoever holds most gives first,
//! and is given no more calls to run than it leaves to others.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

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
}

#[derive(Debug)]
struct Client<R> {
    keys: BTreeMap<u128, Entry<R>>,
    /// Its numbers in `finished`, in order.
    finished: VecDeque<u64>,
    /// No call up to this one is begun unless it is remembered.
    forgotten_up_to: u64,
    conversations: usize,
    running: usize,
    running_memory: usize,
    memory: usize,
    /// Its number in `absent`.
    absent: Option<u64>,
}

#[derive(Debug)]
enum Entry<R> {
    /// Its request takes so much memory.
    Running {
        id: u64,
        call: R,
        request: usize,
    },
    Finished {
        id: u64,
        answer: Remembered,
    },
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

/// A client, or a key, weighs so many bytes without its answers.
const CLIENT: usize = 1024;
const KEY: usize = 256;

/// So long is a client remembered that has no conversation.
const ABSENCE: Duration = Duration::from_mins(10);

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
        let is_busy = known.running >= self.limits.calls_at_once as usize;
        // It is given one more while more is free than it takes.
        let free = self.limits.keyed_at_once.saturating_sub(self.running);
        let free_memory = self.limits.key_memory.saturating_sub(self.running_memory);
        if is_busy || known.running >= free || known.running_memory >= free_memory {
            return Begin::Full;
        }
        if known.keys.len() >= self.limits.keys_per_client {
            let Some(oldest) = known.finished.front().copied() else {
                return Begin::Full;
            };
            self.evict(oldest);
        }
        let weight = request.saturating_add(KEY);
        if self.running_memory.saturating_add(weight) > self.limits.key_memory {
            return Begin::Full;
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
        if self.memory > self.limits.key_memory {
            self.update(client, |known| {
                known.keys.remove(&key);
                known.let_go(weight);
            });
            return Begin::Full;
        }
        Begin::Run(call)
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

    /// A client without a conversation is remembered for some time.
    fn note_absence(&mut self, now: Instant, client: u128) {
        let number = self.number();
        let is_new = self.update(client, |known| {
            let is_new = known.conversations == 0 && known.absent.is_none();
            if is_new {
                known.absent = Some(number);
            }
            is_new
        });
        if is_new == Some(true) {
            self.absent.insert(number, (now, client));
        }
    }

    /// It is that late: forgets what is old.
    fn time(&mut self, now: Instant) {
        while let Some((number, (since, ..))) = self.finished.first_key_value()
            && now.saturating_duration_since(*since) >= self.limits.key_time
        {
            self.evict(*number);
        }
        while let Some((_, (since, client))) = self.absent.first_key_value()
            && now.saturating_duration_since(*since) >= ABSENCE
        {
            let client = *client;
            self.absent.pop_first();
            self.forget(client);
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
        let result = change(known);
        self.running = self.running.saturating_add(known.running);
        self.running_memory = self.running_memory.saturating_add(known.running_memory);
        self.memory = self.memory.saturating_add(known.memory);
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

impl<R> Client<R> {
    fn new(forgotten_up_to: u64) -> Self {
        Self {
            keys: BTreeMap::new(),
            finished: VecDeque::new(),
            forgotten_up_to,
            conversations: 0,
            running: 0,
            running_memory: 0,
            memory: CLIENT,
            absent: None,
        }
    }

    /// Its number in `absent`, if it has no keys.
    fn vacant(&self) -> Option<u64> {
        self.absent.filter(|_| self.keys.is_empty())
    }

    /// A call of that weight runs.
    fn take_on(&mut self, weight: usize) {
        self.running = self.running.saturating_add(1);
        self.running_memory = self.running_memory.saturating_add(weight);
        self.memory = self.memory.saturating_add(weight);
    }

    /// A call of that weight runs no more.
    fn let_go(&mut self, weight: usize) {
        self.running = self.running.saturating_sub(1);
        self.running_memory = self.running_memory.saturating_sub(weight);
        self.memory = self.memory.saturating_sub(weight);
    }

    /// Remembers the answer to a call, if it is running.
    fn finish(&mut self, key: u128, number: u64, answer: Remembered) -> bool {
        let Some(entry) = self.keys.get_mut(&key) else {
            return false;
        };
        let Entry::Running { id, request, .. } = entry else {
            return false;
        };
        let (id, before) = (*id, request.saturating_add(KEY));
        let after = weight(&answer);
        *entry = Entry::Finished { id, answer };
        self.let_go(before);
        self.memory = self.memory.saturating_add(after);
        self.finished.push_back(number);
        true
    }

    /// Forgets its oldest answer, which is that of `key`: they go in the order in which they came.
    fn evict(&mut self, key: u128) {
        self.finished.pop_front();
        if let Some(Entry::Finished { id, answer }) = self.keys.remove(&key) {
            self.forgotten_up_to = self.forgotten_up_to.max(id);
            self.memory = self.memory.saturating_sub(weight(&answer));
        }
    }
}

/// What a remembered answer and its key hold.
fn weight(answer: &Remembered) -> usize {
    let length = match answer {
        Ok(body) => body.len(),
        Err(fault) => fault.reason().len(),
    };
    length.saturating_add(KEY)
}
