//! One connection after another, for whoever wants there to be one.

mod backoff;
mod config;
mod dialer;
mod error;
mod events;
mod state;
mod task;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;

pub use self::config::LinkConfig;
use self::dialer::Endpoints;
pub use self::dialer::{Attempt, Dialer};
pub(super) use self::error::because;
pub use self::error::{DialError, LinkError, LinkFailure};
pub use self::events::LinkEvent;
use self::events::Observers;
use self::state::Watched;
pub use self::state::{LinkState, LinkWatch};
use self::task::{Publisher, Redial, Stop};
use crate::mux::{Connection, Router};
use crate::runtime::{self, MaybeSend, SharedRuntime};
use crate::transport::{Endpoint, TransportError};

/// A connection that is made again when it is lost; a handle that can be cloned.
///
/// Clients and other protocols share it. It goes on while a handle of it lives; with the last one, its
/// connection ends as connections do when nobody holds them.
///
/// The very first attempt is made at once. Each later one comes after a pause, drawn at random, that may
/// be longer the more attempts have failed: see [`LinkConfig`]. A connection that is lost before it was
/// [stable](LinkConfig::stable_after) counts as a failed attempt. What no other attempt can mend ends the
/// link: see [`DialError::is_fatal`].
///
/// ```
/// # futures::executor::block_on(async {
/// use sessionwire::Router;
/// use sessionwire::rpc::{Link, LinkConfig};
///
/// let mut listener = sessionwire::listen("tcp://127.0.0.1:0").await?;
/// let link = Link::to(listener.endpoint(), LinkConfig::default())?;
///
/// let served = listener.accept().await?;
/// let connection = link.connection().await.expect("a connection");
/// assert!(connection.ping().await.is_ok());
///
/// drop(served);
/// let again = listener.accept().await?;
/// # Ok::<(), sessionwire::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    watched: Arc<Watched>,
    observers: Arc<Observers>,
    stop: Arc<Stop>,
    runtime: SharedRuntime,
}

