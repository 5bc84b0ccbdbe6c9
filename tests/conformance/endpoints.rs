//! The same program over another transport: one string differs.

use futures::future::join;
use sessionwire::transport::{TransportConfig, WsRefusal, WsServer};
use sessionwire::{Channel, Config, Listener};

use crate::support::world::{On, Wire, World, endpoint, trusting};

/// A program that knows its transport only by the endpoint it is given.
async fn program(endpoint: &str) {
    let listener = Listener::new(Config::default(), trusting()).and(endpoint);
    let mut listener = listener.await.expect("to listen");
    let found = listener.endpoints()[0].clone();
    assert_ne!(found.port(), Some(0), "{found} has its real port");
    let (address, transport) = (found.to_string(), trusting());
    let connecting = sessionwire::connect_with(&address, Config::default(), &transport);
    let (client, server) = join(connecting, listener.accept()).await;
    let (client, server) = (client.expect("to connect"), server.expect("to accept"));
    assert_eq!(client.info().peer.as_ref(), Some(&found));
    assert_eq!(server.info().local.as_ref(), Some(&found));
    let mut asks: Channel<u32, u32> = client.open("double/1").await.expect("a channel");
    asks.send(&21).await.expect("to send");
    let incoming = server.accept().await.expect("a living connection");
    let mut answers: Channel<u32, u32> = incoming.expect("a channel").accept();
    let asked = answers.recv().await.expect("to receive");
    answers
        .send(&(asked.expect("a number") * 2))
        .await
        .expect("to send");
    assert_eq!(asks.recv().await.expect("to receive"), Some(42));
}

/// Who the other end is, and what it asked for, is told by the connection.
async fn known(_: World) {
    let server = WsServer::default().check(|request, info| {
        let name = request
            .query
            .clone()
            .ok_or_else(|| WsRefusal::new(401, "who?"))?;
        info.extensions.insert(name);
        Ok(())
    });
    let transport = trusting().ws_server(server);
    let listener = Listener::new(Config::default(), transport.clone());
    let listener = listener.and("wss://localhost:0/wire").await;
    let mut listener = listener.expect("to listen");
    let address = format!("{}?ada", listener.endpoint());
    let connecting = sessionwire::connect_with(&address, Config::default(), &transport);
    let (client, server) = join(connecting, listener.accept()).await;
    let (client, server) = (client.expect("to connect"), server.expect("to accept"));
    let told = server.info();
    assert_eq!(told.extensions.get(), Some(&"ada".to_owned()));
    let websocket = told.websocket.as_ref().expect("a websocket");
    assert_eq!(websocket.path, "/wire");
    assert_eq!(
        told.tls.as_ref().expect("TLS").alpn.as_deref(),
        Some(&b"http/1.1"[..])
    );
    assert_eq!(told.peer, client.info().local);
    let shown = &client.info().tls.as_ref().expect("TLS").peer_certificates;
    assert_eq!(shown.len(), 1);
}

#[test]
fn a_connection_tells_who_is_there_on_async_std() {
    On::AsyncStd.run(Wire::Memory, known);
}

#[test]
fn a_connection_tells_who_is_there_on_tokio() {
    On::Tokio.run(Wire::Memory, known);
}

async fn swapped(_: World) {
    for wire in [
        Wire::Tcp,
        Wire::WebSocket,
        Wire::Tls,
        Wire::WebSocketOverTls,
        Wire::Unix,
        Wire::Memory,
    ] {
        program(&endpoint(wire)).await;
    }
}

/// One listener at four endpoints, two of them of one kind; clients of all come at once.
async fn several(_: World) {
    let wires = [
        Wire::Memory,
        Wire::Tcp,
        Wire::Tcp,
        Wire::WebSocket,
        Wire::Unix,
    ];
    let mut listener = Listener::new(Config::default(), TransportConfig::default());
    for wire in wires {
        listener = listener.and(&endpoint(wire)).await.expect("to listen");
    }
    let endpoints = listener.endpoints().to_vec();
    assert_eq!(endpoints.len(), wires.len());
    assert_ne!(endpoints[1], endpoints[2], "each has its own port");
    let clients = endpoints.iter().map(async |endpoint| {
        let client = sessionwire::connect(&endpoint.to_string()).await;
        let client = client.expect("to connect");
        client.ping().await.expect("an answer");
        client
    });
    let accepts = async {
        let mut servers = Vec::new();
        for _ in wires {
            servers.push(listener.accept().await.expect("to accept"));
        }
        servers
    };
    let (clients, servers) = join(futures::future::join_all(clients), accepts).await;
    let mut reached: Vec<_> = servers
        .iter()
        .map(|server| {
            server
                .info()
                .local
                .clone()
                .expect("an endpoint")
                .to_string()
        })
        .collect();
    let mut expected: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    reached.sort();
    expected.sort();
    assert_eq!(reached, expected);
    drop(clients);
}

/// A client that never finishes its handshake holds up nobody.
async fn beside_a_silent_client(_: World) {
    let mut listener = sessionwire::listen("ws://127.0.0.1:0/wire")
        .await
        .expect("to listen");
    let found = listener.endpoints()[0].clone();
    let port = found.port().expect("a port");
    let _silent = std::net::TcpStream::connect(("127.0.0.1", port)).expect("to connect");
    let address = found.to_string();
    let (client, server) = join(sessionwire::connect(&address), listener.accept()).await;
    server.expect("to accept").ping().await.expect("an answer");
    drop(client);
}

#[test]
fn one_string_swaps_the_transport_on_async_std() {
    On::AsyncStd.run(Wire::Memory, swapped);
}

#[test]
fn one_string_swaps_the_transport_on_smol() {
    On::Smol.run(Wire::Memory, swapped);
}

#[test]
fn one_string_swaps_the_transport_on_tokio() {
    On::Tokio.run(Wire::Memory, swapped);
}

#[test]
fn one_listener_has_many_endpoints_on_async_std() {
    On::AsyncStd.run(Wire::Memory, several);
}

#[test]
fn one_listener_has_many_endpoints_on_smol() {
    On::Smol.run(Wire::Memory, several);
}

#[test]
fn one_listener_has_many_endpoints_on_tokio() {
    On::Tokio.run(Wire::Memory, several);
}

#[test]
fn a_silent_client_holds_up_nobody_on_async_std() {
    On::AsyncStd.run(Wire::Memory, beside_a_silent_client);
}

#[test]
fn a_silent_client_holds_up_nobody_on_tokio() {
    On::Tokio.run(Wire::Memory, beside_a_silent_client);
}
