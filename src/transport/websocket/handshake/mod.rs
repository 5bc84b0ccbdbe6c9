//! What is spoken before the frames: HTTP, as little of it as a WebSocket needs (RFC 6455, section 4).

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::AsyncWriteExt;
use http::{HeaderMap, HeaderName};

pub use self::client::WsClient;
pub use self::origin::OriginPolicy;
pub use self::refusal::WsRefusal;
use self::server::Rejection;
pub use self::server::WsServer;
use super::{WsRole, WsStream};
use crate::runtime;
use crate::transport::deadline::Deadline;
use crate::transport::farewell::FAREWELL;
use crate::transport::http1::Response;
use crate::transport::http1::head::{self, Incomplete, Limits};
use crate::transport::{ConnectionInfo, Endpoint, TransportConfig, TransportError};

mod client;
mod origin;
mod refusal;
mod server;
#[cfg(test)]
mod tests;

const PROTOCOL: &str = "websocket";

/// What a WebSocket handshake told about the other end.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WsInfo {
    /// The path that the client asked for, as it was sent: nothing in it is decoded.
    pub path: String,
    /// What followed a `?` behind the path.
    pub query: Option<String>,
    /// The headers of the other end: on a server the client's, on a client the server's.
    pub headers: HeaderMap,
    /// The subprotocol that both speak, if they agreed on one.
    pub subprotocol: Option<String>,
}

/// Neither the query nor what the headers say: both may hold tokens.
impl fmt::Debug for WsInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().map(HeaderName::as_str).collect();
        formatter
            .debug_struct("WsInfo")
            .field("path", &self.path)
            .field("names_of_headers", &names)
            .field("subprotocol", &self.subprotocol)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// Does the client's part of the handshake with the server of a `ws://` or `wss://` endpoint, over
    /// a stream that is already connected to it (and encrypted, if it must be). What it says besides
    /// the endpoint's path is [`ws_client`](TransportConfig#structfield.ws_client).
    ///
    /// # Errors
    ///
    /// [`Refused`](TransportError::Refused), [`HandshakeTimeout`](TransportError::HandshakeTimeout),
    /// [`HandshakeBroken`](TransportError::HandshakeBroken),
    /// [`HandshakeInvalid`](TransportError::HandshakeInvalid) or
    /// [`InvalidHeader`](TransportError::InvalidHeader).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `stream`.
    pub async fn connect(
        stream: S,
        endpoint: &Endpoint,
        config: &TransportConfig,
    ) -> Result<Self, TransportError> {
        let deadline = Deadline::new(runtime::current(), config.handshake_timeout);
        let (stream, _info) = connect(stream, endpoint, config, &deadline).await?;
        Ok(stream)
    }

    /// Does the server's part of the handshake over a stream that a client has just opened. Which
    /// clients it gives a WebSocket, [`ws_server`](TransportConfig#structfield.ws_server) says; by
    /// default, those that ask for `path`.
    ///
    /// # Errors
    ///
    /// [`WrongPath`](TransportError::WrongPath), [`Rejected`](TransportError::Rejected),
    /// [`HandshakeTimeout`](TransportError::HandshakeTimeout) or
    /// [`HandshakeBroken`](TransportError::HandshakeBroken).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `stream`.
    pub async fn accept(
        stream: S,
        path: &str,
        config: &TransportConfig,
    ) -> Result<Self, TransportError> {
        let info = ConnectionInfo::default();
        let (stream, _info) = Self::accept_from(stream, path, info, config).await?;
        Ok(stream)
    }

    /// As [`accept`](Self::accept), from a client of whom something is known; answers what is known then.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `stream`.
    pub async fn accept_from(
        stream: S,
        path: &str,
        info: ConnectionInfo,
        config: &TransportConfig,
    ) -> Result<(Self, ConnectionInfo), TransportError> {
        let deadline = Deadline::new(runtime::current(), config.handshake_timeout);
        accept(stream, path, info, config, &deadline).await
    }
}

pub(in crate::transport) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    endpoint: &Endpoint,
    config: &TransportConfig,
    deadline: &Deadline,
) -> Result<(WsStream<S>, WsInfo), TransportError> {
    let client = &config.ws_client;
    let limits = Limits::of(config);
    let (request, accept_key) = client.request(endpoint)?;
    let exchange = async {
        stream.write_all(&request).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        Response::receive(&mut stream, limits, PROTOCOL).await
    };
    let (response, received) = deadline.keep(PROTOCOL, pin!(exchange)).await??;
    if response.status != 101 {
        let mut text = received.to_vec();
        // However far it came: the refusal counts, not its text.
        let reading = response.read_text(&mut stream, &mut text);
        let _came = deadline.keep_within(FAREWELL, pin!(reading)).await;
        return Err(TransportError::Refused {
            status: response.status,
            text: response.legible(&text),
        });
    }
    let info = client.verify(response, &accept_key, endpoint)?;
    let stream = begin(stream, WsRole::Client, received, config, deadline);
    Ok((stream, info))
}

pub(in crate::transport) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    path: &str,
    info: ConnectionInfo,
    config: &TransportConfig,
    deadline: &Deadline,
) -> Result<(WsStream<S>, ConnectionInfo), TransportError> {
    let answered = deadline
        .keep(PROTOCOL, pin!(answer(&mut stream, path, info, config)))
        .await?;
    match answered {
        Ok((info, received)) => {
            let stream = begin(stream, WsRole::Server, received, config, deadline);
            Ok((stream, info))
        }
        Err(Stop::Broken(error)) => Err(broken(error)),
        Err(Stop::Rejected(rejection)) => {
            let telling = rejection.refusal.send(&mut stream);
            let _told = deadline.keep_within(FAREWELL, pin!(telling)).await;
            Err(*rejection.error)
        }
    }
}

/// Why a client gets no WebSocket.
enum Stop {
    Broken(io::Error),
    Rejected(Rejection),
}

impl<R: Into<Rejection>> From<R> for Stop {
    fn from(rejection: R) -> Self {
        Self::Rejected(rejection.into())
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    path: &str,
    info: ConnectionInfo,
    config: &TransportConfig,
) -> Result<(ConnectionInfo, Bytes), Stop> {
    let limits = Limits::of(config);
    let (head, received) = match head::read(stream, limits).await {
        Ok(received) => received,
        Err(Incomplete::Broken(error)) => return Err(Stop::Broken(error)),
        Err(Incomplete::TooLong) => {
            let problem = "its head is too long";
            return Err(WsRefusal::too_large(problem, limits.bytes, "max_http_head").into());
        }
    };
    let request = server::parse(&head, limits)?;
    let (answer, info) = config.ws_server.judge(request, path, info).await?;
    stream.write_all(&answer).await.map_err(Stop::Broken)?;
    stream.flush().await.map_err(Stop::Broken)?;
    Ok((info, received))
}

fn begin<S>(
    stream: S,
    role: WsRole,
    received: Bytes,
    config: &TransportConfig,
    deadline: &Deadline,
) -> WsStream<S> {
    let runtime = deadline.runtime().clone();
    WsStream::with_runtime(stream, role, received, &config.websocket, runtime)
}

/// Whether the connection broke, told from what was read.
fn broken(cause: io::Error) -> TransportError {
    TransportError::HandshakeBroken {
        protocol: PROTOCOL,
        cause: Arc::new(cause),
    }
}
