use std::collections::BTreeSet;

use bytes::Bytes;

use super::Sharing;
use super::queue::{Queue, Room};
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::wire;

/// A subscription on the wire, which equal ones in this process share.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) topic: Bytes,
    pub(super) resume: bool,
    pub(super) state: State,
    /// A server has accepted it before.
    pub(super) is_begun: bool,
    /// Everything up to here has come, or is known to be missing.
    pub(super) seen: Option<Cursor>,
    /// By their numbers.
    pub(super) subscribers: BTreeSet<u64>,
    /// How others with an equal topic find it.
    pub(super) sharing: Option<Sharing>,
    /// There are others of its topic, to be one with as soon as they are at the same place.
    pub(super) has_twins: bool,
    /// Of a single subscriber, which is to get no more than it has room for, always.
    pub(super) has_back_pressure: bool,
    /// With back-pressure; and without, while it catches up: however much was published meanwhile, it comes as fast
    /// as it is read.
    pub(super) credit: Option<Credit>,
    /// It has caught up when it has come to here.
    pub(super) newest: Option<Cursor>,
}

impl Upstream {
    /// Whether it has all that was published before it was accepted, and still has credit of its own.
    pub(super) fn has_caught_up(&self) -> bool {
        let (Some(seen), Some(newest)) = (self.seen, self.newest) else {
            return false;
        };
        let is_there = seen.origin() != newest.origin() || seen.sequence() >= newest.sequence();
        is_there && self.credit.is_some() && !self.has_back_pressure
    }

    /// Whether the next item that comes is the first one for a subscriber that comes now. While it catches up, the
    /// next items were published before, and come as fast as those read whom they are for.
    pub(super) fn is_joinable(&self) -> bool {
        match self.state {
            State::Wanted | State::Asked => !self.resume || !self.is_begun,
            State::Live => self.credit.is_none(),
            State::Leaving => false,
        }
    }
}

/// Where a subscription stands on the present link; none is kept from one link to the next.
///
/// ```text
///            transmit              Accepted
///   Wanted ────────────▶ Asked ────────────────▶ Live
///     ▲                    │ ╲ Refused      Ended │ ╲
///     │   the link is lost │  ╲───────▶ gone ◀────│──╲── Refused, Ended, Unsubscribed
///     ╰────────────────────┴──────────────────────╯   ╲           or the link is lost
///                          │ the last one left    │    Leaving
///                          ╰──────────────────────┴──────▲
/// ```
///
/// When the last subscriber leaves one that is Wanted, it is gone at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The server does not know of it.
    Wanted,
    /// The server was asked and has not answered.
    Asked,
    /// Items come.
    Live,
    /// Nobody is left; the server was told, or will be with the next messages.
    Leaving,
}

/// What the server may send.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Credit {
    /// What was granted and has not come; in bytes, what came with the last item may have been more.
    outstanding: Room,
}

impl Credit {
    /// For the rest of the time on this link.
    pub(super) const UNLIMITED: wire::Credit = wire::Credit {
        items: u64::MAX,
        bytes: u64::MAX,
    };

    /// Whether so much of a queue is free and not granted that it is worth a message.
    pub(super) fn is_due(self, queue: &Queue) -> bool {
        let (free, capacity) = (self.free(queue.room()), queue.capacity());
        let (items, bytes) = (capacity.items / 2, capacity.bytes / 2);
        free.items > 0 && free.items >= items || free.bytes > 0 && free.bytes >= bytes
    }

    /// All that there is room for and that was not granted.
    pub(super) fn grant(&mut self, room: Room) -> wire::Credit {
        let Room { items, bytes } = self.free(room);
        self.outstanding.items = self.outstanding.items.saturating_add(items);
        self.outstanding.bytes = self.outstanding.bytes.saturating_add(bytes);
        wire::Credit {
            items: items as u64,
            bytes: bytes.unsigned_abs(),
        }
    }

    /// An item came, or what stands for it; false if it must not have.
    pub(super) fn spend(&mut self, length: usize) -> bool {
        let is_covered = self.outstanding.items > 0 && self.outstanding.bytes > 0;
        self.outstanding.items = self.outstanding.items.saturating_sub(1);
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        self.outstanding.bytes = self.outstanding.bytes.saturating_sub(length);
        is_covered
    }

    /// What is neither taken nor granted.
    fn free(self, room: Room) -> Room {
        Room {
            items: room.items.saturating_sub(self.outstanding.items),
            bytes: room.bytes.saturating_sub(self.outstanding.bytes).max(0),
        }
    }
}
