//! What waits to be sent to one peer, without I/O.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::app::Class;
use super::registry::Key;
use crate::runtime::Instant;

/// What happens to messages of [`Class::Data`] when a peer takes them more slowly than they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slow {
    /// The oldest that wait are dropped.
    DropOldest,
    /// The new one is dropped.
    DropNewest,
    /// The new one is dropped, and a peer for which that went on so long is disconnected.
    Disconnect {
        /// How long its queue may be full.
        after: Duration,
    },
}

/// Messages for one peer, those of [`Class::Control`] first.
#[derive(Debug)]
pub(crate) struct Outbox {
    control: VecDeque<Bytes>,
    data: VecDeque<Bytes>,
    bytes: usize,
    limits: Limits,
    /// The connection that may take them.
    writer: Option<Key>,
    /// More may be put in.
    accepts: bool,
    /// Since when something had to be dropped, without anything being taken.
    full_since: Option<Instant>,
    shed: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What came of a message that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It waits to be sent.
    Queued,
    /// It waits to be sent, in the place of so many others.
    Displaced(u64),
    /// It was dropped.
    Shed,
    /// There is no room for what must not be dropped, or there was none for too long.
    Overflow,
}

impl Outbox {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            control: VecDeque::new(),
            data: VecDeque::new(),
            bytes: 0,
            limits,
            writer: None,
            accepts: true,
            full_since: None,
            shed: 0,
        }
    }

    /// Queues a message if there is room. An empty queue has room for any.
    pub(crate) fn push(&mut self, class: Class, message: &Bytes) -> bool {
        if !self.accepts || !self.has_room(message.len()) {
            return false;
        }
        self.bytes = self.bytes.saturating_add(message.len());
        match class {
            Class::Control => self.control.push_back(message.clone()),
            Class::Data => self.data.push_back(message.clone()),
        }
        true
    }

    /// Queues a message, or drops what may be dropped: nobody waits.
    pub(crate) fn offer(
        &mut self,
        class: Class,
        message: &Bytes,
        slow: Slow,
        now: Instant,
    ) -> Offer {
        if self.push(class, message) {
            return Offer::Queued;
        }
        if !self.accepts {
            self.shed = self.shed.saturating_add(1);
            return Offer::Shed;
        }
        let since = *self.full_since.get_or_insert(now);
        let makes_room = class == Class::Control || slow == Slow::DropOldest;
        if makes_room {
            return self.displace(class, message);
        }
        self.shed = self.shed.saturating_add(1);
        match slow {
            Slow::Disconnect { after } if now.saturating_duration_since(since) >= after => {
                Offer::Overflow
            }
            _ => Offer::Shed,
        }
    }

    /// The next message, if that connection may take it.
    pub(crate) fn pop(&mut self, writer: Key) -> Option<Bytes> {
        if self.writer != Some(writer) {
            return None;
        }
        let message = self.control.pop_front().or_else(|| self.data.pop_front())?;
        self.bytes = self.bytes.saturating_sub(message.len());
        self.full_since = None;
        Some(message)
    }

    /// Who takes messages, and whether there may be more of them.
    pub(crate) fn set_writer(&mut self, writer: Option<Key>, accepts: bool) {
        self.writer = writer;
        self.accepts = accepts;
    }

    /// No message may be put in any more; those that are in may be taken.
    pub(crate) fn close(&mut self) {
        self.accepts = false;
    }

    pub(crate) fn accepts(&self) -> bool {
        self.accepts
    }

    /// How many messages were dropped.
    pub(crate) fn shed(&self) -> u64 {
        self.shed
    }

    /// Messages that wait, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.control.len() + self.data.len(), self.bytes)
    }

    fn displace(&mut self, class: Class, message: &Bytes) -> Offer {
        let mut dropped = 0;
        while !self.has_room(message.len()) {
            let Some(oldest) = self.data.pop_front() else {
                self.shed = self.shed.saturating_add(dropped);
                return if class == Class::Control {
                    Offer::Overflow
                } else {
                    self.shed = self.shed.saturating_add(1);
                    Offer::Shed
                };
            };
            self.bytes = self.bytes.saturating_sub(oldest.len());
            dropped += 1;
        }
        self.shed = self.shed.saturating_add(dropped);
        self.push(class, message);
        Offer::Displaced(dropped)
    }

    fn has_room(&self, length: usize) -> bool {
        let (messages, bytes) = self.waiting();
        self.limits.have_room(messages, bytes, length)
    }
}

