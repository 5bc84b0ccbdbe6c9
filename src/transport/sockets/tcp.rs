use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

#[cfg(any(feature = "async-std", feature = "smol"))]
use async_io::Async;

use super::{BoxedStream, Endpoint, Reactor, TransportError};
use crate::runtime;
use crate::transport::error::is_out_of_files;

pub(super) async fn connect(
    endpoint: &Endpoint,
    reactor: Reactor,
    limit: Duration,
) -> Result<(BoxedStream, Option<Endpoint>), TransportError> {
    let runtime = runtime::current();
    let start = runtime.now();
    let addresses = resolve(endpoint, reactor).await?;
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        let left = limit.saturating_sub(runtime.now().saturating_duration_since(start));
        let untried = addresses.len().saturating_sub(tried);
        let share = left
            .checked_div(u32::try_from(untried).unwrap_or(u32::MAX))
            .unwrap_or(left);
        match runtime::timeout(&*runtime, share, open(*address, reactor)).await {
            Some(Ok(opened)) => return Ok(opened),
            Some(Err(error)) => last = Some(error),
            None => last = Some(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(match last {
        Some(error) if error.kind() == io::ErrorKind::TimedOut => TransportError::ConnectTimeout {
            endpoint: endpoint.clone(),
            after: limit,
        },
        Some(error) => TransportError::unreachable(endpoint, error),
        None => TransportError::unreachable(endpoint, io::ErrorKind::NotFound.into()),
    })
}

#[derive(Debug)]
pub(in crate::transport) enum Listener {
    #[cfg(feature = "tokio")]
    Tokio(tokio::net::TcpListener),
    #[cfg(any(feature = "async-std", feature = "smol"))]
    Shared(Async<std::net::TcpListener>),
}

impl Listener {
    pub(super) async fn bind(
        endpoint: &Endpoint,
        reactor: Reactor,
    ) -> Result<(Self, Endpoint), TransportError> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in resolve(endpoint, reactor).await? {
            match Self::open(address, reactor).await {
                Ok((listener, port)) => return Ok((listener, endpoint.with_port(port))),
                Err(error) => last = error,
            }
        }
        Err(TransportError::Bind {
            endpoint: endpoint.clone(),
            cause: Arc::new(last),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(BoxedStream, Option<Endpoint>)> {
        let (stream, peer): (BoxedStream, _) = match self {
            #[cfg(feature = "tokio")]
            Self::Tokio(listener) => {
                let (stream, peer) = listener.accept().await?;
                no_delay(stream.set_nodelay(true));
                (Box::new(super::TokioStream::new(stream)), peer)
            }
            #[cfg(any(feature = "async-std", feature = "smol"))]
            Self::Shared(listener) => {
                let (stream, peer) = listener.accept().await?;
                no_delay(stream.get_ref().set_nodelay(true));
                (Box::new(super::reactor::ReactorStream(stream)), peer)
            }
        };
        Ok((stream, Some(Endpoint::tcp(peer))))
    }

    #[cfg_attr(
        not(feature = "tokio"),
        expect(clippy::unused_async, reason = "tokio's waits")
    )]
    async fn open(address: SocketAddr, reactor: Reactor) -> io::Result<(Self, u16)> {
        match reactor {
            #[cfg(feature = "tokio")]
            Reactor::Tokio => {
                let listener = tokio::net::TcpListener::bind(address).await?;
                let port = listener.local_addr()?.port();
                Ok((Self::Tokio(listener), port))
            }
            #[cfg(any(feature = "async-std", feature = "smol"))]
            Reactor::Shared => {
                let listener = Async::<std::net::TcpListener>::bind(address)?;
                let port = listener.get_ref().local_addr()?.port();
                Ok((Self::Shared(listener), port))
            }
        }
    }
}

async fn open(
    address: SocketAddr,
    reactor: Reactor,
) -> io::Result<(BoxedStream, Option<Endpoint>)> {
    match reactor {
        #[cfg(feature = "tokio")]
        Reactor::Tokio => {
            let stream = tokio::net::TcpStream::connect(address).await?;
            no_delay(stream.set_nodelay(true));
            let local = stream.local_addr().ok().map(Endpoint::tcp);
            Ok((Box::new(super::TokioStream::new(stream)), local))
        }
        #[cfg(any(feature = "async-std", feature = "smol"))]
        Reactor::Shared => {
            let stream = Async::<std::net::TcpStream>::connect(address).await?;
            no_delay(stream.get_ref().set_nodelay(true));
            let local = stream.get_ref().local_addr().ok().map(Endpoint::tcp);
            Ok((Box::new(super::reactor::ReactorStream(stream)), local))
        }
    }
}

async fn resolve(endpoint: &Endpoint, reactor: Reactor) -> Result<Vec<SocketAddr>, TransportError> {
    if let Some(address) = endpoint.address() {
        return Ok(vec![address]);
    }
    let host = endpoint.host().unwrap_or_default();
    let port = endpoint.port().unwrap_or_default();
    let found = match reactor {
        #[cfg(feature = "tokio")]
        Reactor::Tokio => tokio::net::lookup_host((host, port))
            .await
            .map(Iterator::collect),
        #[cfg(any(feature = "async-std", feature = "smol"))]
        Reactor::Shared => async_net::resolve((host, port)).await,
    };
    let found = found.and_then(|found: Vec<_>| match found.as_slice() {
        [] => Err(io::ErrorKind::NotFound.into()),
        _ => Ok(found),
    });
    found.map_err(|error| unresolved(endpoint, error))
}

/// Resolvers that get no files say that they do not know the name.
fn unresolved(endpoint: &Endpoint, error: io::Error) -> TransportError {
    match std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
        Err(error) if is_out_of_files(&error) => TransportError::unreachable(endpoint, error),
        _ => TransportError::Resolve {
            endpoint: endpoint.clone(),
            cause: Arc::new(error),
        },
    }
}

/// A socket that cannot be set up has been reset by its peer, which reading it will tell.
fn no_delay(set: io::Result<()>) {
    if let Err(error) = set {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}
