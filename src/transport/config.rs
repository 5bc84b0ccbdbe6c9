use std::time::Duration;

#[cfg(feature = "websocket")]
use super::proxy::HttpProxy;
#[cfg(feature = "tls")]
use super::tls::{TlsClient, TlsServer};
#[cfg(feature = "websocket")]
use super::websocket::{WsClient, WsConfig, WsServer};

/// Limits and times of a transport; the defaults are safe against strangers.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::transport::TransportConfig;
///
/// let config = TransportConfig::default().connect_timeout(Duration::from_secs(3));
/// assert_eq!(config.connect_timeout, Duration::from_secs(3));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportConfig {
    /// How long [`connect`](super::connect()) may take to find and reach the other end, handshakes not
    /// counted. Default 10 s.
    pub connect_timeout: Duration,
    /// How long the handshakes of one connection may take, on either end. Default 10 s.
    pub handshake_timeout: Duration,
    /// How many accepted connections of one listener may be in their handshake at once; for each one
    /// more, the oldest is closed. An honest client gets in if it is done before so many others have
    /// come. Default 256, at least 1.
    pub max_pending_handshakes: usize,
    /// Bytes that one direction of a `memory://` connection holds before its writer waits; the
    /// dialler's counts. Default 64 KiB, at least 1.
    pub memory_capacity: usize,
    /// Bytes of the request or the response that begins a WebSocket, and of a [`proxy`](Self#structfield.proxy)'s
    /// answer, headers and all. Default 8 KiB, at least 512.
    #[cfg(feature = "websocket")]
    pub max_http_head: usize,
    /// Headers of each of them. Default 64.
    #[cfg(feature = "websocket")]
    pub max_http_headers: usize,
    /// Of the WebSocket of a `ws://` or `wss://` connection, on either end.
    #[cfg(feature = "websocket")]
    pub websocket: WsConfig,
    /// What a client says when it asks for a WebSocket.
    #[cfg(feature = "websocket")]
    pub ws_client: WsClient,
    /// Which clients a server gives a WebSocket.
    #[cfg(feature = "websocket")]
    pub ws_server: WsServer,
    /// What a client dials through. Default [`None`]: nothing in between.
    #[cfg(feature = "websocket")]
    pub proxy: Option<HttpProxy>,
    /// Whom a client trusts over TLS, and who it is. Default [`None`]: whom the operating system
    /// trusts ([`TlsClient::native_roots`]), and nobody in particular.
    #[cfg(feature = "tls")]
    pub tls_client: Option<TlsClient>,
    /// Who a server is over TLS. There is no default: to listen on `tls://` and `wss://`, it must be set.
    #[cfg(feature = "tls")]
    pub tls_server: Option<TlsServer>,
}

impl TransportConfig {
    /// Sets [`connect_timeout`](Self#structfield.connect_timeout).
    #[must_use]
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// Sets [`handshake_timeout`](Self#structfield.handshake_timeout).
    #[must_use]
    pub fn handshake_timeout(mut self, handshake_timeout: Duration) -> Self {
        self.handshake_timeout = handshake_timeout;
        self
    }

    /// Sets [`max_pending_handshakes`](Self#structfield.max_pending_handshakes).
    #[must_use]
    pub fn max_pending_handshakes(mut self, max_pending_handshakes: usize) -> Self {
        self.max_pending_handshakes = max_pending_handshakes;
        self
    }

    /// Sets [`memory_capacity`](Self#structfield.memory_capacity).
    #[must_use]
    pub fn memory_capacity(mut self, memory_capacity: usize) -> Self {
        self.memory_capacity = memory_capacity;
        self
    }

    /// Sets [`max_http_head`](Self#structfield.max_http_head).
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn max_http_head(mut self, max_http_head: usize) -> Self {
        self.max_http_head = max_http_head;
        self
    }

    /// Sets [`max_http_headers`](Self#structfield.max_http_headers).
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn max_http_headers(mut self, max_http_headers: usize) -> Self {
        self.max_http_headers = max_http_headers;
        self
    }

    /// Sets [`websocket`](Self#structfield.websocket).
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket(mut self, websocket: WsConfig) -> Self {
        self.websocket = websocket;
        self
    }

    /// Sets [`ws_client`](Self#structfield.ws_client).
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn ws_client(mut self, ws_client: WsClient) -> Self {
        self.ws_client = ws_client;
        self
    }

    /// Sets [`ws_server`](Self#structfield.ws_server).
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn ws_server(mut self, ws_server: WsServer) -> Self {
        self.ws_server = ws_server;
        self
    }

    /// Sets [`proxy`](Self#structfield.proxy).
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn proxy(mut self, proxy: HttpProxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Sets [`tls_client`](Self#structfield.tls_client).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_client(mut self, tls_client: TlsClient) -> Self {
        self.tls_client = Some(tls_client);
        self
    }

    /// Sets [`tls_server`](Self#structfield.tls_server).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_server(mut self, tls_server: TlsServer) -> Self {
        self.tls_server = Some(tls_server);
        self
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            max_pending_handshakes: 256,
            memory_capacity: 64 * 1024,
            #[cfg(feature = "websocket")]
            max_http_head: 8 * 1024,
            #[cfg(feature = "websocket")]
            max_http_headers: 64,
            #[cfg(feature = "websocket")]
            websocket: WsConfig::default(),
            #[cfg(feature = "websocket")]
            ws_client: WsClient::default(),
            #[cfg(feature = "websocket")]
            ws_server: WsServer::default(),
            #[cfg(feature = "websocket")]
            proxy: None,
            #[cfg(feature = "tls")]
            tls_client: None,
            #[cfg(feature = "tls")]
            tls_server: None,
        }
    }
}