impl Link {
    /// A link to an endpoint such as `tcp://localhost:9000` or `wss://example.org/wire`, which begins to
    /// connect in the background, on the [current runtime](crate::runtime::current()).
    ///
    /// # Errors
    ///
    /// [`TransportError::InvalidEndpoint`] if the text is none. Whether the endpoint can be reached, the
    /// link's [state](Self::state) says.
    pub fn to<E>(endpoint: E, config: LinkConfig) -> Result<Self, TransportError>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::to_any([endpoint], config)
    }

    /// A link to one of several endpoints, of any kinds. After an attempt that failed, the next endpoint
    /// is tried, the first one after the last; after a connection that was stable, its own again, unless the peer
    /// drained it.
    ///
    /// One that failed in a way that [no other attempt mends](DialError::is_fatal) is left out until a
    /// connection was stable, or the pauses between attempts are at their [longest](LinkConfig::backoff_cap); when all
    /// failed so, each the last time it was tried, the link is down.
    ///
    /// There is a pause before each attempt, to whichever endpoint; where servers are restarted in turn and calls have short
    /// deadlines, a smaller [`backoff_cap`](LinkConfig::backoff_cap) has the others tried sooner.
    ///
    /// # Errors
    ///
    /// [`TransportError::InvalidEndpoint`] if one of the texts is none, or if there are none.
    pub fn to_any<E>(
        endpoints: impl IntoIterator<Item = E>,
        config: LinkConfig,
    ) -> Result<Self, TransportError>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let (connection, transport) = (config.connection.clone(), config.transport.clone());
        let dialer = Endpoints::new(endpoints, connection, transport)?;
        Ok(Self::dialing(dialer, config))
    }

    /// A link whose connections `dialer` makes, on the current runtime.
    ///
    /// Of the configuration, the [connection](LinkConfig::connection) and the
    /// [transport](LinkConfig::transport) are up to the dialer.
    pub fn dialing<D: Dialer>(dialer: D, config: LinkConfig) -> Self {
        Self::with_runtime(dialer, config, runtime::current())
    }

    /// As [`dialing`](Self::dialing), on `runtime`.
    pub fn with_runtime<D: Dialer>(dialer: D, config: LinkConfig, runtime: SharedRuntime) -> Self {
        Self::drawing(dialer, config, runtime, rand::random)
    }

    /// As [`with_runtime`](Self::with_runtime), with pauses by the numbers from 0 to 1 that `fraction` draws.
    pub(in crate::rpc) fn drawing<D: Dialer>(
        dialer: D,
        config: LinkConfig,
        runtime: SharedRuntime,
        fraction: fn() -> f64,
    ) -> Self {
        let (link, publisher) = Self::new(LinkState::CONNECTING, runtime.clone());
        let drain_timeout = config.drain_timeout;
        let redial = Redial {
            dialer,
            config,
            runtime,
            publisher: publisher.clone(),
            fraction,
        };
        link.run(publisher, drain_timeout, redial.keep_up());
        link
    }

    /// A link of one connection, which is not made again: when it ends, the link is down.
    pub fn over(connection: Connection) -> Self {
        let runtime = connection.runtime().clone();
        let state = LinkState::Up {
            epoch: 1,
            connection: connection.clone(),
        };
        let (link, publisher) = Self::new(state, runtime);
        let drain_timeout = LinkConfig::default().drain_timeout;
        link.run(publisher, drain_timeout, task::use_up(connection));
        link
    }

    /// What it is doing now.
    pub fn state(&self) -> LinkState {
        self.shared.watched.get()
    }

    /// Follows what it does, without keeping it alive.
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

    /// Serves every connection of the link by `router`, in the background, from now until the link is
    /// down: to be called once. It does not keep the link alive.
    ///
    /// Channels that the peer opens before this is called wait for it, as far as
    /// [`accept_backlog`](crate::Config::accept_backlog) goes.
    pub fn serve(&self, router: Router) {
        let mut watch = self.watch();
        let runtime = self.runtime().clone();
        self.runtime().spawn(Box::pin(async move {
            loop {
                match watch.changed().await {
                    LinkState::Up { connection, .. } => {
                        let serving = serve(router.clone(), connection, watch.clone());
                        runtime.spawn(Box::pin(serving));
                    }
                    LinkState::Down(_) => return,
                    LinkState::Connecting { .. } | LinkState::Waiting { .. } => {}
                }
            }
        }));
    }

    /// Ends the link for all of its handles: no other connection is made, and channels that are open may
    /// finish within [`drain_timeout`](LinkConfig::drain_timeout). Resolves when it is down.
    ///
    /// # Cancel safety
    ///
    /// The link ends also when this is cancelled.
    pub async fn close(&self) {
        self.shared.stop.drain();
        self.closed().await;
    }

    /// Waits until the link is down for good, answers why.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn closed(&self) -> LinkError {
        self.watch().down().await
    }

    pub(super) fn runtime(&self) -> &SharedRuntime {
        &self.shared.runtime
    }

    fn observers(&self) -> &Arc<Observers> {
        &self.shared.observers
    }

    fn new(state: LinkState, runtime: SharedRuntime) -> (Self, Publisher) {
        let publisher = Publisher {
            watched: Arc::new(Watched::new(state)),
            observers: Arc::default(),
        };
        let shared = Arc::new(Shared {
            watched: Arc::clone(&publisher.watched),
            observers: Arc::clone(&publisher.observers),
            stop: Arc::default(),
            runtime,
        });
        (Self { shared }, publisher)
    }

    fn run(
        &self,
        publisher: Publisher,
        drain_timeout: Duration,
        activity: impl Future<Output = LinkError> + MaybeSend + 'static,
    ) {
        let stop = Arc::clone(&self.shared.stop);
        let task = task::run(publisher, stop, drain_timeout, activity);
        self.runtime().spawn(Box::pin(task));
    }

    /// A link whose states are set by hand.
    #[cfg(test)]
    pub(super) fn by_hand(runtime: SharedRuntime) -> (Self, ByHand) {
        let (link, publisher) = Self::new(LinkState::CONNECTING, runtime);
        let watched = publisher.watched;
        (link, ByHand { watched })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.leave();
    }
}

/// Serves one connection for as long as the link goes on.
async fn serve(router: Router, connection: Connection, mut watch: LinkWatch) {
    let serving = pin!(router.serve(&connection));
    // Why a connection failed, its driver has said.
    select(serving, pin!(watch.down())).await;
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
