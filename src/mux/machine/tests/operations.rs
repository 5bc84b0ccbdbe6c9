//! Any sequence of operations on two ends, each channel held against a model: its messages arrive
//! once and in order, or both sides know an error.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::pair::{HERE, Handle, Pair, THERE, message};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::ChannelError;
use crate::mux::machine::Phase;
use crate::mux::priority::Priority;

/// Something that an application, the network or the clock does. Ends and channels are picked by
/// any number, of those that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Open {
        end: u8,
        priority: u8,
    },
    Accept {
        end: u8,
    },
    Refuse {
        end: u8,
    },
    Send {
        channel: u8,
        bytes: u32,
    },
    Read {
        channel: u8,
        messages: u8,
    },
    Finish {
        channel: u8,
    },
    Stop {
        channel: u8,
    },
    DropSender {
        channel: u8,
    },
    DropReceiver {
        channel: u8,
    },
    Reset {
        channel: u8,
    },
    Ping {
        end: u8,
    },
    /// Lets milliseconds pass.
    Advance {
        time: u16,
    },
    Write {
        end: u8,
        bytes: u32,
    },
    Deliver {
        end: u8,
        bytes: u32,
    },
    Settle,
    Drain {
        end: u8,
    },
}

/// The operations that any bytes stand for, so that a fuzzer can choose them.
pub(super) fn from_bytes(bytes: &[u8]) -> Vec<Operation> {
    use Operation::{
        Accept, Advance, Deliver, Drain, DropReceiver, DropSender, Finish, Open, Ping, Read,
        Refuse, Reset, Send, Settle, Stop, Write,
    };
    let each = |chunk: &[u8; 4]| {
        let [kind, which, low, high] = *chunk;
        let number = u16::from_le_bytes([low, high]);
        // Small ones mostly, and some up to the largest message and a little beyond.
        let bytes = match high % 4 {
            0 => u32::from(low),
            1 => u32::from(number) / 8,
            2 => u32::from(number),
            _ => u32::from(number) * 5,
        };
        let (end, channel) = (which, which);
        match kind % 64 {
            0..6 => Open { end, priority: low },
            6..12 => Accept { end },
            12 => Refuse { end },
            13..25 => Send { channel, bytes },
            25..33 => Read {
                channel,
                messages: low,
            },
            33..36 => Finish { channel },
            36 => Stop { channel },
            37 => DropSender { channel },
            38 => DropReceiver { channel },
            39 => Reset { channel },
            40 => Ping { end },
            41..43 => Advance {
                time: number % 4096,
            },
            43..50 => Write { end, bytes },
            50..57 => Deliver { end, bytes },
            57..63 => Settle,
            _ => Drain { end },
        }
    };
    bytes.as_chunks().0.iter().map(each).collect()
}

/// What the test knows of a channel: both handles, once there are two, and what was sent.
#[derive(Debug)]
struct Model {
    number: u32,
    handles: [Option<Handle>; 2],
    sent: [Vec<Bytes>; 2],
    /// An application gave the channel up: its messages need not arrive.
    given_up: bool,
}

#[derive(Debug)]
struct World {
    pair: Pair,
    models: Vec<Model>,
    seed: usize,
}

/// Does the operations, checks the invariants after each, then lets everything finish and checks
/// that what was sent has arrived and that everything is given back.
pub(super) fn run_operations(operations: &[Operation]) {
    let config = Config::default()
        .max_channels(16)
        .accept_backlog(8)
        .window(64 * 1024)
        .max_window(512 * 1024)
        .max_message_size(300_000)
        .receive_memory(0)
        .channel_send_buffer(128 * 1024)
        .send_memory(512 * 1024)
        .abuse_limit(u32::MAX, 0);
    let capacity = [usize::MAX, 20_000][operations.len() % 2];
    let mut world = World {
        pair: Pair::with(config.clone(), config)
            .with_capacity(capacity)
            .with_latency(Duration::from_millis(3))
            .with_pieces(&[usize::MAX, 1000, 5]),
        models: Vec::new(),
        seed: 0,
    };
    for &operation in operations {
        world.apply(operation);
        world.pair.check();
        world.check_prefixes();
    }
    world.finish();
}

