use std::time::Duration;

#[cfg(feature = "websocket")]
use super::websocket::WsConfig;

/// Limits and times of a transport; the defaults are safe against strangers.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::transport::TransportConfig;
///
/// let config = TransportConfig::default().connect_timeout(Duration::from_secs(3));
/// assert_eq!(config.connect_timeout, Duration::from_secs(3));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportConfig {
    /// How long [`connect`](super::connect()) may take to find and reach the other end, handshakes not
    /// counted. Default 10 s.
    pub connect_timeout: Duration,
    /// How long the handshakes of one connection may take, on either end. Default 10 s.
    pub handshake_timeout: Duration,
    /// How many accepted connections of one listener may be in their handshake at once; more wait in
    /// the operating system's backlog. Default 256, at least 1.
    pub max_pending_handshakes: usize,
    /// Bytes that one direction of a `memory://` connection holds before its writer waits; the
    /// dialler's counts. Default 64 KiB, at least 1.
    pub memory_capacity: usize,
    /// Of the WebSocket of a `ws://` connection, on either end.
    #[cfg(feature = "websocket")]
    pub websocket: WsConfig,
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

    /// Sets [`websocket`](Self#structfield.websocket).
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket(mut self, websocket: WsConfig) -> Self {
        self.websocket = websocket;
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
            websocket: WsConfig::default(),
        }
    }
}
