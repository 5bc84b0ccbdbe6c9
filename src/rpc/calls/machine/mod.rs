//! The rules of a client's calls: told what was asked, what came and what time it is, it answers what
//! to write and whom to tell.
//!
//! `W` stands for someone who waits, and is told by being handed back.

mod channels;
mod permits;
mod state;
#[cfg(test)]
mod tests;
mod unsettled;
mod writing;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

pub(super) use self::channels::ChannelNumber;
use self::channels::Channels;
use self::permits::Permits;
use self::state::{Event, State, Step};
use self::unsettled::{End, Unsettled};
pub(super) use self::writing::Outgoing;
use super::error::{CallError, Loss};
use super::options::Delivery;
use crate::mux::Code;
use crate::rpc::link::{LinkError, LinkFailure};
use crate::runtime::Instant;

/// What became of a call: the encoding of the answer, or why there is none.
pub(super) type Outcome = Result<Bytes, CallError>;

/// All calls of one client.
#[derive(Debug)]
pub(super) struct Machine<W> {
    phase: Phase,
    channels: Channels,
    permits: Permits<W>,
    calls: FxHashMap<u64, Call<W>>,
    unsettled: Unsettled,
    /// Not written yet; what was written on a lost channel has the lower ids.
    queued: BTreeSet<u64>,
    last_id: u64,
    /// The largest id that was ever written.
    sent_up_to: u64,
    /// No call's deadline is earlier.
    earliest: Option<Instant>,
    told: Vec<W>,
}

#[derive(Debug)]
struct Call<W> {
    state: State,
    delivery: Delivery,
    deadline: Instant,
    /// What it was last written on.
    channel: ChannelNumber,
    /// The start of the service that its channel goes to, or that a call with its key went to before.
    boot: Option<u128>,
    /// Kept while it may have to be written.
    body: Bytes,
    outcome: Option<Outcome>,
    caller: Option<W>,
}

#[derive(Debug)]
enum Phase {
    /// There is no connection for what is new, because of this if it is known.
    Away(Option<LinkFailure>),
    /// There is one, on which the service has not welcomed the client.
    Connected(Option<ChannelNumber>),
    /// What is new goes over that channel.
    Up {
        channel: ChannelNumber,
        calls_at_once: u32,
    },
    NotServed(Code, Arc<str>),
    Down(LinkError),
}

impl<W> Machine<W> {
    /// A machine that lets so many calls begin before the first ones end.
    pub(super) fn new(calls_at_once: usize) -> Self {
        Self {
            phase: Phase::Away(None),
            channels: Channels::default(),
            permits: Permits::new(calls_at_once),
            calls: FxHashMap::default(),
            unsettled: Unsettled::default(),
            queued: BTreeSet::new(),
            last_id: 0,
            sent_up_to: 0,
            earliest: None,
            told: Vec::new(),
        }
    }

    /// Someone has a call with that key, from before they ask for the right to submit it until they
    /// [leave](Self::leave).
    pub(super) fn enter(&mut self, key: u128) {
        self.unsettled.enter(key);
    }

    pub(super) fn leave(&mut self, key: u128) {
        self.unsettled.leave(key);
    }

    /// Asks for the right to submit one call, first come, first served; `ticket` keeps the place
    /// in the queue from one asking to the next.
    pub(super) fn reserve(
        &mut self,
        ticket: &mut Option<u64>,
        deadline: Option<Instant>,
        caller: impl FnOnce() -> W,
    ) -> Option<Result<(), CallError>> {
        if let Some(error) = self.refusal() {
            self.abandon(ticket.take());
            return Some(Err(error));
        }
        let answer = self.permits.ask(ticket, deadline, caller);
        let answer = answer.map(|granted| granted.map_err(|_| self.late()));
        if answer.is_none() {
            self.watch(deadline);
        }
        answer
    }

    /// Leaves the queue for a permit, or gives back what was granted meanwhile.
    pub(super) fn abandon(&mut self, ticket: Option<u64>) {
        if let Some(ticket) = ticket {
            self.told.extend(self.permits.leave(ticket));
        }
    }

    /// Gives an unused permit back.
    pub(super) fn release(&mut self) {
        self.told.extend(self.permits.release());
    }

    /// Takes on a call, for which there is a permit; answers its id. The caller is told of its outcome.
    pub(super) fn submit(
        &mut self,
        body: Bytes,
        delivery: Delivery,
        deadline: Instant,
        caller: W,
    ) -> Result<u64, CallError> {
        if let Some(error) = self.refusal() {
            self.release();
            return Err(error);
        }
        let id = self.last_id.saturating_add(1);
        self.last_id = id;
        let boot = delivery.key().and_then(|key| self.unsettled.boot(key));
        let call = Call {
            state: State::Queued {
                was_sent: boot.is_some(),
            },
            delivery,
            deadline,
            channel: 0,
            boot,
            body,
            outcome: None,
            caller: Some(caller),
        };
        self.calls.insert(id, call);
        self.queued.insert(id);
        self.watch(Some(deadline));
        if boot.is_some_and(|before| self.boot().is_some_and(|boot| boot != before)) {
            self.step(id, Event::ServiceRestarted);
        }
        Ok(id)
    }

