//! Bytes from the transport, cut into frame bodies.

use bytes::Bytes;

use super::error::Violation;
use super::frame::LENGTH_PREFIX;
use super::pool::Pool;

/// The buffer of a connection that is idle.
const LEAST: usize = 2 * 1024;
/// The buffer of a busy one: what one read takes at most.
const MOST: usize = 256 * 1024;
/// Buffers kept for reading into while messages in others are still unread.
const SPARE_BUFFERS: usize = 16;
/// A payload of at least this share of its buffer is handed on in place: what an unread message
/// keeps alive is at most four times what it was charged.
const SHARE: usize = 4;

/// A read buffer that grows while the transport fills it.
#[derive(Debug)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read took all the room there was.
    hungry: bool,
    spares: Pool<Vec<u8>>,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            hungry: false,
            spares: Pool::new(SPARE_BUFFERS),
        }
    }

    /// Where the next bytes go, never empty.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let full = self.end == self.buffer.len();
        if full && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let full = self.end == self.buffer.len();
        let grows = self.hungry && self.buffer.len() < MOST;
        if full || grows {
            let length = if self.buffer.is_empty() {
                LEAST
            } else {
                self.buffer.len().saturating_mul(4)
            };
            // Only a frame larger than the usual buffer, of which so much has come, goes beyond.
            let most = if full {
                length.max(MOST).min(self.buffer.len().max(MOST / 2) * 2)
            } else {
                MOST
            };
            self.buffer.resize(length.min(most), 0);
        }
        self.hungry = false;
        &mut self.buffer[self.end..]
    }

    /// So many bytes were put in the room.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
        self.hungry = self.end == self.buffer.len();
    }

    /// Hands over the bodies of all whole frames, each with its buffer where it may be kept.
    pub(crate) fn frames(
        &mut self,
        max: usize,
        mut handle: impl FnMut(&[u8], Option<&Bytes>),
    ) -> Result<(), Violation> {
        let (whole, largest, error) = scan(&self.buffer[self.start..self.end], max);
        let end = self.start + whole;
        let length = self.buffer.len();
        let is_worth_it = |body: usize| body * SHARE >= length;
        if is_worth_it(largest) && whole > 0 {
            let shared = self.share(end);
            each_body(&shared, |body| {
                handle(body, is_worth_it(body.len()).then_some(&shared));
            });
        } else {
            each_body(&self.buffer[self.start..end], |body| handle(body, None));
            self.start = end;
        }
        error.map_or(Ok(()), Err)
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        self.spares.clear();
        if self.is_oversized() && self.start == self.end {
            self.buffer = Vec::new();
            self.start = 0;
            self.end = 0;
        }
    }

    pub(crate) fn is_oversized(&self) -> bool {
        self.buffer.len() > LEAST
    }

    /// Makes the frames up to `end` shareable and goes on in another buffer with what follows.
    fn share(&mut self, end: usize) -> Bytes {
        let length = self.buffer.len();
        let mut next = match self.spares.take() {
            Some(buffer) if buffer.len() == length => buffer,
            _ => vec![0; length],
        };
        let rest = &self.buffer[end..self.end];
        next[..rest.len()].copy_from_slice(rest);
        let rest = rest.len();
        let full = std::mem::replace(&mut self.buffer, next);
        let frames = self.spares.lend(full).slice(self.start..end);
        self.start = 0;
        self.end = rest;
        frames
    }
}

/// How many bytes the whole frames take, and the largest body among them.
fn scan(bytes: &[u8], max: usize) -> (usize, usize, Option<Violation>) {
    let (mut whole, mut largest) = (0, 0);
    while let Some((prefix, rest)) = bytes.get(whole..).and_then(|rest| rest.split_first_chunk()) {
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > max {
            return (
                whole,
                largest,
                Some(Violation::FrameTooLarge { length, max }),
            );
        }
        if rest.len() < length {
            break;
        }
        largest = largest.max(length);
        whole += LENGTH_PREFIX + length;
    }
    (whole, largest, None)
}

fn each_body(mut frames: &[u8], mut handle: impl FnMut(&[u8])) {
    while let Some((prefix, rest)) = frames.split_first_chunk() {
        let Some((body, rest)) = rest.split_at_checked(u32::from_be_bytes(*prefix) as usize) else {
            return;
        };
        handle(body);
        frames = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, fill: u8) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        frame.resize(LENGTH_PREFIX + length, fill);
        frame
    }

    fn fill(length: usize) -> u8 {
        u8::try_from(length % 251).unwrap()
    }

    /// Feeds `bytes` in pieces of `step`, answers the bodies.
    fn feed(input: &mut Input, mut bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        while !bytes.is_empty() {
            let room = input.room();
            let count = step.min(bytes.len()).min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            input.filled(count);
            input
                .frames(1 << 20, |body, backing| {
                    if let Some(backing) = backing {
                        assert_eq!(backing.slice_ref(body), body);
                    }
                    bodies.push(body.to_vec());
                })
                .unwrap();
        }
        bodies
    }

    #[test]
    fn any_split_gives_the_same_frames() {
        let lengths = [0, 1, 250, 70_000, 3, 65_536, 300_000, 5];
        let bytes: Vec<u8> = lengths
            .iter()
            .flat_map(|&length| frame(length, fill(length)))
            .collect();
        for step in [1, 2, 3, 5, 1000, 65_537, usize::MAX] {
            let bodies = feed(&mut Input::new(), &bytes, step);
            assert_eq!(bodies.len(), lengths.len(), "step {step}");
            for (body, length) in bodies.iter().zip(lengths) {
                assert_eq!(body, &vec![fill(length); length]);
            }
        }
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        let mut input = Input::new();
        input.room()[..4].copy_from_slice(&1_000_000_u32.to_be_bytes());
        input.filled(4);
        input
            .frames(1 << 20, |_, _| panic!("no frame has come"))
            .unwrap();
        input.room();
        assert_eq!(input.buffer.len(), LEAST);
    }

    #[test]
    fn a_frame_at_the_limit_passes_and_one_beyond_does_not() {
        let mut input = Input::new();
        let bytes = [frame(10, 1), frame(11, 2)].concat();
        input.room()[..bytes.len()].copy_from_slice(&bytes);
        input.filled(bytes.len());
        let mut bodies = 0;
        let error = input.frames(10, |_, _| bodies += 1).unwrap_err();
        assert_eq!(
            error,
            Violation::FrameTooLarge {
                length: 11,
                max: 10
            }
        );
        assert_eq!(bodies, 1, "what came before the bad frame is handed over");
    }

    #[test]
    fn buffers_come_back_when_their_messages_are_read() {
        let mut input = Input::new();
        let bytes = frame(65_536, 7).repeat(8);
        let bodies = feed(&mut input, &bytes, usize::MAX);
        assert_eq!(bodies.len(), 8);
        assert!(!input.spares.is_empty());
        input.shrink();
        assert!(input.spares.is_empty());
        assert!(!input.is_oversized());
    }
}
