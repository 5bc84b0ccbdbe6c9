use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::handshake::{Handshake, Side};
use super::pending::{Pending, Turn};
use super::{
    BoxedStream, ConnectionInfo, Endpoint, Established, Scheme, TransportConfig, TransportError,
    memory,
};
use crate::runtime::{self, Instant};

/// Waits for connections at an [`Endpoint`]. Dropping it stops listening, frees a `memory://` name
/// and removes a Unix socket's file; connections already accepted live on.
///
/// ```
/// use sessionwire::transport::{Listener, TransportConfig, connect};
///
/// # #[cfg(feature = "async-std")]
/// # async_std::task::block_on(async {
/// let config = TransportConfig::default();
/// let mut listener = Listener::bind(&"tcp://127.0.0.1:0".parse()?, &config).await?;
/// let client = connect(listener.endpoint(), &config).await?;
/// let server = listener.accept().await?.handshake().await?;
/// assert_eq!(client.info.local, server.info.peer);
/// # Ok::<(), sessionwire::transport::TransportError>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    handshake: Arc<Handshake>,
    acceptor: Acceptor,
    config: Arc<TransportConfig>,
    pending: Arc<Pending>,
    pause: Pause,
}

impl Listener {
    /// Listens at `endpoint`, on the sockets of the [runtime](runtime::current) that this is polled in.
    ///
    /// A Unix socket's file that a dead process left behind is replaced; one with a live listener is
    /// not. (Two processes that replace the same dead file at once may both believe that they won.)
    ///
    /// # Errors
    ///
    /// [`InUse`](TransportError::InUse) if another listener of this process has the name or a live one
    /// the file, [`Bind`](TransportError::Bind) for all else that the operating system refuses, such as
    /// a port in use, [`Resolve`](TransportError::Resolve) for a host without an address, and
    /// [`Unsupported`](TransportError::Unsupported) for what this program cannot use.
    pub async fn bind(
        endpoint: &Endpoint,
        config: &TransportConfig,
    ) -> Result<Self, TransportError> {
        let handshake = Handshake::new(Side::Server, endpoint, config)?;
        let (acceptor, endpoint) = match endpoint.scheme() {
            Scheme::Memory => {
                let listener = memory::Listener::bind(endpoint.path()).ok_or_else(|| {
                    TransportError::InUse {
                        endpoint: endpoint.clone(),
                    }
                })?;
                (Acceptor::Memory(listener), endpoint.clone())
            }
            _ => bind_socket(endpoint).await?,
        };
        let pending = Arc::new(Pending::new(config.max_pending_handshakes));
        let config = Arc::new(config.clone());
        Ok(Self {
            endpoint,
            handshake: Arc::new(handshake),
            acceptor,
            config,
            pending,
            pause: Pause::default(),
        })
    }

    /// Where it listens: as asked for, with the port that was found in place of port 0.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next connection, before its handshake.
    ///
    /// If [`max_pending_handshakes`](TransportConfig#structfield.max_pending_handshakes) others have
    /// neither finished their handshake nor been dropped, the oldest of them is closed: strangers that
    /// dribble theirs keep out nobody who is quick. Errors that pass, such as too many open files or a
    /// client that gave up, are logged and outlasted with pauses of 5 ms to 1 s.
    ///
    /// # Errors
    ///
    /// [`Accept`](TransportError::Accept) if the listener can never accept again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    pub async fn accept(&mut self) -> Result<Incoming, TransportError> {
        loop {
            self.pause.wait().await;
            match self.acceptor.accept().await {
                Ok((stream, peer)) => {
                    self.pause = Pause::default();
                    let info = ConnectionInfo {
                        local: Some(self.endpoint.clone()),
                        peer,
                        ..ConnectionInfo::default()
                    };
                    return Ok(self.begin(stream, info));
                }
                Err(error) if is_permanent(&error) => {
                    let endpoint = self.endpoint.clone();
                    return Err(TransportError::Accept {
                        endpoint,
                        cause: Arc::new(error),
                    });
                }
                Err(error) => {
                    let pause = self.pause.lengthen();
                    tracing::warn!(endpoint = %self.endpoint, %error, ?pause, "cannot accept, trying again");
                }
            }
        }
    }

    fn begin(&self, stream: BoxedStream, info: ConnectionInfo) -> Incoming {
        let (handshake, config) = (self.handshake.clone(), self.config.clone());
        let known = info.clone();
        let shaken = async move { handshake.shake(stream, known, &config).await };
        let turn = self.pending.begin(Box::pin(shaken));
        Incoming { info, turn }
    }
}

/// A connection that was accepted and has not proved yet that it speaks the endpoint's protocol.
///
/// Until it has, it may have to give way to newer ones, whether or not its handshake has begun: see
/// [`Listener::accept`].
pub struct Incoming {
    info: ConnectionInfo,
    turn: Turn,
}

impl Incoming {
    /// Between whom it is.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Does the server's part of the handshake.
    ///
    /// Run it in a task of its own, so that a slow client does not hold up the others: it takes up to
    /// [`handshake_timeout`](TransportConfig#structfield.handshake_timeout). Dropping the future closes
    /// the connection.
    ///
    /// # Errors
    ///
    /// A variant of [`TransportError`] about the handshake; all are the client's fault, or the
    /// network's, and none concerns the listener. [`HandshakeDisplaced`](TransportError::HandshakeDisplaced)
    /// if it had to give way.
    pub async fn handshake(self) -> Result<Established, TransportError> {
        self.turn.take().await
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Incoming")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Acceptor {
    Memory(memory::Listener),
    #[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
    Socket(super::sockets::Listener),
}

impl Acceptor {
    async fn accept(&self) -> io::Result<(BoxedStream, Option<Endpoint>)> {
        match self {
            Self::Memory(listener) => Ok((Box::new(listener.accept().await), None)),
            #[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
            Self::Socket(listener) => listener.accept().await,
        }
    }
}

#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
async fn bind_socket(endpoint: &Endpoint) -> Result<(Acceptor, Endpoint), TransportError> {
    let (listener, endpoint) = super::sockets::Listener::bind(endpoint).await?;
    Ok((Acceptor::Socket(listener), endpoint))
}

#[cfg(not(any(feature = "async-std", feature = "smol", feature = "tokio")))]
#[expect(
    clippy::unused_async,
    reason = "it stands in for a function that waits"
)]
async fn bind_socket(endpoint: &Endpoint) -> Result<(Acceptor, Endpoint), TransportError> {
    Err(super::no_sockets(endpoint))
}

