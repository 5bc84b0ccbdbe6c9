//! Nodes that misbehave are shunned, for a while and longer each time, and none in the name of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sessionwire::node::book::BookConfig;
use sessionwire::node::{
    DialError, HandshakeError, NetworkId, Node, NodeConfig, Peer, Reason, Rejection,
};
use sessionwire::transport::{Endpoint, Listener, TransportConfig};

use super::impostor::Impostor;
use super::stage::{SECOND, Stage, Talk, id, told};

const HOUR: Duration = Duration::from_hours(1);

/// A node of another network.
fn stranger(stage: &Stage, number: u8) -> Node<Talk> {
    let elsewhere = NetworkId::new("elsewhere").expect("a short name");
    let (config, runtime) = (NodeConfig::default(), Arc::new(stage.clock.clone()));
    Node::with_runtime(id(number), elsewhere, Talk::default(), config, runtime)
}

fn rejection(dialed: Result<Peer<Talk>, DialError>) -> Rejection {
    match dialed {
        Err(DialError::Handshake(HandshakeError::Rejected(rejection))) => rejection,
        other => panic!("{other:?}"),
    }
}

/// How long a node that dials hears that it is banned, none if it becomes a peer.
fn banned(stage: &Stage, one: &Node<Talk>, other: &Node<Talk>) -> Option<Duration> {
    let dialed = stage.dial(one, other);
    if dialed.is_ok() {
        return None;
    }
    let rejection = rejection(dialed);
    assert_eq!(*rejection.reason(), Reason::Banned);
    Some(rejection.retried_after().expect("a time"))
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
fn at_a_hundred_points_a_peer_is_banned_by_whatever_connection_it_comes() {
    let stage = Stage::default();
    let node = stage.node(1);
    let peer = stage.node(2);
    stage.connect(&peer, &node);
    let mut events = node.events();
    for points in 1..5 {
        assert_eq!(node.misbehaved(&id(2), 20), None, "{points} times 20");
    }
    assert_eq!(node.misbehaved(&id(2), 20), Some(HOUR));
    stage.advance(SECOND);
    assert_eq!(told(&mut events), ["peers [2]", "down 2"]);
    // Another connection, another run of the same node, and a dial the other way.
    assert!(banned(&stage, &peer, &node).is_some());
    assert!(banned(&stage, &stage.node(2), &node).is_some());
    let dialed = stage.dial(&node, &peer).expect_err("a ban");
    let DialError::Handshake(HandshakeError::Refused(rejection)) = dialed else {
        panic!("{dialed:?}");
    };
    assert_eq!(*rejection.reason(), Reason::Banned);
    // Other nodes have nothing to do with it.
    assert_eq!(banned(&stage, &stage.node(3), &node), None);
    assert_eq!(told(&mut events), ["up 3"]);
}

#[test]
fn a_ban_doubles_up_to_a_day_and_expires() {
    let stage = Stage::default();
    let node = stage.node(1);
    for hours in [1, 2, 4, 8, 16, 24, 24] {
        let peer = stage.node(2);
        stage.connect(&peer, &node);
        let time = hours * HOUR;
        assert_eq!(node.misbehaved(&id(2), 100), Some(time));
        stage.advance(time.saturating_sub(SECOND));
        assert_eq!(banned(&stage, &peer, &node), Some(SECOND));
        stage.advance(SECOND);
    }
    // A day without anything is forgiven and forgotten.
    stage.connect(&stage.node(2), &node);
    stage.advance(25 * HOUR);
    assert_eq!(node.misbehaved(&id(2), 100), Some(HOUR));
}

/// A stranger may claim any id: what it does before it is a peer must not fall back on whose id it is.
#[test]
fn strangers_of_another_network_are_refused_and_the_node_whose_id_they_claim_is_not_banned() {
    let stage = Stage::default();
    let (node, honest) = (stage.node(1), stage.node(2));
    stage.connect(&honest, &node);
    let mut events = node.events();
    for _ in 0..100 {
        let refused = rejection(stage.dial(&stranger(&stage, 2), &node));
        assert_eq!(*refused.reason(), Reason::Network);
    }
    assert_eq!(node.is_banned(&id(2)), None);
    assert_eq!(told(&mut events), ["peers [2]"]);
    assert_eq!(node.occupancy().pending, 0);
}

/// Counts who dials a node of another network there.
fn listen(stage: &Stage, at: &Endpoint) -> Arc<AtomicUsize> {
    let dials = Arc::new(AtomicUsize::new(0));
    let (at, counted, node) = (at.clone(), Arc::clone(&dials), stranger(stage, 9));
    drop(stage.task(async move {
        let listener = Listener::bind(&at, &TransportConfig::default()).await;
        let mut listener = listener.expect("to listen");
        while let Ok(incoming) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let established = incoming.handshake().await.expect("no handshake");
            node.accept_over(established.stream);
        }
    }));
    dials
}

#[test]
fn an_address_of_another_network_is_banned_at_once_and_twice_as_long_each_time() {
    let stage = Stage::default();
    let at = format!("memory://nodes-elsewhere-{}", std::process::id());
    let at: Endpoint = at.parse().expect("an endpoint");
    let dials = listen(&stage, &at);
    let book = BookConfig::default().outbound(1);
    let config = NodeConfig::default().discover(book);
    let node = stage.node_with(1, Talk::default(), config);
    assert!(node.keep(at));
    stage.advance(SECOND);
    for (times, hours) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
        assert_eq!(dials.load(Ordering::SeqCst), times);
        stage.advance((hours * HOUR).saturating_sub(300 * SECOND));
        assert_eq!(dials.load(Ordering::SeqCst), times, "for {hours} h");
        stage.advance(310 * SECOND);
    }
}
