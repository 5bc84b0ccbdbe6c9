//! What a dial answers that finds somebody there, or is overtaken by the end of a node.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use sessionwire::node::{DialError, HandshakeError, Node, NodeError, Peer, PeerId, Reason};
use sessionwire::transport::Endpoint;

use super::stage::{SECOND, Say, Stage, Talk, id};

fn endpoint(test: &str) -> Endpoint {
    let name = format!("memory://nodes-dials-{test}-{}", std::process::id());
    name.parse().expect("an endpoint")
}

fn dial(
    stage: &Stage,
    node: &Node<Talk>,
    at: &Endpoint,
    expected: Option<PeerId>,
) -> Result<Peer<Talk>, DialError> {
    let (node, at) = (node.clone(), at.clone());
    stage.run(async move { node.dial(at, expected).await })
}

fn is_duplicate(dialed: &Result<Peer<Talk>, DialError>) -> bool {
    let Err(DialError::Handshake(error)) = dialed else {
        return false;
    };
    let (HandshakeError::Rejected(rejection) | HandshakeError::Refused(rejection)) = error else {
        return false;
    };
    *rejection.reason() == Reason::Duplicate
}

#[test]
fn nobody_else_is_answered_than_who_was_expected() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    let at = endpoint("expected");
    stage.listen(&other, &at);
    dial(&stage, &one, &at, None).expect("a peer");
    let again = dial(&stage, &one, &at, Some(id(2)));
    assert_eq!(again.expect("the same").id(), id(2));
    let third = dial(&stage, &one, &at, Some(id(3)));
    assert!(is_duplicate(&third), "{third:?}");
}

#[test]
fn a_peer_that_is_about_to_leave_is_not_answered() {
    for expected in [None, Some(id(2))] {
        let stage = Stage::default();
        let (one, other) = (stage.node(1), stage.node(2));
        let at = endpoint(if expected.is_some() { "one" } else { "any" });
        stage.listen(&other, &at);
        let leaving = dial(&stage, &one, &at, expected).expect("a peer");
        one.disconnect(&id(2));
        let again = dial(&stage, &one, &at, expected);
        assert!(!leaving.is_connected());
        match again {
            Ok(peer) => assert!(peer.is_connected(), "it has come back"),
            again => assert!(is_duplicate(&again), "{again:?}"),
        }
        stage.advance(SECOND);
    }
}

/// At any moment of the handshake.
#[test]
fn a_node_that_stops_while_it_is_dialed_or_dials_says_so() {
    for (moment, dialer_stops) in (0..40).flat_map(|moment| [(moment, false), (moment, true)]) {
        let stage = Stage::default();
        let (one, other) = (stage.node(1), stage.node(2));
        let mut random = SmallRng::seed_from_u64(moment);
        let (here, there, _cable) = stage.cable(&mut random, 20);
        assert!(other.accept_over(there));
        let dialing = stage.dial_over(&one, here);
        stage.advance(Duration::from_millis(5 * moment));
        let has_entered = other.occupancy().inbound == 1;
        let stopping = if dialer_stops { one } else { other };
        let stopped = stage.task(async move { stopping.shutdown(SECOND).await });
        stage.advance(60 * SECOND);
        let stopped = stopped.output().expect("an end");
        stopped.expect("nothing to save");
        let said = match dialing.output().expect("an end") {
            Ok(peer) => {
                let ended = stage.run(async move { peer.connection().closed().await });
                ended.to_string()
            }
            Err(error) => error.to_string(),
        };
        assert!(!said.contains("connected already"), "{moment}: {said}");
        assert!(
            !has_entered || !said.contains("without a goodbye"),
            "{moment}: {said}"
        );
        if dialer_stops && moment == 0 {
            assert_eq!(said, DialError::Stopped.to_string());
        }
    }
}

#[test]
fn a_node_that_has_stopped_sends_nothing() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    stage.connect(&one, &other);
    let stopping = one.clone();
    let stopped = stage.task(async move { stopping.shutdown(SECOND).await });
    stage.advance(SECOND);
    assert!(stopped.output().is_some());
    let sent = stage.run(async move { one.send(&id(2), &Say::Data(1)).await });
    assert!(matches!(sent, Err(NodeError::Stopped)), "{sent:?}");
}
