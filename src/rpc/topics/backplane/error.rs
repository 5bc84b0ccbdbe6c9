use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::transport::TransportError;

/// What is wrong with a backplane.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum BackplaneError {
    /// It could not be reached.
    #[error("the backplane could not be reached: {0}")]
    Unreachable(TransportError),
    /// The connection to it was lost.
    #[error("the connection to the backplane was lost: {0}")]
    Io(Arc<io::Error>),
    /// It did not answer in time.
    #[error("the backplane did not answer in time")]
    TimedOut,
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
