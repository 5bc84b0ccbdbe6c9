//! What the fuzz targets of `fuzz/` call: no part of the interface.
//!
//! Each function takes what a fuzzer made up and panics on a defect.

use std::io::IoSlice;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::config::{Config, FLOOR_FRAME};
use super::error::ChannelError;
use super::frame::{Frame, Hello, LENGTH_PREFIX, MAGIC};
use super::input::Input;
use super::machine::inbox::Inbox;
use super::machine::transmit::Transmit;
use super::machine::window::{FLOOR_WINDOW, FRAME_COST};
use super::machine::{Machine, Phase, Received};
use super::priority::Priority;
use super::role::Role;
use crate::codec::varint::take_u32;
use crate::runtime::Instant;

/// Decodes `data` as the body of a frame, by hand and by bincode.
///
/// # Panics
///
/// If the two differ, but for encodings that only bincode takes.
pub fn decode_frame(data: &[u8]) {
    let Ok(frame) = Frame::decode(data) else {
        return;
    };
    let mut again = BytesMut::new();
    frame.encode(&mut again);
    assert_eq!(again.get(LENGTH_PREFIX..), Some(data), "{frame:?}");
    let decoded: (Frame<'_>, usize) =
        bincode::serde::borrow_decode_from_slice(data, bincode::config::standard())
            .expect("bincode takes what is taken by hand");
    assert_eq!(decoded, (frame, data.len()));
}

/// The most bytes that one run feeds, however much `data` asks for.
const MOST_FED: usize = 8 * 1024 * 1024;
/// The most bytes of frames that a machine may owe its peer when it was never let send.
const MOST_OWED: usize = 64 * 1024;
/// The bits of the stage: the machine is a dialer's;
const DIALS: u8 = 1;
/// it may send while it is fed, and not only at the end;
const SENDS: u8 = 2;
/// the application takes channels, reads them and sends back what it reads;
const READS: u8 = 4;
/// it opens some;
const OPENS: u8 = 8;
/// it drains the connection;
const DRAINS: u8 = 16;
/// the bytes are made into frames.
const FRAMED: u8 = 32;
const MAX_CHANNELS: usize = 16;
const MAX_MESSAGE: usize = 256 * 1024;

/// Feeds bytes that begin with a valid Hello to the machine of a connection.
///
/// The first byte of `data` sets the stage, the second how the bytes are split, the rest is what the
/// peer sends: as it is, or as frames (see `Feed`).
///
/// # Panics
///
/// If the machine holds or owes more than its limits allow, sends what is no frame, or does not end.
pub fn connection_bytes(data: &[u8]) {
    let Some(([stage, split], rest)) = data
        .split_first_chunk::<2>()
        .map(|(two, rest)| (*two, rest))
    else {
        return;
    };
    let mut run = Run::new(stage);
    let mut feed = Feed::new(rest, stage & FRAMED != 0);
    let mut random = u32::from(split);
    while let Some(bytes) = feed.next() {
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() && run.machine.outcome().is_none() {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let most = if split == 0 {
                usize::MAX
            } else {
                1 << (random >> 28)
            };
            bytes = run.read(bytes, most);
        }
        if run.machine.outcome().is_some() {
            break;
        }
    }
    run.finish();
}

/// The bytes of the peer.
///
/// Framed, they are made of pieces: how often a frame is repeated, the length of what is given of
/// its body, and that. A Data frame's payload is filled up to the length that it claims, so that
/// few bytes of a fuzzer's make many.
struct Feed<'a> {
    rest: &'a [u8],
    framed: bool,
    hello: bool,
    left: usize,
}

impl<'a> Feed<'a> {
    fn new(rest: &'a [u8], framed: bool) -> Self {
        Self {
            rest,
            framed,
            hello: true,
            left: MOST_FED,
        }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        if std::mem::take(&mut self.hello) {
            return Some(hello());
        }
        if !self.framed {
            let rest = std::mem::take(&mut self.rest);
            return (!rest.is_empty()).then(|| rest.to_vec());
        }
        let ([repeat, length], rest) = self.rest.split_first_chunk::<2>()?;
        let (body, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        self.rest = rest;
        let frame = framed(&filled(body));
        let times = (self.left / frame.len()).min(1 << (repeat & 0x07));
        self.left -= times * frame.len();
        (times > 0).then(|| frame.repeat(times))
    }
}

fn hello() -> Vec<u8> {
    let mut out = BytesMut::new();
    Frame::Hello(Hello {
        magic: MAGIC,
        min_version: 1,
        max_version: 1,
        max_frame: FLOOR_FRAME,
        max_message: 100_000,
        max_channels: 16,
        idle_timeout_ms: 0,
        capabilities: 0,
        tail: &[],
    })
    .encode(&mut out);
    out.to_vec()
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body].concat()
}

