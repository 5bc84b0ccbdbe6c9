//! The rules of a client's subscriptions: told what its subscribers want, what the server says and
//! what the link does, it answers what to send and who has something to read.

mod link;
mod queue;
mod receive;
#[cfg(test)]
mod tests;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rustc_hash::FxHashMap;

pub(super) use self::queue::{Entry, Gap};
use self::queue::{Queue, Room};
use self::upstream::{State, Upstream};
use super::event::EndReason;
use super::options::{Lag, SubscribeOptions};
use crate::rpc::link::LinkError;

/// All subscriptions of a client.
#[derive(Debug)]
pub(super) struct Machine {
    most: usize,
    upstreams: BTreeMap<u64, Upstream>,
    /// Those that others may join when they are joinable, the newest of each topic last.
    by_topic: FxHashMap<Sharing, Vec<u64>>,
    next_id: u64,
    subscribers: FxHashMap<u64, Subscriber>,
    next_subscriber: u64,
    is_up: bool,
    down: Option<LinkError>,
    /// The ids with something to send, which go in their order: the server takes none that is lower
    /// than one before.
    due: BTreeSet<u64>,
    /// Those that are to be asked for again after a pause.
    postponed: BTreeSet<u64>,
    woken: Vec<u64>,
    /// Something is on the wire no more.
    is_confirmed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sharing {
    topic: Bytes,
    resume: bool,
}

/// One subscription in this process.
#[derive(Debug)]
struct Subscriber {
    upstream: u64,
    is_accepted: bool,
    lag: Lag,
    queue: Queue,
    ended: Option<EndReason>,
}

/// Why a subscription was not begun.
#[derive(Debug)]
pub(super) enum Unwanted {
    TooMany { limit: usize },
    Down(LinkError),
}

/// What a subscriber finds.
#[derive(Debug)]
pub(super) enum Taken {
    Nothing,
    Entry(Entry),
    /// Nothing will come any more, and this is why.
    End(EndReason),
}

/// The server broke the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("a message for subscription {0}, which there is none")]
    Unknown(u64),
    #[error("a message for subscription {0} that cannot come now")]
    OutOfOrder(u64),
    #[error("an item for subscription {0} beyond its credit")]
    Credit(u64),
}

