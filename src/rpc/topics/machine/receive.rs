//! What the server says.

use bytes::Bytes;

use super::queue::Gap;
use super::upstream::State;
use super::{Machine, Violation};
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::event::{EndReason, GapReason};
use crate::rpc::topics::options::Lag;
use crate::rpc::topics::wire::FromServer;

impl Machine {
    /// Takes a message from the server.
    pub(in crate::rpc::topics) fn receive(&mut self, message: FromServer) -> Result<(), Violation> {
        let id = message.id();
        let upstream = self.upstreams.get(&id).ok_or(Violation::Unknown(id))?;
        match (upstream.state, message) {
            (State::Asked, FromServer::Accepted { cursor, newest, .. }) => {
                self.accepted(id, cursor, newest);
            }
            (State::Asked, FromServer::Refused { fault, .. })
                if upstream.is_begun && fault.kind().is_passing() =>
            {
                self.postpone(id);
            }
            (State::Asked, FromServer::Refused { fault, .. }) => {
                self.end_upstream(id, &EndReason::Refused(fault));
            }
            (State::Live, FromServer::Item { sequence, body, .. }) => {
                return self.item(id, sequence, &body);
            }
            (State::Live, FromServer::Gap { cursor, why, .. }) => {
                return self.gap(id, cursor, why);
            }
            (State::Live, FromServer::Ended { fault, .. }) => {
                self.end_upstream(id, &EndReason::Closed(fault));
            }
            (
                State::Leaving,
                FromServer::Refused { .. }
                | FromServer::Ended { .. }
                | FromServer::Unsubscribed { .. },
            ) => {
                self.remove_upstream(id);
            }
            // They were on their way.
            (
                State::Leaving,
                FromServer::Accepted { .. } | FromServer::Item { .. } | FromServer::Gap { .. },
            ) => {}
            _ => return Err(Violation::OutOfOrder(id)),
        }
        Ok(())
    }

    fn accepted(&mut self, id: u64, cursor: Cursor, newest: u64) {
        let Some(upstream) = self.upstreams.get_mut(&id) else {
            return;
        };
        upstream.state = State::Live;
        upstream.seen.get_or_insert(cursor);
        upstream.newest = Some(Cursor::new(cursor.origin(), newest));
        let is_begun = std::mem::replace(&mut upstream.is_begun, true);
        let why = if upstream.resume || !is_begun {
            GapReason::NotRetained
        } else {
            GapReason::NotResumed
        };
        self.advance(id, cursor, why);
        let Some(upstream) = self.upstreams.get(&id) else {
            return;
        };
        for number in &upstream.subscribers {
            let Some(subscriber) = self.subscribers.get_mut(number) else {
                continue;
            };
            if !subscriber.is_accepted {
                subscriber.is_accepted = true;
                self.woken.push(*number);
            }
        }
        // What was read since it was asked has made room.
        self.consider_credit(id);
    }

    fn item(&mut self, id: u64, sequence: u64, body: &Bytes) -> Result<(), Violation> {
        self.spend(id, body.len())?;
        let Some(seen) = self.upstreams.get(&id).and_then(|upstream| upstream.seen) else {
            return Ok(());
        };
        // What was seen before the link was lost may come again.
        if sequence > seen.sequence() {
            let before = Cursor::new(seen.origin(), sequence.saturating_sub(1));
            self.advance(id, before, GapReason::Lagged);
            self.spread(id, Cursor::new(seen.origin(), sequence), body);
        }
        // It is in no queue if all have it, or none is to have it.
        self.consider_credit(id);
        self.merge(id);
        Ok(())
    }

    fn gap(&mut self, id: u64, cursor: Cursor, why: GapReason) -> Result<(), Violation> {
        // It stands for one item, for which the server has taken credit.
        if why == GapReason::TooLarge {
            self.spend(id, 0)?;
        }
        let seen = self.upstreams.get(&id).and_then(|upstream| upstream.seen);
        let goes_back = seen.is_some_and(|seen| {
            seen.origin() == cursor.origin() && cursor.sequence() <= seen.sequence()
        });
        if !goes_back {
            self.advance(id, cursor, why);
        }
        self.consider_credit(id);
        Ok(())
    }

    /// An item of that length came, or what stands for it.
    fn spend(&mut self, id: u64, length: usize) -> Result<(), Violation> {
        let upstream = self.upstreams.get_mut(&id);
        let credit = upstream.and_then(|upstream| upstream.credit.as_mut());
        let is_covered = credit.is_none_or(|credit| credit.spend(length));
        is_covered.then_some(()).ok_or(Violation::Credit(id))
    }

    /// Gives an item to all who read an upstream.
    fn spread(&mut self, id: u64, cursor: Cursor, body: &Bytes) {
        let Some(upstream) = self.upstreams.get_mut(&id) else {
            return;
        };
        upstream.seen = Some(cursor);
        // Where credit is counted, it was sent for a byte that was free, whatever its length.
        let length = upstream.credit.map_or(body.len(), |_| 1);
        let mut cut_off = Vec::new();
        for number in &upstream.subscribers {
            let Some(subscriber) = self.subscribers.get_mut(number) else {
                continue;
            };
            match subscriber.lag {
                Lag::Disconnect if subscriber.queue.is_full_for(length) => {
                    subscriber.ended = Some(EndReason::Lagged);
                    cut_off.push(*number);
                    continue;
                }
                Lag::DropOldest => subscriber.queue.make_room(length),
                // Credit sees to it that there is room.
                Lag::Disconnect | Lag::BackPressure => {}
            }
            if subscriber.queue.is_empty() {
                self.woken.push(*number);
            }
            subscriber.queue.push_item(cursor, body.clone());
        }
        for number in cut_off {
            self.leave_upstream(number, id);
        }
    }

    /// Nothing more comes up to `cursor`: says what is missing to all who would have had it.
    fn advance(&mut self, id: u64, cursor: Cursor, why: GapReason) {
        let Some(upstream) = self.upstreams.get_mut(&id) else {
            return;
        };
        let Some(seen) = upstream.seen.replace(cursor) else {
            return;
        };
        if seen == cursor {
            return;
        }
        let is_counted = seen.origin() == cursor.origin() && seen.sequence() < cursor.sequence();
        for number in &upstream.subscribers {
            let Some(subscriber) = self.subscribers.get_mut(number) else {
                continue;
            };
            // One that joined others begins behind it; one that is alone may have set its beginning.
            if !subscriber.is_accepted && upstream.sharing.is_some() {
                continue;
            }
            let gap = if is_counted {
                Gap::counted(cursor.sequence().saturating_sub(seen.sequence()), why)
            } else {
                Gap::uncounted()
            };
            if subscriber.queue.is_empty() {
                self.woken.push(*number);
            }
            subscriber.queue.push_gap(gap);
        }
    }
}
