//! What the application's own code may do to a node: panic, and call it back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sessionwire::node::{
    App, Class, DialError, Direction, Identity, Introduction, ItemId, Node, NodeConfig, Occupancy,
    Peer, Rejection, Select,
};
use sessionwire::transport::pipe;

use super::stage::{SECOND, Stage, id, network, poll_once};

/// A number of which some are better left alone.
#[derive(Debug)]
struct Brittle {
    number: u64,
    /// It is not this end that made it.
    came: bool,
}

fn brittle(number: u64) -> Brittle {
    Brittle {
        number,
        came: false,
    }
}

const NOT_ENCODED: u64 = 13;
const NOT_DECODED: u64 = 14;
const NOT_DROPPED: u64 = 15;
const NOT_CLASSED: u64 = 16;

impl Serialize for Brittle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.number, NOT_ENCODED, "a panic on purpose");
        self.number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Brittle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        assert_ne!(number, NOT_DECODED, "a panic on purpose");
        Ok(Self { number, came: true })
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        let panics = self.came && self.number == NOT_DROPPED && !std::thread::panicking();
        assert!(!panics, "a panic on purpose");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Hello,
    Admit,
    Verify,
}

/// Says a number, and panics where it is told to.
#[derive(Debug)]
struct Shaky {
    says: u64,
    panics: Option<Fault>,
}

impl App for Shaky {
    type Message = Brittle;
    type Hello = Brittle;

    fn hello(&self, _: Direction) -> Brittle {
        assert_ne!(self.panics, Some(Fault::Hello), "a panic on purpose");
        brittle(self.says)
    }

    fn admit(&self, _: &Introduction<Brittle>) -> Result<(), Rejection> {
        assert_ne!(self.panics, Some(Fault::Admit), "a panic on purpose");
        Ok(())
    }

    fn class(message: &Brittle) -> Class {
        assert_ne!(message.number, NOT_CLASSED, "a panic on purpose");
        Class::Data
    }

    /// It has every item, and looking at number 17 makes it panic.
    fn item(&self, id: &ItemId) -> Option<Brittle> {
        let number = u64::from(id.as_bytes()[0]);
        assert_ne!(number, 17, "a panic on purpose");
        Some(brittle(number))
    }
}

fn shaky(stage: &Stage, number: u8, says: u64, panics: Option<Fault>) -> Node<Shaky> {
    let mut config = NodeConfig::default();
    if panics == Some(Fault::Verify) {
        config = config.identity(Identity::verified_by(|_, _| panic!("on purpose")));
    }
    let runtime = Arc::new(stage.clock.clone());
    Node::with_runtime(
        id(number),
        network(),
        Shaky { says, panics },
        config,
        runtime,
    )
}

fn dial<A: App>(stage: &Stage, one: &Node<A>, other: &Node<A>) -> Result<Peer<A>, DialError> {
    let (here, there) = pipe(64 * 1024);
    assert!(other.accept_over(there));
    let one = one.clone();
    stage.run(async move { one.dial_over(here, None).await })
}

#[test]
fn a_panic_in_a_handshake_costs_that_handshake_alone() {
    for (says, panics) in [
        (NOT_ENCODED, None),
        (NOT_DECODED, None),
        (0, Some(Fault::Hello)),
        (0, Some(Fault::Admit)),
        (0, Some(Fault::Verify)),
    ] {
        for dials in [true, false] {
            let stage = Stage::default();
            let (faulty, honest) = (shaky(&stage, 1, says, panics), shaky(&stage, 2, 0, None));
            let dialed = if dials {
                dial(&stage, &faulty, &honest)
            } else {
                dial(&stage, &honest, &faulty)
            };
            let case = format!("{says} {panics:?} {dials}");
            assert!(dialed.is_err(), "{case}: {dialed:?}");
            stage.advance(5 * SECOND);
            for node in [&faulty, &honest] {
                assert_eq!(node.occupancy(), Occupancy::default(), "{case}");
            }
            let third = shaky(&stage, 3, 0, None);
            dial(&stage, &third, &honest).expect("all is well elsewhere");
        }
    }
}

#[test]
fn a_panic_over_a_message_or_an_item_costs_that_alone() {
    let stage = Stage::default();
    let (one, other) = (shaky(&stage, 1, 0, None), shaky(&stage, 2, 0, None));
    let peer = dial(&stage, &one, &other).expect("a peer");
    for number in [NOT_ENCODED, NOT_CLASSED] {
        let (sending, announcing) = (one.clone(), Select::All);
        let panics = AssertUnwindSafe(|| sending.broadcast(&brittle(number), &announcing));
        assert!(catch_unwind(panics).is_err(), "it is the caller's own");
    }
    for number in [NOT_DECODED, 1] {
        let sent = one.broadcast(&brittle(number), &Select::All);
        assert_eq!(sent.expect("to encode").queued, 1);
    }
    let items: Vec<ItemId> = [17, NOT_ENCODED, NOT_DECODED, 3]
        .map(|number| ItemId::new([number as u8; 32]))
        .into();
    one.announce(&items, &Select::All);
    stage.clock.run_until_stalled();
    let mut came = Vec::new();
    while let std::task::Poll::Ready(Some(received)) = poll_once(other.recv()) {
        came.push(received.message.number);
    }
    assert_eq!(came, [1, 3]);
    let statistics = other.peer(&id(1)).expect("still a peer").statistics();
    assert_eq!(statistics.undecodable, 2);
    assert!(peer.is_connected());
}

