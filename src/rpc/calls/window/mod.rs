//! What a service remembers of idempotent calls, so that it runs none of them twice: told who came and
//! went, what began and ended, and what time it is.
//!
//! What is forgotten too early, for want of room, is never run again: of each client, the largest id
//! among the forgotten calls is kept, and calls keep their ids when they are sent again.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
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
    last_number: u64,
    running: usize,
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
            last_number: 0,
            running: 0,
            memory: 0,
        }
    }

    /// A client begins a conversation; it has sent calls up to that id before, over others.
    pub(super) fn enter(&mut self, now: Instant, client: u128, sent_up_to: u64) {
        self.time(now);
        let known = self.clients.entry(client).or_insert_with(|| {
            self.memory = self.memory.saturating_add(CLIENT);
            Client {
                keys: BTreeMap::new(),
                finished: VecDeque::new(),
                // One that is new here and has sent something was forgotten, or is older than
                // this start of the service.
                forgotten_up_to: sent_up_to,
                conversations: 0,
                running: 0,
                absent: None,
            }
        });
        known.conversations = known.conversations.saturating_add(1);
        if let Some(number) = known.absent.take() {
            self.absent.remove(&number);
        }
        self.make_room();
    }

    /// A conversation of the client is over.
    pub(super) fn leave(&mut self, now: Instant, client: u128) {
        self.time(now);
        let number = self.number();
        if let Some(known) = self.clients.get_mut(&client) {
            known.conversations = known.conversations.saturating_sub(1);
            if known.conversations == 0 {
                known.absent = Some(number);
                self.absent.insert(number, (now, client));
            }
        }
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
        if is_busy || self.running >= self.limits.keyed_at_once {
            return Begin::Full;
        }
        if known.keys.len() >= self.limits.keys_per_client {
            let Some(oldest) = known.finished.front().copied() else {
                return Begin::Full;
            };
            self.evict(oldest);
        }
        let weight = request.saturating_add(KEY);
        self.memory = self.memory.saturating_add(weight);
        self.make_room();
        let Some(known) = self.clients.get_mut(&client) else {
            return Begin::Full;
        };
        if self.memory > self.limits.key_memory {
            self.memory = self.memory.saturating_sub(weight);
            return Begin::Full;
        }
        let call = call();
        let running = Entry::Running {
            id,
            call: call.clone(),
            request,
        };
        known.keys.insert(key, running);
        known.running = known.running.saturating_add(1);
        self.running = self.running.saturating_add(1);
        Begin::Run(call)
    }

    /// A call that was to be run has ended.
    pub(super) fn finish(&mut self, now: Instant, client: u128, key: u128, answer: Remembered) {
        let number = self.number();
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        let Some(entry) = known.keys.get_mut(&key) else {
            return;
        };
        let Entry::Running { id, request, .. } = entry else {
            return;
        };
        self.memory = self.memory.saturating_sub(*request);
        self.memory = self.memory.saturating_add(weight(&answer));
        *entry = Entry::Finished { id: *id, answer };
        known.running = known.running.saturating_sub(1);
        known.finished.push_back(number);
        if known.conversations == 0 && known.absent.is_none() {
            known.absent = Some(number);
            self.absent.insert(number, (now, client));
        }
        self.finished.insert(number, (now, client, key));
        self.running = self.running.saturating_sub(1);
        self.time(now);
        self.make_room();
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

    /// Forgets the oldest answers, then the clients that are gone, until what is kept is within
    /// its bound.
    fn make_room(&mut self) {
        while self.memory > self.limits.key_memory {
            if let Some((oldest, _)) = self.finished.first_key_value() {
                self.evict(*oldest);
            } else if let Some((_, (_, client))) = self.absent.pop_first() {
                self.forget(client);
            } else {
                break;
            }
        }
    }

    /// Forgets the answer of that number.
    fn evict(&mut self, number: u64) {
        let Some((_, client, key)) = self.finished.remove(&number) else {
            return;
        };
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        // A client's answers are forgotten in the order in which they came.
        known.finished.pop_front();
        if let Some(Entry::Finished { id, answer }) = known.keys.remove(&key) {
            known.forgotten_up_to = known.forgotten_up_to.max(id);
            let freed = weight(&answer).saturating_add(KEY);
            self.memory = self.memory.saturating_sub(freed);
        }
    }

    /// Forgets a client that is absent, and its answers; one with running calls is kept until the
    /// next of them ends.
    fn forget(&mut self, client: u128) {
        let Some(known) = self.clients.get_mut(&client) else {
            return;
        };
        known.absent = None;
        if known.running > 0 {
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

    fn number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }
}

fn weight(answer: &Remembered) -> usize {
    match answer {
        Ok(body) => body.len(),
        Err(fault) => fault.reason().len(),
    }
}
