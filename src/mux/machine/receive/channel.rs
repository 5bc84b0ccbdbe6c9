//! Frames of a channel.

use bytes::Bytes;

use super::out_of_order;
use crate::mux::code::Code;
use crate::mux::error::{ChannelError, ConnectionError, Violation};
use crate::mux::frame::{END_OF_MESSAGE, FINISH};
use crate::mux::machine::slot::Slot;
use crate::mux::machine::slots::{wake_reader, wake_writer};
use crate::mux::machine::state::ReceiveState;
use crate::mux::machine::window::{FLOOR_WINDOW, FRAME_COST, MAX_WINDOW, ReceiveWindow};
use crate::mux::machine::{LAST_NUMBER, Machine, Phase};
use crate::mux::priority::Priority;
use crate::runtime::Instant;

impl Machine {
    pub(super) fn on_open(
        &mut self,
        number: u32,
        window: u32,
        priority: u8,
        protocol: &str,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let is_next = number > self.opened.highest_there && number <= LAST_NUMBER;
        if !self.role.peer_opens(number) || !is_next {
            return Err(Violation::ChannelNumber(number).into());
        }
        if window > MAX_WINDOW {
            return Err(Violation::CreditOverflow(number).into());
        }
        // Our sender waits for credit for 4 KiB: with less, both ends could wait for ever.
        if window < FLOOR_WINDOW {
            return Err(out_of_order(
                number,
                "an Open with a window below the least",
            ));
        }
        self.opened.there += 1;
        if self.opened.there > self.opened.allowed_there {
            return Err(Violation::TooManyChannels(self.opened.allowed_there).into());
        }
        self.opened.highest_there = number;
        if self.opened.last_there.is_some_and(|last| number > last) {
            // Sent before the peer had our GoAway, which tells it that nothing here saw this.
            self.stale_allowance = self
                .stale_allowance
                .saturating_add(2 * u64::from(FLOOR_WINDOW));
            return Ok(());
        }
        let receive = ReceiveWindow::new(self.config.window, FLOOR_WINDOW);
        let slot = Slot::new(
            number,
            false,
            Priority::from_wire(priority),
            protocol,
            window,
            receive,
        );
        let key = self.insert(slot);
        if self.phase == Phase::Draining {
            self.reset_here(key, Code::REFUSED, "the peer is draining");
        } else if self.backlog.len() >= self.config.accept_backlog {
            self.statistics.refused += 1;
            self.charge(now)?;
            self.reset_here(key, Code::REFUSED, "too many channels wait to be accepted");
        } else {
            self.backlog.push_back(key);
            self.signals.incoming = true;
        }
        self.note_allow();
        Ok(())
    }

    pub(super) fn on_accept(
        &mut self,
        number: u32,
        window: u32,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let Some(key) = self.locate(number, FRAME_COST, now)? else {
            return Ok(());
        };
        let Some(slot) = self.slots.get_mut(key) else {
            return Ok(());
        };
        if !slot.opened_here || slot.accepted {
            return Err(out_of_order(
                number,
                "an Accept for a channel that was not waiting for one",
            ));
        }
        let more = window
            .checked_sub(FLOOR_WINDOW)
            .ok_or(Violation::OutOfOrder {
                channel: number,
                what: "an Accept with a window below the least",
            })?;
        if window > MAX_WINDOW {
            return Err(Violation::CreditOverflow(number).into());
        }
        slot.sending
            .credit
            .add(more)
            .map_err(|_| Violation::CreditOverflow(number))?;
        slot.accepted = true;
        self.signals.accepted = true;
        self.unblock(key, now);
        Ok(())
    }

    pub(super) fn on_credit(
        &mut self,
        number: u32,
        bytes: u32,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if bytes == 0 {
            self.charge(now)?;
        }
        let Some(key) = self.locate(number, FRAME_COST, now)? else {
            return Ok(());
        };
        let Some(slot) = self.slots.get_mut(key) else {
            return Ok(());
        };
        slot.sending
            .credit
            .add(bytes)
            .map_err(|_| Violation::CreditOverflow(number))?;
        self.unblock(key, now);
        Ok(())
    }

    pub(super) fn on_stop(
        &mut self,
        number: u32,
        code: u32,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let Some(key) = self.locate(number, FRAME_COST, now)? else {
            return Ok(());
        };
        let Some(slot) = self.slots.get_mut(key) else {
            return Ok(());
        };
        if slot.sending.state.stopped_by_peer(Code::from_wire(code)) {
            let counted = slot.sending.counted();
            self.send_queued = self.send_queued.saturating_sub(counted);
            slot.sending.queue.clear();
            slot.sending.blocked_since = None;
            wake_writer(&mut self.wakes, key, slot);
            self.note_data(key);
            self.wake_waiting_for_room();
        } else {
            self.stale(FRAME_COST, now)?;
        }
        Ok(())
    }

