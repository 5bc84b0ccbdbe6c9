//! Channels come and go: their slots, and what is noted for the next transmit.

use std::collections::VecDeque;

use super::slot::Slot;
use super::window::FRAME_COST;
use super::{Machine, Phase, Wake};
use crate::mux::code::Code;
use crate::mux::error::{ChannelError, ConnectionError};

impl Machine {
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

    /// A slot changed: notes when the channel is over, gives the slot back when nobody needs it.
    pub(super) fn settle(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if !slot.over && (slot.is_finished() || slot.reset.is_some()) {
            slot.over = true;
            self.signals.accepted |= slot.opened_here && !slot.accepted;
            self.live = self.live.saturating_sub(1);
            let counted = slot.sending.counted();
            self.send_queued = self.send_queued.saturating_sub(counted);
            slot.sending.queue.clear();
            self.schedule.remove(key, &mut slot.sending.turn);
            slot.receiving.parts.clear();
            // Frames that the peer sent before it learns of the end: data up to the credit it had,
            // and a few others.
            let in_flight = u64::from(slot.receiving.window.outstanding());
            self.stale_allowance = self
                .stale_allowance
                .saturating_add(in_flight + 8 * u64::from(FRAME_COST));
            slot.receiving.window.close();
            wake_reader(&mut self.wakes, key, slot);
            wake_writer(&mut self.wakes, key, slot);
            self.return_memory(key);
        }
        let ended = self.outcome.is_some();
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let idle = !slot.control.queued || ended;
        if (slot.over || ended)
            && idle
            && !slot.sender_held
            && !slot.receiver_held
            && !self.backlog.contains(&key)
        {
            self.remove(key);
        }
        self.end_if_drained();
    }

    fn remove(&mut self, key: usize) {
        let slot = self.slots.remove(key);
        self.keys.remove(&slot.number);
        if !slot.over {
            self.live = self.live.saturating_sub(1);
            self.schedule.remove(key, &mut { slot.sending.turn });
        }
        self.shared_memory += slot.receiving.window.borrowed(self.config.window);
        self.waiting_for_memory.retain(|&other| other != key);
        self.waiting_for_room.retain(|&other| other != key);
        if slot.opened_here {
            self.opened.here_now = self.opened.here_now.saturating_sub(1);
            self.signals.places = true;
        } else {
            self.opened.there_now = self.opened.there_now.saturating_sub(1);
            self.note_allow();
        }
        self.lend_memory();
    }

    /// Ends the connection when a drain is complete.
    pub(super) fn end_if_drained(&mut self) {
        let idle = self.live == 0 && self.controls.is_empty() && self.schedule.is_empty();
        if !idle || self.outcome.is_some() {
            return;
        }
        if self.peer.draining {
            self.end(ConnectionError::ClosedByPeer {
                code: Code::NONE,
                reason: "".into(),
            });
        } else if self.phase == Phase::Draining && self.control.go_away.is_none() {
            self.end(ConnectionError::ClosedHere {
                code: Code::NONE,
                reason: "".into(),
            });
        }
    }

    /// Notes that the peer is to be allowed more channels, if a quarter is free or it has none left.
    pub(super) fn note_allow(&mut self) {
        let allowed = self.allowed_there();
        let news = allowed.saturating_sub(self.opened.allowed_there);
        let exhausted = self.opened.there >= self.opened.allowed_there;
        self.control.allow |= news >= self.places / 4 || (exhausted && news > 0);
    }

    /// How many channels the peer may have opened in all, by what is free now.
    pub(super) fn allowed_there(&self) -> u32 {
        let free = self.places.saturating_sub(self.opened.there_now);
        self.opened.there.saturating_add(free)
    }

    /// Notes that the slot has something in its `control`.
    pub(super) fn note_control(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if !slot.control.queued {
            slot.control.queued = true;
            self.controls.push_back(key);
        }
    }

    /// Notes that the slot has something to send, if it has.
    pub(super) fn note_data(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if slot.has_data() && self.outcome.is_none() {
            self.schedule
                .ready(key, &mut slot.sending.turn, slot.priority);
        }
    }
}

pub(super) fn wake_reader(wakes: &mut VecDeque<Wake>, key: usize, slot: &mut Slot) {
    if std::mem::take(&mut slot.receiving.wanted) {
        wakes.push_back(Wake::Reader(key));
    }
}

pub(super) fn wake_writer(wakes: &mut VecDeque<Wake>, key: usize, slot: &mut Slot) {
    if std::mem::take(&mut slot.sending.wanted) {
        wakes.push_back(Wake::Writer(key));
    }
}
