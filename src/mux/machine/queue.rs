//! What waits on a channel to be sent.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::batch::Batch;
use super::transmit::{COPY_UP_TO, Transmit};
use super::window::{FRAME_COST, SendCredit};
use crate::mux::frame::END_OF_MESSAGE;

/// A part of a message smaller than this is not sent for want of credit: it waits for more.
const LEAST_PART: usize = 4 * 1024;
/// So many bytes of small frames are handed over in their buffer; fewer are copied beside others.
const HAND_OVER_FROM: usize = 8 * 1024;
/// The largest buffer that an empty queue keeps.
const KEPT_WHEN_EMPTY: usize = 256;

/// Messages that wait to be sent, those that are small already as frames.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// An emptied small buffer, for the next small message.
    spare: BytesMut,
    /// How large the last buffer became that was handed over whole, a guess for the next.
    expected: usize,
}

#[derive(Debug)]
enum Segment {
    /// Whole messages of up to [`COPY_UP_TO`] bytes.
    Small(Batch),
    /// What is left of a large message.
    Message(Bytes),
}

/// What a queue gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) frames: u64,
    pub(crate) stopped: Stopped,
}

/// Why a queue stopped giving frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Empty,
    NoCredit,
    Budget,
}

impl SendQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues a message by copying it: for messages of up to [`COPY_UP_TO`] bytes.
    pub(crate) fn push_copy(&mut self, channel: u32, message: &[u8]) {
        self.add(|batch| batch.push_copy(channel, message));
    }

    /// Queues all messages of a batch, and leaves it empty.
    pub(crate) fn push_batch(&mut self, batch: &mut Batch) {
        if batch.len() >= HAND_OVER_FROM {
            self.bytes += batch.len();
            push(&mut self.segments, Segment::Small(std::mem::take(batch)));
        } else {
            self.add(|last| last.append(batch));
            batch.clear();
        }
    }

    /// Queues a message as it is.
    pub(crate) fn push(&mut self, channel: u32, message: Bytes) {
        if message.len() <= COPY_UP_TO {
            self.push_copy(channel, &message);
        } else {
            self.bytes += message.len();
            push(&mut self.segments, Segment::Message(message));
        }
    }

    /// Forgets all, answers how many bytes that were.
    pub(crate) fn clear(&mut self) -> usize {
        let bytes = self.bytes;
        *self = Self::default();
        bytes
    }

    /// Moves frames to `out` until `budget` bytes went, with frames of at most `max_payload`.
    pub(crate) fn transmit(
        &mut self,
        channel: u32,
        credit: &mut SendCredit,
        max_payload: usize,
        budget: usize,
        out: &mut Transmit,
    ) -> Moved {
        let end = out.len() + budget;
        let mut frames = 0;
        let stopped = loop {
            if self.segments.is_empty() {
                break Stopped::Empty;
            }
            if out.len() >= end {
                break Stopped::Budget;
            }
            let moved = match self.segments.front() {
                Some(Segment::Small(_)) => self.move_run(channel, credit, end - out.len(), out),
                _ => self.move_part(channel, credit, max_payload, out),
            };
            if moved == 0 {
                break Stopped::NoCredit;
            }
            frames += moved;
        };
        Moved { frames, stopped }
    }

    /// Moves small messages, answers how many.
    fn move_run(
        &mut self,
        channel: u32,
        credit: &mut SendCredit,
        budget: usize,
        out: &mut Transmit,
    ) -> u64 {
        let Some(Segment::Small(batch)) = self.segments.front_mut() else {
            return 0;
        };
        let run = batch.first(channel, credit.left(), budget);
        let buffer = &mut batch.buffer;
        if run.bytes >= HAND_OVER_FROM {
            self.expected = run.bytes;
            out.piece(buffer.split_to(run.bytes).freeze());
        } else {
            out.encoded(buffer.get(..run.bytes).unwrap_or_default());
            buffer.advance(run.bytes);
        }
        if buffer.is_empty() {
            buffer.clear();
            if buffer.capacity() <= KEPT_WHEN_EMPTY {
                self.spare = std::mem::take(buffer);
            }
            self.segments.pop_front();
        } else {
            batch.took(run);
        }
        credit.spend(run.cost);
        self.bytes -= run.bytes;
        run.frames.into()
    }

    /// Moves a large message or a part of it, answers in how many frames.
    fn move_part(
        &mut self,
        channel: u32,
        credit: &mut SendCredit,
        max_payload: usize,
        out: &mut Transmit,
    ) -> u64 {
        let Some(Segment::Message(message)) = self.segments.front_mut() else {
            return 0;
        };
        let length = message.len().min(max_payload).min(credit.payload());
        let last = length == message.len();
        if length == 0 || (!last && length < max_payload.min(LEAST_PART)) {
            return 0;
        }
        let payload = message.split_to(length);
        credit.spend(length as u64 + u64::from(FRAME_COST));
        self.bytes -= length;
        if last {
            self.segments.pop_front();
        }
        out.data(channel, if last { END_OF_MESSAGE } else { 0 }, payload);
        1
    }

    /// Adds to the batch at the end, a new one if there is none.
    fn add(&mut self, fill: impl FnOnce(&mut Batch)) {
        if !matches!(self.segments.back(), Some(Segment::Small(_))) {
            let mut buffer = std::mem::take(&mut self.spare);
            buffer.reserve(std::mem::take(&mut self.expected));
            push(&mut self.segments, Segment::Small(Batch::within(buffer)));
        }
        if let Some(Segment::Small(batch)) = self.segments.back_mut() {
            let before = batch.len();
            fill(batch);
            self.bytes += batch.len() - before;
        }
    }
}

/// Adds to a queue that mostly holds one item, for which alone it gets room at first.
pub(super) fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.capacity() == 0 {
        queue.reserve_exact(1);
    }
    queue.push_back(item);
}