    pub(super) fn on_reset(
        &mut self,
        number: u32,
        code: u32,
        reason: &str,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let Some(key) = self.locate(number, FRAME_COST, now)? else {
            return Ok(());
        };
        if let Some(place) = self.backlog.iter().position(|&waiting| waiting == key) {
            // Opened and reset before anyone looked: work without use.
            self.charge(now)?;
            self.backlog.remove(place);
        }
        let Some(slot) = self.slots.get_mut(key) else {
            return Ok(());
        };
        let (code, reason) = (Code::from_wire(code), reason.into());
        slot.reset = Some(Box::new(if slot.opened_here && !slot.accepted {
            ChannelError::Refused { code, reason }
        } else {
            ChannelError::ResetByPeer { code, reason }
        }));
        slot.control.stop = None;
        self.signals.accepted = true;
        self.settle(key);
        self.wake_waiting_for_room();
        Ok(())
    }

    pub(super) fn on_data(
        &mut self,
        number: u32,
        flags: u8,
        payload: &[u8],
        backing: Option<&Bytes>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let ends = flags & END_OF_MESSAGE != 0;
        let finishes = flags & FINISH != 0;
        if payload.is_empty() && flags == 0 {
            return Err(out_of_order(
                number,
                "a Data frame without payload or flags",
            ));
        }
        // A frame that only finishes is free: there is one of them, and it must not wait for credit.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let cost = if payload.is_empty() && !ends {
            0
        } else {
            length.saturating_add(FRAME_COST)
        };
        let key = if self.last_data.0 == number && number != 0 {
            self.last_data.1
        } else {
            let Some(key) = self.locate(number, cost, now)? else {
                return Ok(());
            };
            self.last_data = (number, key);
            key
        };
        let Some(slot) = self
            .slots
            .get_mut(key)
            .filter(|slot| slot.number == number && !slot.over)
        else {
            self.last_data = (0, 0);
            // Never opened, or gone.
            return self.locate(number, cost, now).map(drop);
        };
        let receiving = &mut slot.receiving;
        receiving
            .window
            .arrive(cost)
            .map_err(|credit| Violation::Credit {
                channel: number,
                cost,
                credit,
            })?;
        match receiving.state {
            ReceiveState::Finished => {
                return Err(out_of_order(number, "a Data frame after the last"));
            }
            ReceiveState::Open if cost > 0 => self.hold(key, payload, ends, backing),
            ReceiveState::Open | ReceiveState::Stopped => {}
        }
        if finishes {
            self.finish_receiving(key, number)?;
        }
        Ok(())
    }

    /// Keeps a message, or a part of one, until it is read.
    fn hold(&mut self, key: usize, payload: &[u8], ends: bool, backing: Option<&Bytes>) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let receiving = &mut slot.receiving;
        let max = self.config.max_message_size;
        let most = receiving.max_message(max);
        if receiving.parts.len() + payload.len() > most as usize {
            let reason = if most < max {
                "a first message is larger than it may be"
            } else {
                "a message is larger than max_message_size"
            };
            self.reset_here(key, Code::TOO_LARGE, reason);
            return;
        }
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if ends {
            self.statistics.messages_received += 1;
            receiving.messages = receiving.messages.saturating_add(1);
            if receiving.parts.is_empty() {
                receiving.inbox.push(payload, backing);
            } else {
                receiving.parts.push(payload, &self.buffers);
                let message = receiving.parts.join(&self.buffers);
                receiving.inbox.push_whole(message);
            }
            receiving.window.hold_message(length);
            wake_reader(&mut self.wakes, key, slot);
        } else {
            receiving.parts.push(payload, &self.buffers);
            receiving.window.hold_part(length);
            self.want_memory(key);
        }
    }

    fn finish_receiving(&mut self, key: usize, number: u32) -> Result<(), ConnectionError> {
        let Some(slot) = self.slots.get_mut(key) else {
            return Ok(());
        };
        if slot.receiving.state == ReceiveState::Open && !slot.receiving.parts.is_empty() {
            return Err(out_of_order(number, "a finish inside a message"));
        }
        if !slot.receiving.state.finish() {
            return Err(out_of_order(number, "a second finish"));
        }
        wake_reader(&mut self.wakes, key, slot);
        self.settle(key);
        Ok(())
    }

    /// Credit came: what waited for it goes on.
    fn unblock(&mut self, key: usize, now: Instant) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if let Some(since) = slot.sending.blocked_since.take() {
            self.statistics.blocked_by_credit += now.saturating_duration_since(since);
            self.send_queued += slot.sending.queue.bytes();
        }
        self.note_data(key);
    }
}
