use std::io;

use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::frame::Breach;

/// Why nothing can be read any more; every further read tells it again.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: io::ErrorKind,
    message: String,
    /// What the peer is told, if it is its fault.
    pub(super) code: Option<CloseCode>,
}

impl Failure {
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

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
            code: None,
        }
    }
}

impl From<Breach> for Failure {
    fn from(breach: Breach) -> Self {
        Self {
            kind: io::ErrorKind::InvalidData,
            message: format!("the peer broke the websocket protocol: {breach}"),
            code: Some(breach.code()),
        }
    }
}

/// The error of a write: reading tells the cause, if there is one.
pub(super) fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the websocket is closed and takes no more data; open a new connection",
    )
}

pub(super) fn takes_nothing() -> io::Error {
    io::Error::new(
        io::ErrorKind::WriteZero,
        "the stream below the websocket takes no more bytes",
    )
}
