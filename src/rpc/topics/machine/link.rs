//! What the link does, and what goes out on it.

use super::Machine;
use super::queue::{Queue, Room};
use super::upstream::{Credit, State};
use crate::rpc::link::LinkError;
use crate::rpc::topics::event::EndReason;
use crate::rpc::topics::wire::FromClient;

impl Machine {
    /// There is a channel to the server, which knows of nothing yet.
    pub(in crate::rpc::topics) fn link_up(&mut self) {
        self.link_lost();
        self.is_up = true;
        self.due = self.upstreams.keys().copied().collect();
    }

    /// The channel is gone.
    pub(in crate::rpc::topics) fn link_lost(&mut self) {
        self.is_up = false;
        self.due.clear();
        self.postponed.clear();
        self.is_confirmed = true;
        self.upstreams.retain(|_, upstream| {
            let stays = upstream.state != State::Leaving;
            upstream.state = State::Wanted;
            stays
        });
    }

    /// There will be no channel any more.
    pub(in crate::rpc::topics) fn link_down(&mut self, error: &LinkError) {
        self.end_all(&EndReason::Down(error.clone()));
        self.down = Some(error.clone());
    }

    /// Ends what there is; later subscriptions are tried again.
    pub(in crate::rpc::topics) fn end_all(&mut self, reason: &EndReason) {
        self.is_up = false;
        for id in self.upstreams.keys().copied().collect::<Vec<_>>() {
            self.end_upstream(id, reason);
        }
    }

    /// Whether there is anything to tell a server at all, and anything to tell it now.
    pub(in crate::rpc::topics) fn needs(&self) -> (bool, bool) {
        (!self.upstreams.is_empty(), !self.due.is_empty())
    }

    /// The next message to send.
    pub(in crate::rpc::topics) fn poll_transmit(&mut self) -> Option<FromClient> {
        while let Some(id) = self.due.pop_first() {
            let Some(upstream) = self.upstreams.get(&id) else {
                continue;
            };
            let rooms = self.queues(upstream).map(Queue::room);
            let most = rooms.max_by_key(Room::rank).unwrap_or_default();
            let due = self.credit_due(upstream);
            let Some(upstream) = self.upstreams.get_mut(&id) else {
                continue;
            };
            match upstream.state {
                State::Wanted => {
                    upstream.state = State::Asked;
                    let goes_on = upstream.resume || !upstream.is_begun;
                    let after = upstream.seen.filter(|_| goes_on);
                    let is_counted = upstream.has_back_pressure || after.is_some();
                    upstream.newest = None;
                    upstream.credit = is_counted.then(Credit::default);
                    let credit = upstream.credit.as_mut().map(|credit| credit.grant(most));
                    return Some(FromClient::Subscribe {
                        id,
                        after,
                        credit,
                        topic: upstream.topic.clone(),
                    });
                }
                State::Live if upstream.has_caught_up() => {
                    upstream.credit = None;
                    let credit = Credit::UNLIMITED;
                    return Some(FromClient::Credit { id, credit });
                }
                State::Live => {
                    if let (Some(credit), Some(room)) = (&mut upstream.credit, due) {
                        let credit = credit.grant(room);
                        return Some(FromClient::Credit { id, credit });
                    }
                }
                State::Leaving => return Some(FromClient::Unsubscribe { id }),
                State::Asked => {}
            }
        }
        None
    }

    /// The message of a subscription cannot be sent at all.
    pub(in crate::rpc::topics) fn refuse(&mut self, id: u64, reason: &EndReason) {
        self.end_upstream(id, reason);
    }
}
