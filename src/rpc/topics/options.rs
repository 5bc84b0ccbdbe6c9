use std::time::Duration;

use super::cursor::Cursor;

/// How a subscription is to be.
///
/// ```
/// use sessionwire::rpc::{Lag, SubscribeOptions};
///
/// let options = SubscribeOptions::default().capacity(256).lag(Lag::BackPressure);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SubscribeOptions {
    pub(super) capacity: usize,
    pub(super) capacity_bytes: usize,
    pub(super) lag: Lag,
    pub(super) resume: bool,
    pub(super) shared: bool,
    pub(super) after: Option<Cursor>,
    pub(super) deadline: Duration,
}

/// What happens to a subscriber that is slower than its feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lag {
    /// The oldest items in its queue make room for new ones; a gap counts them.
    #[default]
    DropOldest,
    /// It gets what is in its queue, then [`EndReason::Lagged`](super::EndReason::Lagged).
    Disconnect,
    /// The server sends it no more than it has room for. Items wait in the feed; those that the feed
    /// cannot keep so long are counted by a gap. Such a subscription is not shared.
    BackPressure,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            capacity: 1024,
            capacity_bytes: 4 * 1024 * 1024,
            lag: Lag::DropOldest,
            resume: true,
            shared: true,
            after: None,
            deadline: Duration::from_secs(10),
        }
    }
}

impl SubscribeOptions {
    /// The items that wait to be read, at most. Default 1,024, as many as a feed keeps by
    /// default, at least 1, at most 65,536; see
    /// [`capacity_bytes`](Self::capacity_bytes) too.
    #[must_use]
    pub fn capacity(mut self, items: usize) -> Self {
        self.capacity = items.clamp(1, 65_536);
        self
    }

    /// The bytes of encoding that they may take together. Default 4 MiB, at least 1 byte, at most 4 GiB
    /// less 1 byte.
    ///
    /// An item that is larger comes too: it waits alone. With [`Lag::BackPressure`], and of what comes no faster than
    /// it is read, the last one may be larger than what is left.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        let most = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        self.capacity_bytes = bytes.clamp(1, most);
        self
    }

    /// What happens when that many wait. Default [`Lag::DropOldest`].
    ///
    /// What was published before the subscription, or while there was no connection, comes no faster than it is read,
    /// as with [`Lag::BackPressure`]: nobody lags by catching up. Of several who share, the fastest reader sets the pace.
    #[must_use]
    pub fn lag(mut self, lag: Lag) -> Self {
        self.lag = lag;
        self
    }

    /// Whether items that were published while there was no connection still come, as far as the
    /// feed has them. Default yes; otherwise a gap counts them.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Whether it may share what comes on the wire with other subscriptions to an equal topic.
    /// Default yes.
    ///
    /// One that joins others gets what is published from then on. While those catch up on what they missed, as after
    /// a lost connection, it has what comes for itself and those that come later; then all of them share again.
    #[must_use]
    pub fn shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Begins behind `cursor` instead of with the next item that is published. Such a subscription
    /// is not shared.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// How long to wait for the service's answer, a connection included. Default 10 s.
    ///
    /// [`Duration::MAX`] is for who is to wait for a service that is not there yet, however long. Once it has begun, a
    /// subscription waits so anyhow.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// Whether all who have equal topics can have one stream of items.
    pub(super) fn can_share(&self) -> bool {
        self.shared && self.lag != Lag::BackPressure && self.after.is_none()
    }
}