impl World {
    fn apply(&mut self, operation: Operation) {
        let side = |number: u8| usize::from(number % 2);
        match operation {
            Operation::Open { end, priority } => {
                let end = side(end);
                if let Some(handle) = self.pair.try_open(end, Priority::from_wire(priority % 3)) {
                    let mut handles = [None; 2];
                    handles[end] = Some(handle);
                    let number = self.pair.application(handle).number;
                    self.pair.read_only(handle, 0);
                    self.models.push(Model {
                        number,
                        handles,
                        sent: Default::default(),
                        given_up: false,
                    });
                }
            }
            Operation::Accept { end } => {
                if let Some(handle) = self.take_incoming(side(end)) {
                    self.pair.say_yes(handle);
                }
            }
            Operation::Refuse { end } => {
                if let Some(handle) = self.take_incoming(side(end)) {
                    self.give_up(handle);
                    self.pair.reset(handle, Code::REFUSED, "no");
                }
            }
            Operation::Send { channel, bytes } => self.send(channel, bytes),
            Operation::Read { channel, messages } => {
                self.with_handle(channel, |pair, handle| {
                    pair.read_only(handle, messages.into());
                });
            }
            Operation::Finish { channel } => self.with_handle(channel, Pair::finish),
            Operation::Stop { channel } => {
                self.giving_up(channel, |pair, handle| pair.stop(handle, Code::CANCELLED));
            }
            Operation::DropSender { channel } => self.giving_up(channel, Pair::drop_sender),
            Operation::DropReceiver { channel } => self.giving_up(channel, Pair::drop_receiver),
            Operation::Reset { channel } => {
                self.giving_up(channel, |pair, handle| {
                    pair.reset(handle, Code::application(1), "r");
                });
            }
            Operation::Ping { end } => {
                let _ = self.pair.machine(side(end)).ping();
            }
            Operation::Advance { time } => self.pair.advance(Duration::from_millis(time.into())),
            Operation::Write { end, bytes } => {
                self.pair.write(side(end), bytes as usize);
            }
            Operation::Deliver { end, bytes } => {
                self.pair.read(side(end), bytes as usize);
            }
            Operation::Settle => self.pair.settle(),
            Operation::Drain { end } => {
                let deadline = self.pair.now + Duration::from_hours(1);
                self.pair.machine(side(end)).drain(deadline);
            }
        }
    }

    fn take_incoming(&mut self, end: usize) -> Option<Handle> {
        let handle = self.pair.take_incoming(end)?;
        let number = self.pair.application(handle).number;
        let model = self.models.iter_mut().find(|model| model.number == number);
        let model = model.expect("only what was opened can come");
        assert!(
            model.handles[end].replace(handle).is_none(),
            "it comes once"
        );
        self.pair.read_only(handle, 0);
        Some(handle)
    }

    fn handle(&self, channel: u8) -> Option<Handle> {
        let handles: Vec<Handle> = self
            .models
            .iter()
            .flat_map(|model| model.handles)
            .flatten()
            .collect();
        let place = usize::from(channel).checked_rem(handles.len())?;
        // The latest ones are the most interesting.
        handles.iter().rev().nth(place).copied()
    }

    fn with_handle(&mut self, channel: u8, act: impl FnOnce(&mut Pair, Handle)) {
        if let Some(handle) = self.handle(channel) {
            act(&mut self.pair, handle);
        }
    }

    fn giving_up(&mut self, channel: u8, act: impl FnOnce(&mut Pair, Handle)) {
        if let Some(handle) = self.handle(channel) {
            self.give_up(handle);
            act(&mut self.pair, handle);
        }
    }

