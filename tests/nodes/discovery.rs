//! Nodes that find each other, and shun each other.

use std::time::Duration;

use sessionwire::node::book::BookConfig;
use sessionwire::node::{DialError, HandshakeError, Node, NodeConfig, Reason};
use sessionwire::transport::Endpoint;

use super::impostor::Impostor;
use super::stage::{SECOND, Stage, Talk, id};

const HOUR: Duration = Duration::from_hours(1);

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
    let nodes = ring(&stage, "ring", 30, 4);
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
fn a_peer_that_answers_what_nobody_asked_is_banned_for_an_hour_wherever_it_comes_from() {
    let stage = Stage::default();
    let node = stage.node(1);
    let mut impostor = Impostor::peer(&stage, &node, id(2));
    impostor.say(vec![5]);
    assert!(
        impostor
            .ended()
            .is_some_and(|why| why.contains("not asked for"))
    );
    stage.advance(SECOND);
    assert!(node.peer(&id(2)).is_none());
    let honest = stage.node(3);
    stage.connect(&honest, &node);
    let dial = || match stage.dial(&stage.node(2), &node) {
        Ok(_) => None,
        Err(DialError::Handshake(HandshakeError::Rejected(rejection))) => Some(rejection),
        Err(other) => panic!("{other:?}"),
    };
    let rejection = dial().expect("a ban");
    assert_eq!(*rejection.reason(), Reason::Banned);
    let left = rejection.retried_after().expect("a time");
    assert!(left > Duration::from_mins(59) && left <= HOUR, "{left:?}");
    stage.advance(HOUR);
    assert!(dial().is_none(), "it is forgiven");
    node.misbehaved(&id(2), 100).expect("a ban");
    let left = node.is_banned(&id(2)).expect("a ban");
    assert_eq!(left, 2 * HOUR, "twice as long");
    node.pardon(&id(2));
    assert!(node.is_banned(&id(2)).is_none());
}

#[test]
fn points_add_up_and_are_forgiven() {
    let stage = Stage::default();
    let node = stage.node(1);
    let mut impostor = Impostor::peer(&stage, &node, id(2));
    // Nothing that can be decoded, ten points each.
    for _ in 0..9 {
        impostor.send(vec![0, 99]);
    }
    assert_eq!(node.peers().len(), 1);
    stage.advance(60 * SECOND);
    impostor.send(vec![0, 99]);
    assert_eq!(node.peers().len(), 1, "ten were forgiven");
    impostor.send(vec![0, 99]);
    stage.advance(SECOND);
    assert_eq!(node.peers().len(), 0);
}

#[test]
fn what_is_no_notice_is_no_peer() {
    let stage = Stage::default();
    let node = stage.node(1);
    for wrong in [vec![], vec![99], vec![0, 0], vec![1, 2, 3]] {
        let mut impostor = Impostor::peer(&stage, &node, id(2));
        impostor.say(wrong);
        assert!(impostor.ended().is_some());
        stage.advance(SECOND);
        assert!(node.is_banned(&id(2)).is_some());
        node.pardon(&id(2));
    }
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
