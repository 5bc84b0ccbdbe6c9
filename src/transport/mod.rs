//! From an [`Endpoint`] to a stream of bytes.
//!
//! [`connect`](connect()) and [`Listener`] make a [`BoxedStream`] of any endpoint; which kind it is,
//! only the endpoint's text says. [`pipe`], [`WsStream`] and [`TokioStream`] are for streams that come
//! from elsewhere: any `AsyncRead + AsyncWrite` is a [`ByteStream`].

pub use self::config::TransportConfig;
pub use self::connect::{ConnectionInfo, Established, connect};
pub use self::endpoint::{Endpoint, Scheme};
pub use self::error::TransportError;
pub use self::listener::{Incoming, Listener};
pub use self::memory::{MemoryStream, pipe};
pub use self::messages::MessageStream;
#[cfg(feature = "tokio")]
pub use self::sockets::TokioStream;
pub use self::stream::{BoxedStream, ByteStream};
#[cfg(feature = "websocket")]
pub use self::websocket::{WsClose, WsConfig, WsEvent, WsRole, WsStream, WsText};
/// What [`WsStream`] is observed by.
#[cfg(feature = "websocket")]
pub use pharos;

mod config;
mod connect;
mod endpoint;
mod error;
mod handshake;
mod listener;
mod memory;
mod messages;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod sockets;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(feature = "websocket")]
mod websocket;

#[cfg(not(any(feature = "async-std", feature = "smol", feature = "tokio")))]
fn no_sockets(endpoint: &Endpoint) -> TransportError {
    TransportError::Unsupported {
        endpoint: endpoint.clone(),
        reason: "this build of sessionwire has no sockets; enable its feature `async-std`, `smol` or `tokio`",
    }
}