    /// Takes the outcome of a call, or notes who is to be told of it.
    pub(super) fn take(&mut self, id: u64, caller: impl FnOnce() -> W) -> Option<Outcome> {
        let call = self.calls.get_mut(&id)?;
        let Some(outcome) = call.outcome.take() else {
            call.caller = Some(caller());
            return None;
        };
        call.settle(&mut self.unsettled, End::of(&outcome));
        self.calls.remove(&id);
        self.release();
        Some(outcome)
    }

    /// What an error says that a call has ended with, and [left](Self::leave): it is no proof that it was not run if
    /// another one with its key may have been, or may be yet.
    pub(super) fn verdict(&self, delivery: Delivery, error: CallError) -> CallError {
        let Some(key) = delivery.key() else {
            return error;
        };
        if error.is_not_run() && self.unsettled.goes_on(key) {
            return CallError::Unknown(Loss::Beside(Box::new(error)));
        }
        error.unless_run_before(self.unsettled.boot(key).is_some())
    }

    /// The caller wants no outcome any more.
    pub(super) fn forget(&mut self, id: u64) {
        self.step(id, Event::Dropped);
    }

    /// The largest id that was written before, on whatever channel.
    pub(super) fn sent_up_to(&self) -> u64 {
        self.sent_up_to
    }

    /// There is another channel, on which the service has not said its welcome.
    pub(super) fn opened(&mut self) -> ChannelNumber {
        let channel = self.channels.open();
        self.phase = Phase::Connected(Some(channel));
        channel
    }

