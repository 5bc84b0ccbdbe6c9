//! Nodes over real sockets, of several kinds at once, on several runtimes.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sessionwire::node::{Identity, Node, NodeConfig, NodeEvent, PeerId, Select};
use sessionwire::runtime::{AsyncStd, SharedRuntime, Smol, Tokio};
use sessionwire::transport::{self, Endpoint, TlsClient, TlsServer, TransportConfig};

use super::stage::{Say, Talk, network};
use super::support::world::{Wire, endpoint};
use super::support::{Watchdog, watched};

type Authority = CertifiedIssuer<'static, KeyPair>;

async fn current(run: impl Future<Output = ()>) {
    let _watchdog = Watchdog::default();
    // Boxed, for an executor moves what it runs from frame to frame of its stack.
    watched(Box::pin(run)).await;
}

fn node(runtime: &SharedRuntime) -> Node<Talk> {
    let (talk, config) = (Talk::default(), NodeConfig::default());
    Node::with_runtime(PeerId::random(), network(), talk, config, runtime.clone())
}

async fn next(node: &Node<Talk>) -> (PeerId, Say) {
    let received = node.recv().await.expect("the node runs");
    (received.from, received.message)
}

/// One node listens at several kinds of endpoints, others come by each.
async fn mixed(runtime: SharedRuntime) {
    let middle = node(&runtime);
    let mut others = Vec::new();
    for wire in [Wire::Memory, Wire::Tcp, Wire::WebSocket, Wire::Unix] {
        let listening = middle
            .listen(endpoint(wire).as_str())
            .await
            .expect("to listen");
        let other = node(&runtime);
        let peer = other
            .dial(&listening, Some(middle.id()))
            .await
            .expect("a peer");
        assert_eq!(peer.id(), middle.id());
        others.push(other);
    }
    assert_eq!(middle.endpoints().len(), 4);
    for other in &others {
        other
            .send(&middle.id(), &Say::Data(1))
            .await
            .expect("to send");
        assert_eq!(next(&middle).await, (other.id(), Say::Data(1)));
    }
    let report = middle.broadcast(&Say::Bytes(vec![7; 1024]), &Select::All);
    assert_eq!(report.expect("to encode").queued, 4);
    for other in &others {
        assert_eq!(next(other).await, (middle.id(), Say::Bytes(vec![7; 1024])));
    }
    let mut events = middle.events();
    assert!(matches!(events.next().await, Some(NodeEvent::Snapshot(peers)) if peers.len() == 4));
    let stopped = middle.shutdown(Duration::from_secs(10)).await;
    stopped.expect("nothing to save");
    for _ in 0..4 {
        assert!(matches!(events.next().await, Some(NodeEvent::Down(_))));
    }
    assert!(events.next().await.is_none());
}

/// Both dial at once, again and again.
async fn race(runtime: SharedRuntime, wire: Wire) {
    for _ in 0..20 {
        let (one, other) = (node(&runtime), node(&runtime));
        let there = other
            .listen(endpoint(wire).as_str())
            .await
            .expect("to listen");
        let here = one
            .listen(endpoint(wire).as_str())
            .await
            .expect("to listen");
        let send = |from: Node<Talk>, to: Endpoint| async move {
            let peer = from.dial(&to, None).await.expect("a peer");
            for number in 0..50 {
                from.send(&peer.id(), &Say::Data(number))
                    .await
                    .expect("to send");
            }
        };
        join(send(one.clone(), there), send(other.clone(), here)).await;
        for node in [&one, &other] {
            for number in 0..50 {
                assert_eq!(next(node).await.1, Say::Data(number));
            }
            assert_eq!(node.peers().len(), 1);
        }
    }
}

#[test]
fn peers_come_over_any_transport_on_async_std() {
    async_std::task::block_on(current(mixed(Arc::new(AsyncStd))));
}

#[test]
fn peers_come_over_any_transport_on_smol() {
    smol::block_on(current(mixed(Arc::new(Smol))));
}

