use std::time::Duration;

/// Limits and times of a WebSocket; the defaults are safe against strangers.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::transport::{TransportConfig, WsConfig};
///
/// let websocket = WsConfig::default().close_timeout(Duration::from_secs(1));
/// let config = TransportConfig::default().websocket(websocket);
/// assert_eq!(config.websocket.close_timeout, Duration::from_secs(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WsConfig {
    /// The largest incoming message, in bytes. Message boundaries mean nothing here: this
    /// only bounds what must be held before the first byte of a message can be read. Default 1 MiB,
    /// since this crate sends at most 64 KiB at once and other byte streams over WebSocket about
    /// 128 KiB.
    pub max_message: usize,
    /// Bytes that one read from the stream below may take, held by every connection.
    /// Default 16 KiB, since measured in processor time per byte larger ones gain little and 4 KiB
    /// costs a third more; from 1 KiB to 1 MiB.
    pub read_buffer: usize,
    /// How long closing may take, which is mostly waiting for the peer's answer. Default 5 s.
    pub close_timeout: Duration,
}

impl WsConfig {
    /// Sets [`max_message`](Self#structfield.max_message).
    #[must_use]
    pub fn max_message(mut self, max_message: usize) -> Self {
        self.max_message = max_message;
        self
    }

    /// Sets [`read_buffer`](Self#structfield.read_buffer).
    #[must_use]
    pub fn read_buffer(mut self, read_buffer: usize) -> Self {
        self.read_buffer = read_buffer;
        self
    }

    /// Sets [`close_timeout`](Self#structfield.close_timeout).
    #[must_use]
    pub fn close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close_timeout = close_timeout;
        self
    }
}

impl Default for WsConfig {
    fn default() -> Self {
        Self {
            max_message: 1024 * 1024,
            read_buffer: 16 * 1024,
            close_timeout: Duration::from_secs(5),
        }
    }
}
