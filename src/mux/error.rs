use std::io;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::code::Code;
use super::frame::FrameError;

/// Why a connection ended. Every handle of the connection reports the same.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The transport failed, or ended without a goodbye.
    #[error("the transport failed: {0}")]
    Io(Arc<io::Error>),
    /// The peer broke the rules of the protocol; it has been told.
    #[error("the peer broke the protocol: {0}")]
    PeerMisbehaved(Violation),
    /// The peer closed the connection and said why.
    #[error("the peer closed the connection: {code}{}", reason_text(reason))]
    ClosedByPeer {
        /// The peer's code.
        code: Code,
        /// The peer's words, possibly empty.
        reason: Arc<str>,
    },
    /// This end closed the connection.
    #[error("the connection was closed here: {code}{}", reason_text(reason))]
    ClosedHere {
        /// The code that the peer was told.
        code: Code,
        /// The reason that the peer was told.
        reason: Arc<str>,
    },
    /// The two ends speak different versions of the protocol: upgrade the older one.
    #[error("no common protocol version: the peer speaks {min} to {max}, this end only 1")]
    Version {
        /// The lowest version of the peer.
        min: u8,
        /// The highest version of the peer.
        max: u8,
    },
    /// Something took too long.
    #[error("timed out: {0}")]
    TimedOut(Timeout),
    /// The driver of the connection was dropped before the connection had ended. Spawn it, or poll
    /// it to its end.
    #[error("the driver of the connection was dropped")]
    DriverDropped,
}

impl From<Violation> for ConnectionError {
    fn from(cause: Violation) -> Self {
        Self::PeerMisbehaved(cause)
    }
}

impl ConnectionError {
    /// Whether the connection ended as someone wanted it to, here or there.
    pub fn is_clean(&self) -> bool {
        matches!(
            self,
            Self::ClosedByPeer {
                code: Code::NONE,
                ..
            } | Self::ClosedHere {
                code: Code::NONE,
                ..
            }
        )
    }

    /// What the peer is told, if there is still somebody to tell.
    pub(crate) fn goodbye(&self) -> Option<(Code, String)> {
        match self {
            Self::Io(_) | Self::ClosedByPeer { .. } | Self::DriverDropped => None,
            Self::PeerMisbehaved(violation) => Some((violation.code(), violation.to_string())),
            Self::ClosedHere { code, reason } => Some((*code, reason.to_string())),
            Self::Version { .. } => Some((Code::VERSION, self.to_string())),
            Self::TimedOut(timeout) => Some((Code::TIMED_OUT, timeout.to_string())),
        }
    }
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// What took too long, and which limit says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Timeout {
    /// The peer did not introduce itself: is it a sessionwire peer at all?
    #[error("no hello from the peer within `hello_timeout`")]
    Hello,
    /// The peer sent nothing, not even an answer to a ping.
    #[error("the peer was silent for `idle_timeout`")]
    Silence,
    /// The transport took no byte: the peer has stopped reading.
    #[error("the peer took no byte for `write_timeout`")]
    Write,
    /// Channels were still open when the time to drain was up; they were cut.
    #[error("channels were still open when the time to drain was up")]
    Drain,
}

/// Which rule of the protocol a peer broke.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The first bytes are no hello of ours: another protocol speaks there.
    #[error(
        "the first frame is not a sessionwire hello: do both ends use the same kind of endpoint, such as tcp:// or wss://?"
    )]
    NotSessionwire,
    /// A second hello.
    #[error("a second hello")]
    HelloTwice,
    /// A hello with limits below what every peer must offer.
    #[error("a hello with {0} below the least allowed")]
    HelloLimit(&'static str),
    /// A frame longer than this end takes.
    #[error("a frame of {length} bytes, {max} are allowed")]
    FrameTooLarge {
        /// Bytes claimed.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A frame that cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// More bytes on a channel than credit was given for.
    #[error("{cost} of cost on channel {channel}, the credit was {credit}")]
    Credit {
        /// The channel's number.
        channel: u32,
        /// The frame's cost: its payload and 32.
        cost: u32,
        /// What was left.
        credit: u32,
    },
    /// More credit than fits.
    #[error("credit on channel {0} beyond the largest window")]
    CreditOverflow(u32),
    /// A channel number that cannot be opened by that side, or was used before.
    #[error("channel number {0} cannot be opened")]
    ChannelNumber(u32),
    /// A frame for a channel that nobody opened.
    #[error("a frame for channel {0}, which was never opened")]
    UnknownChannel(u32),
    /// More channels than this end allowed.
    #[error("more than {0} channels opened")]
    TooManyChannels(u32),
    /// A frame that cannot follow what went before on the channel.
    #[error("{what} on channel {channel}")]
    OutOfOrder {
        /// The channel's number.
        channel: u32,
        /// What came.
        what: &'static str,
    },
    /// Too many frames without use.
    #[error("too many frames without use")]
    Abuse,
}

impl Violation {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Credit { .. } | Self::CreditOverflow(_) => Code::FLOW_CONTROL,
            Self::Abuse => Code::CALM,
            _ => Code::PROTOCOL_ERROR,
        }
    }
}

