use std::io;
use std::sync::Arc;

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::error::{Error, ProtocolError};
use async_tungstenite::tungstenite::handshake::client::Request as ClientRequest;
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};
use futures_io::{AsyncRead, AsyncWrite};

use super::socket::Socket;
use super::{WsRole, WsStream};
use crate::runtime::{self, SharedRuntime, timeout};
use crate::transport::{Endpoint, TransportConfig, TransportError};

const PROTOCOL: &str = "websocket";

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// Does the client's part of the handshake with the server of a `ws://` or `wss://` endpoint, over
    /// a stream that is already connected to it (and encrypted, if it must be).
    ///
    /// # Errors
    ///
    /// [`Refused`](TransportError::Refused), [`HandshakeTimeout`](TransportError::HandshakeTimeout),
    /// [`HandshakeBroken`](TransportError::HandshakeBroken) or
    /// [`HandshakeInvalid`](TransportError::HandshakeInvalid).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `stream`.
    pub async fn connect(
        stream: S,
        endpoint: &Endpoint,
        config: &TransportConfig,
    ) -> Result<Self, TransportError> {
        let request = request(endpoint).map_err(failed)?;
        let runtime = runtime::current();
        let after = config.handshake_timeout;
        let shaken = client_async_with_config(request, Socket::new(stream), Some(settings()));
        match timeout(&*runtime, after, shaken).await {
            Some(Ok((socket, _response))) => Ok(take_over(socket, WsRole::Client, runtime, config)),
            Some(Err(error)) => Err(failed(error)),
            None => Err(TransportError::HandshakeTimeout {
                protocol: PROTOCOL,
                after,
            }),
        }
    }

    /// Does the server's part of the handshake over a stream that a client has just opened. A client
    /// that asks for another path than `path` is answered 404; its query is not looked at.
    ///
    /// # Errors
    ///
    /// [`WrongPath`](TransportError::WrongPath),
    /// [`HandshakeTimeout`](TransportError::HandshakeTimeout),
    /// [`HandshakeBroken`](TransportError::HandshakeBroken) or
    /// [`HandshakeInvalid`](TransportError::HandshakeInvalid).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `stream`.
    pub async fn accept(
        stream: S,
        path: &str,
        config: &TransportConfig,
    ) -> Result<Self, TransportError> {
        let mut requested = None;
        #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            if request.uri().path() == path {
                return Ok(response);
            }
            requested = Some(request.uri().path().chars().take(256).collect());
            Err(not_found())
        };
        let runtime = runtime::current();
        let after = config.handshake_timeout;
        let shaken = accept_hdr_async_with_config(Socket::new(stream), check, Some(settings()));
        match timeout(&*runtime, after, shaken).await {
            Some(Ok(socket)) => Ok(take_over(socket, WsRole::Server, runtime, config)),
            Some(Err(error)) => Err(match requested {
                Some(requested) => TransportError::WrongPath {
                    path: path.to_owned(),
                    requested,
                },
                None => failed(error),
            }),
            None => Err(TransportError::HandshakeTimeout {
                protocol: PROTOCOL,
                after,
            }),
        }
    }
}

/// The stream of frames on the stream that a handshake is done on.
fn take_over<S: AsyncRead + AsyncWrite + Unpin>(
    shaken: WebSocketStream<Socket<S>>,
    role: WsRole,
    runtime: SharedRuntime,
    config: &TransportConfig,
) -> WsStream<S> {
    let (stream, received) = shaken.into_inner().into_parts();
    WsStream::with_runtime(stream, role, received, &config.websocket, runtime)
}

/// Nothing is read or written by these buffers, and the first would be 128 KiB.
fn settings() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(0)
}

fn request(endpoint: &Endpoint) -> Result<ClientRequest, Error> {
    endpoint.to_string().into_client_request()
}

fn not_found() -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

fn failed(error: Error) -> TransportError {
    let broken = |source: io::Error| TransportError::HandshakeBroken {
        protocol: PROTOCOL,
        source: Arc::new(source),
    };
    match error {
        Error::Http(response) => TransportError::Refused {
            status: response.status().as_u16(),
        },
        Error::Io(error) => broken(error),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            broken(io::ErrorKind::UnexpectedEof.into())
        }
        other => TransportError::HandshakeInvalid {
            protocol: PROTOCOL,
            problem: other.to_string(),
        },
    }
}
