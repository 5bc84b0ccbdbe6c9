//! What the application wants.

use bytes::Bytes;

use super::batch::Batch;
use super::inbox::Inbox;
use super::slot::Slot;
use super::state::{ReceiveState, SendState};
use super::transmit::COPY_UP_TO;
use super::window::{FLOOR_WINDOW, ReceiveWindow};
use super::{LAST_NUMBER, Machine, Phase};
use crate::mux::code::Code;
use crate::mux::config::FLOOR_CHANNELS;
use crate::mux::error::{ChannelError, ConnectionError, OpenError};
use crate::mux::frame::{MAX_PROTOCOL_NAME, MAX_REASON};
use crate::mux::priority::Priority;
use crate::runtime::Instant;

/// So many bytes make a batch that is worth a write of its own.
const BATCH: usize = 64 * 1024;

/// Whether a message may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// A batch has gathered: whoever sent the last of it may as well write it.
    FreeWithBatch,
    /// A [`Wake::Writer`](super::Wake::Writer) follows.
    Full,
}

/// What [`Machine::receive`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// The inbox holds messages.
    Messages,
    /// The peer has finished and everything was read.
    End,
    /// A [`Wake::Reader`](super::Wake::Reader) follows.
    Nothing,
}

impl Machine {
    /// Opens a channel: none when a place must be waited for.
    pub(crate) fn open(
        &mut self,
        protocol: &str,
        priority: Priority,
    ) -> Result<Option<usize>, OpenError> {
        if protocol.len() > MAX_PROTOCOL_NAME {
            return Err(OpenError::NameTooLong(protocol.len()));
        }
        self.check_open()?;
        if self.opened.here >= self.peer.allows || self.opened.here_now >= self.config.max_channels
        {
            return Ok(None);
        }
        let number = self.opened.next_number;
        self.opened.next_number += 2;
        self.opened.here += 1;
        let window = self.config.window;
        let receive = ReceiveWindow::new(window, window);
        let key = self.insert(Slot::new(
            number,
            true,
            priority,
            protocol,
            FLOOR_WINDOW,
            receive,
        ));
        if let Some(slot) = self.slots.get_mut(key) {
            slot.control.open = true;
        }
        self.note_control(key);
        if self.opened.next_number > LAST_NUMBER {
            self.signals.places = true;
        }
        Ok(Some(key))
    }

    /// Whether channels can be opened at all, now or after a wait.
    pub(crate) fn check_open(&self) -> Result<(), OpenError> {
        if let Some(error) = &self.outcome {
            return Err(error.clone().into());
        }
        if self.phase == Phase::Draining || self.peer.draining {
            return Err(OpenError::Draining);
        }
        if self.opened.next_number > LAST_NUMBER {
            return Err(OpenError::NumbersExhausted);
        }
        Ok(())
    }

    /// Leaves a dialer numbers for so many channels more.
    #[cfg(test)]
    pub(crate) fn use_up_numbers_but(&mut self, channels: u32) {
        self.opened.next_number = LAST_NUMBER + 1 - 2 * channels;
    }

    /// Takes the next channel that the peer opened, with its protocol's name.
    pub(crate) fn take_incoming(&mut self) -> Option<(usize, Box<str>)> {
        let key = self.backlog.pop_front()?;
        let slot = self.slots.get_mut(key)?;
        slot.sender_held = true;
        slot.receiver_held = true;
        Some((key, std::mem::take(&mut slot.protocol)))
    }

    /// Tells the peer that its channel is wanted.
    pub(crate) fn accept(&mut self, key: usize) {
        self.accept_with_window(key, u32::MAX);
    }

