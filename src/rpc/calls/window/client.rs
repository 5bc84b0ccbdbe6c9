//! What is kept of one client.

use std::collections::{BTreeMap, VecDeque};

use super::Remembered;

#[derive(Debug)]
pub(super) struct Client<R> {
    pub(super) keys: BTreeMap<u128, Entry<R>>,
    /// Its numbers in `finished`, in order.
    pub(super) finished: VecDeque<u64>,
    /// No call up to this one is begun unless it is remembered.
    pub(super) forgotten_up_to: u64,
    pub(super) conversations: usize,
    pub(super) running: usize,
    pub(super) running_memory: usize,
    pub(super) memory: usize,
    /// Its number in `absent`.
    pub(super) absent: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Entry<R> {
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

/// A client, or a key, weighs so many bytes without its answers.
pub(super) const CLIENT: usize = 1024;
pub(super) const KEY: usize = 256;

impl<R> Client<R> {
    pub(super) fn new(forgotten_up_to: u64) -> Self {
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
    pub(super) fn vacant(&self) -> Option<u64> {
        self.absent.filter(|_| self.keys.is_empty())
    }

    /// So much of its memory cannot be forgotten now: it is here, or its calls run.
    pub(super) fn held(&self) -> usize {
        if self.conversations == 0 && self.running == 0 {
            return 0;
        }
        self.running_memory.saturating_add(CLIENT)
    }

    /// A call of that weight runs.
    pub(super) fn take_on(&mut self, weight: usize) {
        self.running = self.running.saturating_add(1);
        self.running_memory = self.running_memory.saturating_add(weight);
        self.memory = self.memory.saturating_add(weight);
    }

    /// A call of that weight runs no more.
    pub(super) fn let_go(&mut self, weight: usize) {
        self.running = self.running.saturating_sub(1);
        self.running_memory = self.running_memory.saturating_sub(weight);
        self.memory = self.memory.saturating_sub(weight);
    }

    /// Remembers the answer to a call, if it is running.
    pub(super) fn finish(&mut self, key: u128, number: u64, answer: Remembered) -> bool {
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
    pub(super) fn evict(&mut self, key: u128) {
        self.finished.pop_front();
        // It counts by its keys alone.
        let capacity = self.finished.capacity();
        if self.finished.len() < capacity / 4 {
            self.finished.shrink_to(capacity / 2);
        }
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
