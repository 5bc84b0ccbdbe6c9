//! What waits on a channel: messages to be sent, messages to be read.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::transmit::{COPY_UP_TO, Transmit};
use super::window::{FRAME_COST, SendCredit};
use crate::codec::varint::encoded_len;
use crate::mux::frame::{END_OF_MESSAGE, LENGTH_PREFIX, put_data_header};

/// A part of a message smaller than this is not sent for want of credit: it waits for more.
const LEAST_PART: usize = 4 * 1024;
/// Received payloads below this are copied, so that a small unread message does not keep a large
/// read buffer alive.
pub(crate) const SLICE_FROM: usize = 16 * 1024;
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
    /// Whole messages of up to [`COPY_UP_TO`] bytes, framed.
    Frames { buffer: BytesMut, run: Run },
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
        if !matches!(self.segments.back(), Some(Segment::Frames { .. })) {
            let mut buffer = std::mem::take(&mut self.spare);
            buffer.reserve(std::mem::take(&mut self.expected));
            self.segments.push_back(Segment::Frames {
                buffer,
                run: Run::default(),
            });
        }
        if let Some(Segment::Frames { buffer, run }) = self.segments.back_mut() {
            let before = buffer.len();
            put_data_header(buffer, channel, END_OF_MESSAGE, message.len());
            buffer.extend_from_slice(message);
            let added = buffer.len() - before;
            run.frames += 1;
            run.bytes += added;
            run.cost += message.len() as u64 + u64::from(FRAME_COST);
            self.bytes += added;
        }
    }

    /// Queues a message as it is.
    pub(crate) fn push(&mut self, channel: u32, message: Bytes) {
        if message.len() <= COPY_UP_TO {
            self.push_copy(channel, &message);
        } else {
            self.bytes += message.len();
            self.segments.push_back(Segment::Message(message));
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
                Some(Segment::Frames { .. }) => {
                    self.move_run(channel, credit, end - out.len(), out)
                }
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
        let Some(Segment::Frames { buffer, run }) = self.segments.front_mut() else {
            return 0;
        };
        let first = if run.cost <= credit.left() && run.bytes <= budget {
            *run
        } else {
            Run::first(buffer, channel, credit.left(), budget)
        };
        if first.bytes >= HAND_OVER_FROM {
            self.expected = first.bytes;
            out.piece(buffer.split_to(first.bytes).freeze());
        } else {
            out.encoded(buffer.get(..first.bytes).unwrap_or_default());
            buffer.advance(first.bytes);
        }
        credit.spend(first.cost);
        self.bytes -= first.bytes;
        run.bytes -= first.bytes;
        run.cost -= first.cost;
        run.frames -= first.frames;
        if buffer.is_empty() {
            buffer.clear();
            if buffer.capacity() <= KEPT_WHEN_EMPTY {
                self.spare = std::mem::take(buffer);
            }
            self.segments.pop_front();
        }
        first.frames
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
}

/// Some whole frames at the start of a buffer.
#[derive(Debug, Default, Clone, Copy)]
struct Run {
    frames: u64,
    bytes: usize,
    cost: u64,
}

impl Run {
    /// The longest run within `credit`, and within `budget` but for its last frame.
    fn first(buffer: &[u8], channel: u32, credit: u64, budget: usize) -> Self {
        let mut run = Self::default();
        let before_length = 2 + encoded_len(u64::from(channel));
        while run.bytes < budget {
            let Some(rest) = buffer.get(run.bytes..) else {
                break;
            };
            let Some((prefix, _)) = rest.split_first_chunk::<LENGTH_PREFIX>() else {
                break;
            };
            let body = u32::from_be_bytes(*prefix) as usize;
            let with_length = body.saturating_sub(before_length);
            let payload = with_length.saturating_sub(if with_length <= 251 { 1 } else { 3 });
            let cost = run.cost + payload as u64 + u64::from(FRAME_COST);
            if cost > credit {
                break;
            }
            run.cost = cost;
            run.bytes += LENGTH_PREFIX + body;
            run.frames += 1;
        }
        run
    }
}

/// Messages that wait to be read, in order.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    chunks: VecDeque<Chunk>,
    /// How large the last chunk of small messages became, a guess for the next.
    expected: usize,
}

