//! How two ends are connected and what runs them: the same test in many worlds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use async_tungstenite_029 as tungstenite;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Future, join};
use sessionwire::mux::{Config, Connection, ConnectionError, Driver, Role};
use sessionwire::runtime::{AsyncStd, SharedRuntime, Smol, Tokio};
use sessionwire::transport::{
    self, BoxedStream, Endpoint, Identity, TlsClient, TlsServer, TransportConfig,
};
use ws_stream_tungstenite::WsStream as Theirs;

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Memory,
    Tcp,
    Unix,
    WebSocket,
    Tls,
    WebSocketOverTls,
    /// The dialler's WebSocket is `ws_stream_tungstenite`'s, the acceptor's is ours.
    TheirClient,
    /// The other way round.
    TheirServer,
    TheirBoth,
}

/// What runs the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    AsyncStd,
    Smol,
    Tokio,
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    wire: Wire,
    runtime: SharedRuntime,
}

/// One end whose driver nobody polls yet.
pub(crate) type End = (Connection, Driver);

impl On {
    /// Runs `test` on this runtime, in the world that `wire` makes.
    pub(crate) fn run<Test: Future<Output = ()>>(
        self,
        wire: Wire,
        test: impl FnOnce(World) -> Test,
    ) {
        let _watchdog = super::Watchdog::default();
        let body = async move {
            let runtime: SharedRuntime = match self {
                Self::AsyncStd => Arc::new(AsyncStd),
                Self::Smol => Arc::new(Smol),
                Self::Tokio => Arc::new(Tokio::current().expect("to be inside of tokio")),
            };
            super::watched(test(World { wire, runtime })).await;
        };
        match self {
            Self::AsyncStd => async_std::task::block_on(body),
            Self::Smol => smol::block_on(body),
            Self::Tokio => tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a tokio runtime")
                .block_on(body),
        }
    }
}

impl World {
    /// Two connected ends, their drivers running: first the one that dialled.
    pub(crate) async fn connected(&self) -> (Connection, Connection) {
        self.connected_with(Config::default()).await
    }

    pub(crate) async fn connected_with(&self, config: Config) -> (Connection, Connection) {
        let ((here, driver), (there, other)) = self.ends(config).await;
        driver.spawn();
        other.spawn();
        (here, there)
    }

    /// Two connected ends, and what their drivers come to.
    pub(crate) async fn overseen(
        &self,
    ) -> (Connection, Connection, [BoxFuture<'static, Outcome>; 2]) {
        let ((here, driver), (there, other)) = self.ends(Config::default()).await;
        (here, there, [self.spawn(driver), self.spawn(other)])
    }

    pub(crate) async fn ends(&self, config: Config) -> (End, End) {
        let (one, other) = self.streams().await;
        let end = |stream, role| {
            Connection::with_runtime(stream, role, config.clone(), self.runtime.clone())
        };
        (end(one, Role::Dialer), end(other, Role::Acceptor))
    }

    /// Runs a task; what it answers can be waited for.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (sender, receiver) = oneshot::channel();
        self.runtime.spawn(Box::pin(async move {
            // Nobody need want to know.
            let _ = sender.send(task.await);
        }));
        Box::pin(async { receiver.await.expect("the task to end without a panic") })
    }

    async fn streams(&self) -> (BoxedStream, BoxedStream) {
        let endpoint = match self.wire {
            Wire::TheirClient | Wire::TheirServer | Wire::TheirBoth => endpoint(Wire::Tcp),
            ours => endpoint(ours),
        };
        let (one, other) = established(&endpoint).await;
        match self.wire {
            Wire::TheirClient => join(their_client(one), our_server(other)).await,
            Wire::TheirServer => join(our_client(one), their_server(other)).await,
            Wire::TheirBoth => join(their_client(one), their_server(other)).await,
            _ => (one, other),
        }
    }
}

pub(crate) type Outcome = Result<(), ConnectionError>;

/// An endpoint to listen at that nothing else uses.
pub(crate) fn endpoint(wire: Wire) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("sessionwire-test-{}-{count}", std::process::id());
    match wire {
        Wire::Memory => format!("memory://{name}"),
        Wire::Tcp => "tcp://127.0.0.1:0".to_owned(),
        Wire::Unix => format!("unix://{}", std::env::temp_dir().join(name).display()),
        Wire::Tls => "tls://127.0.0.1:0".to_owned(),
        Wire::WebSocketOverTls => "wss://localhost:0/wire".to_owned(),
        _ => "ws://127.0.0.1:0/wire".to_owned(),
    }
}

/// For both ends: the server has a certificate of its own making, which the client has pinned.
pub(crate) fn trusting() -> TransportConfig {
    static CONFIG: OnceLock<TransportConfig> = OnceLock::new();
    let make = || {
        let made = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes());
        let identity = identity.expect("an identity");
        let client = TlsClient::builder().pin(identity.fingerprint()).build();
        let server = TlsServer::builder(identity).build();
        TransportConfig::default()
            .tls_client(client.expect("a client"))
            .tls_server(server.expect("a server"))
    };
    CONFIG.get_or_init(make).clone()
}

async fn established(endpoint: &str) -> (BoxedStream, BoxedStream) {
    let config = trusting();
    let endpoint: Endpoint = endpoint.parse().expect("an endpoint");
    let listener = transport::Listener::bind(&endpoint, &config).await;
    let mut listener = listener.expect("to listen");
    let endpoint = listener.endpoint().clone();
    let accept = async { listener.accept().await?.handshake().await };
    let (one, other) = join(transport::connect(&endpoint, &config), accept).await;
    (
        one.expect("to connect").stream,
        other.expect("to accept").stream,
    )
}

const URL: &str = "ws://127.0.0.1/wire";

async fn our_client(stream: BoxedStream) -> BoxedStream {
    let endpoint = URL.parse().expect("an endpoint");
    let config = TransportConfig::default();
    let shaken = transport::WsStream::connect(stream, &endpoint, &config).await;
    Box::new(shaken.expect("a server's handshake"))
}

async fn our_server(stream: BoxedStream) -> BoxedStream {
    let config = TransportConfig::default();
    let shaken = transport::WsStream::accept(stream, "/wire", &config).await;
    Box::new(shaken.expect("a client's handshake"))
}

async fn their_client(stream: BoxedStream) -> BoxedStream {
    let shaken = tungstenite::client_async(URL, stream).await;
    Box::new(Theirs::new(shaken.expect("a server's handshake").0))
}

async fn their_server(stream: BoxedStream) -> BoxedStream {
    let shaken = tungstenite::accept_async(stream).await;
    Box::new(Theirs::new(shaken.expect("a client's handshake")))
}
