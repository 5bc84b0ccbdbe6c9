//! The newest items of a feed, numbered.

use std::collections::VecDeque;

use bytes::Bytes;

use super::cursor::Cursor;
use super::feed::FeedLimits;
use crate::runtime::Instant;

#[derive(Debug)]
pub(super) struct Ring {
    limits: FeedLimits,
    origin: u64,
    /// The number of the newest item, whether it is still there or not.
    newest: u64,
    items: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    body: Bytes,
    /// None if it is kept whatever its age.
    until: Option<Instant>,
}

impl Ring {
    /// A ring that numbers its items from 1.
    pub(super) fn new(origin: u64, limits: FeedLimits) -> Self {
        Self {
            limits,
            origin,
            newest: 0,
            items: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The place behind the newest item.
    pub(super) fn end(&self) -> Cursor {
        Cursor::new(self.origin, self.newest)
    }

    /// The place before the oldest item that is kept.
    pub(super) fn begin(&self) -> Cursor {
        let kept = self.items.len() as u64;
        Cursor::new(self.origin, self.newest.saturating_sub(kept))
    }

    /// Adds the next item, and lets go of what is too old or too much.
    pub(super) fn push(&mut self, body: Bytes, now: Instant) -> Cursor {
        self.bytes = self.bytes.saturating_add(body.len());
        let until = self.limits.age.and_then(|age| now.checked_add(age));
        self.items.push_back(Kept { body, until });
        self.newest = self.newest.saturating_add(1);
        while self.items.len() > self.limits.items || self.bytes > self.limits.bytes {
            self.drop_oldest();
        }
        self.expire(now);
        self.end()
    }

    /// Begins at a place, with nothing before it.
    pub(super) fn restart(&mut self, place: Cursor) {
        self.origin = place.origin();
        self.newest = place.sequence();
        self.items.clear();
        self.bytes = 0;
    }

    /// Adds an item that was numbered elsewhere, unless it was there already. Nothing is kept from
    /// before a hole.
    pub(super) fn put(&mut self, cursor: Cursor, body: Bytes, now: Instant) -> bool {
        let before = cursor.sequence().saturating_sub(1);
        let is_known = cursor.origin() == self.origin;
        if is_known && cursor.sequence() <= self.newest {
            return false;
        }
        if !is_known || before > self.newest {
            self.restart(Cursor::new(cursor.origin(), before));
        }
        self.push(body, now);
        true
    }

    /// Lets go of what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_old = |kept: &Kept| kept.until.is_some_and(|until| until <= now);
        while self.items.front().is_some_and(is_old) {
            self.drop_oldest();
        }
    }

    /// Where a follower goes on that has seen everything up to `after`: right there, if what
    /// follows is kept.
    pub(super) fn resume(&self, after: Cursor) -> Cursor {
        let begin = self.begin();
        let is_known = after.origin() == self.origin && after.sequence() <= self.newest;
        if is_known && after.sequence() >= begin.sequence() {
            after
        } else {
            begin
        }
    }

    /// The item behind `after`, which [`resume`](Self::resume) has answered.
    pub(super) fn next(&self, after: Cursor) -> Option<&Bytes> {
        let place = after.sequence().checked_sub(self.begin().sequence())?;
        let kept = self.items.get(usize::try_from(place).ok()?)?;
        Some(&kept.body)
    }

    fn drop_oldest(&mut self) {
        if let Some(kept) = self.items.pop_front() {
            self.bytes = self.bytes.saturating_sub(kept.body.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ring(limits: FeedLimits) -> (Ring, Instant) {
        (Ring::new(7, limits), Instant::now())
    }

    fn push(ring: &mut Ring, text: &'static str, now: Instant) -> u64 {
        ring.push(Bytes::from_static(text.as_bytes()), now)
            .sequence()
    }

    /// What a follower gets that has seen everything up to `after`.
    fn read(ring: &Ring, after: u64) -> (u64, Vec<Bytes>) {
        let mut place = ring.resume(Cursor::new(7, after));
        let first = place.sequence();
        let mut items = Vec::new();
        while let Some(body) = ring.next(place) {
            items.push(body.clone());
            place = Cursor::new(7, place.sequence() + 1);
        }
        assert_eq!(place, ring.end());
        (first, items)
    }

    #[test]
    fn a_full_ring_lets_go_of_the_oldest_item() {
        let (mut ring, now) = ring(FeedLimits::default().items(2));
        for (number, text) in (1..).zip(["one", "two"]) {
            assert_eq!(push(&mut ring, text, now), number);
        }
        assert_eq!(read(&ring, 0), (0, vec!["one".into(), "two".into()]));
        push(&mut ring, "three", now);
        assert_eq!(read(&ring, 0), (1, vec!["two".into(), "three".into()]));
        assert_eq!(read(&ring, 2), (2, vec!["three".into()]));
        assert_eq!(read(&ring, 3), (3, vec![]));
    }

    #[test]
    fn bytes_are_limited_too() {
        let (mut ring, now) = ring(FeedLimits::default().bytes(6));
        push(&mut ring, "one", now);
        push(&mut ring, "two", now);
        assert_eq!(read(&ring, 0).0, 0);
        push(&mut ring, "3", now);
        assert_eq!(read(&ring, 0), (1, vec!["two".into(), "3".into()]));
    }

    #[test]
    fn an_item_goes_when_its_time_is_up() {
        let second = Duration::from_secs(1);
        let (mut ring, now) = ring(FeedLimits::default().age(second));
        push(&mut ring, "one", now);
        push(&mut ring, "two", now + second / 2);
        ring.expire(now + Duration::from_millis(999));
        assert_eq!(read(&ring, 0).0, 0);
        ring.expire(now + second);
        assert_eq!(read(&ring, 0).0, 1);
        ring.expire(now + 2 * second);
        assert_eq!(read(&ring, 0), (2, vec![]));
    }

    #[test]
    fn items_that_were_numbered_elsewhere_keep_their_numbers() {
        let (mut ring, now) = ring(FeedLimits::default());
        let mut put = |origin, sequence| {
            let is_new = ring.put(Cursor::new(origin, sequence), Bytes::new(), now);
            (is_new, ring.begin(), ring.end())
        };
        let place = Cursor::new;
        assert_eq!(put(8, 5), (true, place(8, 4), place(8, 5)));
        assert_eq!(put(8, 6), (true, place(8, 4), place(8, 6)));
        assert_eq!(put(8, 6), (false, place(8, 4), place(8, 6)));
        assert_eq!(put(8, 9), (true, place(8, 8), place(8, 9)));
        assert_eq!(put(9, 1), (true, place(9, 0), place(9, 1)));
    }

    #[test]
    fn a_place_of_another_origin_or_of_the_future_is_no_place_here() {
        let (mut ring, now) = ring(FeedLimits::default().items(1));
        push(&mut ring, "one", now);
        push(&mut ring, "two", now);
        assert_eq!(ring.resume(Cursor::new(7, 2)), Cursor::new(7, 2));
        assert_eq!(ring.resume(Cursor::new(8, 2)), Cursor::new(7, 1));
        assert_eq!(ring.resume(Cursor::new(7, 3)), Cursor::new(7, 1));
        assert_eq!(ring.resume(Cursor::new(7, u64::MAX)), Cursor::new(7, 1));
    }
}
