//! What is written on which channel, and when.

use std::time::Duration;

use bytes::Bytes;

use super::channels::{Channel, ChannelNumber};
use super::state::{Event, State, Step};
use super::{Machine, Phase};
use crate::rpc::calls::options::Delivery;
use crate::runtime::Instant;

/// What goes over the channel.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rpc::calls) enum Outgoing {
    Request {
        id: u64,
        milliseconds: u32,
        key: Option<u128>,
        body: Bytes,
    },
    Cancel(u64),
}

impl Outgoing {
    pub(in crate::rpc::calls) fn id(&self) -> u64 {
        match self {
            Self::Request { id, .. } | Self::Cancel(id) => *id,
        }
    }
}

impl<W> Machine<W> {
    /// Answers what to write on a channel next, oldest first, until that makes up so many bytes.
    pub(in crate::rpc::calls) fn write(
        &mut self,
        channel: ChannelNumber,
        now: Instant,
        bytes: usize,
        outgoing: &mut Vec<Outgoing>,
    ) {
        let mut written = 0_usize;
        if let Some(channel) = self.channels.get_mut(channel) {
            while written < bytes
                && let Some(id) = channel.cancels.pop_front()
            {
                channel.ended_one();
                written = written.saturating_add(SMALL);
                outgoing.push(Outgoing::Cancel(id));
            }
        }
        while written < bytes && self.may_request(channel) {
            let Some(id) = self.queued.pop_first() else {
                break;
            };
            let Some(request) = self.request(channel, id, now) else {
                continue;
            };
            if let Outgoing::Request { body, .. } = &request {
                written = written.saturating_add(SMALL).saturating_add(body.len());
            }
            outgoing.push(request);
        }
    }

    /// Whether there is something to write on a channel on which there was nothing when this was last asked.
    pub(in crate::rpc::calls) fn has_news(&mut self) -> bool {
        let present = self.present();
        let requested = present.filter(|present| self.may_request(*present));
        let mut is_news = false;
        for channel in self.channels.iter_mut() {
            is_news |= channel.note_writing(requested);
        }
        is_news
    }

    /// Whether there is something to write on a channel.
    pub(in crate::rpc::calls) fn has_to_write_on(&self, channel: ChannelNumber) -> bool {
        let known = self.channels.get(channel);
        known.is_some_and(|known| !known.cancels.is_empty()) || self.may_request(channel)
    }

    /// Whether the call that is next cannot go over the channel, as newer ones were written on it.
    pub(in crate::rpc::calls) fn is_overtaken(&self, channel: ChannelNumber) -> bool {
        let known = self.channels.get(channel);
        self.present() == Some(channel)
            && known.is_some_and(|known| {
                let first = self.queued.first();
                first.is_some_and(|first| *first <= known.written_up_to)
            })
    }

    /// How many requests wait to be written on a channel, if there may soon be more of them: callers who
    /// were told of an outcome and have not fetched it are about to run.
    pub(in crate::rpc::calls) fn growing(&self, channel: ChannelNumber) -> Option<usize> {
        if !self.may_request(channel) {
            return None;
        }
        let sent: usize = self.channels.iter().map(Channel::wanted).sum();
        let open = self.queued.len().saturating_add(sent);
        (self.calls.len() > open).then_some(self.queued.len())
    }

    /// Whether there is a request that may be written on a channel.
    fn may_request(&self, number: ChannelNumber) -> bool {
        let (
            &Phase::Up {
                channel,
                calls_at_once,
            },
            Some(first),
            Some(known),
        ) = (&self.phase, self.queued.first(), self.channels.get(number))
        else {
            return false;
        };
        channel == number && known.outstanding < calls_at_once && *first > known.written_up_to
    }

    /// Writes a queued call, unless its time is up.
    fn request(&mut self, number: ChannelNumber, id: u64, now: Instant) -> Option<Outgoing> {
        let channel = self.channels.get_mut(number)?;
        let call = self.calls.get_mut(&id)?;
        let left = call.deadline.saturating_duration_since(now);
        if left.is_zero() {
            self.step(id, Event::DeadlinePassed(self.late()));
            return None;
        }
        let Step::Send = call.state.on(Event::Written, call.delivery) else {
            return None;
        };
        if let (Some(key), None, Some(boot)) = (call.delivery.key(), call.boot, channel.boot) {
            call.boot = Some(self.unsettled.send(key, boot));
        }
        if call.delivery.key().is_some() && call.boot != channel.boot {
            call.state = State::Queued { was_sent: true };
            self.step(id, Event::ServiceRestarted);
            return None;
        }
        call.state = State::Sent {
            again: call.state.was_sent_before(),
        };
        (call.channel, call.boot) = (number, channel.boot);
        let (key, body) = match call.delivery {
            Delivery::AtMostOnce => (None, std::mem::take(&mut call.body)),
            Delivery::AtLeastOnce => (None, call.body.clone()),
            Delivery::Idempotent(key) => (Some(key), call.body.clone()),
        };
        channel.outstanding = channel.outstanding.saturating_add(1);
        channel.written_up_to = id;
        self.sent_up_to = self.sent_up_to.max(id);
        Some(Outgoing::Request {
            id,
            milliseconds: milliseconds(left),
            key,
            body,
        })
    }
}

/// What a message weighs without its body.
const SMALL: usize = 32;

/// Rounded up, so that a call that has time left is not sent without.
fn milliseconds(left: Duration) -> u32 {
    let rounded = left.as_nanos().div_ceil(1_000_000);
    u32::try_from(rounded).unwrap_or(u32::MAX)
}
