use std::io;
use std::pin::pin;

use super::deadline::Deadline;
use super::handshake::{Handshake, Side};
#[cfg(feature = "websocket")]
use super::proxy::{self, HttpProxy};
use super::{
    BoxedStream, ConnectionInfo, Endpoint, Established, Scheme, TransportConfig, TransportError,
    memory,
};
use crate::runtime;

/// Connects to `endpoint` and does its handshakes.
///
/// Sockets and timers are those of the [runtime](runtime::current) that the first poll happens in:
/// tokio's inside of tokio, otherwise those that async-std and smol share. A host with several
/// addresses is tried address by address, each with its share of the time that is left.
///
/// With a [`proxy`](TransportConfig#structfield.proxy), it is that one that finds the host's addresses.
///
/// In a browser, that is on wasm32 with the feature `websocket`, `ws://` and `wss://` are the browser's
/// WebSocket. Writing waits while it holds 1 MiB. It says nothing about why it could not connect, and
/// sends no headers of a program's own, only [subprotocols](super::WsClient#structfield.subprotocols). It cannot
/// hold up its peer: what comes is held until it is read, as much as the peer sends.
///
/// # Errors
///
/// [`Unsupported`](TransportError::Unsupported), [`Resolve`](TransportError::Resolve),
/// [`Connect`](TransportError::Connect) or [`ConnectTimeout`](TransportError::ConnectTimeout) while
/// reaching the other end; [`Proxy`](TransportError::Proxy) or [`ProxyRefused`](TransportError::ProxyRefused) for one
/// in between; a variant about the handshake after that.
///
/// # Cancel safety
///
/// Dropping the future gives up the attempt and closes what was opened.
pub async fn connect(
    endpoint: &Endpoint,
    config: &TransportConfig,
) -> Result<Established, TransportError> {
    #[cfg(all(target_family = "wasm", feature = "websocket"))]
    if endpoint.scheme().is_websocket() {
        return super::browser::connect(endpoint, config).await;
    }
    let handshake = Handshake::new(Side::Client, endpoint, config)?;
    let deadline = Deadline::new(runtime::current(), config.connect_timeout);
    let (stream, local) = reach(endpoint, config, &deadline).await?;
    let info = ConnectionInfo {
        local,
        peer: Some(endpoint.clone()),
        ..ConnectionInfo::default()
    };
    handshake.shake(stream, info, config).await
}

async fn reach(
    endpoint: &Endpoint,
    config: &TransportConfig,
    deadline: &Deadline,
) -> Result<(BoxedStream, Option<Endpoint>), TransportError> {
    if endpoint.scheme() == Scheme::Memory {
        let connecting = memory::connect(endpoint.path(), config.memory_capacity);
        let stream = deadline.connect(endpoint, pin!(connecting)).await?;
        let stream = stream.ok_or_else(|| {
            TransportError::unreachable(endpoint, io::ErrorKind::ConnectionRefused.into())
        })?;
        return Ok((Box::new(stream), None));
    }
    #[cfg(feature = "websocket")]
    if let Some(proxy) = &config.proxy
        && proxy.serves(endpoint)
    {
        return reach_through(proxy, endpoint, config, deadline).await;
    }
    let reaching = reach_by_socket(endpoint, config);
    deadline.connect(endpoint, pin!(reaching)).await?
}

#[cfg(feature = "websocket")]
async fn reach_through(
    proxy: &HttpProxy,
    endpoint: &Endpoint,
    config: &TransportConfig,
    deadline: &Deadline,
) -> Result<(BoxedStream, Option<Endpoint>), TransportError> {
    let reaching = reach_by_socket(proxy.endpoint(), config);
    let reached = deadline.connect(proxy.endpoint(), pin!(reaching)).await;
    let reached = reached.and_then(|reached| reached);
    let (stream, local) = reached.map_err(|cause| proxy.failed(cause))?;
    let stream = proxy::open(stream, proxy, endpoint, config, deadline).await?;
    Ok((stream, local))
}

#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
use super::sockets::connect as reach_by_socket;

#[cfg(not(any(feature = "async-std", feature = "smol", feature = "tokio")))]
#[expect(
    clippy::unused_async,
    reason = "it stands in for a function that waits"
)]
async fn reach_by_socket(
    endpoint: &Endpoint,
    _config: &TransportConfig,
) -> Result<(BoxedStream, Option<Endpoint>), TransportError> {
    Err(super::no_sockets(endpoint))
}
