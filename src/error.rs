use thiserror::Error;

use crate::codec::CodecError;
use crate::mux::{ChannelError, ConnectionError, OpenError, SendError};
use crate::node::{DialError, NodeError};
use crate::session::SessionError;
use crate::transport::TransportError;

/// Any error of this crate, for programs that treat them alike.
///
/// Each layer has its own error, which says more; all of them turn into this one with `?`.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum Error {
    /// No stream of bytes could be had.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A value could not be encoded, or bytes not decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A channel could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A channel cannot go on.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A session ended before its end.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A node was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A node could not send a message.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Channel(error.error)
    }
}
