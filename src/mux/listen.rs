//! Connections by endpoint: the same program over any transport.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tracing::field::display;

use super::config::Config;
use super::connection::Connection;
use super::role::Role;
use super::router::Router;
use super::serving::{Serving, serve_until};
use crate::transport::{self, Endpoint, Established, TransportConfig, TransportError};

/// Connects to an endpoint such as `tcp://localhost:9000`, `ws://localhost:9000/wire`,
/// `unix:///run/app.sock` or `memory://app`, and starts the protocol on the current runtime.
///
/// ```
/// # futures::executor::block_on(async {
/// let mut listener = sessionwire::listen("tcp://127.0.0.1:0").await?;
/// let connection = sessionwire::connect(listener.endpoint()).await?;
/// let accepted = listener.accept().await?;
/// # Ok::<(), sessionwire::Error>(())
/// # }).unwrap();
/// ```
///
/// # Cancel safety
///
/// A cancelled `connect` closes what it had opened.
pub async fn connect<E>(endpoint: E) -> Result<Connection, TransportError>
where
    E: TryInto<Endpoint>,
    TransportError: From<E::Error>,
{
    connect_with(endpoint, Config::default(), &TransportConfig::default()).await
}

/// As [`connect`], with other limits than the default ones.
pub async fn connect_with<E>(
    endpoint: E,
    config: Config,
    transport: &TransportConfig,
) -> Result<Connection, TransportError>
where
    E: TryInto<Endpoint>,
    TransportError: From<E::Error>,
{
    let established = transport::connect(&endpoint.try_into()?, transport).await?;
    Ok(start(established, Role::Dialer, config))
}

/// Listens at an endpoint; with a port of 0 the system chooses one, which
/// [`Listener::endpoints`] tells.
pub async fn listen<E>(endpoint: E) -> Result<Listener, TransportError>
where
    E: TryInto<Endpoint>,
    TransportError: From<E::Error>,
{
    Listener::new(Config::default(), TransportConfig::default())
        .and(endpoint)
        .await
}

/// Accepts connections, at any number of endpoints of any kinds.
///
/// ```
/// # futures::executor::block_on(async {
/// use sessionwire::{Config, Listener};
/// use sessionwire::transport::TransportConfig;
///
/// let listener = Listener::new(Config::default(), TransportConfig::default())
///     .and("tcp://127.0.0.1:0").await?
///     .and("memory://both").await?;
/// assert_eq!(listener.endpoints().len(), 2);
/// # Ok::<(), sessionwire::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Listener {
    listeners: Vec<transport::Listener>,
    endpoints: Vec<Endpoint>,
    handshakes: FuturesUnordered<Handshake>,
    config: Config,
    transport: TransportConfig,
}

/// What a handshake comes to.
/// Why there is none is logged.
type Handshaken = Result<Established, ()>;
#[cfg(not(target_family = "wasm"))]
type Handshake = Pin<Box<dyn Future<Output = Handshaken> + Send>>;
#[cfg(target_family = "wasm")]
type Handshake = Pin<Box<dyn Future<Output = Handshaken>>>;

impl Listener {
    /// A listener that listens nowhere yet.
    pub fn new(config: Config, transport: TransportConfig) -> Self {
        Self {
            listeners: Vec::new(),
            endpoints: Vec::new(),
            handshakes: FuturesUnordered::new(),
            config,
            transport,
        }
    }

    /// Listens at one more endpoint.
    pub async fn and<E>(mut self, endpoint: E) -> Result<Self, TransportError>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint.try_into()?;
        let listener = transport::Listener::bind(&endpoint, &self.transport).await?;
        self.endpoints.push(listener.endpoint().clone());
        self.listeners.push(listener);
        Ok(self)
    }

    /// Where it listens, with the real port: the first place if there are several.
    ///
    /// # Panics
    ///
    /// If it listens nowhere yet.
    pub fn endpoint(&self) -> &Endpoint {
        self.endpoints
            .first()
            .expect("a listener that listens somewhere")
    }

    /// Serves every connection by `router`, each in a task of its own, for as long as it can accept.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    ///
    /// # Cancel safety
    ///
    /// Connections that were accepted are served further when this is cancelled;
    /// [`serve_until`](Self::serve_until) ends them.
    pub async fn serve(&mut self, router: &Router) -> Result<(), TransportError> {
        let runtime = crate::runtime::current();
        loop {
            let connection = self.accept().await?;
            let router = router.clone();
            runtime.spawn(Box::pin(async move {
                // Why it ended, the connection has logged.
                let _ = router.serve(&connection).await;
            }));
        }
    }

    /// Serves as [`serve`](Self::serve) does until `stop` resolves, then ends gently: it listens no more, and
    /// each connection is [drained](Connection::drain), so that open channels may finish within `time`.
    /// Resolves when the last connection has ended: a program may exit then. A peer that does not answer may take as long as
    /// [`close_timeout`](crate::Config::close_timeout) more.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use std::time::Duration;
    /// use sessionwire::Router;
    ///
    /// let listener = sessionwire::listen("tcp://127.0.0.1:0").await?;
    /// let connection = sessionwire::connect(listener.endpoint()).await?;
    /// let signal = async { /* such as SIGTERM */ };
    /// listener.serve_until(&Router::new(), signal, Duration::from_secs(5)).await?;
    /// # Ok::<(), sessionwire::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept), when the connections have been drained.
    ///
    /// # Cancel safety
    ///
    /// Connections that were accepted are drained when this is cancelled.
    pub async fn serve_until(
        mut self,
        router: &Router,
        stop: impl Future<Output = ()>,
        time: Duration,
    ) -> Result<(), TransportError> {
        let runtime = crate::runtime::current();
        let serving = Serving::default();
        let accepting = async {
            loop {
                let connection = self.accept().await?;
                let (router, served) = (router.clone(), serving.begin());
                runtime.spawn(Box::pin(async move {
                    serve_until(&router, &connection, served.stopped(), time).await;
                    drop(served);
                }));
            }
        };
        let ended = match select(pin!(accepting), pin!(stop)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(((), _)) => Ok(()),
        };
        drop(self);
        serving.stop();
        serving.ended().await;
        ended
    }

    /// Where it listens, with the real ports.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Waits for the next connection, its transport's handshake done and its driver spawned.
    ///
    /// Handshakes go on side by side while this is polled, so a slow client holds up nobody; those
    /// that fail are logged and forgotten. Of too many slow ones, the oldest are closed: see
    /// [`max_pending_handshakes`](TransportConfig#structfield.max_pending_handshakes).
    ///
    /// # Errors
    ///
    /// Only what no later call can mend: errors of one client, and shortages that pass, are not.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `accept` has lost no connection.
    pub async fn accept(&mut self) -> Result<Connection, TransportError> {
        loop {
            match next(&mut self.listeners, &mut self.handshakes).await {
                Next::Incoming(incoming) => self.handshakes.push(handshake(incoming?)),
                Next::Established(Ok(established)) => {
                    return Ok(start(established, Role::Acceptor, self.config.clone()));
                }
                Next::Established(Err(())) => {}
            }
        }
    }
}

