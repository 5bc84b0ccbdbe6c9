use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::rpc::link::DialError;
use crate::transport::TransportError;

/// What is wrong with a backplane.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum BackplaneError {
    /// Its address cannot be used. The error does not repeat it, as there may be a password in it.
    #[error(
        "the address of the backplane cannot be used: {problem}; write it like redis://user:password@host:6379/0, rediss:// for TLS or redis+unix:///path?db=0 for a socket, with what is special in user and password percent-encoded"
    )]
    InvalidAddress {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It could not be reached.
    #[error("the backplane could not be reached: {0}")]
    Unreachable(TransportError),
    /// The connection to it was lost.
    #[error("the connection to the backplane was lost: {0}")]
    Io(Arc<io::Error>),
    /// It was asked, and did not answer in time.
    #[error("the backplane did not answer within {after:?}; check what it is busy with")]
    TimedOut {
        /// The limit that passed.
        after: Duration,
    },
    /// It was not asked, as it was busy with others or could not be reached for too long.
    #[error(
        "the backplane was not asked within {after:?}: it is slow, or cannot be reached; publish less at once, or wait longer"
    )]
    NotSent {
        /// The limit that passed.
        after: Duration,
    },
    /// It does not let this program in.
    #[error(
        "the backplane refused the login: {0}; give it the user and the password that it knows"
    )]
    LoginRefused(Arc<str>),
    /// It does not let this program use the database.
    #[error("the backplane refused database {database}: {words}; choose one that it has")]
    DatabaseRefused {
        /// The number of the database.
        database: u32,
        /// What it said.
        words: Arc<str>,
    },
    /// The user that this program logged in as may not do what is needed.
    #[error(
        "the backplane forbids this to the user: {0}; allow it by ACL SETUSER, as `RedisConfig::login` says"
    )]
    Forbidden(Arc<str>),
    /// It is a copy, which can only be read.
    #[error("the backplane can only be read: {0}; connect to the primary")]
    ReadOnly(Arc<str>),
    /// It has not got its data yet.
    #[error("the backplane is not ready: {0}; try again in a moment")]
    NotReady(Arc<str>),
    /// It is one of several servers, and the topic belongs to another.
    #[error(
        "the topic belongs to another server of a cluster: {0}; use a server that is not part of a cluster"
    )]
    Clustered(Arc<str>),
    /// It refused what it was asked.
    #[error("the backplane refused: {0}")]
    Refused(Arc<str>),
    /// It said something that cannot be understood: is it what it is taken for?
    #[error("the backplane answered what it cannot have: {0}")]
    Unexpected(&'static str),
    /// It has as many topics as it may.
    #[error("the backplane has {limit} topics already, more are not allowed")]
    TooManyTopics {
        /// The limit.
        limit: usize,
    },
}

impl BackplaneError {
    /// Whether an item may have been published all the same: it was sent, and the answer did not come, or
    /// was not understood. After any other error it was not.
    pub fn may_have_been_published(&self) -> bool {
        matches!(
            self,
            Self::Io(_) | Self::TimedOut { .. } | Self::Unexpected(_)
        )
    }

    /// Whether someone must change something before another attempt can succeed: an address, a
    /// certificate, a login, what a user may do, which server it is.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Unreachable(error) => DialError::from(error.clone()).is_fatal(),
            Self::InvalidAddress { .. }
            | Self::LoginRefused(_)
            | Self::DatabaseRefused { .. }
            | Self::Forbidden(_)
            | Self::Clustered(_) => true,
            _ => false,
        }
    }
}

impl From<io::Error> for BackplaneError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<TransportError> for BackplaneError {
    fn from(cause: TransportError) -> Self {
        Self::Unreachable(cause)
    }
}
