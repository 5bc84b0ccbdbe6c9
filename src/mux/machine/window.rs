//! Credit: what this end may send on a channel, and what it has let the peer send.
//!
//! A Data frame costs its payload and [`FRAME_COST`], so that a flood of tiny frames pays for its
//! headers and for the room that they take in queues.

use std::time::Duration;

use crate::runtime::Instant;

/// What a frame costs beyond its payload.
pub(crate) const FRAME_COST: u32 = 32;
/// The credit that a channel has before the peer has accepted it.
pub(crate) const FLOOR_WINDOW: u32 = 64 * 1024;
/// The most credit that a channel can have.
pub(crate) const MAX_WINDOW: u32 = 1024 * 1024 * 1024;

/// A window is as large as what is read in so many round trips, ...
const ROUND_TRIPS: u128 = 4;
/// ... but grows by no more than this at once: with 2, a link of 60 ms and 1 Gbit/s took twice the
/// time to fill.
const GROWTH: u32 = 4;
/// Over a link that is long enough to tell, a window grows as soon as half of it was read within
/// this many round trips, without waiting for an epoch to end.
const QUICK_ROUND_TRIPS: u32 = 2;
/// By this factor it grows when the peer waits for credit though everything was read: on a loopback
/// the round trip is shorter than what it takes to schedule the tasks, and tells too little.
const GROWTH_WHEN_STARVED: u32 = 2;
/// How fast a channel is read is measured over at least this long: over less, draining a queue
/// would look like a fast link.
const LEAST_EPOCH: Duration = Duration::from_millis(1);
/// A reader that waits is busy if half of the window takes no longer than this.
const BUSY: Duration = Duration::from_millis(100);
/// A window halves when reading half of it took longer.
const SHRINK_AFTER: Duration = Duration::from_secs(30);

/// What this end may still send on a channel.
#[derive(Debug)]
pub(crate) struct SendCredit(u32);

/// More credit than a window can have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CreditOverflow;

impl SendCredit {
    pub(crate) fn new(bytes: u32) -> Self {
        Self(bytes)
    }

    /// The bytes of payload that may go in the next frame.
    pub(crate) fn payload(&self) -> usize {
        self.0.saturating_sub(FRAME_COST) as usize
    }

    /// The whole credit, in cost.
    pub(crate) fn left(&self) -> u64 {
        u64::from(self.0)
    }

    /// Takes a cost that [`left`](Self::left) covers.
    pub(crate) fn spend(&mut self, cost: u64) {
        debug_assert!(cost <= self.left(), "sent beyond the credit");
        self.0 = self
            .0
            .saturating_sub(u32::try_from(cost).unwrap_or(u32::MAX));
    }

    pub(crate) fn add(&mut self, bytes: u32) -> Result<(), CreditOverflow> {
        match self.0.checked_add(bytes) {
            Some(sum) if sum <= MAX_WINDOW => {
                self.0 = sum;
                Ok(())
            }
            _ => Err(CreditOverflow),
        }
    }
}

/// What the peer may still send on a channel, and what of it is held here unread.
///
/// Invariant: `outstanding + held + partial ≤ window + reserved`, except that frames of a message
/// in parts give their [`FRAME_COST`] back at once.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    window: u32,
    outstanding: u32,
    /// Whole messages that nobody has read.
    held: u32,
    /// What has come of a message in parts.
    partial: u32,
    /// Taken from the shared memory so that one message larger than the window can arrive.
    reserved: u32,
    /// That message has arrived: the reservation goes back once the window covers what is left.
    spent: bool,
    /// The longest message so far.
    longest: u32,
    /// The reader had to wait since the last grant.
    waited: bool,
    granted_at: Option<Instant>,
    epoch: Epoch,
}

/// How much was read since when.
#[derive(Debug, Default)]
struct Epoch {
    began: Option<Instant>,
    read: u64,
}

impl ReceiveWindow {
    pub(crate) fn new(window: u32, outstanding: u32) -> Self {
        Self {
            window,
            outstanding,
            held: 0,
            partial: 0,
            reserved: 0,
            spent: false,
            longest: 0,
            waited: false,
            granted_at: None,
            epoch: Epoch::default(),
        }
    }

    pub(crate) fn size(&self) -> u32 {
        self.window
    }

    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Bytes held unread.
    pub(crate) fn held(&self) -> u64 {
        u64::from(self.held) + u64::from(self.partial)
    }

    /// What was taken from the shared memory beyond the first `window`.
    pub(crate) fn borrowed(&self, window: u32) -> usize {
        self.window.saturating_sub(window) as usize + self.reserved as usize
    }

    /// Makes a window smaller of which the peer was told no more than [`FLOOR_WINDOW`].
    pub(crate) fn limit(&mut self, most: u32) {
        self.window = self.window.min(most.max(FLOOR_WINDOW));
    }

    /// The peer has been told of the whole window.
    pub(crate) fn open_fully(&mut self) {
        self.outstanding = self
            .outstanding
            .saturating_add(self.window.saturating_sub(FLOOR_WINDOW));
    }

    /// A frame came: answers the credit there was when it does not cover the cost.
    pub(crate) fn arrive(&mut self, cost: u32) -> Result<(), u32> {
        self.outstanding = self.outstanding.checked_sub(cost).ok_or(self.outstanding)?;
        Ok(())
    }

    /// A frame that does not end its message was put aside.
    pub(crate) fn hold_part(&mut self, payload: u32) {
        self.partial = self.partial.saturating_add(payload);
    }

