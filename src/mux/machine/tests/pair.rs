//! Two machines joined by a fake wire, in virtual time, and the applications that use them.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::application::Application;
use super::check::{check_credit, check_empty, check_machine};
use super::wire::Wire;
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::{ChannelError, ConnectionError};
use crate::mux::input::Input;
use crate::mux::machine::transmit::Transmit;
use crate::mux::machine::{Machine, Phase, Signals};
use crate::mux::priority::Priority;
use crate::mux::role::Role;
use crate::runtime::Instant;

/// The end that dialled.
pub(super) const HERE: usize = 0;
/// The end that accepted.
pub(super) const THERE: usize = 1;

/// An application's channel: at which end, and the how-manieth of that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) end: usize,
    pub(super) index: usize,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) machine: Machine,
    pub(super) applications: Vec<Application>,
    /// Whether what arrives is read.
    pub(super) reads: bool,
    pub(super) signals: Signals,
    input: Input,
    out: Transmit,
    is_over: bool,
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    /// `wires[HERE]` leads from here to there.
    pub(super) wires: [Wire; 2],
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(Config::default(), Config::default())
    }

    pub(super) fn with(here: Config, there: Config) -> Self {
        let now = Instant::now();
        Self {
            now,
            ends: [
                End::new(Machine::new(Role::Dialer, here, now)),
                End::new(Machine::new(Role::Acceptor, there, now)),
            ],
            wires: [Wire::new(), Wire::new()],
        }
    }

    /// Both ends with the same configuration, introduced to each other.
    pub(super) fn introduced(config: Config) -> Self {
        let mut pair = Self::with(config.clone(), config);
        pair.run_until_quiet();
        pair
    }

    pub(super) fn with_latency(mut self, latency: Duration) -> Self {
        self.wires
            .iter_mut()
            .for_each(|wire| wire.latency = latency);
        self
    }

    pub(super) fn with_capacity(mut self, bytes: usize) -> Self {
        self.wires.iter_mut().for_each(|wire| wire.capacity = bytes);
        self
    }

    pub(super) fn with_pieces(mut self, pieces: &[usize]) -> Self {
        self.wires
            .iter_mut()
            .for_each(|wire| wire.pieces = pieces.to_vec());
        self
    }

    /// Lets everything happen that needs no timer: what is under way arrives.
    pub(super) fn run_until_quiet(&mut self) {
        loop {
            self.settle();
            let Some(arrival) = self.next_arrival() else {
                return;
            };
            self.now = arrival.max(self.now);
        }
    }

    /// Lets `time` pass, timers and all.
    pub(super) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let timers = self
                .ends
                .iter()
                .filter_map(|end| end.machine.poll_timeout());
            let Some(next) = timers
                .chain(self.next_arrival())
                .min()
                .filter(|&at| at <= end)
            else {
                self.now = end;
                return;
            };
            self.now = next.max(self.now);
            for end in &mut self.ends {
                end.machine.handle_timeout(self.now);
                let next = end.machine.poll_timeout();
                assert!(
                    next.is_none_or(|at| at > self.now),
                    "a deadline was not seen to"
                );
            }
        }
    }

    fn next_arrival(&self) -> Option<Instant> {
        let arrival = |from: usize| {
            let arrival = self.wires[from].next_arrival();
            arrival.filter(|_| self.ends[1 - from].reads)
        };
        arrival(HERE).into_iter().chain(arrival(THERE)).min()
    }

    /// Does all that can be done at this moment.
    pub(super) fn settle(&mut self) {
        while self.step() {
            self.check();
        }
        self.check();
    }

    fn step(&mut self) -> bool {
        let mut moved = false;
        for end in [HERE, THERE] {
            moved |= self.write(end, usize::MAX) > 0;
            moved |= self.read(end, usize::MAX) > 0;
            moved |= self.ends[end].act(self.now);
        }
        moved
    }

    pub(super) fn check(&self) {
        for end in &self.ends {
            check_machine(&end.machine);
        }
        check_credit(self);
    }

    /// Writes up to `most` bytes to the wire, answers how many.
    pub(super) fn write(&mut self, end: usize, most: usize) -> usize {
        let (End { machine, out, .. }, wire) = (&mut self.ends[end], &mut self.wires[end]);
        let mut total = 0;
        while total < most {
            if out.is_empty() {
                machine.poll_transmit(self.now, out);
                wire.note_frames(out);
            }
            if out.is_empty() {
                break;
            }
            let written = wire.write(out, self.now);
            if written == 0 {
                machine.handle_blocked(self.now);
                break;
            }
            machine.handle_written(written, self.now);
            total += written;
        }
        if machine.phase() == Phase::Closed && out.is_empty() {
            wire.end();
        }
        total
    }

    /// Reads up to `most` of the bytes that have arrived, answers how many.
    pub(super) fn read(&mut self, end: usize, most: usize) -> usize {
        let (to, wire) = (&mut self.ends[end], &mut self.wires[1 - end]);
        if to.machine.outcome().is_some() {
            wire.discard();
            return 0;
        }
        let mut total = 0;
        while to.reads && total < most {
            let room = to.input.room();
            let most = room.len().min(most - total);
            let count = wire.read(&mut room[..most], self.now);
            if count == 0 {
                break;
            }
            total += count;
            to.input.filled(count);
            to.machine.handle_bytes(count, self.now);
            let max = to.machine.config.max_frame_size as usize;
            let machine = &mut to.machine;
            let frames = to.input.frames(max, |body, backing| {
                machine.handle_frame(body, backing, self.now);
                wire.handled();
            });
            frames.expect("a machine sends no frame that is too large");
        }
        if to.reads && wire.is_at_end() && !std::mem::replace(&mut to.is_over, true) {
            to.machine.handle_end_of_stream();
        }
        total
    }

    /// Opens a channel that the other end's application accepts when it comes to it.
    pub(super) fn open(&mut self, end: usize) -> Handle {
        self.try_open(end, Priority::Normal)
            .expect("a place for a channel")
    }

    pub(super) fn try_open(&mut self, end: usize, priority: Priority) -> Option<Handle> {
        let key = self.ends[end].machine.open("test/1", priority).ok()??;
        Some(self.adopt(end, key))
    }

    fn adopt(&mut self, end: usize, key: usize) -> Handle {
        let End {
            machine,
            applications,
            ..
        } = &mut self.ends[end];
        applications.push(Application::new(key, machine));
        let index = applications.len() - 1;
        Handle { end, index }
    }

    /// Takes the next channel that the peer opened and does not say yes to it yet.
    pub(super) fn take_incoming(&mut self, end: usize) -> Option<Handle> {
        let (key, protocol) = self.ends[end].machine.take_incoming()?;
        assert_eq!(&*protocol, "test/1");
        Some(self.adopt(end, key))
    }

    pub(super) fn accept(&mut self, end: usize) -> Handle {
        let handle = self.take_incoming(end).expect("an incoming channel");
        self.say_yes(handle);
        handle
    }

    pub(super) fn say_yes(&mut self, handle: Handle) {
        self.machine_and_key(handle, Machine::accept);
    }

    /// A channel from here to there: both of its ends.
    pub(super) fn channel(&mut self) -> (Handle, Handle) {
        self.channel_with(Priority::Normal)
    }

    pub(super) fn channel_with(&mut self, priority: Priority) -> (Handle, Handle) {
        let here = self
            .try_open(HERE, priority)
            .expect("a place for a channel");
        self.run_until_quiet();
        let there = self.accept(THERE);
        self.run_until_quiet();
        (here, there)
    }

    pub(super) fn application(&mut self, handle: Handle) -> &mut Application {
        &mut self.ends[handle.end].applications[handle.index]
    }

    /// Has the application send a message as soon as there is room.
    pub(super) fn send(&mut self, handle: Handle, message: impl Into<Bytes>) {
        self.application(handle).queue(message.into());
    }

    /// Has the application finish once it has sent everything.
    pub(super) fn finish(&mut self, handle: Handle) {
        self.application(handle).finish_after();
    }

    /// Lets the application read so many more messages and then no more.
    pub(super) fn read_only(&mut self, handle: Handle, messages: usize) {
        self.application(handle).receiver.appetite = messages;
    }

    pub(super) fn read_all(&mut self, handle: Handle) {
        self.read_only(handle, usize::MAX);
    }

    pub(super) fn drop_sender(&mut self, handle: Handle) {
        let End {
            machine,
            applications,
            ..
        } = &mut self.ends[handle.end];
        applications[handle.index].drop_sender(machine);
    }

    pub(super) fn drop_receiver(&mut self, handle: Handle) {
        let End {
            machine,
            applications,
            ..
        } = &mut self.ends[handle.end];
        applications[handle.index].drop_receiver(machine);
    }

    pub(super) fn drop_both(&mut self, handle: Handle) {
        self.drop_sender(handle);
        self.drop_receiver(handle);
    }

    pub(super) fn reset(&mut self, handle: Handle, code: Code, reason: &str) {
        let application = self.application(handle);
        if application.sender.held || application.receiver.held {
            self.machine_and_key(handle, |machine, key| machine.reset(key, code, reason));
        }
    }

    /// Stops reading, which takes the handle.
    pub(super) fn stop(&mut self, handle: Handle, code: Code) {
        if self.application(handle).receiver.held {
            self.machine_and_key(handle, |machine, key| machine.stop(key, code));
            self.drop_receiver(handle);
        }
    }

    pub(super) fn machine_and_key<T>(
        &mut self,
        handle: Handle,
        act: impl FnOnce(&mut Machine, usize) -> T,
    ) -> T {
        let key = self.application(handle).key;
        act(&mut self.ends[handle.end].machine, key)
    }

    pub(super) fn received(&self, handle: Handle) -> &[Bytes] {
        &self.ends[handle.end].applications[handle.index]
            .receiver
            .received
    }

    /// The lengths of the messages received.
    pub(super) fn lengths(&self, handle: Handle) -> Vec<usize> {
        self.received(handle).iter().map(Bytes::len).collect()
    }

    /// How many messages were sent and not only waited for room.
    pub(super) fn sent(&self, handle: Handle) -> usize {
        self.ends[handle.end].applications[handle.index].sender.sent
    }

    /// How reading ended, if it has.
    pub(super) fn read_end(&self, handle: Handle) -> Option<Result<(), ChannelError>> {
        let receiver = &self.ends[handle.end].applications[handle.index].receiver;
        receiver.end.clone()
    }

    pub(super) fn finished(&self, handle: Handle) -> bool {
        matches!(self.read_end(handle), Some(Ok(())))
    }

    /// Why sending failed, if it has.
    pub(super) fn send_error(&self, handle: Handle) -> Option<ChannelError> {
        let sender = &self.ends[handle.end].applications[handle.index].sender;
        sender.error.clone()
    }

    pub(super) fn machine(&mut self, end: usize) -> &mut Machine {
        &mut self.ends[end].machine
    }

    pub(super) fn outcome(&self, end: usize) -> Option<ConnectionError> {
        self.ends[end].machine.outcome().cloned()
    }

    /// Neither end has found fault with the other.
    pub(super) fn assert_running(&self) {
        for end in &self.ends {
            let outcome = end.machine.outcome();
            assert!(outcome.is_none(), "{outcome:?}");
        }
    }

    /// Drops all handles, refuses what nobody took, and looks that nothing is left.
    pub(super) fn tear_down(mut self) {
        for end in &mut self.ends {
            end.reads = true;
        }
        for _ in 0..3 {
            for end in [HERE, THERE] {
                while self.take_incoming(end).is_some() {}
                for index in 0..self.ends[end].applications.len() {
                    self.drop_both(Handle { end, index });
                }
            }
            self.run_until_quiet();
        }
        for end in &self.ends {
            check_empty(&end.machine);
        }
    }
}

impl End {
    fn new(machine: Machine) -> Self {
        Self {
            machine,
            applications: Vec::new(),
            reads: true,
            signals: Signals::default(),
            input: Input::new(),
            out: Transmit::default(),
            is_over: false,
        }
    }

    /// Wakes those who are to be woken and lets them act, answers whether anything moved.
    pub(super) fn act(&mut self, now: Instant) -> bool {
        while let Some(wake) = self.machine.poll_wake() {
            for application in &mut self.applications {
                application.woken(wake);
            }
        }
        let signals = self.machine.take_signals();
        self.signals.places |= signals.places;
        self.signals.incoming |= signals.incoming;
        self.signals.pong |= signals.pong;
        self.signals.accepted |= signals.accepted;
        self.signals.ended |= signals.ended;
        let mut moved = false;
        for application in &mut self.applications {
            moved |= application.act(&mut self.machine, now);
        }
        moved
    }
}

/// A message of up to 2 MiB that differs from others in content.
pub(super) fn message(length: usize, seed: usize) -> Bytes {
    static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
        let mut state = 1_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..3 * 1024 * 1024).map(next).collect()
    });
    let start = seed.wrapping_mul(97) % (1024 * 1024);
    NOISE.slice(start..start + length)
}
