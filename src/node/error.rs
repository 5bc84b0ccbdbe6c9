use std::time::Duration;

use thiserror::Error;

use super::identity::PeerId;
use super::rejection::{Reason, Rejection};
use crate::codec::CodecError;
use crate::mux::{ChannelError, ConnectionError, OpenError};
use crate::transport::TransportError;

/// Why a node was not reached.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum DialError {
    /// No connection could be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Reaching it took too long.
    #[error("not reached within {after:?}, which is `dial_timeout`")]
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// It was reached, and the handshake came to nothing.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// As many peers are dialed as may be: disconnect one, or raise the limit.
    #[error("{most} peers are dialed already, which is `outbound`")]
    Full {
        /// The limit.
        most: usize,
    },
    /// This node has been shut down.
    #[error("the node has been shut down")]
    Stopped,
}

impl From<HandshakeError> for DialError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Refused(refused) if *refused.reason() == Reason::Stopping => {
                Self::Stopped
            }
            error => Self::Handshake(error),
        }
    }
}

/// Why two nodes did not become peers.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The other node did not want this one.
    #[error("the other node refused: {0}")]
    Rejected(Rejection),
    /// This node did not want the other.
    #[error("the other node was refused here: {0}")]
    Refused(Rejection),
    /// The other end does not speak the protocol of nodes.
    #[error("the other end said something that is no part of the handshake")]
    Malformed,
    /// The other end was too slow.
    #[error("not done within {after:?}, which is `handshake_timeout`")]
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// What this node says of itself is too long, or cannot be encoded.
    #[error("what the application says of itself cannot be sent: {0}")]
    Hello(CodecError),
    /// The connection ended.
    #[error("the connection ended in the handshake: {0}")]
    Connection(ConnectionError),
    /// The channel of the handshake ended.
    #[error("the handshake was cut short: {0}")]
    Channel(ChannelError),
    /// The channel of the handshake could not be opened.
    #[error("the handshake could not begin: {0}")]
    Open(OpenError),
}

impl From<CodecError> for HandshakeError {
    fn from(cause: CodecError) -> Self {
        Self::Hello(cause)
    }
}

impl From<ConnectionError> for HandshakeError {
    fn from(cause: ConnectionError) -> Self {
        Self::Connection(cause)
    }
}

impl From<ChannelError> for HandshakeError {
    fn from(cause: ChannelError) -> Self {
        Self::Channel(cause)
    }
}

impl From<OpenError> for HandshakeError {
    fn from(cause: OpenError) -> Self {
        Self::Open(cause)
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// There is no such peer, or it has gone before the message had gone to it.
    #[error("peer {0} is not connected")]
    NotConnected(PeerId),
    /// The message cannot be encoded, or is too large.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// This node has been shut down.
    #[error("the node has been shut down")]
    Stopped,
}
