//! What to send next.

use super::queue::Stopped;
use super::receive::count;
use super::schedule::After;
use super::slots::wake_writer;
use super::transmit::Transmit;
use super::window::{FRAME_COST, Limits};
use super::{Machine, Phase};
use crate::mux::config::Config;
use crate::mux::frame::{FINISH, Frame, Hello, LENGTH_PREFIX, MAGIC, MAX_DATA_HEADER};
use crate::runtime::Instant;

/// A batch is full with this many bytes; a frame may begin below.
const BATCH: usize = 128 * 1024;
/// Starved windows grow until all windows together have borrowed so many times the first window.
const STARVED_WINDOWS: usize = 16;

impl Machine {
    /// Whether [`poll_transmit`](Self::poll_transmit) has something.
    pub(crate) fn has_transmit(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Draining => self.has_control() || !self.schedule.is_empty(),
            Phase::Closing => true,
            Phase::Closed => false,
        }
    }

    /// Whether messages are all that there is to send.
    pub(super) fn has_only_data(&self) -> bool {
        !self.has_control() && !self.schedule.is_empty() && self.outcome.is_none()
    }

    fn has_control(&self) -> bool {
        let control = &self.control;
        control.hello
            || control.pong.is_some()
            || control.allow
            || control.go_away.is_some()
            || self.keepalive.has_ping()
            || !self.controls.is_empty()
    }

    /// Appends frames to `out` until it holds a batch.
    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut Transmit) {
        match self.phase {
            Phase::Running | Phase::Draining => {
                self.put_connection_frames(now, out);
                self.put_channel_controls(now, out);
                // After every Open: a peer without channels ends the connection when it hears it.
                if self.controls.is_empty() {
                    self.put_go_away(out);
                }
                self.put_data(now, out);
                self.end_if_drained();
            }
            Phase::Closing => {
                if std::mem::take(&mut self.control.hello) {
                    self.put_hello(out);
                }
                self.put_go_away(out);
                self.phase = Phase::Closed;
            }
            Phase::Closed => {}
        }
    }

    /// The transport took `count` bytes.
    pub(crate) fn handle_written(&mut self, count: usize, now: Instant) {
        self.statistics.bytes_sent += count as u64;
        self.statistics.writes += 1;
        self.handle_unblocked(now);
    }

    /// The transport takes bytes again.
    pub(crate) fn handle_unblocked(&mut self, now: Instant) {
        if let Some(since) = self.deadlines.stalled_since.take() {
            self.statistics.blocked_by_transport += now.saturating_duration_since(since);
        }
    }

    /// The transport takes nothing now though something waits.
    pub(crate) fn handle_blocked(&mut self, now: Instant) {
        self.deadlines.stalled_since.get_or_insert(now);
    }

    fn put(&mut self, frame: &Frame<'_>, out: &mut Transmit) {
        count(&mut self.statistics.frames_sent, frame);
        out.frame(frame);
    }

    fn put_connection_frames(&mut self, now: Instant, out: &mut Transmit) {
        if std::mem::take(&mut self.control.hello) {
            self.put_hello(out);
        }
        if let Some(nonce) = self.control.pong.take() {
            self.put(&Frame::Pong { nonce }, out);
        }
        if let Some(nonce) = self.keepalive.take_ping(now) {
            self.put(&Frame::Ping { nonce }, out);
        }
        if std::mem::take(&mut self.control.allow) {
            let channels = self.allowed_there();
            self.opened.allowed_there = channels;
            self.put(&Frame::Allow { channels }, out);
        }
    }

    fn put_hello(&mut self, out: &mut Transmit) {
        let config = &self.config;
        let hello = Frame::Hello(Hello {
            magic: MAGIC,
            min_version: 1,
            max_version: 1,
            max_frame: config.max_frame_size,
            max_message: config.max_message_size,
            max_channels: self.places,
            idle_timeout_ms: u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX),
            capabilities: 0,
            tail: &[],
        });
        self.put(&hello, out);
    }

    fn put_go_away(&mut self, out: &mut Transmit) {
        if let Some((code, reason)) = self.control.go_away.take() {
            let last_channel = *self
                .opened
                .last_there
                .get_or_insert(self.opened.highest_there);
            self.control.said_go_away = true;
            self.put(
                &Frame::GoAway {
                    last_channel,
                    code: code.number(),
                    reason: &reason,
                },
                out,
            );
        }
    }

    fn put_channel_controls(&mut self, now: Instant, out: &mut Transmit) {
        while out.len() < BATCH {
            let Some(key) = self.controls.pop_front() else {
                return;
            };
            let round_trip = self.round_trip();
            let limits = self.window_limits();
            let Some(slot) = self.slots.get_mut(key) else {
                continue;
            };
            let limits = limits.within(slot.receiving.max_window);
            let control = std::mem::take(&mut slot.control);
            let channel = slot.number;
            let counts = &mut self.statistics.frames_sent;
            let mut put = |frame: Frame<'_>| {
                count(counts, &frame);
                out.frame(&frame);
            };
            let receive = &mut slot.receiving.window;
            if control.open {
                receive.granted(now);
                put(Frame::Open {
                    channel,
                    window: receive.size(),
                    priority: slot.priority.to_wire(),
                    protocol: &slot.protocol,
                });
                slot.protocol = "".into();
            }
            if control.accept {
                receive.granted(now);
                put(Frame::Accept {
                    channel,
                    window: receive.size(),
                });
            }
            if control.credit && !slot.over {
                // Windows leave enough for one large message, or the line for it might never move.
                let kept = self
                    .shared_memory
                    .min(self.config.max_message_size as usize);
                self.shared_memory -= kept;
                receive.tune(now, round_trip, limits, &mut self.shared_memory);
                self.shared_memory += kept;
                let bytes = receive.grant(now);
                if bytes > 0 {
                    put(Frame::Credit { channel, bytes });
                }
            }
            if let Some(code) = control.stop {
                put(Frame::Stop {
                    channel,
                    code: code.number(),
                });
            }
            if let Some(reset) = control.reset {
                let (code, reason) = *reset;
                put(Frame::Reset {
                    channel,
                    code: code.number(),
                    reason: &reason,
                });
            }
            self.settle(key);
        }
    }

    /// How far windows may grow. A few starved ones may grow beyond what the round trip asks for; where
    /// many channels are busy, they fill each other's pauses.
    fn window_limits(&self) -> Limits {
        let Config {
            window, max_window, ..
        } = self.config;
        let borrowed = self
            .config
            .shared_receive_memory()
            .saturating_sub(self.shared_memory);
        let is_much = borrowed > window as usize * STARVED_WINDOWS;
        Limits {
            first: window,
            max: max_window,
            max_starved: if is_much {
                window
            } else {
                window.saturating_mul(4).min(max_window)
            },
        }
    }

    fn put_data(&mut self, now: Instant, out: &mut Transmit) {
        // A peer may take larger frames, but they would hold up other channels here.
        let max_frame = self.peer.max_frame.min(self.config.max_frame_size);
        let max_payload = max_frame as usize - (MAX_DATA_HEADER - LENGTH_PREFIX);
        while out.len() < BATCH {
            let Some(key) = self.schedule.first() else {
                break;
            };
            let alone = self.schedule.is_alone();
            let Some(slot) = self.slots.get_mut(key) else {
                break;
            };
            let sending = &mut slot.sending;
            let room = BATCH - out.len();
            let budget = if alone {
                room
            } else {
                sending.turn.budget().min(room)
            };
            if budget == 0 {
                self.schedule.pass(key, &mut sending.turn, slot.priority);
                continue;
            }
            let (length_before, queued_before) = (out.len(), sending.queue.bytes());
            let moved =
                sending
                    .queue
                    .transmit(slot.number, &mut sending.credit, max_payload, budget, out);
            let sent = out.len() - length_before;
            self.statistics.frames_sent.data += moved.frames;
            self.send_queued = self
                .send_queued
                .saturating_sub(queued_before - sending.queue.bytes());
            let after = if moved.stopped == Stopped::Budget {
                After::Ready
            } else {
                After::Quiet
            };
            self.schedule
                .sent(key, &mut sending.turn, slot.priority, sent, after);
            if moved.stopped == Stopped::NoCredit && sending.blocked_since.is_none() {
                self.send_queued = self.send_queued.saturating_sub(sending.queue.bytes());
                sending.blocked_since = Some(now);
            }
            // A sender goes on when half of its buffer is free, and not for every frame.
            if sending.queue.bytes() <= self.config.channel_send_buffer / 2 {
                wake_writer(&mut self.wakes, key, slot);
            }
            if moved.stopped == Stopped::Empty && slot.sending.state.drained() {
                let channel = slot.number;
                // A Stop may cross it.
                self.stale_allowance += u64::from(FRAME_COST);
                self.put(
                    &Frame::Data {
                        channel,
                        flags: FINISH,
                        payload: &[],
                    },
                    out,
                );
                self.settle(key);
            }
        }
        self.wake_waiting_for_room();
    }

    /// Wakes the senders that wait for the connection's send memory once half of it is free.
    pub(super) fn wake_waiting_for_room(&mut self) {
        if self.send_queued <= self.config.send_memory / 2 {
            for key in self.waiting_for_room.drain(..) {
                if let Some(slot) = self.slots.get_mut(key) {
                    wake_writer(&mut self.wakes, key, slot);
                }
            }
        }
    }
}
