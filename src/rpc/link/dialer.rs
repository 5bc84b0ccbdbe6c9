use crate::mux::{Config, Connection, connect_with};
use crate::runtime::{MaybeSend, MaybeSync};
use crate::transport::{Endpoint, TransportConfig, TransportError};

use super::error::DialError;

/// Makes the connections of a [`Link`](super::Link): for streams of one's own, and for tests.
///
/// ```
/// use sessionwire::rpc::{Attempt, DialError, Dialer, Link, LinkConfig};
/// use sessionwire::{Connection, ConnectionError};
///
/// struct Home;
///
/// impl Dialer for Home {
///     async fn dial(&self, _attempt: Attempt) -> Result<Connection, DialError> {
///         Ok(sessionwire::connect("tcp://192.168.0.2:9000").await?)
///     }
///
///     /// The server's word for "banned" is its code 1.
///     fn is_fatal(&self, error: &DialError) -> bool {
///         match error {
///             DialError::Connection(ConnectionError::ClosedByPeer { code, .. }) => {
///                 code.as_application() == Some(1)
///             }
///             other => other.is_fatal(),
///         }
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let link = Link::dialing(Home, LinkConfig::default());
/// # });
/// ```
pub trait Dialer: MaybeSend + MaybeSync + 'static {
    /// How many places it can dial: they are tried in turn. Asked once.
    fn targets(&self) -> usize {
        1
    }

    /// Makes a connection whose driver runs.
    ///
    /// What it takes too long for is dropped: see [`attempt_timeout`](super::LinkConfig::attempt_timeout).
    fn dial(
        &self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Connection, DialError>> + MaybeSend;

    /// Whether an attempt that failed so, or a connection that was lost so, is not worth another
    /// attempt at the same target.
    fn is_fatal(&self, error: &DialError) -> bool {
        error.is_fatal()
    }
}

/// Which attempt to make a connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// Which one since the last connection that was stable, from 1.
    pub number: u32,
    /// Which of the dialer's [targets](Dialer::targets) is to be dialled, from 0.
    pub target: usize,
}

/// Dials endpoints.
#[derive(Debug)]
pub(super) struct Endpoints {
    endpoints: Vec<Endpoint>,
    connection: Config,
    transport: TransportConfig,
}

impl Endpoints {
    pub(super) fn new<E>(
        endpoints: impl IntoIterator<Item = E>,
        connection: Config,
        transport: TransportConfig,
    ) -> Result<Self, TransportError>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoints: Result<Vec<_>, _> = endpoints.into_iter().map(TryInto::try_into).collect();
        let endpoints = endpoints?;
        if endpoints.is_empty() {
            return Err(TransportError::InvalidEndpoint {
                input: String::new(),
                problem: "there is none, where at least one must be",
                example: "tcp://127.0.0.1:9000",
            });
        }
        Ok(Self {
            endpoints,
            connection,
            transport,
        })
    }
}

impl Dialer for Endpoints {
    fn targets(&self) -> usize {
        self.endpoints.len()
    }

    async fn dial(&self, attempt: Attempt) -> Result<Connection, DialError> {
        let endpoint = self.endpoints.get(attempt.target);
        let endpoint = endpoint.or(self.endpoints.first());
        let endpoint = endpoint.expect("there is at least one");
        Ok(connect_with(endpoint, self.connection.clone(), &self.transport).await?)
    }
}