    /// A message is complete with a last frame of `payload` bytes.
    pub(crate) fn hold_message(&mut self, payload: u32) {
        let cost = self
            .partial
            .saturating_add(payload)
            .saturating_add(FRAME_COST);
        self.longest = self.longest.max(cost);
        self.held = self.held.saturating_add(cost);
        self.partial = 0;
        self.spent = self.reserved > 0;
    }

    /// Messages of `cost` together were read, each its bytes and [`FRAME_COST`].
    pub(crate) fn read(&mut self, cost: u32) {
        self.held = self.held.saturating_sub(cost);
        self.epoch.read = self.epoch.read.saturating_add(u64::from(cost));
    }

    /// The reader waits for the next message.
    pub(crate) fn reader_waits(&mut self) {
        self.waited = self.longest > 0;
    }

    /// Drops what is held: nobody will read it.
    pub(crate) fn discard(&mut self) {
        self.held = 0;
        self.partial = 0;
    }

    /// Nothing more will come; whole messages may still be read.
    pub(crate) fn close(&mut self) {
        self.outstanding = 0;
        self.partial = 0;
    }

    /// Whether a message in parts may need more than the window.
    pub(crate) fn wants_reservation(&self) -> bool {
        self.reserved == 0 && self.partial >= self.window / 4
    }

    pub(crate) fn reserve(&mut self, bytes: u32) {
        self.reserved = bytes;
    }

    /// Gives a spent reservation back once the window alone covers everything.
    pub(crate) fn release_reservation(&mut self) -> u32 {
        let used = u64::from(self.outstanding) + self.held();
        let over = self.spent || self.partial == 0;
        if over && used <= u64::from(self.window) {
            self.spent = false;
            std::mem::take(&mut self.reserved)
        } else {
            0
        }
    }

    /// Whether half of the window can be granted again.
    pub(crate) fn is_grant_due(&self) -> bool {
        self.grantable() >= (self.window / 2).max(1)
    }

    /// The peer is told of the first window.
    pub(crate) fn granted(&mut self, now: Instant) {
        self.granted_at = Some(now);
    }

    /// Grants all that can be, after `tune`.
    pub(crate) fn grant(&mut self, now: Instant) -> u32 {
        let bytes = self.grantable();
        self.outstanding = self.outstanding.saturating_add(bytes);
        self.granted_at = Some(now);
        self.waited = false;
        bytes
    }

    /// Fits the window to how it is used; `shared` is what may be borrowed of the connection's memory.
    pub(crate) fn tune(
        &mut self,
        now: Instant,
        round_trip: Option<Duration>,
        limits: Limits,
        shared: &mut usize,
    ) {
        let took = self
            .granted_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let far_and_quick =
            round_trip.is_some_and(|time| time >= LEAST_EPOCH && took < time * QUICK_ROUND_TRIPS);
        let needed = self.epoch.needed(now, round_trip).unwrap_or(0);
        let most = self.window.saturating_mul(GROWTH);
        let mut target = if far_and_quick {
            most
        } else {
            needed.min(most)
        };
        if self.is_starved(took) && self.window < limits.max_starved {
            target = target.max(self.window.saturating_mul(GROWTH_WHEN_STARVED));
        }
        let wanted = target.min(limits.max).saturating_sub(self.window);
        if wanted > 0 {
            let granted = wanted.min(u32::try_from(*shared).unwrap_or(u32::MAX));
            self.window = self.window.saturating_add(granted);
            *shared = shared.saturating_sub(granted as usize);
        } else if took > SHRINK_AFTER {
            let shrunk = (self.window / 2).max(limits.first);
            *shared = shared.saturating_add(self.window.saturating_sub(shrunk) as usize);
            self.window = shrunk;
        }
    }

    /// Whether only the window holds the peer up: it has little credit left though everything was
    /// read, or so little room for messages of this length that a busy reader waits for each.
    fn is_starved(&self, took: Duration) -> bool {
        let little = self.window / 8;
        let is_read = self.outstanding < little && self.held() < u64::from(little);
        is_read || (self.waited && little < self.longest && took < BUSY)
    }

    /// Credit is never more than the window, whatever is reserved: so when a large message ends, what
    /// follows it fits in the window, and the reservation can go to another channel.
    fn grantable(&self) -> u32 {
        let reserved = if self.spent { 0 } else { self.reserved };
        self.window
            .saturating_add(reserved)
            .saturating_sub(self.held)
            .saturating_sub(self.partial)
            .min(self.window)
            .saturating_sub(self.outstanding)
    }
}

impl Epoch {
    /// The window that what was read since the epoch began asks for, once it is long enough.
    fn needed(&mut self, now: Instant, round_trip: Option<Duration>) -> Option<u32> {
        let (Some(began), Some(round_trip)) = (self.began, round_trip) else {
            *self = Self {
                began: Some(now),
                read: 0,
            };
            return None;
        };
        let took = now.saturating_duration_since(began);
        if took < round_trip.max(LEAST_EPOCH) {
            return None;
        }
        let read = u128::from(std::mem::take(&mut self.read));
        self.began = Some(now);
        let needed = ROUND_TRIPS * read * round_trip.as_nanos() / took.as_nanos().max(1);
        Some(u32::try_from(needed).unwrap_or(u32::MAX))
    }
}

/// How small and how large a window may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) first: u32,
    pub(crate) max: u32,
    /// How far a window grows whatever the round trip: more would only lengthen the queues that
    /// other channels' messages wait in.
    pub(crate) max_starved: u32,
}

impl Limits {
    /// The same for a channel whose window must not be larger than `most`.
    pub(crate) fn within(self, most: u32) -> Self {
        Self {
            first: self.first.min(most),
            max: self.max.min(most),
            max_starved: self.max_starved.min(most),
        }
    }
}