/// Why a channel cannot go on.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The whole connection ended.
    #[error("the connection ended: {0}")]
    Connection(ConnectionError),
    /// The peer did not accept the channel; with [`Code::REFUSED`] a later attempt may succeed.
    #[error("the peer refused the channel: {code}{}", reason_text(reason))]
    Refused {
        /// The peer's code.
        code: Code,
        /// The peer's words, possibly empty.
        reason: Arc<str>,
    },
    /// The peer reset the channel.
    #[error("the peer reset the channel: {code}{}", reason_text(reason))]
    ResetByPeer {
        /// The peer's code.
        code: Code,
        /// The peer's words, possibly empty.
        reason: Arc<str>,
    },
    /// This end reset the channel.
    #[error("the channel was reset here: {code}{}", reason_text(reason))]
    ResetHere {
        /// The code that the peer was told.
        code: Code,
        /// The reason that the peer was told.
        reason: Arc<str>,
    },
    /// The peer reads no more messages of this channel.
    #[error("the peer reads no more of the channel: {0}")]
    Stopped(Code),
    /// This end has finished sending; nothing can follow.
    #[error("sending after the channel was finished")]
    Finished,
    /// The message is larger than one of the two ends allows.
    #[error(
        "a message of {length} bytes, {max} are allowed: raise `max_message_size` on both ends"
    )]
    TooLarge {
        /// Bytes of the message, or the least they can be.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A value could not be encoded, or a message not decoded.
    #[error(transparent)]
    Codec(#[from] crate::codec::CodecError),
}

impl From<ConnectionError> for ChannelError {
    fn from(cause: ConnectionError) -> Self {
        Self::Connection(cause)
    }
}

impl ChannelError {
    /// Whether opening the channel again may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: Code::REFUSED | Code::SHUTDOWN,
                ..
            }
        )
    }

    pub(crate) fn reset_here(code: Code, reason: &str) -> Self {
        Self::ResetHere {
            code,
            reason: reason.into(),
        }
    }
}

impl From<ChannelError> for io::Error {
    fn from(error: ChannelError) -> Self {
        let kind = match &error {
            ChannelError::Connection(ConnectionError::TimedOut(_)) => io::ErrorKind::TimedOut,
            ChannelError::Connection(_) => io::ErrorKind::ConnectionAborted,
            ChannelError::Refused { .. } => io::ErrorKind::ConnectionRefused,
            ChannelError::ResetByPeer { .. } | ChannelError::ResetHere { .. } => {
                io::ErrorKind::ConnectionReset
            }
            ChannelError::Stopped(_) | ChannelError::Finished => io::ErrorKind::BrokenPipe,
            ChannelError::TooLarge { .. } | ChannelError::Codec(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// A message that was not sent, and why.
#[derive(Debug, Clone, Error)]
#[error("a message was not sent: {error}")]
pub struct SendError {
    /// What became of the channel.
    pub error: ChannelError,
    /// The message.
    pub message: Bytes,
}

impl From<SendError> for ChannelError {
    fn from(error: SendError) -> Self {
        error.error
    }
}

/// Why a channel could not be opened.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The connection ended.
    #[error("the connection ended: {0}")]
    Connection(ConnectionError),
    /// One of the two ends is draining: dial again and open there.
    #[error("the connection is draining: open on a new one")]
    Draining,
    /// All channel numbers of this connection are used: dial again and open there.
    #[error("all channel numbers of this connection are used: open on a new one")]
    NumbersExhausted,
    /// The protocol's name is longer than 255 bytes.
    #[error("a protocol name of {0} bytes, 255 are allowed")]
    NameTooLong(usize),
}

impl From<ConnectionError> for OpenError {
    fn from(cause: ConnectionError) -> Self {
        Self::Connection(cause)
    }
}

pub(crate) fn reason_text(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}
