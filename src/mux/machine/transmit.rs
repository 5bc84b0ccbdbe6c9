use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::mux::frame::{Frame, put_data_header};

/// Payloads up to this size are copied beside their headers; larger ones are written from where
/// they are.
pub(crate) const COPY_UP_TO: usize = 4 * 1024;

/// Bytes on their way to the transport, in the fewest pieces that need no copy of large payloads.
#[derive(Debug, Default)]
pub(crate) struct Transmit {
    pieces: VecDeque<Bytes>,
    /// Headers and small frames that come after the pieces.
    tail: BytesMut,
    length: usize,
}

/// Kept for the next batch; more is given back to the system when the connection is idle.
const KEPT_WHEN_IDLE: usize = 512;

impl Transmit {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends a frame without a large payload.
    pub(crate) fn frame(&mut self, frame: &Frame<'_>) {
        let before = self.tail.len();
        frame.encode(&mut self.tail);
        self.length += self.tail.len() - before;
    }

    /// Appends frames that are encoded already.
    pub(crate) fn encoded(&mut self, frames: &[u8]) {
        self.tail.extend_from_slice(frames);
        self.length += frames.len();
    }

    /// Appends frames that are encoded already, in their buffer.
    pub(crate) fn piece(&mut self, frames: Bytes) {
        self.length += frames.len();
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(frames);
    }

    /// Appends a Data frame.
    pub(crate) fn data(&mut self, channel: u32, flags: u8, payload: Bytes) {
        let before = self.tail.len();
        put_data_header(&mut self.tail, channel, flags, payload.len());
        self.length += self.tail.len() - before + payload.len();
        if payload.len() <= COPY_UP_TO {
            self.tail.extend_from_slice(&payload);
        } else {
            self.pieces.push_back(self.tail.split().freeze());
            self.pieces.push_back(payload);
        }
    }

    /// Fills `slices` with the first pieces, answers how many.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.pieces.iter().map(AsRef::as_ref);
        let tail = (!self.tail.is_empty()).then_some(self.tail.as_ref());
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(pieces.chain(tail)) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// Forgets the first `count` bytes: they are written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        self.length = self.length.saturating_sub(count);
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
        self.tail.advance(count.min(self.tail.len()));
        if self.tail.is_empty() {
            self.tail.clear();
        }
    }

    /// Whether [`shrink`](Self::shrink) has something to give back.
    pub(crate) fn is_oversized(&self) -> bool {
        self.is_empty() && self.tail.capacity() > KEPT_WHEN_IDLE
    }

    /// Gives memory back when nothing waits.
    pub(crate) fn shrink(&mut self) {
        if self.is_oversized() {
            *self = Self::default();
        }
    }
}
