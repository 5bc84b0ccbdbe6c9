//! Whose messages go next: deficit round robin, with a short cut for channels that were quiet.
//!
//! Each channel in turn may send [`QUANTUM`] bytes, more or less by its priority; a frame larger
//! than that is paid back in later rounds (Shreedhar and Varghese 1995). A channel that becomes
//! ready after it was quiet goes before the busy ones once, so a small answer need not wait for a
//! round of bulk (RFC 8290 §4.2).

use std::collections::VecDeque;

use crate::mux::priority::Priority;

/// The bytes of one turn at normal priority: one TLS record.
const QUANTUM: i64 = 16 * 1024;

/// The turns of all channels that have something to send.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    fresh: VecDeque<usize>,
    busy: VecDeque<usize>,
}

/// A channel's place among them.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    place: Place,
    deficit: i64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Quiet,
    Fresh,
    Busy,
}

/// What is to happen to a channel after its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It has more to send.
    Ready,
    /// It has nothing that may be sent.
    Quiet,
}

impl Schedule {
    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.busy.is_empty()
    }

    /// Whether no channel but one has a turn.
    pub(crate) fn is_alone(&self) -> bool {
        self.fresh.len() + self.busy.len() == 1
    }

    /// The channel has something to send.
    pub(crate) fn ready(&mut self, key: usize, turn: &mut Turn, priority: Priority) {
        if turn.place == Place::Quiet {
            turn.place = Place::Fresh;
            turn.deficit = quantum(priority);
            self.fresh.push_back(key);
        }
    }

    /// The channel whose turn it is.
    pub(crate) fn first(&self) -> Option<usize> {
        self.fresh.front().or_else(|| self.busy.front()).copied()
    }

    /// The turn of the first channel is over: it sent `bytes`.
    pub(crate) fn sent(
        &mut self,
        key: usize,
        turn: &mut Turn,
        priority: Priority,
        bytes: usize,
        after: After,
    ) {
        debug_assert_eq!(self.first(), Some(key));
        turn.deficit -= i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.is_alone() {
            // Nobody had to wait for it.
            turn.deficit = turn.deficit.max(0);
        }
        let was_fresh = self.fresh.pop_front().is_some() || {
            self.busy.pop_front();
            false
        };
        match after {
            // A fresh channel stays behind the busy ones for a round, or it could come back as
            // fresh at once and starve them.
            After::Quiet if was_fresh && !self.busy.is_empty() => self.queue_busy(key, turn),
            After::Quiet => turn.place = Place::Quiet,
            After::Ready => {
                if turn.deficit <= 0 {
                    turn.deficit += quantum(priority);
                    self.queue_busy(key, turn);
                } else if was_fresh {
                    self.fresh.push_front(key);
                } else {
                    self.busy.push_front(key);
                }
            }
        }
    }

    /// Passes over a first channel that is in debt: it has paid by waiting a round.
    pub(crate) fn pass(&mut self, key: usize, turn: &mut Turn, priority: Priority) {
        if self.fresh.pop_front().is_none() {
            self.busy.pop_front();
        }
        turn.deficit += quantum(priority);
        self.queue_busy(key, turn);
    }

    /// The channel is gone.
    pub(crate) fn remove(&mut self, key: usize, turn: &mut Turn) {
        match std::mem::take(turn).place {
            Place::Quiet => {}
            Place::Fresh => self.fresh.retain(|&other| other != key),
            Place::Busy => self.busy.retain(|&other| other != key),
        }
    }

    fn queue_busy(&mut self, key: usize, turn: &mut Turn) {
        turn.place = Place::Busy;
        self.busy.push_back(key);
    }
}

impl Turn {
    /// The bytes that the channel may send in its turn, none when it is in debt.
    pub(crate) fn budget(&self) -> usize {
        usize::try_from(self.deficit).unwrap_or(0)
    }
}

fn quantum(priority: Priority) -> i64 {
    match priority {
        Priority::Bulk => QUANTUM / 4,
        Priority::Normal => QUANTUM,
        Priority::High => QUANTUM * 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the schedule over channels with endless frames of one size each, answers bytes sent.
    fn shares(channels: &[(usize, Priority)], rounds: usize) -> Vec<usize> {
        let mut schedule = Schedule::default();
        let mut turns: Vec<Turn> = channels.iter().map(|_| Turn::default()).collect();
        for (key, &(_, priority)) in channels.iter().enumerate() {
            schedule.ready(key, &mut turns[key], priority);
        }
        let mut sent = vec![0; channels.len()];
        for _ in 0..rounds {
            let key = schedule.first().unwrap();
            let (frame, priority) = channels[key];
            if turns[key].budget() == 0 {
                schedule.pass(key, &mut turns[key], priority);
                continue;
            }
            sent[key] += frame;
            schedule.sent(key, &mut turns[key], priority, frame, After::Ready);
        }
        sent
    }

    #[test]
    fn channels_share_by_bytes_and_not_by_frames() {
        let sent = shares(
            &[(64 * 1024, Priority::Normal), (1024, Priority::Normal)],
            100_000,
        );
        let percent = 100 * sent[0] / sent[1];
        assert!((95..105).contains(&percent), "{percent} %");
    }

    #[test]
    fn priorities_weigh_and_none_starves() {
        let sent = shares(
            &[
                (4096, Priority::High),
                (4096, Priority::Normal),
                (4096, Priority::Bulk),
            ],
            100_000,
        );
        let [high, normal, bulk] = sent[..] else {
            panic!("three channels")
        };
        assert!((390..410).contains(&(100 * high / normal)), "{sent:?}");
        assert!((390..410).contains(&(100 * normal / bulk)), "{sent:?}");
    }

    #[test]
    fn a_quiet_channel_goes_before_busy_ones_but_only_once() {
        let mut schedule = Schedule::default();
        let (mut bulk, mut chat) = (Turn::default(), Turn::default());
        schedule.ready(0, &mut bulk, Priority::Normal);
        schedule.sent(0, &mut bulk, Priority::Normal, 64 * 1024, After::Ready);
        schedule.ready(1, &mut chat, Priority::Normal);
        assert_eq!(schedule.first(), Some(1));
        schedule.sent(1, &mut chat, Priority::Normal, 64, After::Quiet);
        schedule.ready(1, &mut chat, Priority::Normal);
        assert_eq!(schedule.first(), Some(0));
    }

    #[test]
    fn a_removed_channel_has_no_turn() {
        let mut schedule = Schedule::default();
        let mut turn = Turn::default();
        schedule.ready(7, &mut turn, Priority::Normal);
        schedule.remove(7, &mut turn);
        assert!(schedule.is_empty());
    }
}
