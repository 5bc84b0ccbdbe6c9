//! What to do with each frame that came.

use std::io;

use bytes::Bytes;

use super::slot::{Control, Slot};
use super::state::ReceiveState;
use super::window::{FLOOR_WINDOW, FRAME_COST, MAX_WINDOW, ReceiveWindow};
use super::{LAST_NUMBER, Machine, Phase, wake_reader, wake_writer};
use crate::mux::code::Code;
use crate::mux::config::{FLOOR_CHANNELS, FLOOR_FRAME};
use crate::mux::error::{ChannelError, ConnectionError, Violation};
use crate::mux::frame::{END_OF_MESSAGE, FINISH, Frame, Hello, MAGIC};
use crate::mux::priority::Priority;
use crate::mux::statistics::FrameCounts;
use crate::runtime::Instant;

/// The protocol version of this crate.
const VERSION: u8 = 1;

impl Machine {
    /// Bytes came from the peer.
    pub(crate) fn handle_bytes(&mut self, count: usize, now: Instant) {
        self.statistics.bytes_received += count as u64;
        self.keepalive.heard(now);
    }

    /// A whole frame came: its body, and the buffer that it lies in if that may be kept.
    pub(crate) fn handle_frame(&mut self, body: &[u8], backing: Option<&Bytes>, now: Instant) {
        if self.outcome.is_some() {
            return;
        }
        match Frame::decode(body).map(|frame| self.dispatch(frame, backing, now)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.end(error),
            Err(error) => self.handle_violation(error.into()),
        }
    }

    /// What came is no frame. A stranger's bytes are best called that.
    pub(crate) fn handle_violation(&mut self, violation: Violation) {
        let violation = if self.peer.introduced {
            violation
        } else {
            Violation::NotSessionwire
        };
        self.end(violation.into());
    }

