//! What one subscriber has still to read.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::event::GapReason;
use crate::rpc::topics::options::SubscribeOptions;

#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    capacity_bytes: usize,
    /// What was before the entries and had to make room.
    dropped: Option<Gap>,
    entries: VecDeque<Entry>,
    /// The items among the entries.
    items: usize,
    /// What they hold.
    bytes: usize,
}

/// How much more a queue takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) items: usize,
    /// Below zero if the last item took more than there was.
    pub(super) bytes: i64,
}

impl Room {
    /// Which room is more: without bytes nothing can come, however many items there is room for.
    pub(super) fn rank(&self) -> (bool, usize) {
        (self.bytes > 0, self.items)
    }
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
    pub(super) fn new(options: &SubscribeOptions) -> Self {
        Self {
            capacity: options.capacity,
            capacity_bytes: options.capacity_bytes,
            dropped: None,
            entries: VecDeque::new(),
            items: 0,
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.dropped.is_none() && self.entries.is_empty()
    }

    /// Whether it has no room for an item of that length; an empty one has room for any.
    pub(super) fn is_full_for(&self, length: usize) -> bool {
        let bytes = self.bytes.saturating_add(length);
        self.items >= self.capacity || self.items > 0 && bytes > self.capacity_bytes
    }

    pub(super) fn room(&self) -> Room {
        let Room { items, bytes } = self.capacity();
        let held = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        Room {
            items: items.saturating_sub(self.items),
            bytes: bytes.saturating_sub(held),
        }
    }

    /// What it takes while it is empty.
    pub(super) fn capacity(&self) -> Room {
        Room {
            items: self.capacity,
            bytes: i64::try_from(self.capacity_bytes).unwrap_or(i64::MAX),
        }
    }

    /// The oldest items make room for one of that length.
    pub(super) fn make_room(&mut self, length: usize) {
        while self.is_full_for(length) {
            self.drop_oldest();
        }
    }

    pub(super) fn push_item(&mut self, cursor: Cursor, body: Bytes) {
        self.items = self.items.saturating_add(1);
        self.bytes = self.bytes.saturating_add(body.len());
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
        if let Some(Entry::Item(_, body)) = &entry {
            self.took(body);
        }
        entry
    }

    fn took(&mut self, body: &Bytes) {
        self.items = self.items.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(body.len());
    }

    /// Drops the oldest item, and joins the holes that it parted.
    fn drop_oldest(&mut self) {
        while let Some(entry) = self.entries.pop_front() {
            let (gap, is_item) = match entry {
                Entry::Gap(gap) => (gap, false),
                Entry::Item(_, body) => {
                    self.took(&body);
                    (Gap::counted(1, GapReason::Lagged), true)
                }
            };
            match &mut self.dropped {
                Some(dropped) => dropped.join(gap),
                None => self.dropped = Some(gap),
            }
            if is_item {
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

    fn queue(items: usize) -> Queue {
        let options = SubscribeOptions::default().capacity(items);
        Queue::new(&options.capacity_bytes(100))
    }

    fn item(sequence: u64) -> (Cursor, Bytes) {
        (Cursor::new(1, sequence), Bytes::new())
    }

    fn push(queue: &mut Queue, sequence: u64) {
        let (cursor, body) = item(sequence);
        queue.make_room(body.len());
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
        let mut queue = queue(2);
        push(&mut queue, 1);
        push(&mut queue, 2);
        assert!(queue.is_full_for(0));
        push(&mut queue, 3);
        push(&mut queue, 4);
        assert_eq!(drained(&mut queue), ["Some(2) Lagged", "3", "4"]);
    }

    #[test]
    fn at_its_capacity_in_bytes_a_queue_drops_nothing_and_one_byte_beyond_it_does() {
        let mut queue = queue(10);
        let mut push = |sequence, length: usize| {
            queue.make_room(length);
            queue.push_item(Cursor::new(1, sequence), vec![0; length].into());
            (queue.items, queue.room().bytes)
        };
        assert_eq!(push(1, 40), (1, 60));
        assert_eq!(push(2, 60), (2, 0));
        assert_eq!(push(3, 0), (3, 0));
        assert_eq!(push(4, 41), (2, 59), "the two oldest made room");
        assert_eq!(push(5, 1000), (1, -900), "it is there alone");
        assert_eq!(push(6, 1), (1, 99));
        assert_eq!(drained(&mut queue), ["Some(5) Lagged", "6"]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn holes_that_meet_are_one_hole() {
        let mut queue = queue(2);
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
        let mut queue = queue(1);
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
        let mut queue = queue(1);
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
