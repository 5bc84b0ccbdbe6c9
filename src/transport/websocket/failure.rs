use std::io;

use async_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Why nothing can be read any more; every further read tells it again.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: io::ErrorKind,
    pub(super) message: String,
    /// What the peer is told, if it is its fault.
    pub(super) code: Option<CloseCode>,
}

impl Failure {
    pub(super) fn text() -> Self {
        Self {
            kind: io::ErrorKind::InvalidData,
            message: "the peer sent a websocket text message where only binary ones belong".into(),
            code: Some(CloseCode::Unsupported),
        }
    }

    pub(super) fn truncated() -> Self {
        Self {
            kind: io::ErrorKind::UnexpectedEof,
            message: "the peer vanished without a websocket close; what was read may be cut short"
                .into(),
            code: None,
        }
    }

    pub(super) fn discarded() -> Self {
        Self {
            kind: io::ErrorKind::ConnectionAborted,
            message: "data that came in while this end closed the websocket was discarded".into(),
            code: None,
        }
    }

    pub(super) fn to_io(&self) -> io::Error {
        io::Error::new(self.kind, self.message.clone())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let invalid = |message, code| Self {
            kind: io::ErrorKind::InvalidData,
            message,
            code: Some(code),
        };
        match error {
            Error::Io(error) => Self {
                kind: error.kind(),
                message: error.to_string(),
                code: None,
            },
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | Error::ConnectionClosed
            | Error::AlreadyClosed => Self::truncated(),
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => invalid(
                format!(
                    "the peer sent a websocket message of {size} bytes where at most {max_size} are \
                     allowed; let it send smaller ones or raise max_message"
                ),
                CloseCode::Size,
            ),
            Error::Utf8(_) => invalid("the peer sent malformed text".into(), CloseCode::Invalid),
            other => invalid(
                format!("the peer broke the websocket protocol: {other}"),
                CloseCode::Protocol,
            ),
        }
    }
}

/// The error of a write: reading tells the cause, if there is one.
pub(super) fn write_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::SendAfterClosing) => closed(),
        other => io::Error::other(other),
    }
}

pub(super) fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the websocket is closed and takes no more data; open a new connection",
    )
}
