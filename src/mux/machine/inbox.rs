//! What waits on a channel to be read.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::queue::push;
use crate::mux::frame::LENGTH_PREFIX;
use crate::mux::pool::Pool;

/// Received payloads below this are copied, so that a small unread message does not keep a large
/// read buffer alive.
pub(crate) const SLICE_FROM: usize = 16 * 1024;

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
                self.push_whole(backing.slice_ref(message));
            }
            _ => self.push_small(message),
        }
    }

    /// Adds a message that was put together of parts.
    pub(crate) fn push_whole(&mut self, message: Bytes) {
        push(&mut self.chunks, Chunk::Whole(message));
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
        }
    }

    fn push_small(&mut self, message: &[u8]) {
        let needed = LENGTH_PREFIX + message.len();
        if !matches!(self.chunks.back(), Some(Chunk::Small { .. })) {
            let buffer = BytesMut::with_capacity(needed.max(self.expected));
            push(&mut self.chunks, Chunk::Small { buffer, read: 0 });
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
    message: BytesMut,
    /// How long the last such message was, a guess for the next.
    expected: usize,
}

/// Room is made for so many times what has come, at most.
const AHEAD: usize = 4;

impl Parts {
    pub(crate) fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.message.len()
    }

    pub(crate) fn push(&mut self, part: &[u8], buffers: &Pool<BytesMut>) {
        if self.message.is_empty()
            && let Some(mut buffer) = buffers.take()
        {
            buffer.clear();
            self.message = buffer;
        }
        let length = self.message.len().saturating_add(part.len());
        if length > self.message.capacity() {
            let room = self.expected.clamp(length, length.saturating_mul(AHEAD));
            self.message
                .reserve(room.saturating_sub(self.message.len()));
        }
        self.message.extend_from_slice(part);
    }

    /// The message in one piece, and an empty place for the next.
    pub(crate) fn join(&mut self, buffers: &Pool<BytesMut>) -> Bytes {
        self.expected = self.message.len();
        buffers.lend(std::mem::take(&mut self.message))
    }

    /// Forgets what has come.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
