//! Links over sockets.

use std::time::Duration;

use sessionwire::mux::Connection;
use sessionwire::rpc::{DialError, Link, LinkConfig, LinkError, LinkState};
use sessionwire::transport::{TransportConfig, TransportError};
use sessionwire::{Channel, ChannelError, Config, Listener, Router};
use tokio::runtime::Runtime;

use crate::support::proxy::{Direction, Fault, Proxy};
use crate::support::watched;
use crate::support::world::{Wire, endpoint, trusting};

/// Comes back soon.
fn eager() -> LinkConfig {
    LinkConfig::default()
        .backoff_base(Duration::from_millis(1))
        .backoff_cap(Duration::from_millis(50))
}

async fn double(mut channel: Channel<u64, u64>) -> Result<(), ChannelError> {
    while let Some(number) = channel.recv().await? {
        channel.send(&(number * 2)).await?;
    }
    channel.finish();
    Ok(())
}

/// A server that doubles numbers; when this is dropped, it and its connections end without a goodbye.
struct Server {
    endpoint: String,
    runtime: Option<Runtime>,
}

impl Server {
    async fn start(wire: Wire) -> Self {
        Self::at(&endpoint(wire)).await
    }

    async fn at(endpoint: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let asked = endpoint.to_owned();
        let (tell, told) = futures::channel::oneshot::channel();
        runtime.spawn(async move {
            let listener = Listener::new(Config::default(), trusting());
            let mut listener = listener.and(&asked).await.expect("to listen");
            tell.send(listener.endpoint().to_string()).expect("a test");
            let router = Router::new().on("double/1", double);
            listener.serve(&router).await.expect("to accept");
        });
        let endpoint = told.await.expect("a listener");
        Self {
            endpoint,
            runtime: Some(runtime),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Asks until an answer comes, as connections may be lost while it does; answers which one gave it.
async fn answers(link: &Link) -> u64 {
    let mut watch = link.watch();
    loop {
        match watch.changed().await {
            LinkState::Up { epoch, connection } => {
                let answer = ask(&connection).await;
                if answer == Some(42) {
                    return epoch;
                }
            }
            LinkState::Down(error) => panic!("{error}"),
            _ => {}
        }
    }
}

async fn ask(connection: &Connection) -> Option<u64> {
    let mut channel: Channel<u64, u64> = connection.open("double/1").await.ok()?;
    channel.send(&21).await.ok()?;
    channel.recv().await.ok()?
}

pub(crate) async fn a_link_survives_resets(wire: Wire) {
    let server = Server::start(wire).await;
    let proxy = Proxy::before(&server.endpoint);
    let link = Link::to(proxy.endpoint(), eager()).expect("an endpoint");
    let mut last = answers(&link).await;
    for _ in 0..5 {
        proxy.set(Fault::Reset);
        proxy.until(|counts| counts.open == 0).await;
        proxy.set(Fault::Pass);
        let epoch = answers(&link).await;
        assert!(epoch > last, "the same connection");
        last = epoch;
    }
}

pub(crate) async fn a_link_follows_a_server_that_moves(wire: Wire) {
    let server = Server::start(wire).await;
    let proxy = Proxy::before(&server.endpoint);
    let link = Link::to(proxy.endpoint(), eager()).expect("an endpoint");
    let first = answers(&link).await;
    drop(server);
    let moved = Server::start(wire).await;
    proxy.move_to(&moved.endpoint);
    assert!(answers(&link).await > first);
}

pub(crate) async fn a_link_that_is_cut_at_any_byte_comes_up_again(wire: Wire) {
    let server = Server::start(wire).await;
    let proxy = Proxy::before(&server.endpoint);
    for direction in [Direction::ToServer, Direction::ToClient] {
        for bytes in [0, 1, 4, 5, 20, 40, 60, 200] {
            proxy.set(Fault::CutAfter(bytes, direction));
            let before = proxy.counts().accepted;
            let link = Link::to(proxy.endpoint(), eager()).expect("an endpoint");
            proxy.until(|counts| counts.accepted > before).await;
            if bytes < 200 {
                // It was cut, and dialled again.
                proxy.until(|counts| counts.accepted > before + 1).await;
            }
            proxy.set(Fault::Pass);
            answers(&link).await;
        }
    }
}

pub(crate) async fn a_link_goes_on_with_a_byte_at_a_time(wire: Wire) {
    let server = Server::start(wire).await;
    let proxy = Proxy::before(&server.endpoint);
    proxy.set(Fault::Split(1));
    let link = Link::to(proxy.endpoint(), eager()).expect("an endpoint");
    assert_eq!(answers(&link).await, 1);
}

pub(crate) async fn a_closed_link_has_closed_its_connection(wire: Wire) {
    let server = Server::start(wire).await;
    let proxy = Proxy::before(&server.endpoint);
    let link = Link::to(proxy.endpoint(), eager()).expect("an endpoint");
    answers(&link).await;
    link.close().await;
    assert!(matches!(link.state(), LinkState::Down(LinkError::Closed)));
    proxy.until(|counts| counts.open == 0).await;
    let again = Link::to(proxy.endpoint(), eager()).expect("an endpoint");
    answers(&again).await;
    drop(again);
    proxy.until(|counts| counts.open == 0).await;
    assert_eq!(proxy.counts().accepted, 2);
}

/// An endpoint where nobody listens any more.
async fn nobody() -> String {
    let server = Server::start(Wire::Tcp).await;
    server.endpoint.clone()
}

#[tokio::test]
async fn a_link_fails_over_to_another_kind_of_endpoint() {
    watched(async {
        let websocket = Server::start(Wire::WebSocket).await;
        let memory = Server::start(Wire::Memory).await;
        let dead = nobody().await;
        for living in [&websocket, &memory] {
            let endpoints = [dead.as_str(), "memory://nobody", &living.endpoint];
            let link = Link::to_any(endpoints, eager()).expect("endpoints");
            answers(&link).await;
        }
        let websocket_endpoint = websocket.endpoint.clone();
        let link = Link::to_any([&websocket_endpoint, &memory.endpoint], eager());
        let link = link.expect("endpoints");
        let first = answers(&link).await;
        drop(websocket);
        assert!(answers(&link).await > first);
    })
    .await;
}

/// Waits until it is down, and makes sure that it dialled once.
async fn error_of(proxy: &Proxy, config: LinkConfig) -> DialError {
    let link = Link::to(proxy.endpoint(), config).expect("an endpoint");
    let LinkError::Unreachable { attempts: 1, last } = link.closed().await else {
        panic!("{:?}", link.state());
    };
    assert_eq!(proxy.counts().accepted, 1, "it was dialled again");
    assert!(link.connection().await.is_err());
    assert_eq!(last.target.as_deref(), Some(proxy.endpoint()));
    last.error
}

#[tokio::test]
async fn a_path_that_is_not_found_is_dialled_once() {
    watched(async {
        let server = Server::start(Wire::WebSocket).await;
        let elsewhere = server.endpoint.replace("/wire", "/elsewhere");
        let proxy = Proxy::before(&elsewhere);
        let error = error_of(&proxy, eager()).await;
        assert!(
            matches!(
                error,
                DialError::Transport(TransportError::Refused { status: 404, .. })
            ),
            "{error}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_dialled_once() {
    watched(async {
        let server = Server::start(Wire::Tls).await;
        let proxy = Proxy::before(&server.endpoint);
        let config = eager().transport(TransportConfig::default());
        let error = error_of(&proxy, config).await;
        assert!(
            matches!(
                error,
                DialError::Transport(TransportError::Certificate { .. })
            ),
            "{error}"
        );
        let trusting = eager().transport(trusting());
        let link = Link::to(proxy.endpoint(), trusting).expect("an endpoint");
        answers(&link).await;
    })
    .await;
}

#[test]
fn what_is_no_endpoint_is_said_at_once() {
    for endpoints in [vec![], vec!["tcp://127.0.0.1:1", "tcp//"]] {
        let error = Link::to_any(endpoints, LinkConfig::default()).expect_err("no endpoint");
        assert!(
            matches!(error, TransportError::InvalidEndpoint { .. }),
            "{error}"
        );
    }
}
