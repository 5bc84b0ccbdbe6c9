use std::sync::Arc;

use super::fault::{Fault, FaultKind};
use super::interface::Interface;
use super::topics::Feed;
use crate::mux::Connection;
use crate::runtime::{Instant, MaybeSend, MaybeSync};

/// Answers calls and opens topics: the serving side of an [`Interface`]. Either end of a connection
/// may serve.
pub trait Service: MaybeSend + MaybeSync + 'static {
    /// What it serves.
    type Interface: Interface;

    /// Answers one request.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped, where it last waited, when the caller gives the call up, when its
    /// deadline passes, and when the connection ends.
    fn call(
        &self,
        caller: Caller,
        request: <Self::Interface as Interface>::Request,
    ) -> impl Future<Output = Result<<Self::Interface as Interface>::Response, Fault>> + MaybeSend;

    /// Decides what a caller that subscribes to a topic is to follow.
    ///
    /// Most services publish on [`Topics`](super::Topics), and answer the feed there. One that has no
    /// topics need not write this: all are unknown then.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped, where it last waited, when the caller gives the subscription up, when
    /// its time is up ([`TopicLimits::follow_timeout`](super::TopicLimits::follow_timeout)), and
    /// when the connection ends.
    fn follow(
        &self,
        caller: Caller,
        topic: <Self::Interface as Interface>::Topic,
    ) -> impl Future<Output = Result<Feed<<Self::Interface as Interface>::Item>, Fault>> + MaybeSend
    {
        let _ = (caller, topic);
        async { Err(Fault::new(FaultKind::UnknownTopic, "")) }
    }
}

/// Who asks, and until when the answer is wanted.
#[derive(Debug, Clone)]
pub struct Caller {
    connection: Arc<Connection>,
    deadline: Instant,
}

impl Caller {
    pub(super) fn new(connection: impl Into<Arc<Connection>>, deadline: Instant) -> Self {
        Self {
            connection: connection.into(),
            deadline,
        }
    }

    /// The connection that the request came on: what is known of the peer, and a way to ask it
    /// something.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// When the caller gives up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
