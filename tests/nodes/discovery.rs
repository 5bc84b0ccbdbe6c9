//! Nodes that find each other.

use futures::future::select_all;
use sessionwire::node::book::BookConfig;
use sessionwire::node::{Node, NodeConfig, PeerId};
use sessionwire::runtime::{AsyncStd, SharedRuntime};
use sessionwire::transport::Endpoint;

use super::impostor::Impostor;
use super::stage::{SECOND, Stage, Talk, id, network};
use super::support::world::{Wire, endpoint as anywhere};
use super::support::{Watchdog, watched};

fn endpoint(test: &str, number: u8) -> Endpoint {
    let name = format!("memory://nodes-{test}-{number}-{}", std::process::id());
    name.parse().expect("an endpoint")
}

/// Nodes of which each keeps the address of the next.
fn ring(stage: &Stage, test: &str, count: u8, outbound: usize) -> Vec<Node<Talk>> {
    let config = || NodeConfig::default().discover(BookConfig::default().outbound(outbound));
    let node = |number| stage.node_with(number, Talk::default(), config());
    let nodes: Vec<_> = (0..count).map(node).collect();
    for (number, node) in (0..).zip(&nodes) {
        stage.listen(node, &endpoint(test, number));
    }
    for (number, node) in (0..).zip(&nodes) {
        assert!(node.keep(endpoint(test, (number + 1) % count)));
    }
    nodes
}

fn is_connected(nodes: &[Node<Talk>]) -> bool {
    let mut seen = vec![nodes[0].id()];
    let mut place = 0;
    while place < seen.len() {
        let node = nodes.iter().find(|node| node.id() == seen[place]);
        for peer in node.expect("a node of the test").peers() {
            if !seen.contains(&peer.id()) {
                seen.push(peer.id());
            }
        }
        place += 1;
    }
    seen.len() == nodes.len()
}

#[test]
fn a_ring_of_which_each_knows_one_grows_together_within_ten_rounds() {
    let stage = Stage::default();
    let nodes = ring(&stage, "ring", 50, 4);
    let lacks = |node: &Node<Talk>| node.occupancy().outbound + node.occupancy().inbound < 4;
    let mut rounds = 0;
    while nodes.iter().any(lacks) {
        stage.advance(30 * SECOND);
        rounds += 1;
        assert!(rounds <= 10, "some nodes are lonely");
    }
    assert!(is_connected(&nodes));
    for node in &nodes {
        assert!(node.peer(&node.id()).is_none(), "none is its own peer");
        assert!(node.occupancy().outbound <= 4);
    }
}

/// A ring of eight over real sockets, TCP and WebSocket in turn.
async fn ring_over_sockets(runtime: SharedRuntime) {
    const TARGET: usize = 3;
    let mut nodes = Vec::new();
    for number in 0..8 {
        let book = BookConfig::default().outbound(TARGET);
        let config = NodeConfig::default().discover(book);
        let (id, talk) = (PeerId::random(), Talk::default());
        let node = Node::with_runtime(id, network(), talk, config, runtime.clone());
        let wire = [Wire::Tcp, Wire::WebSocket][number % 2];
        node.listen(anywhere(wire).as_str())
            .await
            .expect("to listen");
        nodes.push(node);
    }
    let mut events: Vec<_> = nodes.iter().map(Node::events).collect();
    for (number, node) in nodes.iter().enumerate() {
        let next = &nodes[(number + 1) % nodes.len()];
        assert!(node.keep(next.endpoints().remove(0)));
    }
    let lacks = |node: &Node<Talk>| node.peers().len() < TARGET;
    while nodes.iter().any(lacks) || !is_connected(&nodes) {
        let changes = events.iter_mut().map(|events| Box::pin(events.next()));
        select_all(changes).await;
    }
    for node in &nodes {
        assert!(node.peer(&node.id()).is_none(), "none is its own peer");
        assert!(node.occupancy().outbound <= TARGET);
    }
}

#[test]
fn nodes_that_listen_on_tcp_and_websocket_find_each_other() {
    let _watchdog = Watchdog::default();
    async_std::task::block_on(watched(Box::pin(ring_over_sockets(std::sync::Arc::new(
        AsyncStd,
    )))));
}

#[test]
fn a_peer_that_comes_back_is_dialed_again() {
    let stage = Stage::default();
    let mut nodes = ring(&stage, "back", 2, 1);
    stage.advance(SECOND);
    assert_eq!(nodes[0].peers().len(), 1);
    nodes.truncate(1);
    stage.advance(10 * SECOND);
    assert_eq!(nodes[0].peers().len(), 0);
    let again = stage.node(1);
    stage.listen(&again, &endpoint("back", 1));
    stage.advance(10 * 60 * SECOND);
    assert_eq!(nodes[0].peers().len(), 1);
}

#[test]
fn a_peer_that_asks_is_told_of_others() {
    let stage = Stage::default();
    let node = stage.node(1);
    node.keep(endpoint("told", 7));
    let mut impostor = Impostor::peer(&stage, &node, id(2));
    impostor.say(vec![4]);
    let answer = impostor.hear().expect("an answer");
    assert_eq!(answer[0], 5);
    let mut again = || {
        impostor.say(vec![4]);
        impostor.hear()
    };
    assert!(again().is_none(), "not twice in 30 s");
    stage.advance(30 * SECOND);
    assert!(again().is_some());
}
