//! Small messages of one channel, framed already.

use bytes::{BufMut, BytesMut};

use crate::codec::varint::encoded_len;
use crate::mux::frame::{
    END_OF_MESSAGE, LENGTH_PREFIX, MAX_DATA_HEADER, data_header, put_data_header,
};
use crate::mux::machine::window::FRAME_COST;

/// The largest buffer that an empty batch keeps.
const KEPT: usize = 512;

/// Whole messages in their frames, one after another.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) buffer: BytesMut,
    cost: u64,
    frames: u32,
    /// How long the last header was, a guess for the next.
    header: u8,
}

/// Some whole frames at the start of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) frames: u32,
    pub(super) bytes: usize,
    pub(super) cost: u64,
}

impl Batch {
    /// A batch in an empty buffer.
    pub(super) fn within(buffer: BytesMut) -> Self {
        Self {
            buffer,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes of its frames.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// How many messages it holds.
    pub(crate) fn messages(&self) -> u64 {
        self.frames.into()
    }

    /// Adds a message by copying it.
    pub(crate) fn push_copy(&mut self, channel: u32, message: &[u8]) {
        put_data_header(&mut self.buffer, channel, END_OF_MESSAGE, message.len());
        self.buffer.extend_from_slice(message);
        self.count(message.len());
    }

    /// Adds a message that `write` appends to the buffer, if that is no longer than `most`.
    ///
    /// A longer one is handed back instead. After an error the batch is as it was.
    pub(crate) fn push_with<E>(
        &mut self,
        channel: u32,
        most: usize,
        write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
    ) -> Result<Option<BytesMut>, E> {
        let start = self.buffer.len();
        let guess = usize::from(self.header).min(MAX_DATA_HEADER);
        self.buffer.put_bytes(0, guess);
        let begin = start + guess;
        if let Err(error) = write(&mut self.buffer) {
            self.buffer.truncate(start);
            return Err(error);
        }
        let length = self.buffer.len().saturating_sub(begin);
        if length > most {
            let message = self.buffer.split_off(begin);
            self.buffer.truncate(start);
            return Ok(Some(message));
        }
        let (header, used) = data_header(channel, END_OF_MESSAGE, length);
        if used != guess {
            // The guess was wrong: the message moves to where it belongs.
            self.buffer.resize(start + used.max(guess) + length, 0);
            self.buffer.copy_within(begin..begin + length, start + used);
            self.buffer.truncate(start + used + length);
            self.header = u8::try_from(used).unwrap_or_default();
        }
        self.buffer[start..start + used].copy_from_slice(&header[..used]);
        self.count(length);
        Ok(None)
    }

    /// The longest run of frames within `credit`, and within `budget` but for its last frame.
    pub(super) fn first(&self, channel: u32, credit: u64, budget: usize) -> Run {
        if self.cost <= credit && self.len() <= budget {
            return self.all();
        }
        let mut run = Run::default();
        let before_length = 2 + encoded_len(u64::from(channel));
        while run.bytes < budget {
            let Some(rest) = self.buffer.get(run.bytes..) else {
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

    /// Forgets a run that [`first`](Self::first) has found and that was taken out of `buffer`.
    pub(super) fn took(&mut self, run: Run) {
        self.frames -= run.frames;
        self.cost -= run.cost;
    }

    /// Adds all messages of another batch by copying them.
    pub(super) fn append(&mut self, other: &Self) {
        self.buffer.extend_from_slice(&other.buffer);
        self.frames += other.frames;
        self.cost += other.cost;
    }

    /// Forgets all messages; a large buffer is given back.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        if self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        self.frames = 0;
        self.cost = 0;
    }

    fn all(&self) -> Run {
        Run {
            frames: self.frames,
            bytes: self.len(),
            cost: self.cost,
        }
    }

    fn count(&mut self, length: usize) {
        self.frames += 1;
        self.cost += length as u64 + u64::from(FRAME_COST);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn put(batch: &mut Batch, channel: u32, message: &[u8]) {
        let write = |buffer: &mut BytesMut| {
            buffer.extend_from_slice(message);
            Ok::<_, Infallible>(())
        };
        assert_eq!(batch.push_with(channel, usize::MAX, write), Ok(None));
    }

    proptest! {
        #[test]
        fn a_message_written_in_place_is_as_one_that_is_copied(
            channel: u32,
            lengths in prop::collection::vec(prop_oneof![0..4_usize, 245..255_usize, 4000..4100_usize], 1..20),
        ) {
            let (mut written, mut copied) = (Batch::default(), Batch::default());
            for (fill, length) in (0..).zip(lengths) {
                let message = vec![fill; length];
                put(&mut written, channel, &message);
                copied.push_copy(channel, &message);
            }
            prop_assert_eq!(&written.buffer, &copied.buffer);
            prop_assert_eq!(written.all(), copied.all());
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_handed_back() {
        let mut batch = Batch::default();
        put(&mut batch, 1, b"kept");
        let before = batch.buffer.clone();
        for (length, is_kept) in [(100, true), (101, false)] {
            let handed_back = batch.push_with(1, 100, |buffer| {
                buffer.put_bytes(7, length);
                Ok::<_, Infallible>(())
            });
            assert_eq!(handed_back.unwrap().is_none(), is_kept);
        }
        assert_eq!(batch.messages(), 2);
        assert!(batch.buffer.starts_with(&before));
        let refused = batch.push_with(1, 100, |buffer| {
            buffer.put_bytes(7, 3);
            Err("no")
        });
        assert_eq!(refused, Err("no"));
        assert_eq!(batch.messages(), 2);
        assert_eq!(batch.all(), batch.first(1, u64::MAX, batch.len() - 1));
    }
}
