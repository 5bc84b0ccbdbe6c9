use std::time::Duration;

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
    /// The largest incoming WebSocket message, in bytes. Message boundaries mean nothing here: this
    /// only bounds what must be held before the first byte of a message can be read. Default 1 MiB,
    /// since this crate sends at most 64 KiB at once and other byte streams over WebSocket about
    /// 128 KiB.
    pub websocket_max_message: usize,
    /// Bytes that one read from the socket below a WebSocket may take, held by every connection.
    /// Default 16 KiB, since measured in processor time per byte larger ones gain little and 4 KiB
    /// costs a third more; from 1 KiB to 1 MiB.
    pub websocket_read_buffer: usize,
    /// How long closing a WebSocket may take, which is mostly waiting for the peer's answer.
    /// Default 5 s.
    pub websocket_close_timeout: Duration,
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

    /// Sets [`websocket_max_message`](Self#structfield.websocket_max_message).
    #[must_use]
    pub fn websocket_max_message(mut self, websocket_max_message: usize) -> Self {
        self.websocket_max_message = websocket_max_message;
        self
    }

    /// Sets [`websocket_read_buffer`](Self#structfield.websocket_read_buffer).
    #[must_use]
    pub fn websocket_read_buffer(mut self, websocket_read_buffer: usize) -> Self {
        self.websocket_read_buffer = websocket_read_buffer;
        self
    }

    /// Sets [`websocket_close_timeout`](Self#structfield.websocket_close_timeout).
    #[must_use]
    pub fn websocket_close_timeout(mut self, websocket_close_timeout: Duration) -> Self {
        self.websocket_close_timeout = websocket_close_timeout;
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
            websocket_max_message: 1024 * 1024,
            websocket_read_buffer: 16 * 1024,
            websocket_close_timeout: Duration::from_secs(5),
        }
    }
}
