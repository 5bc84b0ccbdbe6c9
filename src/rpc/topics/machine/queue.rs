//! What one subscriber has still to read.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::event::GapReason;

#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    /// What was before the entries and had to make room.
    dropped: Option<Gap>,
    entries: VecDeque<Entry>,
    /// The items among the entries.
    items: usize,
}

/// One thing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rpc::topics) enum Entry {
    Item(Cursor, Bytes),
    Gap(Gap),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rpc::topics) struct Gap {
    pub(in crate::rpc::topics) missed: Option<u64>,
    pub(in crate::rpc::topics) why: GapReason,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            dropped: None,
            entries: VecDeque::new(),
            items: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.dropped.is_none() && self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.items >= self.capacity
    }

    /// How many more items it takes.
    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.items)
    }

    /// Adds an item; of a full queue, the oldest item makes room.
    pub(super) fn push_item(&mut self, cursor: Cursor, body: Bytes) {
        while self.is_full() {
            self.drop_oldest();
        }
        self.items += 1;
        self.entries.push_back(Entry::Item(cursor, body));
    }

    /// Adds a hole. Two without an item between them are one.
    pub(super) fn push_gap(&mut self, gap: Gap) {
        match (self.entries.back_mut(), &mut self.dropped) {
            (Some(Entry::Gap(last)), _) => last.join(gap),
            (None, Some(dropped)) => dropped.join(gap),
            _ => self.entries.push_back(Entry::Gap(gap)),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        if let Some(gap) = self.dropped.take() {
            return Some(Entry::Gap(gap));
        }
        let entry = self.entries.pop_front();
        if matches!(entry, Some(Entry::Item(..))) {
            self.items = self.items.saturating_sub(1);
        }
        entry
    }

    /// Drops the oldest item, and joins the holes that it parted.
    fn drop_oldest(&mut self) {
        while let Some(entry) = self.entries.pop_front() {
            let (gap, is_item) = match entry {
                Entry::Gap(gap) => (gap, false),
                Entry::Item(..) => (Gap::counted(1, GapReason::Lagged), true),
            };
            match &mut self.dropped {
                Some(dropped) => dropped.join(gap),
                None => self.dropped = Some(gap),
            }
            if is_item {
                self.items = self.items.saturating_sub(1);
                break;
            }
        }
        if let (Some(dropped), Some(Entry::Gap(gap))) = (&mut self.dropped, self.entries.front()) {
            dropped.join(*gap);
            self.entries.pop_front();
        }
    }
}

impl Gap {
    pub(super) fn counted(missed: u64, why: GapReason) -> Self {
        Self {
            missed: Some(missed),
            why,
        }
    }

    pub(super) fn uncounted() -> Self {
        Self {
            missed: None,
            why: GapReason::Restarted,
        }
    }

    /// Adds what is missing right behind it; the first reason stands, unless the other is why
    /// nobody can count.
    fn join(&mut self, next: Self) {
        if next.missed.is_none() {
            self.why = next.why;
        }
        self.missed = self
            .missed
            .zip(next.missed)
            .map(|(one, other)| one.saturating_add(other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(sequence: u64) -> (Cursor, Bytes) {
        (Cursor::new(1, sequence), Bytes::new())
    }

    fn push(queue: &mut Queue, sequence: u64) {
        let (cursor, body) = item(sequence);
        queue.push_item(cursor, body);
    }

    /// Items by their numbers, holes by what they say.
    fn drained(queue: &mut Queue) -> Vec<String> {
        let mut read = Vec::new();
        while let Some(entry) = queue.pop() {
            read.push(match entry {
                Entry::Item(cursor, _) => cursor.sequence().to_string(),
                Entry::Gap(Gap { missed, why }) => format!("{missed:?} {why:?}"),
            });
        }
        assert!(queue.is_empty());
        read
    }

    #[test]
    fn a_full_queue_counts_what_it_drops() {
        let mut queue = Queue::new(2);
        push(&mut queue, 1);
        push(&mut queue, 2);
        assert!(queue.is_full());
        push(&mut queue, 3);
        push(&mut queue, 4);
        assert_eq!(drained(&mut queue), ["Some(2) Lagged", "3", "4"]);
    }

    #[test]
    fn holes_that_meet_are_one_hole() {
        let mut queue = Queue::new(2);
        push(&mut queue, 1);
        queue.push_gap(Gap::counted(3, GapReason::NotRetained));
        queue.push_gap(Gap::counted(4, GapReason::NotRetained));
        push(&mut queue, 9);
        push(&mut queue, 10);
        assert_eq!(drained(&mut queue), ["Some(8) Lagged", "9", "10"]);
        push(&mut queue, 11);
        queue.push_gap(Gap::counted(2, GapReason::NotResumed));
        assert_eq!(drained(&mut queue), ["11", "Some(2) NotResumed"]);
    }

    #[test]
    fn a_hole_that_nobody_can_count_stays_uncounted() {
        let mut queue = Queue::new(1);
        push(&mut queue, 1);
        queue.push_gap(Gap::uncounted());
        push(&mut queue, 1);
        assert_eq!(drained(&mut queue), ["None Restarted", "1"]);
        queue.push_gap(Gap::uncounted());
        queue.push_gap(Gap::counted(5, GapReason::Lagged));
        assert_eq!(drained(&mut queue), ["None Restarted"]);
    }

    #[test]
    fn holes_do_not_pile_up_behind_a_full_queue() {
        let mut queue = Queue::new(1);
        for sequence in 1..100 {
            push(&mut queue, 2 * sequence);
            queue.push_gap(Gap::counted(1, GapReason::Lagged));
            assert!(queue.entries.len() <= 2);
        }
        assert_eq!(
            drained(&mut queue),
            ["Some(196) Lagged", "198", "Some(1) Lagged"]
        );
    }
}