/// `accept` reports errors of the network and of single connections too, so that only what says that
/// the call itself is wrong is final.
fn is_permanent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

/// Kept in the listener, so that dropping the future of `accept` does not cut a pause short.
#[derive(Debug, Default)]
struct Pause {
    length: Duration,
    until: Option<Instant>,
}

impl Pause {
    const SHORTEST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    fn lengthen(&mut self) -> Duration {
        self.length = self
            .length
            .saturating_mul(2)
            .clamp(Self::SHORTEST, Self::LONGEST);
        self.until = runtime::current().now().checked_add(self.length);
        self.length
    }

    async fn wait(&mut self) {
        if let Some(until) = self.until {
            runtime::current().sleep_until(until).await;
            self.until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, FutureExt};

    use super::*;

    #[test]
    fn pauses_grow_to_a_second() {
        let mut pause = Pause::default();
        let lengths: Vec<_> = (0..10).map(|_| pause.lengthen().as_millis()).collect();
        assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn too_many_open_files_pass_and_a_wrong_call_does_not() {
        for code in [11, 24, 23, 103, 104, 105] {
            assert!(!is_permanent(&io::Error::from_raw_os_error(code)), "{code}");
        }
        assert!(is_permanent(&io::ErrorKind::InvalidInput.into()));
    }

    fn listen(name: &str, most: usize) -> (Listener, impl Fn() -> Established + use<>) {
        let endpoint: Endpoint = format!("memory://{name}").parse().unwrap();
        let config = TransportConfig::default().max_pending_handshakes(most);
        let listener = Listener::bind(&endpoint, &config).now_or_never().unwrap();
        let connect = move || {
            let connecting = super::super::connect(&endpoint, &config);
            connecting.now_or_never().unwrap().unwrap()
        };
        (listener.unwrap(), connect)
    }

    fn accept(listener: &mut Listener) -> Incoming {
        listener.accept().now_or_never().unwrap().unwrap()
    }

    fn is_open(client: &mut Established) -> bool {
        client.stream.read(&mut [0]).now_or_never().is_none()
    }

    #[test]
    fn the_oldest_pending_handshake_gives_way_to_one_too_many() {
        let (mut listener, connect) = listen("listener-one-too-many", 2);
        let mut clients = [connect(), connect(), connect()];
        let first = accept(&mut listener);
        let second = accept(&mut listener);
        assert!(is_open(&mut clients[0]), "two may be pending");
        let third = accept(&mut listener);
        assert!(
            !is_open(&mut clients[0]),
            "it is closed though nobody polls it"
        );
        let error = first.handshake().now_or_never().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the connection was closed before its handshake was done, for 2 newer ones were waiting; \
             it is slow or hostile, or else raise max_pending_handshakes"
        );
        for pending in [second, third] {
            pending.handshake().now_or_never().unwrap().unwrap();
        }
    }

    #[test]
    fn what_is_over_or_given_up_is_pending_no_more() {
        let (mut listener, connect) = listen("listener-over", 2);
        let mut clients: Vec<_> = (0..4).map(|_| connect()).collect();
        let _first = accept(&mut listener);
        let over = accept(&mut listener).handshake().now_or_never();
        drop(accept(&mut listener));
        let _last = accept(&mut listener);
        let open: Vec<_> = clients.iter_mut().map(is_open).collect();
        assert_eq!(open, [true, true, false, true]);
        assert!(over.unwrap().is_ok());
    }

    #[test]
    fn a_taken_name_is_refused_with_its_endpoint() {
        let endpoint: Endpoint = "memory://listener-taken".parse().unwrap();
        let config = TransportConfig::default();
        let _listener = Listener::bind(&endpoint, &config)
            .now_or_never()
            .unwrap()
            .unwrap();
        let error = Listener::bind(&endpoint, &config)
            .now_or_never()
            .unwrap()
            .unwrap_err();
        assert!(matches!(error, TransportError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("memory://listener-taken"));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn what_this_build_lacks_is_said_before_anything_is_opened() {
        let config = TransportConfig::default();
        let endpoint = "tls://example.org:1".parse().unwrap();
        let dialled = super::super::connect(&endpoint, &config)
            .now_or_never()
            .unwrap();
        let bound = Listener::bind(&endpoint, &config).now_or_never().unwrap();
        for error in [dialled.unwrap_err(), bound.unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("enable its feature `tls`"), "{text}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_server_without_a_certificate_is_told_before_anything_is_opened() {
        let endpoint = "tls://127.0.0.1:0".parse().unwrap();
        let config = TransportConfig::default();
        let bound = Listener::bind(&endpoint, &config);
        let text = bound.now_or_never().unwrap().unwrap_err().to_string();
        assert_eq!(
            text,
            "cannot set up TLS: a server on tls://127.0.0.1:0 needs a certificate; \
             set `tls_server` of TransportConfig"
        );
    }
}
