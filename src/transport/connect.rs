use std::io;

use super::handshake::{Handshake, Side};
use super::{
    BoxedStream, ConnectionInfo, Endpoint, Established, Scheme, TransportConfig, TransportError,
    memory,
};
use crate::runtime::{self, timeout};

/// Connects to `endpoint` and does its handshakes.
///
/// Sockets and timers are those of the [runtime](runtime::current) that the first poll happens in:
/// tokio's inside of tokio, otherwise those that async-std and smol share. A host with several
/// addresses is tried address by address, each with its share of the time that is left.
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
/// reaching the other end; a variant about the handshake after that.
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
    let after = config.connect_timeout;
    let reached = timeout(&*runtime::current(), after, reach(endpoint, config))
        .await
        .ok_or_else(|| TransportError::ConnectTimeout {
            endpoint: endpoint.clone(),
            after,
        })?;
    let (stream, local) = reached?;
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
) -> Result<(BoxedStream, Option<Endpoint>), TransportError> {
    match endpoint.scheme() {
        Scheme::Memory => {
            let stream = memory::connect(endpoint.path(), config.memory_capacity).await;
            let stream = stream.ok_or_else(|| {
                TransportError::unreachable(endpoint, io::ErrorKind::ConnectionRefused.into())
            })?;
            Ok((Box::new(stream), None))
        }
        _ => reach_by_socket(endpoint, config).await,
    }
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
