//! The multiplexer without I/O: it is told what arrived, what the application wants and what time
//! it is, and answers what to send and whom to wake.
//!
//! Four kinds of methods:
//! - commands (`command.rs`), what the application wants: `open`, `send_room` and `send`, `receive`,
//!   `finish`, `reset`, `drain`, …;
//! - `handle_*` (`receive/`), what happened: a frame came, the transport ended, time passed;
//! - `poll_*` (`send.rs` and here), what is to be done: [`Machine::poll_transmit`],
//!   [`Machine::poll_timeout`], [`Machine::poll_wake`], in any order, after each of the above;
//! - plain questions.
//!
//! All memory is bounded by [`Config`]: frames that answer the peer are state (one pong, one credit
//! per channel, one reset per slot) and no queue, so that reading never has to wait for writing.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use rustc_hash::FxHashMap;
use slab::Slab;

use self::abuse::AbuseBucket;
use self::keepalive::KeepAlive;
use self::schedule::Schedule;
use self::slot::Slot;
use self::slots::{wake_reader, wake_writer};
use super::config::{Config, FLOOR_CHANNELS, FLOOR_FRAME};
use super::error::{ConnectionError, Timeout};
use super::pool::Pool;
use super::role::Role;
use super::statistics::Statistics;
use crate::runtime::Instant;

mod abuse;
pub(crate) mod batch;
mod command;
pub(crate) mod inbox;
mod keepalive;
mod memory;
mod queue;
mod receive;
mod schedule;
mod send;
mod slot;
mod slots;
mod state;
#[cfg(test)]
mod tests;
pub(crate) mod transmit;
pub(crate) mod window;

pub(crate) use self::command::{Received, Room};

/// The last channel number; dial again when it is reached.
const LAST_NUMBER: u32 = 1 << 30;

#[derive(Debug)]
pub(crate) struct Machine {
    role: Role,
    config: Config,
    phase: Phase,
    /// Why the connection ended, once it has.
    outcome: Option<ConnectionError>,
    peer: Peer,
    slots: Slab<Slot>,
    keys: FxHashMap<u32, usize>,
    /// The channel of the last Data frame and its key: runs of frames are common.
    last_data: (u32, usize),
    opened: Opened,
    /// How many channels of the peer may be open.
    places: u32,
    /// Slots that are not over on the wire.
    live: usize,
    backlog: VecDeque<usize>,
    schedule: Schedule,
    /// Slots with something in their `control`.
    controls: VecDeque<usize>,
    control: Control,
    /// What windows that grow and large messages may still borrow.
    shared_memory: usize,
    waiting_for_memory: VecDeque<usize>,
    /// Bytes queued on channels that have credit: what the connection's send buffer holds. Those of
    /// a channel that waits for the peer count against that channel alone, or a peer that does not
    /// read one channel could keep all others from sending.
    send_queued: usize,
    waiting_for_room: Vec<usize>,
    keepalive: KeepAlive,
    abuse: AbuseBucket,
    /// The cost of frames that may still come for channels which are gone.
    stale_allowance: u64,
    deadlines: Deadlines,
    wakes: VecDeque<Wake>,
    signals: Signals,
    statistics: Statistics,
    /// For large messages, of either direction.
    buffers: Pool<BytesMut>,
}

/// Buffers for large messages that are kept until the connection is quiet.
const SPARE_BUFFERS: usize = 4;

/// The life of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// No new channels; ends when the last one has.
    Draining,
    /// Over; a last frame may still have to go.
    Closing,
    /// Over, and the last frame is on its way.
    Closed,
}

/// What the peer has said of itself; the least that all peers offer before that.
#[derive(Debug)]
struct Peer {
    introduced: bool,
    max_frame: u32,
    max_message: u32,
    /// How many channels this end may have opened in all.
    allows: u32,
    /// Set when the peer accepts no more channels.
    draining: bool,
}

/// Channels counted, by who opened them.
#[derive(Debug)]
struct Opened {
    next_number: u32,
    here: u32,
    here_now: u32,
    highest_there: u32,
    there: u32,
    there_now: u32,
    /// How many the peer may have opened in all, as it was told.
    allowed_there: u32,
    /// Set when this end has said `GoAway`: later channels of the peer are ignored.
    last_there: Option<u32>,
}

/// Frames of the connection that are to be sent, at most one of each kind.
#[derive(Debug, Default)]
struct Control {
    hello: bool,
    pong: Option<u64>,
    allow: bool,
    go_away: Option<(super::code::Code, String)>,
    said_go_away: bool,
}

#[derive(Debug, Default)]
struct Deadlines {
    hello: Option<Instant>,
    drain: Option<Instant>,
    /// The transport takes nothing since then.
    stalled_since: Option<Instant>,
}

/// A handle that has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    Reader(usize),
    Writer(usize),
}