/// A Data frame with as much payload as it claims, up to 64 KiB; what else it is, as it is.
fn filled(body: &[u8]) -> Vec<u8> {
    let mut filled = body.to_vec();
    if let Some((header, payload)) = claimed(body) {
        let most = payload.min(64 * 1024);
        filled.resize(body.len().max(header + most), 0);
    }
    filled
}

/// The lengths of a Data frame's header and payload.
fn claimed(body: &[u8]) -> Option<(usize, usize)> {
    let (0, mut rest) = body.split_first().map(|(tag, rest)| (*tag, rest))? else {
        return None;
    };
    take_u32(&mut rest).ok()?;
    let (_flags, mut rest) = rest.split_first()?;
    let payload = take_u32(&mut rest).ok()?;
    Some((body.len() - rest.len(), payload as usize))
}

/// A machine with its input, its output, and an application that does what the stage says.
struct Run {
    machine: Machine,
    input: Input,
    output: Transmit,
    /// What the machine has sent, which must be frames.
    sent: Input,
    now: Instant,
    /// See the constants.
    stage: u8,
    channels: Vec<usize>,
    /// Some channels have no handle any more and may have something to send when the connection
    /// ends: their slots stay as long as the machine.
    left_alone: bool,
    turns: u32,
}

impl Run {
    fn new(stage: u8) -> Self {
        let now = Instant::now();
        let role = if stage & DIALS == 0 {
            Role::Acceptor
        } else {
            Role::Dialer
        };
        let mut run = Self {
            machine: Machine::new(role, config(), now),
            input: Input::new(),
            output: Transmit::default(),
            sent: Input::new(),
            now,
            stage,
            channels: Vec::new(),
            // A drain refuses the channels that wait.
            left_alone: stage & DRAINS != 0,
            turns: 0,
        };
        if stage & OPENS != 0 {
            run.open();
        }
        run
    }

    fn is(&self, bit: u8) -> bool {
        self.stage & bit != 0
    }

    fn open(&mut self) {
        for _ in 0..3 {
            if let Ok(Some(key)) = self.machine.open("fuzz/1", Priority::Normal) {
                self.channels.push(key);
                for mut message in [vec![7; 20_000].into(), Bytes::from_static(b"and more")] {
                    let _ = self.machine.send(key, &mut message);
                }
            }
        }
    }

