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
    /// The largest incoming message, in bytes; a larger one ends the stream, and the peer is told by
    /// Close 1009. No message is held, so that this bounds no memory. Default 64 MiB, which is the most
    /// that peers over tungstenite send unless they are told otherwise.
    pub max_message: u64,
    /// The largest message that is sent, in bytes; more is cut into several. Default 64 KiB, which is
    /// within any peer's limits and keeps pings from waiting long; at least 1.
    pub max_outgoing_message: usize,
    /// The most bytes that one read of the stream below asks for, unless the caller's buffer is
    /// larger. As much is held while a caller reads in smaller steps, and nothing while nothing comes.
    /// Default 64 KiB, at least 1 KiB.
    pub read_buffer: usize,
    /// What becomes of text messages. Default [`WsText::Rejected`].
    pub text: WsText,
    /// How long closing may take, which is mostly waiting for the peer's answer. Default 5 s.
    pub close_timeout: Duration,
}

/// What becomes of a peer's text messages, which are no part of a stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WsText {
    /// They end the stream with an error, and the peer is told by Close 1003.
    Rejected,
    /// Observers get them as [`WsEvent::Text`](super::WsEvent::Text). One that is too large ends the
    /// stream with Close 1009, one that is not UTF-8 with Close 1007.
    Observed {
        /// The longest text, in bytes, which is held until it is complete.
        max: u64,
    },
}

impl WsConfig {
    /// Sets [`max_message`](Self#structfield.max_message).
    #[must_use]
    pub fn max_message(mut self, max_message: u64) -> Self {
        self.max_message = max_message;
        self
    }

    /// Sets [`max_outgoing_message`](Self#structfield.max_outgoing_message).
    #[must_use]
    pub fn max_outgoing_message(mut self, max_outgoing_message: usize) -> Self {
        self.max_outgoing_message = max_outgoing_message;
        self
    }

    /// Sets [`read_buffer`](Self#structfield.read_buffer).
    #[must_use]
    pub fn read_buffer(mut self, read_buffer: usize) -> Self {
        self.read_buffer = read_buffer;
        self
    }

    /// Sets [`text`](Self#structfield.text).
    #[must_use]
    pub fn text(mut self, text: WsText) -> Self {
        self.text = text;
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
            max_message: 64 * 1024 * 1024,
            max_outgoing_message: 64 * 1024,
            read_buffer: 64 * 1024,
            text: WsText::Rejected,
            close_timeout: Duration::from_secs(5),
        }
    }
}