enum Next {
    Incoming(Result<transport::Incoming, TransportError>),
    Established(Handshaken),
}

async fn next(
    listeners: &mut [transport::Listener],
    handshakes: &mut FuturesUnordered<Handshake>,
) -> Next {
    let mut accepts: FuturesUnordered<_> = listeners
        .iter_mut()
        .map(transport::Listener::accept)
        .collect();
    let mut accepts = pin!(accepts.by_ref());
    poll_fn(|context| {
        if let Poll::Ready(Some(handshaken)) = handshakes.poll_next_unpin(context) {
            return Poll::Ready(Next::Established(handshaken));
        }
        if let Poll::Ready(Some(incoming)) = accepts.poll_next_unpin(context) {
            return Poll::Ready(Next::Incoming(incoming));
        }
        Poll::Pending
    })
    .await
}

fn handshake(incoming: transport::Incoming) -> Handshake {
    Box::pin(async move {
        let peer = incoming.info().peer.clone();
        incoming.handshake().await.map_err(|error| {
            let peer = peer.as_ref().map(display);
            tracing::debug!(peer, %error, "a handshake failed");
        })
    })
}

fn start(established: Established, role: Role, config: Config) -> Connection {
    let Established { stream, info, .. } = established;
    let (connection, driver) =
        Connection::start(stream, role, config, info, crate::runtime::current());
    driver.spawn();
    connection
}

#[cfg(all(test, feature = "async-std"))]
mod tests {
    use event_listener::Event;
    use futures_util::future::{join, ready};

    use super::*;
    use crate::mux::{Channel, ChannelError};

    async fn double(mut channel: Channel<u64, u64>) -> Result<(), ChannelError> {
        while let Some(number) = channel.recv().await? {
            channel.send(&(2 * number)).await?;
        }
        channel.finish();
        Ok(())
    }

    #[test]
    fn a_server_that_stops_lets_open_channels_finish_and_takes_no_more() {
        async_std::task::block_on(async {
            let endpoint = "memory://a-server-that-stops";
            let listener = listen(endpoint).await.expect("to listen");
            let router = Router::new().on("double/1", double);
            let stop = Event::new();
            let stopped = stop.listen();
            let long = Duration::from_hours(1);
            let serving = listener.serve_until(&router, stopped, long);
            let using = async {
                let connection = connect(endpoint).await.expect("a connection");
                let mut doubling: Channel<u64, u64> =
                    connection.open("double/1").await.expect("a channel");
                doubling.send(&1).await.expect("to send");
                assert_eq!(doubling.recv().await.expect("an answer"), Some(2));
                stop.notify(1);
                while connect(endpoint).await.is_ok() {}
                doubling.send(&2).await.expect("to send");
                assert_eq!(doubling.recv().await.expect("an answer"), Some(4));
                doubling.finish();
                assert_eq!(doubling.recv().await.expect("the end"), None);
                connection.closed().await
            };
            let (served, ended) = join(serving, using).await;
            served.expect("to have served");
            assert!(ended.is_clean(), "{ended}");
        });
    }

    #[test]
    fn a_server_that_stops_cuts_what_does_not_finish_in_time() {
        async_std::task::block_on(async {
            let endpoint = "memory://a-server-in-a-hurry";
            let listener = listen(endpoint).await.expect("to listen");
            let router = Router::new().on("double/1", double);
            let stop = Event::new();
            let stopped = stop.listen();
            let serving = listener.serve_until(&router, stopped, Duration::ZERO);
            let using = async {
                let connection = connect(endpoint).await.expect("a connection");
                let mut doubling: Channel<u64, u64> =
                    connection.open("double/1").await.expect("a channel");
                doubling.send(&1).await.expect("to send");
                assert_eq!(doubling.recv().await.expect("an answer"), Some(2));
                stop.notify(1);
                doubling.recv().await.expect_err("it is cut");
                connection.closed().await;
            };
            join(serving, using).await.0.expect("to have served");
        });
    }

    #[test]
    fn a_server_that_nobody_uses_stops_at_once() {
        async_std::task::block_on(async {
            let listener = listen("memory://a-server-that-nobody-uses").await;
            let serving = listener.expect("to listen");
            let serving = serving
                .serve_until(&Router::new(), ready(()), Duration::ZERO)
                .await;
            serving.expect("to have served");
        });
    }
}