#[test]
fn peers_come_over_any_transport_on_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        current(mixed(Arc::new(Tokio::current().expect("to be inside")))).await;
    });
}

#[test]
fn nodes_that_dial_at_once_over_tcp_lose_nothing() {
    async_std::task::block_on(current(race(Arc::new(AsyncStd), Wire::Tcp)));
}

#[test]
fn nodes_that_dial_at_once_over_websocket_lose_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let tokio: SharedRuntime = Arc::new(Tokio::current().expect("to be inside"));
        current(race(tokio, Wire::WebSocket)).await;
    });
}

#[test]
fn a_node_notices_itself_by_whatever_name_it_is_dialed() {
    async_std::task::block_on(current(async {
        let runtime: SharedRuntime = Arc::new(AsyncStd);
        let node = node(&runtime);
        let mut names = Vec::new();
        for wire in [Wire::Tcp, Wire::WebSocket] {
            let listening = node
                .listen(endpoint(wire).as_str())
                .await
                .expect("to listen");
            names.push(listening.to_string());
            names.push(listening.to_string().replace("127.0.0.1", "localhost"));
            names.push(listening.to_string().replace("127.0.0.1", "0.0.0.0"));
        }
        for name in names {
            let error = node.dial(name.as_str(), None).await.expect_err("itself");
            assert!(
                format!("{error:?}").contains("SelfDial"),
                "{name}: {error:?}"
            );
        }
        assert!(node.peers().is_empty());
    }));
}

/// A node whose certificate is signed by an authority that all trust, and whose id is that of its
/// certificate, or is made up.
fn certified(runtime: &SharedRuntime, authority: &Authority, lies: bool) -> Node<Talk> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let own = transport::Identity::from_pem(certificate.as_bytes(), key.as_bytes());
    let own = own.expect("an identity");
    let id = if lies {
        PeerId::random()
    } else {
        PeerId::from(own.fingerprint())
    };
    let trusted = authority.pem();
    let client = TlsClient::builder().ca_pem(trusted.as_bytes());
    let client = client.expect("an authority").identity(own.clone()).build();
    let server = TlsServer::builder(own).client_ca_pem(trusted.as_bytes());
    let server = server.expect("an authority").build();
    let transport = TransportConfig::default()
        .tls_client(client.expect("a client"))
        .tls_server(server.expect("a server"));
    let config = NodeConfig::default()
        .transport(transport)
        .identity(Identity::certificate());
    Node::with_runtime(id, network(), Talk::default(), config, runtime.clone())
}

#[test]
fn an_id_belongs_to_whoever_has_the_key_of_its_certificate() {
    async_std::task::block_on(current(async {
        let runtime: SharedRuntime = Arc::new(AsyncStd);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = Authority::self_signed(params, key).expect("an authority");
        let (one, other) = (
            certified(&runtime, &authority, false),
            certified(&runtime, &authority, false),
        );
        let liar = certified(&runtime, &authority, true);
        let listening = one.listen("tls://127.0.0.1:0").await.expect("to listen");
        let peer = other
            .dial(&listening, Some(one.id()))
            .await
            .expect("a peer");
        assert_eq!(peer.id(), one.id());
        let error = liar.dial(&listening, None).await.expect_err("a lie");
        assert!(
            format!("{error:?}").contains("Rejection { reason: Identity"),
            "{error:?}"
        );
        let lying = liar.listen("tls://127.0.0.1:0").await.expect("to listen");
        let error = other.dial(&lying, None).await.expect_err("a lie");
        assert!(
            format!("{error:?}").contains("Refused(Rejection { reason: Identity"),
            "{error:?}"
        );
        // Without certificates nothing is proved.
        let plain = one
            .listen(endpoint(Wire::Tcp).as_str())
            .await
            .expect("to listen");
        let third = certified(&runtime, &authority, false);
        let error = third.dial(&plain, None).await.expect_err("no proof");
        assert!(
            format!("{error:?}").contains("reason: Identity"),
            "{error:?}"
        );
    }));
}
