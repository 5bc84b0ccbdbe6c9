//! One connection after another, for whoever wants there to be one.

mod error;
mod state;

use std::sync::Arc;

pub use self::error::LinkError;
use self::state::Watched;
pub use self::state::{LinkState, LinkWatch};
use crate::mux::Connection;
use crate::runtime::SharedRuntime;

/// A connection that is made again when it is lost; a handle that can be cloned.
///
/// Clients and other protocols share it. It goes on while a handle of it lives.
#[derive(Debug, Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    watched: Arc<Watched>,
    runtime: SharedRuntime,
}

impl Link {
    /// A link of one connection, which is not made again: when it ends, the link is down.
    pub fn over(connection: Connection) -> Self {
        let runtime = connection.runtime().clone();
        let watched = Arc::new(Watched::new(LinkState::Up {
            epoch: 1,
            connection: connection.clone(),
        }));
        let link = Self {
            shared: Arc::new(Shared {
                watched: Arc::clone(&watched),
                runtime: runtime.clone(),
            }),
        };
        runtime.spawn(Box::pin(async move {
            let error = connection.closed().await;
            watched.set(LinkState::Down(LinkError::Ended(error)));
        }));
        link
    }

    /// What it is doing now.
    pub fn state(&self) -> LinkState {
        self.shared.watched.get()
    }

    /// Follows what it does.
    pub fn watch(&self) -> LinkWatch {
        LinkWatch::new(Arc::clone(&self.shared.watched))
    }

    /// The connection, as soon as there is one.
    ///
    /// # Errors
    ///
    /// Why there will be none any more.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn connection(&self) -> Result<Connection, LinkError> {
        let mut watch = self.watch();
        loop {
            match watch.changed().await {
                LinkState::Up { connection, .. } => return Ok(connection),
                LinkState::Down(error) => return Err(error),
                LinkState::Connecting { .. } | LinkState::Waiting { .. } => {}
            }
        }
    }

    pub(super) fn runtime(&self) -> &SharedRuntime {
        &self.shared.runtime
    }

    /// A link whose states are set by hand.
    #[cfg(test)]
    pub(super) fn by_hand(runtime: SharedRuntime) -> (Self, ByHand) {
        let watched = Arc::new(Watched::new(LinkState::Connecting { attempt: 1 }));
        let hand = ByHand {
            watched: Arc::clone(&watched),
        };
        let shared = Arc::new(Shared { watched, runtime });
        (Self { shared }, hand)
    }
}

/// Sets the states of a link.
#[cfg(test)]
pub(super) struct ByHand {
    watched: Arc<Watched>,
}

#[cfg(test)]
impl ByHand {
    pub(super) fn set(&self, state: LinkState) {
        self.watched.set(state);
    }
}
