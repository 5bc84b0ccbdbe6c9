//! The operating system's sockets, by the reactor of the caller's runtime.

use std::io;

use super::{BoxedStream, Endpoint, Scheme, TransportConfig, TransportError};

#[cfg(any(feature = "async-std", feature = "smol"))]
mod reactor;
mod tcp;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(unix)]
mod unix;

#[cfg(feature = "tokio")]
pub use self::tokio::TokioStream;

/// The stream and this end's address, if it has one.
pub(super) async fn connect(
    endpoint: &Endpoint,
    config: &TransportConfig,
) -> Result<(BoxedStream, Option<Endpoint>), TransportError> {
    let reactor = Reactor::current(endpoint)?;
    match endpoint.scheme() {
        #[cfg(unix)]
        Scheme::Unix => Ok((unix::connect(endpoint, reactor).await?, None)),
        _ => tcp::connect(endpoint, reactor, config.connect_timeout).await,
    }
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(tcp::Listener),
    #[cfg(unix)]
    Unix(unix::Listener),
}

impl Listener {
    pub(super) async fn bind(endpoint: &Endpoint) -> Result<(Self, Endpoint), TransportError> {
        let reactor = Reactor::current(endpoint)?;
        match endpoint.scheme() {
            #[cfg(unix)]
            Scheme::Unix => Ok((
                Self::Unix(unix::Listener::bind(endpoint, reactor).await?),
                endpoint.clone(),
            )),
            _ => {
                let (listener, endpoint) = tcp::Listener::bind(endpoint, reactor).await?;
                Ok((Self::Tcp(listener), endpoint))
            }
        }
    }

    /// The stream and the other end's address, if it has one. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(BoxedStream, Option<Endpoint>)> {
        match self {
            Self::Tcp(listener) => listener.accept().await,
            #[cfg(unix)]
            Self::Unix(listener) => Ok((listener.accept().await?, None)),
        }
    }
}

/// Whose sockets to use, by the same rule as [`crate::runtime::current`].
#[derive(Clone, Copy, Debug)]
enum Reactor {
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(any(feature = "async-std", feature = "smol"))]
    Shared,
}

impl Reactor {
    #[allow(
        clippy::unnecessary_wraps,
        unused_variables,
        reason = "only tokio alone can be missing"
    )]
    fn current(endpoint: &Endpoint) -> Result<Self, TransportError> {
        #[cfg(feature = "tokio")]
        if crate::runtime::Tokio::current().is_some() {
            return Ok(Self::Tokio);
        }
        #[cfg(any(feature = "async-std", feature = "smol"))]
        return Ok(Self::Shared);
        #[cfg(not(any(feature = "async-std", feature = "smol")))]
        Err(TransportError::Unsupported {
            endpoint: endpoint.clone(),
            reason: "of the runtimes only tokio is compiled in, and this is not inside of tokio; \
                     call it from there, or enable the feature `async-std` or `smol`",
        })
    }
}