    fn give_up(&mut self, handle: Handle) {
        let number = self.pair.application(handle).number;
        for model in self
            .models
            .iter_mut()
            .filter(|model| model.number == number)
        {
            model.given_up = true;
        }
    }

    fn send(&mut self, channel: u8, bytes: u32) {
        let Some(handle) = self.handle(channel) else {
            return;
        };
        let application = self.pair.application(handle);
        if application.sender.is_done() {
            return;
        }
        let number = application.number;
        let message = message(bytes as usize, self.seed);
        self.seed += 1;
        self.pair.send(handle, message.clone());
        let model = self.models.iter_mut().find(|model| model.number == number);
        let model = model.expect("a model for each channel");
        model.given_up |= message.len() > 300_000;
        model.sent[handle.end].push(message);
    }

    /// What has arrived is the beginning of what was sent.
    fn check_prefixes(&self) {
        for model in &self.models {
            for end in [HERE, THERE] {
                let Some(handle) = model.handles[end] else {
                    continue;
                };
                let received = self.pair.received(handle);
                assert!(
                    model.sent[1 - end].starts_with(received),
                    "channel {} received what was not sent",
                    model.number
                );
            }
        }
    }

    /// Accepts, reads and finishes everything, and looks what has become of it.
    fn finish(mut self) {
        for _ in 0..3 {
            for end in [HERE, THERE] {
                while let Some(handle) = self.take_incoming(end) {
                    self.pair.say_yes(handle);
                }
            }
            let handles: Vec<_> = self
                .models
                .iter()
                .flat_map(|model| model.handles)
                .flatten()
                .collect();
            for handle in handles {
                self.pair.read_all(handle);
                self.pair.finish(handle);
            }
            self.pair.run_until_quiet();
            self.pair.check();
        }
        self.check_prefixes();
        self.check_arrived();
        self.pair.tear_down();
    }

    fn check_arrived(&self) {
        let draining = |end: usize| self.pair.ends[end].machine.phase() != Phase::Running;
        for end in [HERE, THERE] {
            let outcome = self.pair.outcome(end);
            assert!(
                outcome
                    .as_ref()
                    .is_none_or(|outcome| draining(end) && outcome.is_clean()),
                "{outcome:?}"
            );
        }
        for model in &self.models {
            let ends = model
                .handles
                .map(|handle| handle.map(|handle| (handle, self.pair.read_end(handle))));
            if !model.given_up
                && let [Some((here, here_end)), Some((there, there_end))] = &ends
            {
                for (handle, end, sent) in [
                    (here, here_end, &model.sent[1]),
                    (there, there_end, &model.sent[0]),
                ] {
                    assert!(
                        matches!(end, Some(Ok(()))),
                        "channel {}: {end:?}",
                        model.number
                    );
                    assert_eq!(self.pair.received(*handle).len(), sent.len());
                }
                continue;
            }
            // Whoever still reads was told that there will be no more.
            for (handle, end) in ends.into_iter().flatten() {
                let receiver = &self.pair.ends[handle.end].applications[handle.index].receiver;
                assert!(
                    !receiver.held || end.is_some(),
                    "channel {} hangs",
                    model.number
                );
                if let Some(Err(ChannelError::Connection(error))) = end {
                    assert!(error.is_clean(), "{error:?}");
                }
            }
        }
    }
}

fn any_operations() -> impl Strategy<Value = Vec<Operation>> {
    let chunks = proptest::collection::vec(any::<[u8; 4]>(), 0..300);
    chunks.prop_map(|chunks| from_bytes(&chunks.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_operations_keep_the_rules(operations in any_operations()) {
        run_operations(&operations);
    }
}

#[test]
fn every_operation_can_come_from_bytes() {
    let bytes: Vec<u8> = (0..64).flat_map(|kind| [kind, 0, 0, 0]).collect();
    let mut kinds: Vec<_> = from_bytes(&bytes)
        .iter()
        .map(std::mem::discriminant)
        .collect();
    kinds.dedup();
    assert_eq!(kinds.len(), 16);
}
