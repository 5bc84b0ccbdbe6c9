use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::codec::CodecError;
use crate::mux::{ChannelError, Code, ConnectionError, OpenError};

/// Why a session ended before its end. The connection and its other sessions go on, but after
/// [`Connection`](Self::Connection).
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer did not take the session: it does not know the protocol, or by another table, or has
    /// no room now.
    #[error("the peer refused the session: {code}{}", in_brackets(reason))]
    Refused {
        /// The peer's code.
        code: Code,
        /// The peer's words, possibly empty.
        reason: Arc<str>,
    },
    /// The peer ended the session: aborted it, dropped it, or found fault with a message of this end.
    #[error("the peer ended the session: {code}{}", in_brackets(reason))]
    Reset {
        /// The peer's code.
        code: Code,
        /// The peer's words, possibly empty.
        reason: Arc<str>,
    },
    /// This end gave the session up, or did not accept it.
    #[error("the session was ended here: {code}{}", in_brackets(reason))]
    Aborted {
        /// The code that the peer is told.
        code: Code,
        /// The reason that the peer is told.
        reason: Arc<str>,
    },
    /// The peer says that nothing follows, where something must.
    #[error("the peer finished in state `{state}`, which is not the end")]
    Finished {
        /// The state of the session.
        state: &'static str,
    },
    /// The deadline passed: no message of the peer came, or it made no room for one of this end.
    #[error("nothing moved in state `{state}` within {limit:?}")]
    TimedOut {
        /// The state of the session.
        state: &'static str,
        /// The time that there was.
        limit: Duration,
    },
    /// The peer sent a message that the state does not have.
    #[error("the peer sent a message with tag {tag}, which state `{state}` does not have")]
    Unexpected {
        /// The state of the session.
        state: &'static str,
        /// The message's tag.
        tag: u8,
    },
    /// The peer sent a message without even a tag.
    #[error("the peer sent an empty message in state `{state}`")]
    Untagged {
        /// The state of the session.
        state: &'static str,
    },
    /// The peer sent a message that is larger than the state allows.
    #[error(
        "the peer sent a message with tag {tag} of {length} bytes in state `{state}`, {max} are \
         allowed: raise the size in the table if it means well"
    )]
    TooLarge {
        /// The state of the session.
        state: &'static str,
        /// The message's tag.
        tag: u8,
        /// Its bytes, without the tag.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The peer sent a message that is no encoding of its type.
    #[error(
        "the peer sent a message with tag {tag} in state `{state}` that cannot be decoded: {cause}"
    )]
    Undecodable {
        /// The state of the session.
        state: &'static str,
        /// The message's tag.
        tag: u8,
        /// What is wrong with it.
        cause: CodecError,
    },
    /// The message to send is larger than the state, or one of the two ends, allows.
    #[error(
        "a message with tag {tag} of {length} bytes or more in state `{state}`, {max} are allowed"
    )]
    TooLargeToSend {
        /// The state of the session.
        state: &'static str,
        /// The message's tag.
        tag: u8,
        /// Its bytes without the tag, or the least that they can be.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The message to send cannot be encoded.
    #[error("a message with tag {tag} in state `{state}` cannot be encoded: {cause}")]
    Unencodable {
        /// The state of the session.
        state: &'static str,
        /// The message's tag.
        tag: u8,
        /// What is wrong with it.
        cause: CodecError,
    },
    /// The session could not be opened.
    #[error(transparent)]
    NotOpened(OpenError),
    /// The whole connection ended.
    #[error("the connection ended: {0}")]
    Connection(ConnectionError),
}

impl From<ConnectionError> for SessionError {
    fn from(cause: ConnectionError) -> Self {
        Self::Connection(cause)
    }
}

impl SessionError {
    /// Whether opening the session again may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: Code::REFUSED | Code::SHUTDOWN,
                ..
            }
        )
    }

    /// What the peer is told, if it does not know.
    pub(super) fn last_word(&self) -> Option<Code> {
        match self {
            Self::Refused { .. }
            | Self::Reset { .. }
            | Self::Aborted { .. }
            | Self::NotOpened(_)
            | Self::Connection(_) => None,
            Self::TimedOut { .. } => Some(Code::TIMED_OUT),
            Self::Unexpected { .. } | Self::Untagged { .. } | Self::Finished { .. } => {
                Some(Code::UNEXPECTED)
            }
            Self::TooLarge { .. } => Some(Code::TOO_LARGE),
            Self::Undecodable { .. } => Some(Code::UNDECODABLE),
            Self::TooLargeToSend { .. } | Self::Unencodable { .. } => Some(Code::ABORTED),
        }
    }

    /// What ended the channel below, in a state.
    pub(super) fn from_channel(error: ChannelError, state: &'static str) -> Self {
        match error {
            ChannelError::Connection(error) => Self::Connection(error),
            ChannelError::Refused { code, reason } => Self::Refused { code, reason },
            ChannelError::ResetByPeer { code, reason } => Self::Reset { code, reason },
            ChannelError::ResetHere { code, reason } => Self::Aborted { code, reason },
            ChannelError::Stopped(code) => Self::Reset {
                code,
                reason: "".into(),
            },
            ChannelError::Finished | ChannelError::TooLarge { .. } | ChannelError::Codec(_) => {
                Self::Finished { state }
            }
        }
    }
}

impl From<OpenError> for SessionError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Connection(error) => Self::Connection(error),
            error => Self::NotOpened(error),
        }
    }
}

/// What a handler's failure comes to: by itself, only its session is over.
///
/// Every error turns into it with `?`. [`ending_connection`](Self::ending_connection) takes the
/// connection down as well, for a peer with which nothing more is to be done.
///
/// ```
/// use sessionwire::Code;
/// use sessionwire::session::Fault;
///
/// fn check(signature: &str) -> Result<u32, Fault> {
///     if signature.is_empty() {
///         let fault = Fault::from(std::io::Error::other("a block without a signature"));
///         return Err(fault.ending_connection(Code::application(1)));
///     }
///     Ok(signature.parse()?) // a fault of this session alone
/// }
/// assert_eq!(check("").unwrap_err().ends_connection(), Some(Code::application(1)));
/// assert_eq!(check("?").unwrap_err().ends_connection(), None);
/// ```
pub struct Fault {
    error: Box<dyn std::error::Error + Send + Sync>,
    ends_connection: Option<Code>,
}

impl Fault {
    /// Lets the fault end the connection: the peer is told `code`, and the error's text as the reason
    /// (at most 128 bytes of it).
    #[must_use]
    pub fn ending_connection(mut self, code: Code) -> Self {
        self.ends_connection = Some(code);
        self
    }

    /// The code that the connection is to end with, if it is.
    pub fn ends_connection(&self) -> Option<Code> {
        self.ends_connection
    }

    /// What happened.
    pub fn error(&self) -> &(dyn std::error::Error + Send + Sync) {
        &*self.error
    }
}

impl<Error: std::error::Error + Send + Sync + 'static> From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            error: Box::new(error),
            ends_connection: None,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Fault")
            .field("error", &self.error)
            .field("ends_connection", &self.ends_connection)
            .finish()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

fn in_brackets(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}
