//! What can go wrong between bytes and values.

use std::io;
use std::sync::Arc;

use super::VarintError;

/// Why a message could not be encoded or decoded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value to send is larger than a message may be. Nothing was written.
    #[error(
        "the message to send takes {at_least} bytes or more and the limit is {limit}: send it in \
         parts, or raise max_message_size on both ends"
    )]
    TooLargeToSend {
        /// The encoded bytes counted when encoding was given up: the whole may be larger.
        at_least: usize,
        /// The limit in bytes.
        limit: usize,
    },

    /// The peer announced or sent a body larger than a message may be.
    #[error(
        "the peer sent a message of {length} bytes and the limit is {limit}: raise \
         max_message_size if it means well"
    )]
    TooLargeReceived {
        /// The announced length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },

    /// The peer's message is small enough on the wire, but its value takes too much memory.
    #[error(
        "the peer's message needs {needed} bytes of memory or more to decode and {limit} are \
         allowed, which is 4 times max_message_size: raise it if the peer means well"
    )]
    MemoryLimit {
        /// The bytes needed when decoding was given up: the whole may need more.
        needed: usize,
        /// The bytes allowed.
        limit: usize,
    },

    /// The peer's message nests values too deeply.
    #[error(
        "the peer's message nests values more than {limit} levels deep: send the structure flat"
    )]
    TooDeep {
        /// The levels allowed.
        limit: u32,
    },

    /// The peer's message goes on after the value.
    #[error(
        "the peer's message has {left} bytes left after the value: both ends must use the same \
         type"
    )]
    TrailingBytes {
        /// The bytes left over.
        left: usize,
    },

    /// The peer's message is not an encoding of the expected type.
    #[error("the peer's message is not a value of the expected type: {reason}")]
    Malformed {
        /// What was found, cut to some 200 bytes.
        reason: Box<str>,
    },

    /// The value to send does not let itself be encoded. Nothing was written.
    #[error("the value to send cannot be encoded: {reason}")]
    Unserializable {
        /// What its `Serialize` implementation or bincode said.
        reason: Box<str>,
    },

    /// The type asks for something that the format does not carry, whatever the peer sends.
    #[error(
        "the type cannot be decoded from bincode, which carries no names or types ({reason}): \
         remove serde attributes such as flatten, untagged and tag"
    )]
    UnsupportedType {
        /// What bincode said.
        reason: Box<str>,
    },

    /// The stream ended inside a message.
    #[error(
        "the stream was cut inside a message, {received} bytes into it: the peer or the network \
         closed it too early"
    )]
    Truncated {
        /// The bytes of the message that had arrived, with its length prefix.
        received: usize,
    },

    /// The peer's integer is not encoded as it must be.
    #[error(transparent)]
    Varint(#[from] VarintError),

    /// The stream below failed.
    #[error("the stream below the codec failed: {0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for CodecError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// Keeps the kind of an error from the stream below; a cut stream is
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), our own value's faults are
/// [`InvalidInput`](io::ErrorKind::InvalidInput), and all else is
/// [`InvalidData`](io::ErrorKind::InvalidData).
impl From<CodecError> for io::Error {
    fn from(error: CodecError) -> Self {
        let kind = match &error {
            CodecError::Io(inner) => inner.kind(),
            CodecError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            CodecError::TooLargeToSend { .. } | CodecError::Unserializable { .. } => {
                io::ErrorKind::InvalidInput
            }
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
