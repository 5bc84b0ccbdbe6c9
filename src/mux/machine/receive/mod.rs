//! What to do with each frame that came.

mod channel;

use std::io;

use bytes::Bytes;

use super::Machine;
use super::slot::Control;
use super::window::FRAME_COST;
use crate::mux::code::Code;
use crate::mux::config::{FLOOR_CHANNELS, FLOOR_FRAME};
use crate::mux::error::{ChannelError, ConnectionError, Violation};
use crate::mux::frame::{Frame, Hello, MAGIC};
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
}

fn out_of_order(channel: u32, what: &'static str) -> ConnectionError {
    Violation::OutOfOrder { channel, what }.into()
}

pub(in crate::mux::machine) fn count(counts: &mut FrameCounts, frame: &Frame<'_>) {
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
