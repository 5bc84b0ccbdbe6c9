use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::mux::{Code, ConnectionError};
use crate::transport::TransportError;

/// Why a link is down and stays down.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It was closed here: by [`close`](super::Link::close), or because its last handle was dropped.
    #[error("the link was closed here")]
    Closed,
    /// Its connection ended, and it makes no other.
    #[error("the connection of the link ended: {0}")]
    Ended(ConnectionError),
    /// No connection could be made, and it tries no more: because another attempt could not mend it, or
    /// [`max_attempts`](super::LinkConfig::max_attempts) were made.
    #[error("attempt {attempts} to make a connection failed, and no other is made: {last}")]
    Unreachable {
        /// How often it was tried since the last connection that was stable.
        attempts: u32,
        /// What went wrong with the last attempt.
        last: LinkFailure,
    },
    /// The runtime dropped its task, or a dialer panicked: make a new link.
    #[error("the task of the link was dropped or panicked; make a new link")]
    Abandoned,
}

/// An attempt to make a connection that failed, or a connection that is of no more use: where, and why.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinkFailure {
    /// The [name](super::Dialer::name) of what was dialled: of an endpoint, its text without the query.
    pub target: Option<Arc<str>>,
    /// What went wrong.
    pub error: DialError,
}

/// Why an attempt to make a connection failed, or why a connection is of no more use.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The transport could not be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The attempt took too long.
    #[error(
        "no connection within {after:?}; check the network and that the other end speaks this transport, or raise `attempt_timeout`"
    )]
    TimedOut {
        /// The limit that passed.
        after: Duration,
    },
    /// The connection takes no more channels, and those that are open may go on.
    #[error(
        "the connection takes no more channels: one of the ends drains it, as when it is shut down, or its channel numbers are used up"
    )]
    Retired,
    /// What a [`Dialer`](super::Dialer) of the program's own says.
    #[error(transparent)]
    Other(Arc<dyn Error + Send + Sync>),
}

impl DialError {
    /// An error of one's own.
    pub fn other(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other(error.into().into())
    }

    /// Whether someone must change something before another attempt can succeed: an endpoint, header or proxy
    /// that cannot be used, a certificate, a TLS handshake that was refused, an HTTP status of 400 to
    /// 499 (but 408, 425 and 429), also of a proxy that is dialled through (but 404 too), no common version.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Transport(error) => is_transport_fatal(error),
            Self::Connection(error) => is_connection_fatal(error),
            Self::TimedOut { .. } | Self::Retired | Self::Other(_) => false,
        }
    }
}

impl From<DialError> for LinkFailure {
    fn from(error: DialError) -> Self {
        let target = None;
        Self { target, error }
    }
}

/// Many errors name the endpoint themselves.
impl fmt::Display for LinkFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        if let Some(target) = self.target.as_ref().filter(|name| !text.contains(&***name)) {
            write!(formatter, "{target}: ")?;
        }
        formatter.write_str(&text)
    }
}

impl Error for LinkFailure {}

fn is_transport_fatal(error: &TransportError) -> bool {
    match error {
        TransportError::InvalidEndpoint { .. }
        | TransportError::Unsupported { .. }
        | TransportError::InvalidHeader { .. }
        | TransportError::InvalidProxy { .. }
        | TransportError::TlsSetup { .. }
        | TransportError::Certificate { .. } => true,
        TransportError::TlsRefused { alert, .. } => {
            !["CloseNotify", "InternalError", "UserCanceled"].contains(&alert.as_str())
        }
        TransportError::Refused { status, .. } => is_status_fatal(*status),
        // Some proxies say 404 of a host that they cannot look up, as in a network that is down.
        TransportError::ProxyRefused { status, .. } => *status != 404 && is_status_fatal(*status),
        TransportError::Proxy { cause, .. } => is_transport_fatal(cause),
        _ => false,
    }
}

fn is_status_fatal(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 425, 429].contains(&status)
}

fn is_connection_fatal(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::Version { .. }
            | ConnectionError::ClosedByPeer {
                code: Code::VERSION,
                ..
            }
    )
}

/// The words about it at the end of a message.
pub(in crate::rpc) fn because(why: Option<&LinkFailure>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}