    /// One read of the driver, of at most `most` bytes; answers what is left.
    fn read<'a>(&mut self, bytes: &'a [u8], most: usize) -> &'a [u8] {
        let max = config().max_frame_size as usize;
        let room = self.input.room();
        assert!(!room.is_empty());
        assert!(room.len() <= 256 * 1024, "{}", room.len());
        let count = bytes.len().min(room.len()).min(most);
        let (now, rest) = bytes.split_at(count);
        room[..count].copy_from_slice(now);
        self.input.filled(count);
        self.machine.handle_bytes(count, self.now);
        let (machine, now) = (&mut self.machine, self.now);
        let read = self.input.frames(max, |body, backing| {
            machine.handle_frame(body, backing, now);
        });
        if let Err(violation) = read {
            machine.end(violation.into());
        }
        self.turn();
        rest
    }

    /// What else happens between two reads.
    fn turn(&mut self) {
        self.turns += 1;
        self.now += Duration::from_millis(1);
        if self.machine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.machine.handle_timeout(self.now);
        }
        while self.machine.poll_wake().is_some() {}
        self.machine.take_signals();
        if self.is(READS) {
            self.take_incoming();
            self.channels = std::mem::take(&mut self.channels)
                .into_iter()
                .filter(|&key| self.echo(key))
                .collect();
        }
        if self.is(DRAINS) && self.turns == 5 {
            self.machine.drain(self.now + Duration::from_secs(1));
        }
        if self.is(SENDS) {
            self.transmit();
        }
        let statistics = self.machine.statistics();
        assert!(statistics.open_channels <= 2 * MAX_CHANNELS);
    }

    fn take_incoming(&mut self) {
        while let Some((key, _)) = self.machine.take_incoming() {
            if self.turns.is_multiple_of(5) {
                self.drop_channel(key);
            } else {
                self.machine.accept(key);
                self.channels.push(key);
            }
        }
    }

    /// Reads a channel and sends it back; answers whether it goes on.
    fn echo(&mut self, key: usize) -> bool {
        let mut inbox = Inbox::default();
        let mut read = 0;
        loop {
            match self.machine.receive(key, read, &mut inbox) {
                Ok(Received::Messages) => {}
                Ok(Received::Nothing) => return true,
                Ok(Received::End) => {
                    self.machine.finish(key);
                    self.drop_channel(key);
                    return false;
                }
                Err(_) => {
                    self.drop_channel(key);
                    return false;
                }
            }
            read = 0;
            while let Some(mut message) = inbox.next() {
                assert!(message.len() <= MAX_MESSAGE);
                read += u32::try_from(message.len()).unwrap_or(u32::MAX) + FRAME_COST;
                let sent = self.machine.send(key, &mut message);
                if matches!(sent, Err(ChannelError::Stopped(_))) {
                    self.machine.finish(key);
                }
            }
        }
    }

    fn drop_channel(&mut self, key: usize) {
        self.left_alone |= self.machine.outcome().is_none();
        self.machine.drop_sender(key);
        self.machine.drop_receiver(key);
    }

    /// Takes all that the machine has to send, answers how many bytes that were.
    fn transmit(&mut self) -> usize {
        let mut total = 0;
        let mut rounds = 0;
        while self.machine.has_transmit() {
            self.machine.poll_transmit(self.now, &mut self.output);
            rounds += 1;
            assert!(rounds < 10_000, "the machine has always something to send");
            total += self.output.len();
            self.check_output();
        }
        total
    }

    fn check_output(&mut self) {
        while !self.output.is_empty() {
            let room = self.sent.room();
            let mut slices = [IoSlice::new(&[])];
            assert_eq!(self.output.slices(&mut slices), 1);
            let count = slices[0].len().min(room.len());
            room[..count].copy_from_slice(&slices[0][..count]);
            self.sent.filled(count);
            self.output.advance(count);
            self.machine.handle_written(count, self.now);
            self.sent
                .frames(FLOOR_FRAME as usize, |body, _| {
                    Frame::decode(body).expect("what is sent can be read");
                })
                .expect("no frame is larger than the peer takes");
        }
    }

    /// The peer goes: everything must end, and nothing may be left.
    fn finish(mut self) {
        if !self.is(SENDS) {
            let owed = self.transmit();
            let queued = if self.is(READS) { MOST_FED } else { 3 * 21_000 };
            assert!(owed <= MOST_OWED + queued, "owes {owed}");
        }
        self.machine.handle_end_of_stream();
        assert!(self.machine.outcome().is_some());
        self.transmit();
        assert_eq!(self.machine.phase(), Phase::Closed);
        while let Some((key, _)) = self.machine.take_incoming() {
            self.channels.push(key);
        }
        let mut unread = 0;
        for key in std::mem::take(&mut self.channels) {
            let mut inbox = Inbox::default();
            while let Ok(Received::Messages) = self.machine.receive(key, 0, &mut inbox) {
                while let Some(message) = inbox.next() {
                    unread += message.len();
                }
            }
            self.drop_channel(key);
        }
        let window = FLOOR_WINDOW as usize;
        let most = 2 * MAX_CHANNELS * window + config().shared_receive_memory();
        assert!(unread <= most, "{unread} unread bytes");
        let statistics = self.machine.statistics();
        assert!(self.left_alone || statistics.open_channels == 0);
        assert!(self.left_alone || statistics.receive_borrowed == 0);
        assert_eq!(statistics.send_queued, 0);
    }
}

/// The smallest limits, where they are reached soonest.
fn config() -> Config {
    Config::default()
        .max_frame_size(32 * 1024)
        .max_message_size(MAX_MESSAGE)
        .max_channels(MAX_CHANNELS)
        .window(FLOOR_WINDOW as usize)
        .max_window(4 * FLOOR_WINDOW as usize)
        .receive_memory(0)
        .channel_send_buffer(64 * 1024)
        .send_memory(256 * 1024)
        .abuse_limit(200, 20)
}
