//! What a dial answers that finds somebody there.

use sessionwire::node::{DialError, HandshakeError, Node, Peer, PeerId, Reason};
use sessionwire::transport::Endpoint;

use super::stage::{SECOND, Stage, Talk, id};

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
