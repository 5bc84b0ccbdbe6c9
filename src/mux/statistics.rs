use std::time::Duration;

/// What a connection has done and holds, at one moment.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Bytes given to the transport.
    pub bytes_sent: u64,
    /// Bytes taken from the transport.
    pub bytes_received: u64,
    /// Times that bytes were given to the transport: `bytes_sent / writes` is the mean batch.
    pub writes: u64,
    /// Frames sent, by kind.
    pub frames_sent: FrameCounts,
    /// Frames received, by kind.
    pub frames_received: FrameCounts,
    /// Whole messages that channels sent.
    pub messages_sent: u64,
    /// Whole messages that came.
    pub messages_received: u64,
    /// The time to the peer and back, once a ping was answered.
    pub round_trip: Option<RoundTrip>,
    /// Channels that take a place now.
    pub open_channels: usize,
    /// The most that took a place at once.
    pub peak_channels: usize,
    /// Bytes that wait to be sent.
    pub send_queued: usize,
    /// Memory that windows have borrowed beyond their first size, in bytes.
    pub receive_borrowed: usize,
    /// Channels that were refused here.
    pub refused: u64,
    /// Frames that came for channels already gone.
    pub stale_frames: u64,
    /// Time during which the transport took nothing though something waited.
    pub blocked_by_transport: Duration,
    /// Time that channels with something to send waited for the peer's credit, added up.
    pub blocked_by_credit: Duration,
    /// Times that a `send` had to wait for room in a send buffer.
    pub blocked_by_send_buffer: u64,
}

/// Frames by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameCounts {
    /// Parts and wholes of messages.
    pub data: u64,
    /// Channels opened.
    pub open: u64,
    /// Channels accepted.
    pub accept: u64,
    /// Credit granted.
    pub credit: u64,
    /// Receivers that stopped reading.
    pub stop: u64,
    /// Channels reset or refused.
    pub reset: u64,
    /// Pings and pongs.
    pub ping: u64,
    /// Hello, Allow and `GoAway`.
    pub connection: u64,
}

/// The time to the peer and back, as its answers to pings show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoundTrip {
    /// The last one.
    pub last: Duration,
    /// The shortest of all.
    pub min: Duration,
    /// A moving average: each new one counts an eighth.
    pub smoothed: Duration,
}
