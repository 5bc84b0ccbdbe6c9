use std::time::Duration;

/// How much of a service's topics one connection may use.
///
/// ```
/// let limits = sessionwire::rpc::TopicLimits::default().subscriptions(16);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicLimits {
    pub(super) subscriptions: usize,
    pub(super) follow_timeout: Duration,
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self {
            subscriptions: 1024,
            follow_timeout: Duration::from_secs(10),
        }
    }
}

impl TopicLimits {
    /// The subscriptions to the service's topics that a connection may have at once. Default 1,024;
    /// further ones are refused with [`FaultKind::Busy`](crate::rpc::FaultKind::Busy).
    #[must_use]
    pub fn subscriptions(mut self, subscriptions: usize) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// How long [`Service::follow`](crate::rpc::Service::follow) may take. Default 10 s; then the subscription is refused with
    /// [`FaultKind::DeadlinePassed`](crate::rpc::FaultKind::DeadlinePassed).
    #[must_use]
    pub fn follow_timeout(mut self, time: Duration) -> Self {
        self.follow_timeout = time;
        self
    }
}
