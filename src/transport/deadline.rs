use std::pin::Pin;
use std::time::Duration;

use super::{Endpoint, TransportError};
use crate::runtime::{Instant, Runtime, SharedRuntime, timeout};

/// The time that all steps of one kind have together: those to reach a peer, or the handshakes with it.
///
/// What is to keep it is passed pinned: each `async fn` that a future passes through by value would hold
/// it twice.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    runtime: SharedRuntime,
    after: Duration,
    /// None: so far away that no clock counts to it.
    until: Option<Instant>,
}

impl Deadline {
    pub(super) fn new(runtime: SharedRuntime, after: Duration) -> Self {
        let until = runtime.now().checked_add(after);
        Self {
            runtime,
            after,
            until,
        }
    }

    #[cfg(feature = "websocket")]
    pub(super) fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }

    /// The output of `handshake`, unless the time passes first.
    pub(super) async fn keep<F: Future>(
        &self,
        protocol: &'static str,
        handshake: Pin<&mut F>,
    ) -> Result<F::Output, TransportError> {
        let kept = self.keep_within(Duration::MAX, handshake).await;
        kept.ok_or(TransportError::HandshakeTimeout {
            protocol,
            after: self.after,
        })
    }

    /// As [`keep`](Self::keep), while the endpoint is reached.
    pub(super) async fn connect<F: Future>(
        &self,
        endpoint: &Endpoint,
        connecting: Pin<&mut F>,
    ) -> Result<F::Output, TransportError> {
        let kept = self.keep_within(Duration::MAX, connecting).await;
        kept.ok_or_else(|| TransportError::ConnectTimeout {
            endpoint: endpoint.clone(),
            after: self.after,
        })
    }

    /// As [`keep`](Self::keep), with `most` time at the most.
    pub(super) async fn keep_within<F: Future>(
        &self,
        most: Duration,
        handshake: Pin<&mut F>,
    ) -> Option<F::Output> {
        let left = match self.until {
            Some(until) => until.saturating_duration_since(self.runtime.now()),
            None => Duration::MAX,
        };
        let runtime: &dyn Runtime = &*self.runtime;
        timeout(runtime, left.min(most), handshake).await
    }
}
