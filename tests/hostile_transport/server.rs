//! A server whose every task runs on one thread, so that all its memory is counted.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use allocation_counter::measure;
use futures::channel::oneshot;
use futures::future::{self, Either};
use sessionwire::transport::{Identity, TlsClient, TlsServer, TransportConfig};
use sessionwire::{Config, Listener, RawChannel, Router};

use super::support::{echo, watched};

pub(crate) struct Server {
    endpoint: String,
    /// How honest clients reach it.
    client: TransportConfig,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<u64>,
}

impl Server {
    /// An echo at `ws://`.
    pub(crate) fn start(transport: TransportConfig) -> Self {
        Self::listen(
            "ws://127.0.0.1:0/wire",
            transport,
            TransportConfig::default(),
        )
    }

    /// An echo at `wss://`, with a certificate of its own.
    pub(crate) fn start_tls() -> Self {
        let names = vec!["127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair");
        let pinned = TlsClient::builder().pin(identity.fingerprint()).build();
        let server = TlsServer::builder(identity).build();
        Self::listen(
            "wss://127.0.0.1:0/wire",
            TransportConfig::default().tls_server(server.expect("a server")),
            TransportConfig::default().tls_client(pinned.expect("a client")),
        )
    }

    fn listen(at: &'static str, transport: TransportConfig, client: TransportConfig) -> Self {
        let (sender, endpoint) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let serving = async move {
                let mut listener = Listener::new(Config::default(), transport)
                    .and(at)
                    .await
                    .expect("to listen");
                let endpoint = listener.endpoint().to_string();
                sender.send(endpoint).expect("the test waits for it");
                let router = Router::new().on_raw("echo/1", echo);
                match future::select(Box::pin(listener.serve(&router)), stopped).await {
                    Either::Left((ended, _)) => panic!("it stopped serving: {ended:?}"),
                    Either::Right(_) => {}
                }
            };
            measure(|| runtime.block_on(serving)).bytes_max
        });
        let endpoint = endpoint.recv().expect("it listens");
        Self {
            endpoint,
            client,
            stop,
            thread,
        }
    }

    /// The host and port.
    pub(crate) fn address(&self) -> &str {
        self.endpoint.split('/').nth(2).expect("a host")
    }

    /// Connects as an honest client does, and is answered.
    pub(crate) fn serve_honest_client(&self) {
        async_std::task::block_on(watched(async {
            let connected =
                sessionwire::connect_with(self.endpoint.as_str(), Config::default(), &self.client);
            let connection = connected.await.expect("to connect");
            let mut channel: RawChannel = connection.open_raw("echo/1").await.expect("a channel");
            channel.send("honest".into()).await.expect("to send");
            let heard = channel.recv().await.expect("an answer");
            assert_eq!(heard.expect("a message"), "honest");
        }));
    }

    /// Ends it; answers the most memory that it held at a time, in KiB.
    pub(crate) fn stop(self) -> u64 {
        self.stop.send(()).expect("it runs");
        self.thread.join().expect("it did not panic") / 1024
    }
}
