//! One machine whose peer is the test: for frames that no machine of ours would send.

use bytes::BytesMut;

use super::check::check_machine;
use super::wire::{each_frame, flatten};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::{ConnectionError, Violation};
use crate::mux::frame::{END_OF_MESSAGE, Frame, Hello, LENGTH_PREFIX, MAGIC};
use crate::mux::machine::Machine;
use crate::mux::machine::transmit::Transmit;
use crate::mux::priority::Priority;
use crate::mux::role::Role;
use crate::runtime::Instant;

/// An acceptor: the test dials, so its channels have odd numbers.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) machine: Machine,
    pub(super) now: Instant,
}

pub(super) const HELLO: Hello<'_> = Hello {
    magic: MAGIC,
    min_version: 1,
    max_version: 1,
    max_frame: 64 * 1024,
    max_message: 1024 * 1024,
    max_channels: 128,
    idle_timeout_ms: 45_000,
    capabilities: 0,
    tail: &[],
};

impl Alone {
    pub(super) fn new(config: Config) -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(Role::Acceptor, config, now),
            now,
        }
    }

    /// Introduced, with nothing left to say.
    pub(super) fn introduced(config: Config) -> Self {
        let mut alone = Self::new(config);
        alone.hears(&Frame::Hello(HELLO));
        alone.says();
        alone
    }

    pub(super) fn hears(&mut self, frame: &Frame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.hears_body(&bytes[LENGTH_PREFIX..]);
    }

    pub(super) fn hears_body(&mut self, body: &[u8]) {
        self.machine
            .handle_bytes(LENGTH_PREFIX + body.len(), self.now);
        self.machine.handle_frame(body, None, self.now);
        check_machine(&self.machine);
    }

    pub(super) fn hears_data(&mut self, channel: u32, flags: u8, payload: &[u8]) {
        self.hears(&Frame::Data {
            channel,
            flags,
            payload,
        });
    }

    pub(super) fn hears_message(&mut self, channel: u32, message: &[u8]) {
        self.hears_data(channel, END_OF_MESSAGE, message);
    }

    pub(super) fn hears_open(&mut self, channel: u32) {
        self.hears(&Frame::Open {
            channel,
            window: 128 * 1024,
            priority: 1,
            protocol: "test/1",
        });
    }

    /// The peer opens a channel and the application here accepts it: its key.
    pub(super) fn accepted(&mut self, channel: u32) -> usize {
        self.hears_open(channel);
        let (key, _) = self.machine.take_incoming().expect("an incoming channel");
        self.machine.accept(key);
        self.says();
        key
    }

    /// The application here opens a channel: its key and number.
    pub(super) fn opened(&mut self) -> (usize, u32) {
        let key = self
            .machine
            .open("test/1", Priority::Normal)
            .unwrap()
            .unwrap();
        (key, self.machine.slots[key].number)
    }

    /// All that the machine has to say now, as text.
    pub(super) fn says(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        while self.machine.has_transmit() {
            let mut out = Transmit::default();
            self.machine.poll_transmit(self.now, &mut out);
            if out.is_empty() {
                break;
            }
            self.machine.handle_written(out.len(), self.now);
            each_frame(&flatten(&out), |frame| frames.push(format!("{frame:?}")));
        }
        check_machine(&self.machine);
        frames
    }

    /// The bytes that one batch of what the machine has to say takes.
    pub(super) fn batch(&mut self) -> usize {
        let mut out = Transmit::default();
        self.machine.poll_transmit(self.now, &mut out);
        out.len()
    }

    /// Which rule the peer is said to have broken.
    pub(super) fn violation(&self) -> Option<Violation> {
        match self.machine.outcome() {
            Some(ConnectionError::PeerMisbehaved(violation)) => Some(violation.clone()),
            None => None,
            Some(other) => panic!("ended by {other:?}"),
        }
    }

    /// The connection ends for this violation, and the peer is told its code.
    pub(super) fn assert_violation(&mut self, expected: &Violation) {
        assert_eq!(self.violation().as_ref(), Some(expected));
        self.assert_goodbye(expected.code());
    }

    pub(super) fn assert_goodbye(&mut self, code: Code) {
        let said = self.says();
        let code = format!("code: {}", code.number());
        let last = said.last().expect("a goodbye");
        assert!(
            last.starts_with("GoAway") && last.contains(&code),
            "{said:?}"
        );
    }

    pub(super) fn assert_running(&self) {
        let outcome = self.machine.outcome();
        assert!(outcome.is_none(), "{outcome:?}");
    }
}