    /// The same, with a window of no more than `most`, or the least that there is.
    pub(crate) fn accept_with_window(&mut self, key: usize, most: u32) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if !slot.accepted && !slot.over {
            slot.accepted = true;
            slot.control.accept = true;
            slot.receiving.max_window = most.max(FLOOR_WINDOW);
            slot.receiving.window.limit(most);
            slot.receiving.window.open_fully();
            self.note_control(key);
            // A long message may have taken all credit before, and nothing else would grant more.
            self.want_memory(key);
        }
    }

    /// Makes the first so many messages that come on a channel no larger than `most`.
    pub(crate) fn limit_first(&mut self, key: usize, messages: u32, most: u32) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.receiving.first = (messages, most);
        if slot.receiving.parts.len() > slot.receiving.max_message(u32::MAX) as usize {
            let reason = "a first message is larger than it may be";
            self.reset_here(key, Code::TOO_LARGE, reason);
        }
    }

    /// Lets the peer open no more channels than any may, until [`grant_places`](Self::grant_places). Before
    /// anything is sent.
    pub(crate) fn hold_places(&mut self) {
        self.places = FLOOR_CHANNELS;
        self.opened.allowed_there = self.places;
    }

    /// Lets the peer open as many channels as the settings say.
    pub(crate) fn grant_places(&mut self) {
        self.places = self.config.max_channels;
        self.note_allow();
    }

    /// The number of a channel.
    pub(crate) fn number(&self, key: usize) -> Result<u32, ChannelError> {
        let slot = self.slots.get(key).ok_or(ChannelError::Finished)?;
        Ok(slot.number)
    }

    /// Whether a message may be queued now.
    pub(crate) fn send_room(&mut self, key: usize) -> Result<Room, ChannelError> {
        let slot = self.slots.get_mut(key).ok_or(ChannelError::Finished)?;
        if slot.sending.state != SendState::Open || slot.over || self.outcome.is_some() {
            return Err(why_not_sent(slot, self.outcome.as_ref()));
        }
        let channel_full = slot.sending.queue.bytes() >= self.config.channel_send_buffer;
        let connection_full = self.send_queued >= self.config.send_memory;
        if !channel_full && !connection_full {
            return Ok(Room::Free);
        }
        slot.sending.wanted = true;
        self.statistics.blocked_by_send_buffer += 1;
        if connection_full && !self.waiting_for_room.contains(&key) {
            self.waiting_for_room.push(key);
        }
        Ok(Room::Full)
    }

    /// Queues a message of up to [`COPY_UP_TO`] bytes, if there is room.
    pub(crate) fn send_copy(&mut self, key: usize, message: &[u8]) -> Result<Room, ChannelError> {
        debug_assert!(message.len() <= COPY_UP_TO);
        self.check_length(message.len())?;
        if self.send_room(key)? == Room::Full {
            return Ok(Room::Full);
        }
        self.queue(key, 1, |slot| {
            slot.sending.queue.push_copy(slot.number, message);
        })
    }

    /// Queues a message, if there is room.
    pub(crate) fn send(&mut self, key: usize, message: &mut Bytes) -> Result<Room, ChannelError> {
        self.check_length(message.len())?;
        if self.send_room(key)? == Room::Full {
            return Ok(Room::Full);
        }
        self.send_anyway(key, message)
    }

    /// Queues a message for which there was room when it was asked for.
    pub(crate) fn send_anyway(
        &mut self,
        key: usize,
        message: &mut Bytes,
    ) -> Result<Room, ChannelError> {
        self.check_length(message.len())?;
        self.queue(key, 1, |slot| {
            let message = std::mem::take(message);
            slot.sending.queue.push(slot.number, message);
        })
    }

    /// Queues messages that the application has gathered, and leaves `batch` empty. There is room:
    /// a sender gathers little.
    pub(crate) fn send_batch(
        &mut self,
        key: usize,
        batch: &mut Batch,
    ) -> Result<Room, ChannelError> {
        self.queue(key, batch.messages(), |slot| {
            slot.sending.queue.push_batch(batch);
        })
    }

    fn check_length(&self, length: usize) -> Result<(), ChannelError> {
        let max = self.max_message();
        if length > max {
            return Err(ChannelError::TooLarge { length, max });
        }
        Ok(())
    }

    fn queue(
        &mut self,
        key: usize,
        messages: u64,
        queue: impl FnOnce(&mut Slot),
    ) -> Result<Room, ChannelError> {
        let slot = self.slots.get_mut(key).ok_or(ChannelError::Finished)?;
        if slot.sending.state != SendState::Open || slot.over || self.outcome.is_some() {
            return Err(why_not_sent(slot, self.outcome.as_ref()));
        }
        let before = slot.sending.queue.bytes();
        queue(slot);
        let batches = self.send_queued / BATCH;
        self.statistics.messages_sent += messages;
        if slot.sending.blocked_since.is_some() {
            return Ok(Room::Free);
        }
        self.send_queued += slot.sending.queue.bytes() - before;
        self.schedule
            .ready(key, &mut slot.sending.turn, slot.priority);
        let gathered = self.send_queued / BATCH > batches && self.deadlines.stalled_since.is_none();
        Ok(if gathered {
            Room::FreeWithBatch
        } else {
            Room::Free
        })
    }

    /// The bytes of messages that may be sent now, none if something else is to be sent too.
    pub(crate) fn only_little_queued(&self) -> Option<usize> {
        let little = self.send_queued < BATCH / 2 && self.has_only_data();
        little.then_some(self.send_queued)
    }

    /// Whether everything that was queued has gone to the transport, the FINISH with it.
    pub(crate) fn is_flushed(&mut self, key: usize) -> Result<bool, ChannelError> {
        let slot = self.slots.get_mut(key).ok_or(ChannelError::Finished)?;
        match slot.sending.state {
            SendState::Finished(None) => return Ok(true),
            SendState::Stopping(code) | SendState::Finished(Some(code)) => {
                return Err(ChannelError::Stopped(code));
            }
            SendState::Open | SendState::Finishing => {}
        }
        if let Some(error) = &slot.reset {
            return Err((**error).clone());
        }
        if let Some(error) = &self.outcome {
            return Err(error.clone().into());
        }
        if slot.sending.queue.is_empty() && slot.sending.state == SendState::Open {
            return Ok(true);
        }
        slot.sending.wanted = true;
        Ok(false)
    }

    /// Nothing more is sent on the channel; what is queued still goes.
    pub(crate) fn finish(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.sending.state.finish();
        if slot.sending.blocked_since.is_none() {
            self.note_data(key);
        }
    }

    /// Gives back what was read, `cost` of it, and swaps new messages into the empty `inbox`.
    pub(crate) fn receive(
        &mut self,
        key: usize,
        cost: u32,
        inbox: &mut Inbox,
    ) -> Result<Received, ChannelError> {
        self.consumed(key, cost);
        let slot = self.slots.get_mut(key).ok_or(ChannelError::Finished)?;
        if !slot.receiving.inbox.is_empty() {
            std::mem::swap(&mut slot.receiving.inbox, inbox);
            return Ok(Received::Messages);
        }
        match slot.receiving.state {
            ReceiveState::Finished => return Ok(Received::End),
            ReceiveState::Stopped => {
                return Err(ChannelError::reset_here(Code::CANCELLED, "stopped reading"));
            }
            ReceiveState::Open => {}
        }
        if let Some(error) = &slot.reset {
            return Err((**error).clone());
        }
        if let Some(error) = &self.outcome {
            return Err(error.clone().into());
        }
        slot.receiving.wanted = true;
        slot.receiving.window.reader_waits();
        Ok(Received::Nothing)
    }

    /// Gives back what was read, `cost` of it.
    pub(crate) fn consumed(&mut self, key: usize, cost: u32) {
        if cost == 0 {
            return;
        }
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.receiving.window.read(cost);
        let released = slot.receiving.window.release_reservation();
        if released > 0 {
            self.shared_memory += released as usize;
            // The next message may have begun: it takes its place at the end of the line.
            self.want_memory(key);
            self.lend_memory();
        }
        self.note_credit(key);
    }

    /// Whether the peer has accepted a channel that was opened here.
    pub(crate) fn is_accepted(&self, key: usize) -> Result<bool, ChannelError> {
        let slot = self.slots.get(key).ok_or(ChannelError::Finished)?;
        if slot.accepted {
            return Ok(true);
        }
        match (&slot.reset, &self.outcome) {
            (Some(error), _) => Err((**error).clone()),
            // Finished on both sides: the peer took all and needs not say so any more.
            (None, _) if slot.over => Ok(true),
            (None, Some(error)) => Err(error.clone().into()),
            (None, None) => Ok(false),
        }
    }

    /// Ends a channel at once, both ways.
    pub(crate) fn reset(&mut self, key: usize, code: Code, reason: &str) {
        self.reset_here(key, code, shorten(reason));
        self.wake_waiting_for_room();
    }

    /// The sending handle is gone.
    pub(crate) fn drop_sender(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.sender_held = false;
        slot.sending.wanted = false;
        if slot.sending.state == SendState::Open {
            let reason = if slot.accepted || slot.opened_here {
                "the sender was dropped before it was finished"
            } else {
                "nobody accepted the channel"
            };
            let code = if slot.accepted || slot.opened_here {
                Code::CANCELLED
            } else {
                Code::REFUSED
            };
            self.reset_here(key, code, reason);
        }
        self.settle(key);
        self.wake_waiting_for_room();
    }

    /// The receiving handle is gone, and with it what it had not read.
    pub(crate) fn drop_receiver(&mut self, key: usize) {
        self.stop(key, Code::CANCELLED);
        if let Some(slot) = self.slots.get_mut(key) {
            slot.receiver_held = false;
        }
        self.settle(key);
    }

    /// Reads no more of a channel.
    pub(crate) fn stop(&mut self, key: usize, code: Code) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.receiving.wanted = false;
        slot.receiving.inbox.clear();
        slot.receiving.parts.clear();
        slot.receiving.window.discard();
        if slot.receiving.state.stop() && !slot.over {
            slot.control.stop = Some(code);
            self.note_control(key);
        }
        self.return_memory(key);
    }

    /// Whether the peer has said hello.
    pub(crate) fn is_introduced(&self) -> Result<bool, ConnectionError> {
        match &self.outcome {
            Some(error) => Err(error.clone()),
            None => Ok(self.peer.introduced),
        }
    }

    /// Asks for a ping: answers the number that [`pings_answered`](Self::pings_answered) reaches.
    pub(crate) fn ping(&mut self) -> Result<u64, ConnectionError> {
        match &self.outcome {
            Some(error) => Err(error.clone()),
            None => Ok(self.keepalive.request()),
        }
    }

    pub(crate) fn pings_answered(&self) -> u64 {
        self.keepalive.answered()
    }

    /// Lets open channels finish until `deadline`, then ends the connection.
    pub(crate) fn drain(&mut self, deadline: Instant) {
        if self.outcome.is_some() {
            return;
        }
        let deadline = self
            .deadlines
            .drain
            .map_or(deadline, |earlier| earlier.min(deadline));
        self.deadlines.drain = Some(deadline);
        if self.phase == Phase::Running {
            self.phase = Phase::Draining;
            self.signals.places = true;
            self.control.go_away = Some((Code::NONE, String::new()));
            for key in std::mem::take(&mut self.backlog) {
                self.reset_here(key, Code::REFUSED, "the peer is draining");
                self.settle(key);
            }
        }
    }

    /// Ends the connection at once.
    pub(crate) fn close(&mut self, code: Code, reason: &str) {
        let reason = shorten(reason).into();
        self.end(ConnectionError::ClosedHere { code, reason });
    }
}

/// Why a channel takes no message any more.
fn why_not_sent(slot: &Slot, outcome: Option<&ConnectionError>) -> ChannelError {
    if let Some(error) = &slot.reset {
        return (**error).clone();
    }
    match (slot.sending.state, outcome) {
        (SendState::Stopping(code) | SendState::Finished(Some(code)), _) => {
            ChannelError::Stopped(code)
        }
        (SendState::Open, Some(error)) => error.clone().into(),
        _ => ChannelError::Finished,
    }
}

/// As much of a reason as fits in a frame.
fn shorten(reason: &str) -> &str {
    let end = reason.floor_char_boundary(MAX_REASON);
    reason.get(..end).unwrap_or_default()
}
