//! The frames of docs/wire.md: bytes ↔ [`Frame`], by hand, in exactly bincode's bytes.
//!
//! The enum derives serde's traits so that tests can hold the hand-written bytes equal to
//! bincode's. By hand, because a payload then needs no copy and a header costs a few nanoseconds.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::varint::{VarintError, put_u32, put_u64, take_u32, take_u64};

#[cfg(test)]
mod tests;

/// Bytes of the length before every body.
pub(crate) const LENGTH_PREFIX: usize = 4;
/// The longest header of a Data frame: prefix, tag, channel, flags, payload length.
pub(crate) const MAX_DATA_HEADER: usize = LENGTH_PREFIX + 1 + 5 + 1 + 5;
/// Payloads that small follow their header in the same buffer.
const COPIED_WITH_HEADER: usize = 4 * 1024;
/// The longest protocol name, in bytes.
pub(crate) const MAX_PROTOCOL_NAME: usize = 255;
/// The longest reason, in bytes.
pub(crate) const MAX_REASON: usize = 128;
/// The first bytes that tell our peers from strangers.
pub(crate) const MAGIC: [u8; 4] = *b"swir";

/// The payload completes a message.
pub(crate) const END_OF_MESSAGE: u8 = 1;
/// The sender is done with its direction of the channel.
pub(crate) const FINISH: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame<'a> {
    Data {
        channel: u32,
        flags: u8,
        #[serde(borrow)]
        payload: &'a [u8],
    },
    Open {
        channel: u32,
        window: u32,
        priority: u8,
        protocol: &'a str,
    },
    Accept {
        channel: u32,
        window: u32,
    },
    Credit {
        channel: u32,
        bytes: u32,
    },
    Stop {
        channel: u32,
        code: u32,
    },
    Reset {
        channel: u32,
        code: u32,
        reason: &'a str,
    },
    Ping {
        nonce: u64,
    },
    Pong {
        nonce: u64,
    },
    GoAway {
        last_channel: u32,
        code: u32,
        reason: &'a str,
    },
    Hello(Hello<'a>),
    Allow {
        channels: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello<'a> {
    pub(crate) magic: [u8; 4],
    pub(crate) min_version: u8,
    pub(crate) max_version: u8,
    pub(crate) max_frame: u32,
    pub(crate) max_message: u32,
    pub(crate) max_channels: u32,
    pub(crate) idle_timeout_ms: u32,
    pub(crate) capabilities: u64,
    #[serde(borrow)]
    pub(crate) tail: &'a [u8],
}

/// Why a body is not a frame: always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body ends inside a field.
    #[error("a frame ends inside a field")]
    Truncated,
    /// Bytes are left after the last field.
    #[error("a frame has {0} bytes after its last field")]
    Trailing(usize),
    /// A number is not in its one shortest encoding, or does not fit its field.
    #[error("a number in a frame is not in its shortest encoding or too large for its field")]
    Number,
    /// No frame of this version has the tag.
    #[error("unknown frame tag {0}")]
    UnknownTag(u32),
    /// A name or reason is longer than allowed.
    #[error("a text of {length} bytes in a frame, {max} are allowed")]
    TextTooLong {
        /// Bytes claimed.
        length: u64,
        /// Bytes allowed.
        max: usize,
    },
    /// A name or reason is not UTF-8.
    #[error("a text in a frame is not UTF-8")]
    NotUtf8,
    /// Flags that this version does not define.
    #[error("unknown flags {0:#x} in a Data frame")]
    UnknownFlags(u8),
}

