//! From an [`Endpoint`] to a stream of bytes.
//!
//! [`connect`](connect()) and [`Listener`] make a [`BoxedStream`] of any endpoint; which kind it is,
//! only the endpoint's text says. [`pipe`], [`WsStream`] and [`TokioStream`] are for streams that come
//! from elsewhere: any `AsyncRead + AsyncWrite` is a [`ByteStream`].

pub use self::config::TransportConfig;
pub use self::connect::connect;
pub use self::endpoint::{Endpoint, Scheme};
pub use self::error::{CertificateProblem, TransportError};
pub use self::info::{ConnectionInfo, Established, TlsInfo};
pub use self::listener::{Incoming, Listener};
pub use self::memory::{MemoryStream, pipe};
pub use self::messages::MessageStream;
#[cfg(feature = "websocket")]
pub use self::proxy::HttpProxy;
#[cfg(feature = "tokio")]
pub use self::sockets::TokioStream;
pub use self::stream::{BoxedStream, ByteStream};
#[cfg(feature = "tls")]
pub use self::tls::{
    Fingerprint, Identity, TlsClient, TlsClientBuilder, TlsServer, TlsServerBuilder,
};
#[cfg(feature = "websocket")]
pub use self::websocket::{
    OriginPolicy, WsClient, WsClose, WsConfig, WsEvent, WsInfo, WsRefusal, WsRole, WsServer,
    WsStream, WsText,
};
/// The crate that does TLS here, for [`TlsClient::from_config`] and [`TlsServer::from_config`].
#[cfg(feature = "tls")]
pub use futures_rustls::rustls;
/// The crate whose headers, status codes and [`Extensions`](::http::Extensions) are used here.
#[cfg(feature = "websocket")]
pub use http;
/// What [`WsStream`] is observed by.
pub use pharos;

#[cfg(all(target_family = "wasm", feature = "websocket"))]
mod browser;
mod config;
mod connect;
#[cfg_attr(
    not(any(feature = "tls", feature = "websocket")),
    expect(dead_code, reason = "nothing else is spoken before the bytes")
)]
mod deadline;
mod endpoint;
mod error;
#[cfg(any(feature = "tls", feature = "websocket"))]
mod farewell;
mod handshake;
#[cfg(feature = "websocket")]
mod http1;
mod info;
mod listener;
mod memory;
mod messages;
mod pending;
#[cfg(feature = "websocket")]
mod proxy;
#[cfg(any(feature = "tls", feature = "websocket"))]
mod read_ahead;
mod refusal_text;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod sockets;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;

#[cfg(not(any(feature = "async-std", feature = "smol", feature = "tokio")))]
fn no_sockets(endpoint: &Endpoint) -> TransportError {
    TransportError::Unsupported {
        endpoint: endpoint.clone(),
        reason: if cfg!(target_family = "wasm") {
            "there are no sockets in a browser; use ws:// or wss://"
        } else {
            "this build of sessionwire has no sockets; enable its feature `async-std`, `smol` or `tokio`"
        },
    }
}