#[test]
fn a_panic_when_what_a_peer_said_is_dropped_costs_nobody_else() {
    let stage = Stage::default();
    let (one, other) = (
        shaky(&stage, 1, NOT_DROPPED, None),
        shaky(&stage, 2, 0, None),
    );
    let picky = shaky(&stage, 3, 0, Some(Fault::Admit));
    assert!(dial(&stage, &one, &picky).is_err(), "refused, then dropped");
    assert!(dial(&stage, &picky, &one).is_err());
    for _ in 0..2 {
        dial(&stage, &one, &other).expect("a peer");
        other.disconnect(&id(1));
        stage.advance(6 * SECOND);
        assert!(other.peers().is_empty());
    }
    for node in [one, other, picky] {
        assert_eq!(node.occupancy(), Occupancy::default());
    }
}

#[test]
fn a_panic_when_what_came_is_dropped_unused_costs_nobody_else() {
    let stage = Stage::default();
    let one = shaky(&stage, 1, 0, None);
    // It has said who it is, and then does not want the other.
    let picky = shaky(&stage, 2, NOT_DROPPED, Some(Fault::Admit));
    assert!(dial(&stage, &picky, &one).is_err());
    assert_eq!(one.occupancy(), Occupancy::default());
    // Its message waits for room when it is cut off.
    let fourth = shaky(&stage, 4, 0, None);
    dial(&stage, &fourth, &one).expect("a peer");
    for number in (0..64).map(|_| 1).chain([NOT_DROPPED]) {
        let sent = fourth.broadcast(&brittle(number), &Select::All);
        assert_eq!(sent.expect("to encode").queued, 1);
        stage.clock.run_until_stalled();
    }
    assert!(one.misbehaved(&id(4), 100).is_some());
    stage.advance(6 * SECOND);
    assert!(one.peer(&id(4)).is_none());
}

/// Calls its node when what it said is dropped.
struct Clinging;

/// What a node of [`Clinging`] hears.
#[derive(Serialize, Deserialize)]
struct Grip(u8);

static NODES: Mutex<Vec<Node<Clinging>>> = Mutex::new(Vec::new());
static DROPS: AtomicUsize = AtomicUsize::new(0);

impl Drop for Grip {
    fn drop(&mut self) {
        let nodes = NODES.lock().expect("no panic").clone();
        for node in &nodes {
            assert!(node.peers().len() <= 1);
            node.occupancy();
            node.announce(&[ItemId::new([self.0; 32])], &Select::All);
        }
        DROPS.fetch_add(1, Ordering::SeqCst);
    }
}

impl App for Clinging {
    type Message = Grip;
    type Hello = Grip;

    fn hello(&self, _: Direction) -> Grip {
        Grip(1)
    }
}

#[test]
fn what_is_dropped_may_call_the_node() {
    let stage = Stage::default();
    let node = |number| {
        let runtime = Arc::new(stage.clock.clone());
        let config = NodeConfig::default();
        Node::with_runtime(id(number), network(), Clinging, config, runtime)
    };
    let nodes = [node(1), node(2)];
    NODES.lock().expect("no panic").extend(nodes.clone());
    let random = &mut SmallRng::seed_from_u64(1);
    let mut most = 0;
    // Both dial at once, so that one introduction too many comes; then they part.
    for _ in 0..20 {
        for (one, other) in [(0, 1), (1, 0)] {
            let (here, there, _) = stage.cable(random, 20);
            assert!(nodes[other].accept_over(there));
            let one = nodes[one].clone();
            stage.task(async move { one.dial_over(here, None).await.is_ok() });
        }
        stage.advance(SECOND);
        most = most.max(nodes[0].peers().len());
        let sent = nodes[0].broadcast(&Grip(2), &Select::All);
        assert_eq!(sent.expect("to encode").queued, 1);
        stage.advance(SECOND);
        assert!(poll_once(nodes[1].recv()).is_ready());
        nodes[0].disconnect(&id(2));
        stage.advance(6 * SECOND);
        assert_eq!(nodes[0].peers().len(), 0);
    }
    assert_eq!(most, 1);
    assert!(DROPS.load(Ordering::SeqCst) > 100);
    NODES.lock().expect("no panic").clear();
}