    /// The transport has ended: cleanly if the peer had said so.
    pub(crate) fn handle_end_of_stream(&mut self) {
        let drained = self.control.said_go_away && self.live == 0;
        if self.peer.draining || drained {
            self.end(ConnectionError::ClosedByPeer {
                code: Code::NONE,
                reason: "".into(),
            });
        } else if self.control.said_go_away && self.live == 0 {
            // The peer had heard our GoAway, and was done before we had sent our last frame.
            self.end(ConnectionError::ClosedHere {
                code: Code::NONE,
                reason: "".into(),
            });
        } else {
            let error = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the stream ended without a goodbye: the peer's process or the network failed",
            );
            self.end(error.into());
        }
    }

    fn dispatch(
        &mut self,
        frame: Frame<'_>,
        backing: Option<&Bytes>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if !self.peer.introduced && !matches!(frame, Frame::Hello(_)) {
            return Err(Violation::NotSessionwire.into());
        }
        count(&mut self.statistics.frames_received, &frame);
        match frame {
            Frame::Data {
                channel,
                flags,
                payload,
            } => self.on_data(channel, flags, payload, backing, now)?,
            Frame::Open {
                channel,
                window,
                priority,
                protocol,
            } => {
                self.on_open(channel, window, priority, protocol, now)?;
            }
            Frame::Accept { channel, window } => self.on_accept(channel, window, now)?,
            Frame::Credit { channel, bytes } => self.on_credit(channel, bytes, now)?,
            Frame::Stop { channel, code } => self.on_stop(channel, code, now)?,
            Frame::Reset {
                channel,
                code,
                reason,
            } => self.on_reset(channel, code, reason, now)?,
            Frame::Ping { nonce } => {
                // A peer of ours waits for the answer before it asks again, however often it asks.
                if self.control.pong.replace(nonce).is_some() {
                    self.charge(now)?;
                }
            }
            Frame::Pong { nonce } => {
                if self.keepalive.pong(nonce, now) {
                    self.signals.pong = true;
                } else {
                    self.charge(now)?;
                }
            }
            Frame::GoAway {
                last_channel,
                code,
                reason,
            } => self.on_go_away(last_channel, code, reason, now)?,
            Frame::Hello(hello) => self.on_hello(&hello)?,
            Frame::Allow { channels } => {
                if channels <= self.peer.allows {
                    self.charge(now)?;
                }
                self.peer.allows = self.peer.allows.max(channels);
                self.signals.places = true;
            }
        }
        Ok(())
    }

    fn on_hello(&mut self, hello: &Hello<'_>) -> Result<(), ConnectionError> {
        if hello.magic != MAGIC {
            return Err(Violation::NotSessionwire.into());
        }
        if self.peer.introduced {
            return Err(Violation::HelloTwice.into());
        }
        if !(hello.min_version..=hello.max_version).contains(&VERSION) {
            return Err(ConnectionError::Version {
                min: hello.min_version,
                max: hello.max_version,
            });
        }
        if hello.max_frame < FLOOR_FRAME {
            return Err(Violation::HelloLimit("max_frame").into());
        }
        if hello.max_channels < FLOOR_CHANNELS {
            return Err(Violation::HelloLimit("max_channels").into());
        }
        self.peer.introduced = true;
        self.peer.max_frame = hello.max_frame;
        self.peer.max_message = hello.max_message;
        self.peer.allows = self.peer.allows.max(hello.max_channels);
        self.deadlines.hello = None;
        self.signals.places = true;
        self.signals.accepted = true;
        Ok(())
    }

    fn on_open(
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

    fn on_accept(&mut self, number: u32, window: u32, now: Instant) -> Result<(), ConnectionError> {
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

    fn on_credit(&mut self, number: u32, bytes: u32, now: Instant) -> Result<(), ConnectionError> {
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

    fn on_stop(&mut self, number: u32, code: u32, now: Instant) -> Result<(), ConnectionError> {
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

    fn on_reset(
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

    fn on_go_away(
        &mut self,
        last: u32,
        code: u32,
        reason: &str,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let code = Code::from_wire(code);
        if code != Code::NONE {
            return Err(ConnectionError::ClosedByPeer {
                code,
                reason: reason.into(),
            });
        }
        if self.peer.draining {
            self.charge(now)?;
        }
        self.peer.draining = true;
        self.signals.places = true;
        let unseen: Vec<usize> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.opened_here && slot.number > last && !slot.over)
            .map(|(key, _)| key)
            .collect();
        for key in unseen {
            if let Some(slot) = self.slots.get_mut(key) {
                let reason = "the peer is draining".into();
                slot.reset = Some(Box::new(ChannelError::Refused {
                    code: Code::SHUTDOWN,
                    reason,
                }));
                slot.control = Control {
                    queued: slot.control.queued,
                    ..Control::default()
                };
            }
            self.signals.accepted = true;
            self.settle(key);
        }
        self.end_if_drained();
        Ok(())
    }

    fn on_data(
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

    /// A message comes in parts: more may have to be let in than the window allows.
    pub(super) fn want_memory(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        // A channel that nobody has accepted, and so nobody reads, borrows nothing.
        let may_borrow = slot.may_grant();
        let receiving = &mut slot.receiving;
        if may_borrow && receiving.window.wants_reservation() && !receiving.waits_for_memory {
            receiving.waits_for_memory = true;
            self.waiting_for_memory.push_back(key);
            self.lend_memory();
        }
        self.note_credit(key);
    }

    /// The slot of a channel, none when it is gone already.
    fn locate(
        &mut self,
        number: u32,
        cost: u32,
        now: Instant,
    ) -> Result<Option<usize>, ConnectionError> {
        if let Some(&key) = self.keys.get(&number) {
            if self.slots.get(key).is_some_and(|slot| !slot.over) {
                return Ok(Some(key));
            }
        } else {
            let was_opened = if self.role.peer_opens(number) {
                number <= self.opened.highest_there
            } else {
                number != 0 && number < self.opened.next_number
            };
            if !was_opened {
                return Err(Violation::UnknownChannel(number).into());
            }
        }
        self.stale(cost, now)?;
        Ok(None)
    }

    /// A frame for a channel that is gone: what was on its way is forgiven, more is not.
    fn stale(&mut self, cost: u32, now: Instant) -> Result<(), ConnectionError> {
        self.statistics.stale_frames += 1;
        match self
            .stale_allowance
            .checked_sub(u64::from(cost.max(FRAME_COST)))
        {
            Some(left) => {
                self.stale_allowance = left;
                Ok(())
            }
            None => self.charge(now),
        }
    }

    /// Takes one from the frames without use that the peer may send.
    fn charge(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if self.abuse.take(now) {
            Ok(())
        } else {
            Err(Violation::Abuse.into())
        }
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

    pub(super) fn insert(&mut self, slot: Slot) -> usize {
        let number = slot.number;
        if slot.opened_here {
            self.opened.here_now += 1;
        } else {
            self.opened.there_now += 1;
        }
        let key = self.slots.insert(slot);
        self.keys.insert(number, key);
        self.live += 1;
        self.statistics.peak_channels = self.statistics.peak_channels.max(self.slots.len());
        key
    }

    /// Resets a channel from this end.
    pub(super) fn reset_here(&mut self, key: usize, code: Code, reason: &str) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if slot.over || self.outcome.is_some() {
            return;
        }
        slot.reset = Some(Box::new(ChannelError::reset_here(code, reason)));
        slot.receiving.parts.clear();
        slot.control.stop = None;
        if std::mem::take(&mut slot.control.open) {
            // The peer has never heard of it, and has not counted it.
            slot.control.reset = None;
            self.opened.here = self.opened.here.saturating_sub(1);
        } else {
            slot.control.reset = Some(Box::new((code, reason.to_owned())));
            self.note_control(key);
        }
        self.settle(key);
    }
}

fn out_of_order(channel: u32, what: &'static str) -> ConnectionError {
    Violation::OutOfOrder { channel, what }.into()
}

pub(super) fn count(counts: &mut FrameCounts, frame: &Frame<'_>) {
    *match frame {
        Frame::Data { .. } => &mut counts.data,
        Frame::Open { .. } => &mut counts.open,
        Frame::Accept { .. } => &mut counts.accept,
        Frame::Credit { .. } => &mut counts.credit,
        Frame::Stop { .. } => &mut counts.stop,
        Frame::Reset { .. } => &mut counts.reset,
        Frame::Ping { .. } | Frame::Pong { .. } => &mut counts.ping,
        Frame::GoAway { .. } | Frame::Hello(_) | Frame::Allow { .. } => &mut counts.connection,
    } += 1;
}