    /// The service is there.
    pub(super) fn welcomed(&mut self, channel: ChannelNumber, boot: u128, calls_at_once: u32) {
        if self.present() != Some(channel) {
            return;
        }
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.boot = Some(boot);
        }
        self.phase = Phase::Up {
            channel,
            calls_at_once: calls_at_once.max(1),
        };
        for id in self.ids_of(|call| call.boot.is_some_and(|before| before != boot)) {
            self.step(id, Event::ServiceRestarted);
        }
    }

    /// The channel is of no more use, but for the answers to what was written on it.
    pub(super) fn retire(&mut self, channel: ChannelNumber) {
        if self.present() == Some(channel) {
            self.phase = Phase::Away(None);
        }
    }

    /// Whether the service has none of the calls that were written on a channel.
    pub(super) fn is_idle(&self, channel: ChannelNumber) -> bool {
        let known = self.channels.get(channel);
        known.is_none_or(|known| known.outstanding == 0)
    }

    /// The service answered; an answer that nobody waits for any more is ignored.
    pub(super) fn answered(&mut self, channel: ChannelNumber, id: u64, outcome: Outcome) {
        if let Some(call) = self.calls.get_mut(&id)
            && call.channel == channel
            && matches!(call.state.on(Event::Answer, call.delivery), Step::Deliver)
        {
            let was_sent_before = call.state.was_sent_before();
            let outcome = outcome.map_err(|error| error.unless_run_before(was_sent_before));
            self.told.extend(call.end(outcome));
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.ended_one();
            }
        }
    }

    /// A call that was to be written could not be, for a reason that is its own.
    pub(super) fn unsendable(&mut self, id: u64, error: CallError) {
        if let Some(call) = self.calls.get(&id)
            && matches!(call.state, State::Sent { .. })
            && let Some(channel) = self.channels.get_mut(call.channel)
        {
            channel.ended_one();
        }
        self.step(id, Event::Unsendable(error));
    }

    /// A channel is gone, and the service had nothing that was written on it.
    pub(super) fn left(&mut self, channel: ChannelNumber) {
        self.retire(channel);
        self.channels.close(channel);
    }

    /// A channel is gone, and with it what was written on it.
    pub(super) fn lost(&mut self, channel: ChannelNumber, loss: &Loss) {
        self.left(channel);
        for id in self.ids_of(|call| call.channel == channel) {
            self.step(id, Event::ChannelLost(loss));
        }
        match &self.phase {
            Phase::Up { .. } => {
                let boot = self.boot();
                for id in self.ids_of(|call| call.channel == channel && call.boot != boot) {
                    self.step(id, Event::ServiceRestarted);
                }
            }
            Phase::Down(error) => {
                let error = error.clone();
                for id in self.ids_of(|call| call.channel == channel) {
                    self.step(id, Event::LinkDown(&error));
                }
            }
            Phase::Away(_) | Phase::Connected(_) | Phase::NotServed(..) => {}
        }
    }

    /// There is a connection, but the peer does not serve the interface on it.
    pub(super) fn not_served(&mut self, code: Code, reason: &Arc<str>) {
        self.phase = Phase::NotServed(code, Arc::clone(reason));
        for id in self.ids_of(|_| true) {
            self.step(id, Event::NotServed(code, reason));
        }
        self.permits.tell_all(&mut self.told);
    }

    /// There is a connection, and no channel on it.
    pub(super) fn connected(&mut self) {
        self.phase = Phase::Connected(None);
    }

    /// There is no connection for what is new.
    pub(super) fn away(&mut self, why: Option<LinkFailure>) {
        self.phase = Phase::Away(why);
    }

    /// There will be no connection any more; what was written on channels that are open may be answered.
    pub(super) fn down(&mut self, error: &LinkError) {
        self.phase = Phase::Down(error.clone());
        for id in self.ids_of(|_| true) {
            self.step(id, Event::LinkDown(error));
        }
        self.permits.tell_all(&mut self.told);
    }

    /// It is that late: ends what has taken too long.
    pub(super) fn time(&mut self, now: Instant) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let is_late = |call: &Call<W>| call.state != State::Done && call.deadline <= now;
        for id in self.ids_of(is_late) {
            self.step(id, Event::DeadlinePassed(self.late()));
        }
        let next_permit = self.permits.time(now, &mut self.told);
        let open = self.calls.values().filter(|call| call.state != State::Done);
        let deadlines = open.map(|call| call.deadline);
        self.earliest = deadlines.chain(next_permit).min();
    }

    /// When to tell the time next, at the latest.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Takes those who are to be told.
    pub(super) fn take_told(&mut self) -> Vec<W> {
        std::mem::take(&mut self.told)
    }

    /// How many calls it keeps: those that wait, were sent, or whose outcome was not taken.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    fn refusal(&self) -> Option<CallError> {
        match &self.phase {
            Phase::Away(_) | Phase::Connected(_) | Phase::Up { .. } => None,
            Phase::NotServed(code, reason) => Some(CallError::NotServed {
                code: *code,
                reason: Arc::clone(reason),
            }),
            Phase::Down(error) => Some(CallError::NotSent(error.clone())),
        }
    }

    /// What it means that the time is up of a call that was never sent.
    fn late(&self) -> CallError {
        match &self.phase {
            Phase::Away(why) => CallError::NoConnection { why: why.clone() },
            Phase::Connected(_) => CallError::NoWelcome,
            _ => CallError::DeadlinePassed { sent: false },
        }
    }

    /// The channel that what is new goes over, or will when the service has said its welcome.
    fn present(&self) -> Option<ChannelNumber> {
        match self.phase {
            Phase::Up { channel, .. } => Some(channel),
            Phase::Connected(channel) => channel,
            Phase::Away(_) | Phase::NotServed(..) | Phase::Down(_) => None,
        }
    }

    /// The start of the service that what is new goes to.
    fn boot(&self) -> Option<u128> {
        self.channels.get(self.present()?)?.boot
    }

    fn watch(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && self.earliest.is_none_or(|earliest| deadline < earliest)
        {
            self.earliest = Some(deadline);
        }
    }

    /// Such calls, oldest first.
    fn ids_of(&self, mut wanted: impl FnMut(&Call<W>) -> bool) -> Vec<u64> {
        let matching = self.calls.iter().filter(|(_, call)| wanted(call));
        let mut ids: Vec<u64> = matching.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    fn step(&mut self, id: u64, event: Event<'_>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (was, channel) = (call.state, call.channel);
        let step = was.on(event, call.delivery);
        let cancels = matches!(step, Step::CancelAndFail(_) | Step::CancelAndForget);
        match step {
            Step::Stay | Step::Send | Step::Deliver => return,
            Step::Queue => {
                call.state = State::Queued { was_sent: true };
                self.queued.insert(id);
                return;
            }
            Step::Fail(error) | Step::CancelAndFail(error) => {
                let error = error.unless_run_before(was.was_sent_before());
                call.settle(&mut self.unsettled, End::of_error(&error));
                self.told.extend(call.end(Err(error)));
            }
            Step::Forget | Step::CancelAndForget => {
                call.settle(&mut self.unsettled, End::Unknown);
                self.calls.remove(&id);
                self.release();
            }
        }
        if matches!(was, State::Queued { .. }) {
            self.queued.remove(&id);
        }
        if cancels && let Some(channel) = self.channels.get_mut(channel) {
            channel.cancels.push_back(id);
        }
    }
}

impl<W> Call<W> {
    /// Says of its key how it ended, once.
    fn settle(&mut self, unsettled: &mut Unsettled, end: End) {
        if let (Some(key), Some(boot)) = (self.delivery.key(), self.boot.take()) {
            unsettled.settle(key, boot, end);
        }
    }

    fn end(&mut self, outcome: Outcome) -> Option<W> {
        self.state = State::Done;
        self.body = Bytes::new();
        self.outcome = Some(outcome);
        self.caller.take()
    }
}
