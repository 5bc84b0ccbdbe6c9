//! One direction of a fake connection, in virtual time.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::mux::frame::{END_OF_MESSAGE, Frame, LENGTH_PREFIX};
use crate::mux::machine::transmit::Transmit;
use crate::mux::machine::window::{FLOOR_WINDOW, FRAME_COST};
use crate::runtime::Instant;

/// Bytes written at one end that arrive at the other after `latency`.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) latency: Duration,
    /// What may be under way at once, in bytes.
    pub(super) capacity: usize,
    /// How many bytes each read gives, one after another and round again.
    pub(super) pieces: Vec<usize>,
    turn: usize,
    chunks: VecDeque<(Instant, Bytes)>,
    length: usize,
    /// What the frames that were sent and not handled yet do to the credit, in order.
    under_way: VecDeque<UnderWay>,
    ended: bool,
}

/// What a frame under way will do to a channel's credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnderWay {
    Cost { channel: u32, cost: u64 },
    Credit { channel: u32, bytes: u64 },
    Nothing,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self {
            latency: Duration::ZERO,
            capacity: usize::MAX,
            pieces: vec![usize::MAX],
            turn: 0,
            chunks: VecDeque::new(),
            length: 0,
            under_way: VecDeque::new(),
            ended: false,
        }
    }

    /// Takes from `out` what there is room for, answers how much.
    pub(super) fn write(&mut self, out: &mut Transmit, now: Instant) -> usize {
        let room = self.capacity.saturating_sub(self.length);
        let bytes = first(out, room);
        out.advance(bytes.len());
        let written = bytes.len();
        self.length += written;
        if written > 0 {
            self.chunks.push_back((now + self.latency, bytes.into()));
        }
        written
    }

    /// Notes the frames of a batch that is about to be written.
    pub(super) fn note_frames(&mut self, out: &Transmit) {
        each_frame(&flatten(out), |frame| {
            self.under_way.push_back(match *frame {
                Frame::Data {
                    channel,
                    flags,
                    payload,
                } if flags & END_OF_MESSAGE != 0 || !payload.is_empty() => UnderWay::Cost {
                    channel,
                    cost: payload.len() as u64 + u64::from(FRAME_COST),
                },
                Frame::Credit { channel, bytes } => UnderWay::Credit {
                    channel,
                    bytes: bytes.into(),
                },
                Frame::Accept { channel, window } => UnderWay::Credit {
                    channel,
                    bytes: u64::from(window - FLOOR_WINDOW),
                },
                _ => UnderWay::Nothing,
            });
        });
    }

    /// The next bytes that have arrived.
    pub(super) fn read(&mut self, room: &mut [u8], now: Instant) -> usize {
        let Some((_, chunk)) = self.chunks.front_mut().filter(|(at, _)| *at <= now) else {
            return 0;
        };
        let piece = self.pieces[self.turn % self.pieces.len()].max(1);
        self.turn += 1;
        let count = piece.min(room.len()).min(chunk.len());
        room[..count].copy_from_slice(&chunk[..count]);
        chunk.advance(count);
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        self.length -= count;
        count
    }

    /// The receiver has handled the oldest frame.
    pub(super) fn handled(&mut self) {
        self.under_way.pop_front();
    }

    /// The cost of data and the credit that are under way for a channel.
    pub(super) fn under_way(&self, number: u32) -> (u64, u64) {
        let (mut costs, mut credits) = (0, 0);
        for frame in &self.under_way {
            match *frame {
                UnderWay::Cost { channel, cost } if channel == number => costs += cost,
                UnderWay::Credit { channel, bytes } if channel == number => credits += bytes,
                _ => {}
            }
        }
        (costs, credits)
    }

    /// When the next bytes arrive.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.chunks.front().map(|(at, _)| *at)
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the reader has seen everything, and nothing will follow.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && self.chunks.is_empty()
    }

    /// Loses what is under way: nobody reads.
    pub(super) fn discard(&mut self) {
        self.chunks.clear();
        self.under_way.clear();
        self.length = 0;
    }
}

/// All bytes of a batch in one piece.
pub(super) fn flatten(out: &Transmit) -> Vec<u8> {
    let bytes = first(out, usize::MAX);
    assert_eq!(bytes.len(), out.len(), "a batch knows its length");
    bytes
}

fn first(out: &Transmit, most: usize) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 256];
    let count = out.slices(&mut slices);
    let mut bytes = Vec::new();
    for slice in &slices[..count] {
        let room = most - bytes.len();
        bytes.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    bytes
}

/// The frames in `bytes`, which end with a whole one.
pub(super) fn each_frame(mut bytes: &[u8], mut look: impl FnMut(&Frame<'_>)) {
    while let Some((prefix, rest)) = bytes.split_first_chunk::<LENGTH_PREFIX>() {
        let (body, rest) = rest.split_at(u32::from_be_bytes(*prefix) as usize);
        look(&Frame::decode(body).expect("a machine sends frames that can be read"));
        bytes = rest;
    }
}
