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
    /// The first of these are of the former origin.
    items: VecDeque<Kept>,
    bytes: usize,
    former: Former,
}

/// What is kept from before the origin became another one.
#[derive(Debug, Clone, Copy)]
struct Former {
    end: Cursor,
    items: usize,
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
            former: Former {
                end: Cursor::new(origin, 0),
                items: 0,
            },
        }
    }

    /// The place behind the newest item.
    pub(super) fn end(&self) -> Cursor {
        Cursor::new(self.origin, self.newest)
    }

    /// The place before the oldest item of this origin that is kept.
    pub(super) fn begin(&self) -> Cursor {
        let kept = self.items.len().saturating_sub(self.former.items) as u64;
        Cursor::new(self.origin, self.newest.saturating_sub(kept))
    }

    /// The number of the newest item of the origin of `place`.
    pub(super) fn newest(&self, place: Cursor) -> u64 {
        if self.is_former(place) {
            self.former.end.sequence()
        } else {
            self.newest
        }
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

    /// Begins at a place, with nothing of its origin before it. What is kept of the origin that ends by
    /// this is there still for those who have not come to its end.
    pub(super) fn restart(&mut self, place: Cursor) {
        if place.origin() != self.origin {
            for _ in 0..self.former.items {
                self.drop_oldest();
            }
            self.former = Former {
                end: self.end(),
                items: self.items.len(),
            };
        }
        for kept in self.items.drain(self.former.items..) {
            self.bytes = self.bytes.saturating_sub(kept.body.len());
        }
        self.origin = place.origin();
        self.newest = place.sequence();
    }

    /// Adds an item that was numbered elsewhere, unless it was there already. Nothing of its origin is kept
    /// from before a hole.
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
        if self.is_former(after) {
            let begin = self.former_begin();
            return Cursor::new(after.origin(), after.sequence().max(begin));
        }
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
        let (begin, former) = if after.origin() == self.origin {
            (self.begin().sequence(), self.former.items)
        } else if self.is_former(after) {
            (self.former_begin(), 0)
        } else {
            return None;
        };
        let place = after.sequence().checked_sub(begin)?;
        let place = usize::try_from(place).ok()?.checked_add(former)?;
        Some(&self.items.get(place)?.body)
    }

    /// Whether something that is kept of the former origin is behind that place.
    fn is_former(&self, place: Cursor) -> bool {
        let Former { end, items } = self.former;
        items > 0 && place.origin() == end.origin() && place.sequence() < end.sequence()
    }

    fn former_begin(&self) -> u64 {
        let Former { end, items } = self.former;
        end.sequence().saturating_sub(items as u64)
    }

    fn drop_oldest(&mut self) {
        if let Some(kept) = self.items.pop_front() {
            self.bytes = self.bytes.saturating_sub(kept.body.len());
            self.former.items = self.former.items.saturating_sub(1);
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

    /// What a follower comes upon from a place on, which is of a former origin.
    fn walk(ring: &Ring, after: Cursor) -> Vec<String> {
        let (mut place, mut seen) = (after, Vec::new());
        loop {
            let resumed = ring.resume(place);
            if resumed != place {
                place = resumed;
                seen.push(format!("{}-{}", place.origin(), place.sequence()));
            }
            let Some(body) = ring.next(place) else {
                return seen;
            };
            seen.push(String::from_utf8(body.to_vec()).unwrap());
            place = Cursor::new(place.origin(), place.sequence() + 1);
        }
    }

    #[test]
    fn what_is_kept_of_the_former_origin_comes_before_what_the_next_one_has() {
        let (mut ring, now) = ring(FeedLimits::default().items(4));
        for text in ["one", "two", "three"] {
            push(&mut ring, text, now);
        }
        ring.restart(Cursor::new(9, 0));
        assert_eq!(
            (ring.begin(), ring.end()),
            (Cursor::new(9, 0), Cursor::new(9, 0))
        );
        push(&mut ring, "new", now);
        let place = Cursor::new(7, 1);
        assert_eq!(walk(&ring, place), ["two", "three", "9-0", "new"]);
        assert_eq!((ring.newest(place), ring.newest(ring.end())), (3, 1));
        assert_eq!(
            walk(&ring, Cursor::new(7, 3)),
            ["9-0", "new"],
            "nothing is left"
        );
        assert_eq!(
            walk(&ring, Cursor::new(7, 4)),
            ["9-0", "new"],
            "it never was"
        );
        assert_eq!(walk(&ring, Cursor::new(9, 0)), ["new"]);
        push(&mut ring, "newer", now);
        assert_eq!(
            walk(&ring, Cursor::new(7, 0)),
            ["7-1", "two", "three", "9-0", "new", "newer"]
        );
        push(&mut ring, "newest", now);
        assert_eq!(
            walk(&ring, place),
            ["7-2", "three", "9-0", "new", "newer", "newest"]
        );
    }

    #[test]
    fn one_former_origin_is_kept_within_the_same_limits() {
        let (mut ring, now) = ring(FeedLimits::default().bytes(8));
        push(&mut ring, "one", now);
        ring.restart(Cursor::new(8, 0));
        push(&mut ring, "two", now);
        ring.restart(Cursor::new(9, 0));
        assert_eq!(walk(&ring, Cursor::new(7, 0)), ["9-0"]);
        assert_eq!(walk(&ring, Cursor::new(8, 0)), ["two", "9-0"]);
        push(&mut ring, "three", now);
        assert_eq!(walk(&ring, Cursor::new(8, 0)), ["two", "9-0", "three"]);
        // A hole, and one more byte than may be.
        assert!(ring.put(Cursor::new(9, 7), "new".into(), now));
        assert_eq!(walk(&ring, Cursor::new(8, 0)), ["two", "9-6", "new"]);
        assert!(ring.put(Cursor::new(9, 8), "new".into(), now));
        assert_eq!(walk(&ring, Cursor::new(8, 0)), ["9-6", "new", "new"]);
        assert_eq!(ring.bytes, 6);
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
