use std::fmt;

use super::{BoxedStream, ByteStream, Endpoint};

/// A stream that is ready for use, handshakes done.
#[non_exhaustive]
pub struct Established {
    /// Where the bytes go.
    pub stream: BoxedStream,
    /// Between whom.
    pub info: ConnectionInfo,
}

impl Established {
    /// A stream that comes from elsewhere, of which nothing is known.
    pub(crate) fn of(stream: impl ByteStream) -> Self {
        Self {
            stream: Box::new(stream),
            info: ConnectionInfo::default(),
        }
    }
}

impl fmt::Debug for Established {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Established")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Who is connected to whom, and what was learned while the connection was made.
///
/// The end that listens is named by the endpoint it listens on, whatever its scheme; the end that
/// dialled over a network by the `tcp://` address that it dialled from, and otherwise not at all.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// This end.
    pub local: Option<Endpoint>,
    /// The other end. Behind a proxy, that is the proxy.
    pub peer: Option<Endpoint>,
    /// What the TLS handshake told, if there was one.
    pub tls: Option<TlsInfo>,
    /// What the WebSocket handshake told, if there was one.
    #[cfg(feature = "websocket")]
    pub websocket: Option<super::WsInfo>,
    /// What [`WsServer::check`](super::WsServer::check) attached; empty otherwise.
    #[cfg(feature = "websocket")]
    pub extensions: http::Extensions,
}

/// What a TLS handshake told about the peer.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The peer's certificates in DER, its own first, verified as this end's settings demand; empty if
    /// it sent none.
    pub peer_certificates: Vec<Vec<u8>>,
    /// The protocol that both ends agreed on by ALPN, if they did.
    pub alpn: Option<Vec<u8>>,
    /// The host's name that the client asked for; only the server learns it.
    pub server_name: Option<String>,
}

/// Of the certificates only how long each is.
impl fmt::Debug for TlsInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<_> = self.peer_certificates.iter().map(Vec::len).collect();
        let alpn = self.alpn.as_deref().map(String::from_utf8_lossy);
        formatter
            .debug_struct("TlsInfo")
            .field("lengths_of_peer_certificates", &lengths)
            .field("alpn", &alpn)
            .field("server_name", &self.server_name)
            .finish()
    }
}
