use std::time::Duration;

/// How much a service does at once for calls, and what it remembers of them.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::rpc::CallLimits;
///
/// let limits = CallLimits::default()
///     .calls_at_once(1024)
///     .longest_deadline(Duration::from_secs(30));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallLimits {
    pub(super) calls_at_once: u32,
    pub(super) request_bytes: usize,
    pub(super) longest_deadline: Duration,
    pub(super) keys_per_client: usize,
    pub(super) key_memory: usize,
    pub(super) key_time: Duration,
    pub(super) keyed_at_once: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            calls_at_once: 256,
            request_bytes: 64 * 1024 * 1024,
            longest_deadline: Duration::from_mins(5),
            keys_per_client: 10_000,
            key_memory: 64 * 1024 * 1024,
            key_time: Duration::from_mins(1),
            keyed_at_once: 4096,
        }
    }
}

impl CallLimits {
    /// The calls that are worked on at once on one channel of a client, which has more than one only while it
    /// waits for answers on the others. Default 256, at least 1.
    ///
    /// Clients are told and keep to it. A call beyond it is answered with
    /// [`FaultKind::Busy`](crate::rpc::FaultKind::Busy).
    #[must_use]
    pub fn calls_at_once(mut self, calls: usize) -> Self {
        self.calls_at_once = u32::try_from(calls).unwrap_or(u32::MAX).max(1);
        self
    }

    /// The bytes of requests that are worked on at once over one connection, those of up to 4 KiB not
    /// counting. Default 64 MiB; one request of any size is worked on where there are no others.
    ///
    /// A request beyond it is answered with [`FaultKind::Busy`](crate::rpc::FaultKind::Busy).
    #[must_use]
    pub fn request_bytes(mut self, bytes: usize) -> Self {
        self.request_bytes = bytes;
        self
    }

    /// The longest that a call is worked on, whatever the caller wants. Default 5 minutes, at most
    /// a day.
    #[must_use]
    pub fn longest_deadline(mut self, time: Duration) -> Self {
        self.longest_deadline = time.min(Duration::from_hours(24));
        self
    }

    /// The keys of idempotent calls that are remembered of each client. Default 10,000, at least 1.
    ///
    /// The answer to the oldest is forgotten first; that call is then never run again, should it be
    /// sent again, but answered with [`FaultKind::KeyForgotten`](crate::rpc::FaultKind::KeyForgotten).
    /// A new call with a key that was forgotten is run.
    #[must_use]
    pub fn keys_per_client(mut self, keys: usize) -> Self {
        self.keys_per_client = keys.max(1);
        self
    }

    /// The bytes that all remembered answers of idempotent calls may take, and the requests of those that
    /// run; each key counts 256 and each client 1,024 more. Default 64 MiB.
    ///
    /// When it is full, the client that holds most loses its oldest answer. A client is given one more
    /// idempotent call to run only while more memory is free of running ones than its own take.
    #[must_use]
    pub fn key_memory(mut self, bytes: usize) -> Self {
        self.key_memory = bytes;
        self
    }

    /// How long the answer to an idempotent call is remembered. Default 60 s, at most a day.
    ///
    /// Longer than callers use a key for new calls: one with a key that was forgotten is run.
    #[must_use]
    pub fn key_time(mut self, time: Duration) -> Self {
        self.key_time = time.min(Duration::from_hours(24));
        self
    }

    /// The idempotent calls that run at once for all clients together, those among them whose
    /// connection is gone. Default 4,096; further ones are answered with
    /// [`FaultKind::Busy`](crate::rpc::FaultKind::Busy), and so is one more of a client that runs as many
    /// as are left for others.
    #[must_use]
    pub fn keyed_at_once(mut self, calls: usize) -> Self {
        self.keyed_at_once = calls;
        self
    }
}
