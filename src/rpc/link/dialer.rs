use super::error::DialError;
use crate::mux::{Config, Connection, connect_with};
use crate::runtime::{MaybeSend, MaybeSync};
use crate::transport::{Endpoint, TransportConfig, TransportError};

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
///         Ok(sessionwire::connect("memory://home").await?)
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

    /// What the states, errors and logs of the link call one of its targets, which are counted from 0: nothing secret.
    fn name(&self, target: usize) -> Option<String> {
        let _ = target;
        None
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
    in_turn: Vec<Endpoint>,
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
        let in_turn: Result<Vec<_>, _> = endpoints.into_iter().map(TryInto::try_into).collect();
        let endpoints = Self {
            in_turn: in_turn?,
            connection,
            transport,
        };
        endpoints.get(0)?;
        Ok(endpoints)
    }

    fn get(&self, target: usize) -> Result<&Endpoint, TransportError> {
        self.in_turn
            .get(target)
            .ok_or_else(|| TransportError::InvalidEndpoint {
                input: String::new(),
                problem: "there is none, where at least one must be",
                example: "tcp://127.0.0.1:9000",
            })
    }
}

impl Dialer for Endpoints {
    fn targets(&self) -> usize {
        self.in_turn.len()
    }

    fn name(&self, target: usize) -> Option<String> {
        Some(self.in_turn.get(target)?.without_query().to_string())
    }

    async fn dial(&self, attempt: Attempt) -> Result<Connection, DialError> {
        let endpoint = self.get(attempt.target)?;
        Ok(connect_with(endpoint, self.connection.clone(), &self.transport).await?)
    }
}