#[derive(Debug)]
enum Chunk {
    /// Messages one after another, each behind its length.
    Small {
        buffer: BytesMut,
        read: usize,
    },
    Whole(Bytes),
    Parts(Parts),
}

const MOST_EXPECTED: usize = 64 * 1024;

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds a message; `backing` is the buffer that `message` lies in, if it may be kept.
    pub(crate) fn push(&mut self, message: &[u8], backing: Option<&Bytes>) {
        match backing {
            Some(backing) if message.len() >= SLICE_FROM => {
                self.chunks
                    .push_back(Chunk::Whole(backing.slice_ref(message)));
            }
            _ => self.push_small(message),
        }
    }

    /// Adds a message that came in parts.
    pub(crate) fn push_parts(&mut self, parts: Parts) {
        self.chunks.push_back(Chunk::Parts(parts));
    }

    /// Takes the next message to look at it once.
    pub(crate) fn next_with<T>(&mut self, look: impl FnOnce(&[u8]) -> T) -> Option<(usize, T)> {
        match self.chunks.front_mut()? {
            Chunk::Small { buffer, read } => {
                let (prefix, rest) = buffer.get(*read..)?.split_first_chunk()?;
                let length = u32::from_le_bytes(*prefix) as usize;
                let seen = look(rest.get(..length)?);
                *read += LENGTH_PREFIX + length;
                if *read >= buffer.len() {
                    self.drop_first();
                }
                Some((length, seen))
            }
            Chunk::Whole(message) => {
                let message = std::mem::take(message);
                self.drop_first();
                Some((message.len(), look(&message)))
            }
            Chunk::Parts(parts) => {
                let message = std::mem::take(parts).join();
                self.drop_first();
                Some((message.len(), look(&message)))
            }
        }
    }

    /// Takes the next message.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        match self.chunks.front_mut()? {
            Chunk::Small { buffer, read } => {
                buffer.advance(std::mem::take(read));
                let length = buffer.try_get_u32_le().ok()? as usize;
                let message = buffer.split_to(length.min(buffer.len())).freeze();
                if buffer.is_empty() {
                    self.drop_first();
                }
                Some(message)
            }
            Chunk::Whole(message) => {
                let message = std::mem::take(message);
                self.drop_first();
                Some(message)
            }
            Chunk::Parts(parts) => {
                let message = std::mem::take(parts).join();
                self.drop_first();
                Some(message)
            }
        }
    }

    fn push_small(&mut self, message: &[u8]) {
        let needed = LENGTH_PREFIX + message.len();
        if !matches!(self.chunks.back(), Some(Chunk::Small { .. })) {
            let buffer = BytesMut::with_capacity(needed.max(self.expected));
            self.chunks.push_back(Chunk::Small { buffer, read: 0 });
        }
        if let Some(Chunk::Small { buffer, .. }) = self.chunks.back_mut() {
            buffer.reserve(needed);
            buffer.put_u32_le(u32::try_from(message.len()).unwrap_or(u32::MAX));
            buffer.extend_from_slice(message);
            self.expected = buffer.len().min(MOST_EXPECTED);
        }
    }

    fn drop_first(&mut self) {
        self.chunks.pop_front();
        if self.chunks.is_empty() && self.chunks.capacity() > 8 {
            self.chunks = VecDeque::new();
        }
    }
}

/// A message that comes in parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    kept: Vec<Bytes>,
    /// Small parts that came after the kept ones.
    tail: BytesMut,
    length: usize,
}

impl Parts {
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn push(&mut self, part: &[u8], backing: Option<&Bytes>) {
        self.length += part.len();
        match backing {
            Some(backing) if part.len() >= SLICE_FROM => {
                if !self.tail.is_empty() {
                    self.kept.push(self.tail.split().freeze());
                }
                self.kept.push(backing.slice_ref(part));
            }
            _ => self.tail.extend_from_slice(part),
        }
    }

    /// The message in one piece.
    fn join(self) -> Bytes {
        if self.kept.is_empty() {
            return self.tail.freeze();
        }
        let mut message = Vec::with_capacity(self.length);
        for part in &self.kept {
            message.extend_from_slice(part);
        }
        message.extend_from_slice(&self.tail);
        message.into()
    }
}
