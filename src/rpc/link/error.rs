use thiserror::Error;

use crate::mux::ConnectionError;
use crate::transport::TransportError;

/// Why a link is down and stays down.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It was closed here.
    #[error("the link was closed here")]
    Closed,
    /// Its connection ended, and it makes no other.
    #[error("the connection of the link ended")]
    Ended(#[source] ConnectionError),
    /// No connection could be made, and it tries no more.
    #[error("no connection could be made, in {attempts} attempts")]
    Unreachable {
        /// How often it was tried since the link was last up.
        attempts: u32,
        /// What went wrong with the last attempt.
        #[source]
        last: TransportError,
    },
}