impl Limits {
    /// Whether one more fits. Where nothing is, anything does.
    pub(crate) fn have_room(&self, messages: usize, bytes: usize, length: usize) -> bool {
        messages == 0 || messages < self.messages && bytes.saturating_add(length) <= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn outbox() -> Outbox {
        let mut outbox = Outbox::new(Limits {
            messages: 3,
            bytes: 100,
        });
        outbox.set_writer(Some(1), true);
        outbox
    }

    fn message(number: u8, length: usize) -> Bytes {
        vec![number; length].into()
    }

    fn numbers(outbox: &mut Outbox) -> Vec<u8> {
        std::iter::from_fn(|| outbox.pop(1))
            .map(|message| message[0])
            .collect()
    }

    fn filled(slow: Slow) -> (Outbox, Vec<Offer>) {
        let (mut outbox, now) = (outbox(), Instant::now());
        let offer = |number| outbox.offer(Class::Data, &message(number, 10), slow, now);
        let offers = (0..4).map(offer).collect();
        (outbox, offers)
    }

    #[test]
    fn control_goes_first() {
        let mut outbox = outbox();
        assert!(outbox.push(Class::Data, &message(1, 1)));
        assert!(outbox.push(Class::Control, &message(2, 1)));
        assert!(outbox.push(Class::Data, &message(3, 1)));
        assert_eq!(numbers(&mut outbox), [2, 1, 3]);
        assert_eq!(outbox.waiting(), (0, 0));
    }

    #[test]
    fn three_messages_fit_and_a_fourth_does_not() {
        let (mut outbox, offers) = filled(Slow::DropNewest);
        assert_eq!(offers[2..], [Offer::Queued, Offer::Shed]);
        assert_eq!(outbox.shed(), 1);
        assert_eq!(numbers(&mut outbox), [0, 1, 2]);
        let (mut outbox, offers) = filled(Slow::DropOldest);
        assert_eq!(offers[3], Offer::Displaced(1));
        assert_eq!(numbers(&mut outbox), [1, 2, 3]);
    }

    #[test]
    fn a_hundred_bytes_fit_and_one_more_does_not() {
        let mut outbox = outbox();
        assert!(outbox.push(Class::Data, &message(0, 40)));
        assert!(!outbox.push(Class::Data, &message(1, 61)));
        assert!(outbox.push(Class::Data, &message(2, 60)));
        assert_eq!(outbox.waiting(), (2, 100));
        numbers(&mut outbox);
        assert!(outbox.push(Class::Data, &message(3, 1000)), "alone");
    }

    #[test]
    fn control_displaces_data_and_overflows_only_without_any() {
        let (mut outbox, now) = (outbox(), Instant::now());
        for number in 0..3 {
            assert!(outbox.push(Class::Data, &message(number, 30)));
        }
        let mut offer =
            |number| outbox.offer(Class::Control, &message(number, 30), Slow::DropNewest, now);
        assert_eq!([3, 4, 5].map(&mut offer), [Offer::Displaced(1); 3]);
        assert_eq!(offer(6), Offer::Overflow);
        assert_eq!(numbers(&mut outbox), [3, 4, 5]);
    }

    #[test]
    fn a_peer_is_disconnected_when_its_queue_was_full_too_long() {
        let slow = Slow::Disconnect { after: SECOND };
        let (mut outbox, offers) = filled(slow);
        assert_eq!(offers[3], Offer::Shed);
        let start = outbox.full_since.unwrap();
        let almost = start + Duration::from_nanos(999_999_999);
        let mut offer = |now| outbox.offer(Class::Data, &message(9, 10), slow, now);
        assert_eq!(offer(almost), Offer::Shed);
        assert_eq!(offer(start + SECOND), Offer::Overflow);
        outbox.pop(1);
        let mut offer = |now| outbox.offer(Class::Data, &message(9, 10), slow, now);
        assert_eq!(offer(start + 2 * SECOND), Offer::Queued);
        assert_eq!(offer(start + 2 * SECOND), Offer::Shed, "a new count");
    }

    #[test]
    fn only_the_writer_takes() {
        let mut outbox = outbox();
        outbox.push(Class::Data, &message(1, 1));
        assert_eq!(outbox.pop(2), None);
        outbox.set_writer(Some(2), true);
        assert_eq!(outbox.pop(1), None);
        assert!(outbox.pop(2).is_some());
    }
}
