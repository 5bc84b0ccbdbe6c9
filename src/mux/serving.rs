//! The connections that a server serves, and how they end with it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use event_listener::Event;
use futures_util::future::select;

use super::connection::Connection;
use super::router::Router;

/// Serves one connection until it ends, or until it is to stop and is drained.
pub(super) async fn serve_until(
    router: &Router,
    connection: &Connection,
    stopped: impl Future<Output = ()>,
    time: Duration,
) {
    // Channels that were opened before the peer knows of the drain are served, too.
    let serving = pin!(router.serve(connection));
    let draining = pin!(async {
        stopped.await;
        connection.drain(time).await
    });
    // Why it ended, the connection has logged.
    select(serving, draining).await;
    // Serving ends with the connection: what is said last may still be on its way then.
    connection.closed().await;
}

/// Connections that are served until they are told to stop: at the latest when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Serving {
    shared: Arc<ServingShared>,
}

/// A connection that is served.
pub(super) struct Served {
    shared: Arc<ServingShared>,
}

#[derive(Debug, Default)]
struct ServingShared {
    is_stopped: AtomicBool,
    connections: AtomicUsize,
    stopped: Event,
    ended: Event,
}

impl Serving {
    pub(super) fn begin(&self) -> Served {
        self.shared.connections.fetch_add(1, Ordering::AcqRel);
        Served {
            shared: Arc::clone(&self.shared),
        }
    }

    pub(super) fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.stopped.notify(usize::MAX);
    }

    /// Waits until none is served.
    pub(super) async fn ended(&self) {
        loop {
            let listener = self.shared.ended.listen();
            if self.shared.connections.load(Ordering::Acquire) == 0 {
                return;
            }
            listener.await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Served {
    pub(super) async fn stopped(&self) {
        loop {
            let listener = self.shared.stopped.listen();
            if self.shared.is_stopped.load(Ordering::Acquire) {
                return;
            }
            listener.await;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
        self.shared.ended.notify(usize::MAX);
    }
}
