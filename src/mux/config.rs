use std::time::Duration;

use super::machine::window::{FLOOR_WINDOW, MAX_WINDOW};

/// The limits and times of one connection, all on by default.
///
/// Each end has its own: what the peer must know (sizes, channels) is told to it when the
/// connection begins. A value outside its range is moved to the nearest end of it;
/// [`Duration::MAX`] is a time that never comes.
///
/// ```
/// use sessionwire::Config;
///
/// let config = Config::default()
///     .max_message_size(16 * 1024 * 1024)
///     .max_channels(1024);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    pub(crate) max_frame_size: u32,
    pub(crate) max_message_size: u32,
    pub(crate) max_channels: u32,
    pub(crate) accept_backlog: usize,
    pub(crate) window: u32,
    pub(crate) max_window: u32,
    pub(crate) receive_memory: usize,
    pub(crate) channel_send_buffer: usize,
    pub(crate) send_memory: usize,
    pub(crate) hello_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) abuse_burst: u32,
    pub(crate) abuse_per_second: u32,
}

/// The smallest frame that every peer must take, in bytes of body.
pub(crate) const FLOOR_FRAME: u32 = 16 * 1024;
/// The channels that a peer may open before it has our Hello.
pub(crate) const FLOOR_CHANNELS: u32 = 16;

/// Longer than any connection lives, and short enough to be added to the time. About 68 years.
pub(crate) const NEVER: Duration = Duration::from_secs(1 << 31);

impl Default for Config {
    fn default() -> Self {
        Self {
            // A message of 64 KiB and its envelope travel in one frame, which the receiver need
            // not put together again.
            max_frame_size: 65 * 1024,
            max_message_size: 1024 * 1024,
            max_channels: 128,
            accept_backlog: 128,
            window: 128 * 1024,
            max_window: 16 * 1024 * 1024,
            receive_memory: 64 * 1024 * 1024,
            channel_send_buffer: 256 * 1024,
            send_memory: 1024 * 1024,
            hello_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(45),
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            abuse_burst: 200,
            abuse_per_second: 20,
        }
    }
}

impl Config {
    /// The largest frame body that is taken, in bytes. Default 65 KiB, at least 16 KiB,
    /// at most 16 MiB.
    ///
    /// Larger messages travel in several frames. A frame that claims more ends the connection
    /// before any memory is reserved for it.
    #[must_use]
    pub fn max_frame_size(mut self, bytes: usize) -> Self {
        self.max_frame_size = clamp(bytes, FLOOR_FRAME, 16 * 1024 * 1024);
        self
    }

    /// The largest message that is sent or taken, in bytes of encoding. Default 1 MiB, at most 1 GiB.
    ///
    /// A larger incoming message resets its channel with [`Code::TOO_LARGE`](super::Code::TOO_LARGE);
    /// a larger outgoing one is refused by `send`.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = clamp(bytes, 1, 1024 * 1024 * 1024);
        self
    }

    /// The channels open at once that each side may have opened. Default 128, at least 16,
    /// at most 65,536.
    ///
    /// A channel counts until both directions have ended and both of its handles here are dropped.
    /// `open` waits for a free place.
    #[must_use]
    pub fn max_channels(mut self, channels: usize) -> Self {
        self.max_channels = clamp(channels, FLOOR_CHANNELS, 65_536);
        self
    }

    /// The channels that may wait to be accepted. Default 128; further ones are refused with
    /// [`Code::REFUSED`](super::Code::REFUSED).
    #[must_use]
    pub fn accept_backlog(mut self, channels: usize) -> Self {
        self.accept_backlog = channels;
        self
    }

    /// The bytes that a peer may send on a channel before they are read here, at first.
    /// Default 128 KiB, at least 64 KiB.
    ///
    /// A window grows up to [`max_window`](Self::max_window) while the reader keeps up with it.
    #[must_use]
    pub fn window(mut self, bytes: usize) -> Self {
        self.window = clamp(bytes, FLOOR_WINDOW, MAX_WINDOW);
        self.max_window = self.max_window.max(self.window);
        self
    }

    /// The largest that a window may grow, in bytes. Default 16 MiB, at most 1 GiB.
    #[must_use]
    pub fn max_window(mut self, bytes: usize) -> Self {
        self.max_window = clamp(bytes, self.window, MAX_WINDOW);
        self
    }

    /// The memory that unread messages of the whole connection may take, in bytes. Default 64 MiB.
    ///
    /// What is left after each possible channel has its first window is shared by windows that
    /// grow and by messages larger than a window. It is never less than
    /// `2 × max_channels × window + max_message_size`.
    #[must_use]
    pub fn receive_memory(mut self, bytes: usize) -> Self {
        self.receive_memory = bytes;
        self
    }

    /// The bytes of a channel that may wait to be sent before `send` waits. Default 256 KiB.
    ///
    /// One message more than this may be held.
    #[must_use]
    pub fn channel_send_buffer(mut self, bytes: usize) -> Self {
        self.channel_send_buffer = bytes.max(1);
        self
    }

    /// The bytes of all channels that may wait to be sent before every `send` waits. Default 1 MiB.
    ///
    /// What waits for the peer's credit does not count: it is bounded by
    /// [`channel_send_buffer`](Self::channel_send_buffer) alone. More than fits in the processor's
    /// cache makes a connection slower.
    #[must_use]
    pub fn send_memory(mut self, bytes: usize) -> Self {
        self.send_memory = bytes.max(1);
        self
    }

    /// How long the peer may take to send its first frame. Default 10 s.
    #[must_use]
    pub fn hello_timeout(mut self, time: Duration) -> Self {
        self.hello_timeout = time.min(NEVER);
        self
    }

    /// How long the peer may be silent before it is asked whether it lives. Default 15 s.
    #[must_use]
    pub fn ping_interval(mut self, time: Duration) -> Self {
        self.ping_interval = time.min(NEVER);
        self
    }

    /// How long the peer may be silent before the connection is given up. Default 45 s;
    /// keep it above twice [`ping_interval`](Self::ping_interval).
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time.min(NEVER);
        self
    }

    /// How long the transport may take no byte of ours before the connection is given up. Default 30 s.
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        self.write_timeout = time.min(NEVER);
        self
    }

    /// How long the end of a connection may take: finished channels' last messages, then the
    /// transport's own goodbye. Default 5 s.
    #[must_use]
    pub fn close_timeout(mut self, time: Duration) -> Self {
        self.close_timeout = time.min(NEVER);
        self
    }

    /// How many frames without use (resets, pings, frames of channels long closed, opens that had
    /// to be refused) a peer may send at once, and how many more each second. Default 200 and 20.
    ///
    /// Beyond that the connection is closed with [`Code::CALM`](super::Code::CALM).
    #[must_use]
    pub fn abuse_limit(mut self, burst: u32, per_second: u32) -> Self {
        self.abuse_burst = burst;
        self.abuse_per_second = per_second;
        self
    }

    /// What windows that grow and large messages share.
    pub(crate) fn shared_receive_memory(&self) -> usize {
        let guaranteed = (self.window as usize)
            .saturating_mul(self.max_channels as usize)
            .saturating_mul(2);
        self.receive_memory
            .saturating_sub(guaranteed)
            .max(self.max_message_size as usize)
    }
}

fn clamp(value: usize, least: u32, most: u32) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX).clamp(least, most)
}
