use std::collections::BTreeSet;

use bytes::Bytes;

use super::Sharing;
use crate::rpc::topics::cursor::Cursor;

/// A subscription on the wire, which equal ones in this process share.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) topic: Bytes,
    pub(super) resume: bool,
    pub(super) state: State,
    /// Everything up to here has come, or is known to be missing.
    pub(super) seen: Option<Cursor>,
    /// By their numbers.
    pub(super) subscribers: BTreeSet<u64>,
    /// How others with an equal topic find it.
    pub(super) sharing: Option<Sharing>,
    /// With back-pressure, and a single subscriber.
    pub(super) credit: Option<Credit>,
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

/// How many items the server may send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credit {
    capacity: usize,
    outstanding: usize,
}

impl Credit {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            outstanding: 0,
        }
    }

    /// What a server is granted that knows of none yet.
    pub(super) fn restart(&mut self, room: usize) -> u64 {
        self.outstanding = room;
        room as u64
    }

    /// Whether so much of the capacity is free and not granted that it is worth a message.
    pub(super) fn is_due(self, room: usize) -> bool {
        let free = room.saturating_sub(self.outstanding);
        free > 0 && free >= self.capacity / 2
    }

    /// What is granted now, if any.
    pub(super) fn grant(&mut self, room: usize) -> Option<u64> {
        let free = room.saturating_sub(self.outstanding);
        let is_due = self.is_due(room);
        is_due.then(|| {
            self.outstanding = room;
            free as u64
        })
    }

    /// An item came; false if it must not have.
    pub(super) fn spend(&mut self) -> bool {
        let has_credit = self.outstanding > 0;
        self.outstanding = self.outstanding.saturating_sub(1);
        has_credit
    }
}