/// What has changed for those who wait for the connection as a whole.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signals {
    /// A channel may be opened.
    pub(crate) places: bool,
    /// A channel is to be accepted.
    pub(crate) incoming: bool,
    /// A ping was answered.
    pub(crate) pong: bool,
    /// The peer introduced itself, or accepted a channel.
    pub(crate) accepted: bool,
    /// The connection is over.
    pub(crate) ended: bool,
}

impl Machine {
    pub(crate) fn new(role: Role, config: Config, now: Instant) -> Self {
        let mut keepalive = KeepAlive::new(config.ping_interval, config.idle_timeout, now);
        keepalive.request();
        Self {
            role,
            phase: Phase::Running,
            outcome: None,
            peer: Peer {
                introduced: false,
                max_frame: FLOOR_FRAME,
                max_message: u32::MAX,
                allows: FLOOR_CHANNELS,
                draining: false,
            },
            slots: Slab::new(),
            keys: FxHashMap::default(),
            last_data: (0, 0),
            opened: Opened {
                next_number: role.first_number(),
                here: 0,
                here_now: 0,
                highest_there: 0,
                there: 0,
                there_now: 0,
                allowed_there: config.max_channels,
                last_there: None,
            },
            places: config.max_channels,
            live: 0,
            backlog: VecDeque::new(),
            schedule: Schedule::default(),
            controls: VecDeque::new(),
            control: Control {
                hello: true,
                ..Control::default()
            },
            shared_memory: config.shared_receive_memory(),
            waiting_for_memory: VecDeque::new(),
            send_queued: 0,
            waiting_for_room: Vec::new(),
            keepalive,
            abuse: AbuseBucket::new(config.abuse_burst, config.abuse_per_second, now),
            stale_allowance: 0,
            deadlines: Deadlines {
                hello: Some(now + config.hello_timeout),
                ..Deadlines::default()
            },
            wakes: VecDeque::new(),
            signals: Signals::default(),
            statistics: Statistics::default(),
            buffers: Pool::new(SPARE_BUFFERS),
            config,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Why the connection ended, once it has.
    pub(crate) fn outcome(&self) -> Option<&ConnectionError> {
        self.outcome.as_ref()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn buffers(&self) -> &Pool<BytesMut> {
        &self.buffers
    }

    /// The largest message that both ends take, in bytes.
    pub(crate) fn max_message(&self) -> usize {
        self.config.max_message_size.min(self.peer.max_message) as usize
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let borrowed = self
            .config
            .shared_receive_memory()
            .saturating_sub(self.shared_memory);
        Statistics {
            round_trip: self.keepalive.round_trip(),
            open_channels: self.slots.len(),
            send_queued: self
                .slots
                .iter()
                .map(|(_, slot)| slot.sending.queue.bytes())
                .sum(),
            receive_borrowed: borrowed,
            ..self.statistics.clone()
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return None;
        }
        let write = self
            .deadlines
            .stalled_since
            .map(|since| since + self.config.write_timeout);
        [
            self.deadlines.hello,
            self.deadlines.drain,
            write,
            Some(self.keepalive.poll_timeout()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether there is anyone to wake or to tell.
    pub(crate) fn has_news(&self) -> bool {
        !self.wakes.is_empty() || self.signals != Signals::default()
    }

    /// The next handle to wake.
    pub(crate) fn poll_wake(&mut self) -> Option<Wake> {
        self.wakes.pop_front()
    }

    /// What has changed since the last call.
    pub(crate) fn take_signals(&mut self) -> Signals {
        std::mem::take(&mut self.signals)
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let write = self
            .deadlines
            .stalled_since
            .map(|since| since + self.config.write_timeout);
        let late = if passed(self.deadlines.hello) {
            Some(Timeout::Hello)
        } else if passed(write) {
            Some(Timeout::Write)
        } else if passed(self.deadlines.drain) {
            Some(Timeout::Drain)
        } else if !self.keepalive.handle_timeout(now) {
            Some(Timeout::Silence)
        } else {
            None
        };
        if let Some(timeout) = late {
            self.end(ConnectionError::TimedOut(timeout));
        }
    }

    /// The connection is over: everyone is told.
    pub(crate) fn end(&mut self, error: ConnectionError) {
        if self.outcome.is_some() {
            return;
        }
        let goodbye = error.goodbye();
        self.phase = Phase::Closing;
        self.control.go_away = goodbye
            .filter(|(code, _)| !self.control.said_go_away || *code != super::code::Code::NONE);
        self.outcome = Some(error);
        self.schedule = Schedule::default();
        self.send_queued = 0;
        for (key, slot) in &mut self.slots {
            slot.sending.queue.clear();
            slot.sending.turn = schedule::Turn::default();
            slot.receiving.parts.clear();
            wake_reader(&mut self.wakes, key, slot);
            wake_writer(&mut self.wakes, key, slot);
        }
        let keys: Vec<usize> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.settle(key);
        }
        self.signals = Signals {
            places: true,
            incoming: true,
            pong: true,
            accepted: true,
            ended: true,
        };
    }

    fn round_trip(&self) -> Option<Duration> {
        self.keepalive.round_trip().map(|round_trip| round_trip.min)
    }
}