impl Machine {
    /// At most `most` subscriptions are on the wire.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            upstreams: BTreeMap::new(),
            by_topic: FxHashMap::default(),
            next_id: 1,
            subscribers: FxHashMap::default(),
            next_subscriber: 1,
            is_up: false,
            down: None,
            due: BTreeSet::new(),
            postponed: BTreeSet::new(),
            woken: Vec::new(),
            is_confirmed: false,
        }
    }

    /// Begins a subscription; answers its number.
    pub(super) fn subscribe(
        &mut self,
        topic: &Bytes,
        options: &SubscribeOptions,
    ) -> Result<u64, Unwanted> {
        if let Some(error) = &self.down {
            return Err(Unwanted::Down(error.clone()));
        }
        let sharing = options.can_share().then(|| Sharing {
            topic: topic.clone(),
            resume: options.resume,
        });
        let shared = sharing
            .as_ref()
            .and_then(|key| self.by_topic.get(key)?.last());
        let joined = shared.filter(|id| self.upstreams.get(id).is_some_and(Upstream::is_joinable));
        let id = match joined {
            Some(id) => *id,
            None => self.add_upstream(topic.clone(), sharing, options)?,
        };
        let number = self.next_subscriber;
        self.next_subscriber = number.saturating_add(1);
        let mut subscriber = Subscriber {
            upstream: id,
            is_accepted: false,
            lag: options.lag,
            queue: Queue::new(options),
            ended: None,
        };
        if let Some(upstream) = self.upstreams.get_mut(&id) {
            upstream.subscribers.insert(number);
            subscriber.is_accepted = upstream.state == State::Live;
        }
        self.subscribers.insert(number, subscriber);
        Ok(number)
    }

    fn add_upstream(
        &mut self,
        topic: Bytes,
        sharing: Option<Sharing>,
        options: &SubscribeOptions,
    ) -> Result<u64, Unwanted> {
        if self.upstreams.len() >= self.most {
            return Err(Unwanted::TooMany { limit: self.most });
        }
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        let upstream = Upstream {
            topic,
            resume: options.resume,
            state: State::Wanted,
            is_begun: false,
            seen: options.after,
            subscribers: BTreeSet::new(),
            sharing: sharing.clone(),
            has_twins: false,
            has_back_pressure: options.lag == Lag::BackPressure,
            credit: None,
            newest: None,
        };
        self.upstreams.insert(id, upstream);
        if let Some(sharing) = sharing {
            let twins = self.by_topic.entry(sharing).or_default();
            twins.push(id);
            if twins.len() > 1 {
                for twin in twins {
                    if let Some(twin) = self.upstreams.get_mut(twin) {
                        twin.has_twins = true;
                    }
                }
            }
        }
        if self.is_up {
            self.due.insert(id);
        }
        Ok(id)
    }

    /// Whether the server has accepted a subscription, which it may have refused.
    pub(super) fn is_accepted(&self, number: u64) -> Option<Result<(), EndReason>> {
        let subscriber = self.subscribers.get(&number)?;
        if subscriber.is_accepted {
            return Some(Ok(()));
        }
        subscriber.ended.clone().map(Err)
    }

    /// Takes what a subscriber has to read next.
    pub(super) fn take(&mut self, number: u64) -> Taken {
        let Some(subscriber) = self.subscribers.get_mut(&number) else {
            return Taken::Nothing;
        };
        let Some(entry) = subscriber.queue.pop() else {
            return match &subscriber.ended {
                Some(reason) => Taken::End(reason.clone()),
                None => Taken::Nothing,
            };
        };
        let id = subscriber.upstream;
        self.consider_credit(id);
        Taken::Entry(entry)
    }

    /// Grants credit with the next messages if so much is free that it is worth one, or none need be counted any more.
    fn consider_credit(&mut self, id: u64) {
        if let Some(upstream) = self.upstreams.get(&id)
            && upstream.state == State::Live
            && (upstream.has_caught_up() || self.credit_due(upstream).is_some())
        {
            self.due.insert(id);
        }
    }

    /// The room that credit is due for. Of several who share an upstream, one who does not read holds up nobody.
    fn credit_due(&self, upstream: &Upstream) -> Option<Room> {
        let credit = upstream.credit?;
        let due = self.queues(upstream).filter(|queue| credit.is_due(queue));
        due.map(Queue::room).max_by_key(Room::rank)
    }

    fn queues(&self, upstream: &Upstream) -> impl Iterator<Item = &Queue> {
        let numbers = upstream.subscribers.iter();
        numbers.filter_map(|number| Some(&self.subscribers.get(number)?.queue))
    }

    /// A subscriber is gone. Answers the id that the server is to confirm the end of, if it must.
    pub(super) fn leave(&mut self, number: u64) -> Option<u64> {
        let subscriber = self.subscribers.remove(&number)?;
        self.leave_upstream(number, subscriber.upstream)
    }

    fn leave_upstream(&mut self, number: u64, id: u64) -> Option<u64> {
        let upstream = self.upstreams.get_mut(&id)?;
        if !upstream.subscribers.remove(&number) {
            return None;
        }
        if !upstream.subscribers.is_empty() {
            // Another has the most room now.
            self.consider_credit(id);
            return None;
        }
        match upstream.state {
            State::Wanted => {
                self.remove_upstream(id);
                None
            }
            State::Asked | State::Live => {
                self.unsubscribe(id);
                Some(id)
            }
            State::Leaving => Some(id),
        }
    }

    /// Tells the server that nobody is left.
    fn unsubscribe(&mut self, id: u64) {
        if let Some(upstream) = self.upstreams.get_mut(&id) {
            upstream.state = State::Leaving;
        }
        self.unshare(id);
        self.due.insert(id);
    }

    /// Has those who have come to the same place on one topic share what comes from there on.
    fn merge(&mut self, id: u64) {
        let Some(upstream) = self
            .upstreams
            .get(&id)
            .filter(|upstream| upstream.has_twins)
        else {
            return;
        };
        let sharing = upstream.sharing.as_ref();
        let twins = sharing.and_then(|sharing| self.by_topic.get(sharing));
        let is_same = |twin: &Upstream| {
            twin.state == State::Live && twin.credit.is_none() && twin.seen == upstream.seen
        };
        let same = twins.into_iter().flatten().copied();
        let mut same = same.filter(|twin| self.upstreams.get(twin).is_some_and(is_same));
        let (Some(former), Some(next)) = (same.next(), same.next()) else {
            return;
        };
        if let Some(upstream) = self.upstreams.get_mut(&former) {
            let numbers = std::mem::take(&mut upstream.subscribers);
            self.hand_over(numbers, next);
        }
        self.unsubscribe(former);
    }

    fn hand_over(&mut self, mut numbers: BTreeSet<u64>, to: u64) {
        for number in &numbers {
            if let Some(subscriber) = self.subscribers.get_mut(number) {
                subscriber.upstream = to;
            }
        }
        if let Some(upstream) = self.upstreams.get_mut(&to) {
            upstream.subscribers.append(&mut numbers);
        }
    }

    /// Whether the server may still have a subscription.
    pub(super) fn is_on_wire(&self, id: u64) -> bool {
        self.upstreams.contains_key(&id)
    }

    /// Whose tasks are to be woken.
    pub(super) fn take_woken(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.woken)
    }

    /// Whether something that was on the wire is no more since this was last asked.
    pub(super) fn take_confirmed(&mut self) -> bool {
        std::mem::take(&mut self.is_confirmed)
    }

    /// The server cannot go on with one at the moment: it is asked for again, by another id, when the pause is over.
    fn postpone(&mut self, id: u64) {
        let Some(mut upstream) = self.upstreams.remove(&id) else {
            return;
        };
        let again = self.next_id;
        self.next_id = again.saturating_add(1);
        upstream.state = State::Wanted;
        for number in &upstream.subscribers {
            if let Some(subscriber) = self.subscribers.get_mut(number) {
                subscriber.upstream = again;
            }
        }
        let sharing = upstream.sharing.as_ref();
        let twins = sharing.and_then(|sharing| self.by_topic.get_mut(sharing));
        for twin in twins.into_iter().flatten().filter(|twin| **twin == id) {
            *twin = again;
        }
        self.due.remove(&id);
        self.upstreams.insert(again, upstream);
        self.postponed.insert(again);
        self.is_confirmed = true;
    }

    /// Whether there is something to be asked for again after a pause.
    pub(super) fn has_postponed(&self) -> bool {
        !self.postponed.is_empty()
    }

    /// The pause is over.
    pub(super) fn ask_again(&mut self) {
        self.due.append(&mut self.postponed);
    }

    fn end_upstream(&mut self, id: u64, reason: &EndReason) {
        let Some(upstream) = self.remove_upstream(id) else {
            return;
        };
        for number in upstream.subscribers {
            if let Some(subscriber) = self.subscribers.get_mut(&number) {
                subscriber.ended.get_or_insert_with(|| reason.clone());
                self.woken.push(number);
            }
        }
    }

    fn remove_upstream(&mut self, id: u64) -> Option<Upstream> {
        self.unshare(id);
        self.due.remove(&id);
        self.postponed.remove(&id);
        self.is_confirmed = true;
        self.upstreams.remove(&id)
    }

    /// Nobody joins it any more.
    fn unshare(&mut self, id: u64) {
        let upstream = self.upstreams.get_mut(&id);
        let Some(sharing) = upstream.and_then(|upstream| upstream.sharing.take()) else {
            return;
        };
        if let Some(twins) = self.by_topic.get_mut(&sharing) {
            twins.retain(|twin| *twin != id);
            match twins[..] {
                [] => {
                    self.by_topic.remove(&sharing);
                }
                [single] => {
                    if let Some(single) = self.upstreams.get_mut(&single) {
                        single.has_twins = false;
                    }
                }
                _ => {}
            }
        }
    }
}
