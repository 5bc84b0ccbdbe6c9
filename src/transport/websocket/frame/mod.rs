//! The frames of RFC 6455, without I/O: bytes that came in go in, payload and what else was heard
//! come out.

use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, OpCode};

pub use self::close::WsClose;
pub(super) use self::mask::Mask;
pub(super) use self::receive::{End, Heard, Receiver};

mod close;
mod mask;
mod receive;
#[cfg(test)]
mod tests;

/// Bytes of the longest header: two, eight of length, four of a mask.
pub(super) const MAX_HEADER: usize = 14;
/// Bytes of the longest payload of a ping, a pong or a Close.
pub(super) const MAX_CONTROL: usize = 125;

/// Which end of a WebSocket this is: a client masks what it sends (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WsRole {
    /// It asked for the upgrade.
    Client,
    /// It granted it.
    Server,
}

/// How a peer broke the protocol, or a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    #[error("reserved bits are set, but no extension was agreed on")]
    ReservedBits,
    #[error("a frame has an unknown opcode")]
    Opcode,
    #[error("a client must mask its frames")]
    Unmasked,
    #[error("a server must not mask its frames")]
    Masked,
    #[error("a length is not in its shortest form, or above 2^63")]
    Length,
    #[error("a ping, pong or close is in fragments")]
    ControlInFragments,
    #[error("a ping, pong or close has {0} bytes where at most 125 are allowed")]
    ControlTooLong(u64),
    #[error("a message begins before the last one has ended")]
    MessageWithin,
    #[error("a continuation has nothing to continue")]
    NothingToContinue,
    #[error("a close has a payload of one byte")]
    CloseCut,
    #[error("{0} is no code that a close may have")]
    CloseCode(u16),
    #[error("text or the reason of a close is not UTF-8")]
    NotUtf8,
    #[error("it sent a text message where only binary ones belong")]
    Text,
    #[error(
        "it sent a message of {length} bytes or more where at most {max} are allowed; let it send \
         smaller ones or raise {setting}"
    )]
    TooLong {
        length: u64,
        max: u64,
        setting: &'static str,
    },
}

impl Breach {
    /// What the peer is told (RFC 6455 §7.4.1).
    pub(super) fn code(&self) -> CloseCode {
        match self {
            Self::Text => CloseCode::Unsupported,
            Self::NotUtf8 => CloseCode::Invalid,
            Self::TooLong { .. } => CloseCode::Size,
            _ => CloseCode::Protocol,
        }
    }
}

/// A header as it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

impl Header {
    /// Of a frame that is a whole message, or a control frame.
    pub(super) fn new(opcode: OpCode, length: usize, mask: Option<Mask>) -> Self {
        let header = FrameHeader {
            opcode,
            mask: mask.map(Mask::key),
            ..FrameHeader::default()
        };
        let mut bytes = [0; MAX_HEADER];
        let length = length as u64;
        header
            .format(length, &mut bytes.as_mut_slice())
            .expect("no header is longer");
        Self {
            bytes,
            length: header.len(length),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