impl<'a> Frame<'a> {
    /// Reads a whole body.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, FrameError> {
        let mut input = body;
        let frame = Self::take(&mut input)?;
        if input.is_empty() {
            Ok(frame)
        } else {
            Err(FrameError::Trailing(input.len()))
        }
    }

    #[inline]
    fn take(input: &mut &'a [u8]) -> Result<Self, FrameError> {
        Ok(match number(input)? {
            0 => {
                let channel = number(input)?;
                let flags = byte(input)?;
                if flags & !(END_OF_MESSAGE | FINISH) != 0 {
                    return Err(FrameError::UnknownFlags(flags));
                }
                let payload = bytes(input)?;
                Self::Data {
                    channel,
                    flags,
                    payload,
                }
            }
            1 => Self::Open {
                channel: number(input)?,
                window: number(input)?,
                priority: byte(input)?,
                protocol: text(input, MAX_PROTOCOL_NAME)?,
            },
            2 => Self::Accept {
                channel: number(input)?,
                window: number(input)?,
            },
            3 => Self::Credit {
                channel: number(input)?,
                bytes: number(input)?,
            },
            4 => Self::Stop {
                channel: number(input)?,
                code: number(input)?,
            },
            5 => Self::Reset {
                channel: number(input)?,
                code: number(input)?,
                reason: text(input, MAX_REASON)?,
            },
            6 => Self::Ping {
                nonce: long_number(input)?,
            },
            7 => Self::Pong {
                nonce: long_number(input)?,
            },
            8 => Self::GoAway {
                last_channel: number(input)?,
                code: number(input)?,
                reason: text(input, MAX_REASON)?,
            },
            9 => Self::Hello(Hello {
                magic: take_array(input)?,
                min_version: byte(input)?,
                max_version: byte(input)?,
                max_frame: number(input)?,
                max_message: number(input)?,
                max_channels: number(input)?,
                idle_timeout_ms: number(input)?,
                capabilities: long_number(input)?,
                tail: bytes(input)?,
            }),
            10 => Self::Allow {
                channels: number(input)?,
            },
            tag => return Err(FrameError::UnknownTag(tag)),
        })
    }

    /// Appends the length and the body.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u32(0);
        self.put(out);
        let body = out.len().saturating_sub(start + LENGTH_PREFIX);
        let length = u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(prefix) = out.get_mut(start..start + LENGTH_PREFIX) {
            prefix.copy_from_slice(&length);
        }
    }

    fn put(&self, out: &mut BytesMut) {
        match *self {
            Self::Data {
                channel,
                flags,
                payload,
            } => {
                out.put_u8(0);
                put_u32(out, channel);
                out.put_u8(flags);
                put_bytes(out, payload);
            }
            Self::Open {
                channel,
                window,
                priority,
                protocol,
            } => {
                out.put_u8(1);
                put_u32(out, channel);
                put_u32(out, window);
                out.put_u8(priority);
                put_bytes(out, protocol.as_bytes());
            }
            Self::Accept { channel, window } => put_two(out, 2, channel, window),
            Self::Credit { channel, bytes } => put_two(out, 3, channel, bytes),
            Self::Stop { channel, code } => put_two(out, 4, channel, code),
            Self::Reset {
                channel,
                code,
                reason,
            } => {
                put_two(out, 5, channel, code);
                put_bytes(out, reason.as_bytes());
            }
            Self::Ping { nonce } => {
                out.put_u8(6);
                put_u64(out, nonce);
            }
            Self::Pong { nonce } => {
                out.put_u8(7);
                put_u64(out, nonce);
            }
            Self::GoAway {
                last_channel,
                code,
                reason,
            } => {
                put_two(out, 8, last_channel, code);
                put_bytes(out, reason.as_bytes());
            }
            Self::Hello(ref hello) => {
                out.put_u8(9);
                out.put_slice(&hello.magic);
                out.put_u8(hello.min_version);
                out.put_u8(hello.max_version);
                put_u32(out, hello.max_frame);
                put_u32(out, hello.max_message);
                put_u32(out, hello.max_channels);
                put_u32(out, hello.idle_timeout_ms);
                put_u64(out, hello.capabilities);
                put_bytes(out, hello.tail);
            }
            Self::Allow { channels } => {
                out.put_u8(10);
                put_u32(out, channels);
            }
        }
    }
}

/// Appends all of a Data frame but its payload, which must follow.
#[inline]
pub(crate) fn put_data_header(out: &mut BytesMut, channel: u32, flags: u8, payload: usize) {
    let (header, used) = data_header(channel, flags, payload);
    out.reserve(used + payload.min(COPIED_WITH_HEADER));
    out.put_slice(header.get(..used).unwrap_or_default());
}

/// All of a Data frame but its payload, and how many bytes that are.
#[inline]
pub(crate) fn data_header(
    channel: u32,
    flags: u8,
    payload: usize,
) -> ([u8; MAX_DATA_HEADER], usize) {
    let mut header = [0; MAX_DATA_HEADER];
    let mut rest = header.as_mut_slice();
    let room = rest.len();
    rest.put_u32(0);
    rest.put_u8(0);
    put_u32(&mut rest, channel);
    rest.put_u8(flags);
    put_u64(&mut rest, payload as u64);
    let used = room - rest.len();
    let length = u32::try_from(used - LENGTH_PREFIX + payload).unwrap_or(u32::MAX);
    if let Some(prefix) = header.first_chunk_mut() {
        *prefix = length.to_be_bytes();
    }
    (header, used)
}

fn put_two(out: &mut BytesMut, tag: u8, first: u32, second: u32) {
    out.put_u8(tag);
    put_u32(out, first);
    put_u32(out, second);
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.put_slice(bytes);
}

#[inline]
fn byte(input: &mut &[u8]) -> Result<u8, FrameError> {
    let (&first, rest) = input.split_first().ok_or(FrameError::Truncated)?;
    *input = rest;
    Ok(first)
}

#[inline]
fn number(input: &mut &[u8]) -> Result<u32, FrameError> {
    take_u32(input).map_err(no_number)
}

#[inline]
fn long_number(input: &mut &[u8]) -> Result<u64, FrameError> {
    take_u64(input).map_err(no_number)
}

#[cold]
fn no_number(error: VarintError) -> FrameError {
    match error {
        VarintError::Truncated { .. } => FrameError::Truncated,
        VarintError::NotCanonical { .. } | VarintError::TooWide { .. } => FrameError::Number,
    }
}

#[inline]
fn bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], FrameError> {
    let length = long_number(input)?;
    let length = usize::try_from(length).map_err(|_| FrameError::Truncated)?;
    let (bytes, rest) = input
        .split_at_checked(length)
        .ok_or(FrameError::Truncated)?;
    *input = rest;
    Ok(bytes)
}

fn text<'a>(input: &mut &'a [u8], max: usize) -> Result<&'a str, FrameError> {
    let bytes = bytes(input)?;
    if bytes.len() > max {
        return Err(FrameError::TextTooLong {
            length: bytes.len() as u64,
            max,
        });
    }
    std::str::from_utf8(bytes).map_err(|_| FrameError::NotUtf8)
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], FrameError> {
    let (array, rest) = input.split_first_chunk().ok_or(FrameError::Truncated)?;
    *input = rest;
    Ok(*array)
}
