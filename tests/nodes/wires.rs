//! The same behaviour over every transport: what nodes promise is not a matter of what carries it.

use std::sync::Arc;
use std::time::Duration;

use sessionwire::node::{
    DialError, Direction, Events, HandshakeError, Node, NodeConfig, NodeEvent, PeerId, Reason,
    Rejection, Select,
};
use sessionwire::runtime::{AsyncStd, SharedRuntime, Smol, Tokio};
use sessionwire::transport::Endpoint;

use super::stage::{Say, Talk, network, report};
use super::support::world::{Wire, endpoint};
use super::support::{Watchdog, watched};

/// Makes nodes that listen at one kind of endpoint.
struct World {
    runtime: SharedRuntime,
    wire: Wire,
}

impl World {
    fn node(&self, talk: Talk, config: NodeConfig) -> Node<Talk> {
        let runtime = self.runtime.clone();
        Node::with_runtime(PeerId::random(), network(), talk, config, runtime)
    }

    fn named(&self, name: &str) -> Node<Talk> {
        let name = name.to_owned();
        let talk = Talk {
            name,
            ..Talk::default()
        };
        self.node(talk, NodeConfig::default().capabilities(5).versions(1, 3))
    }

    async fn listen(&self, node: &Node<Talk>) -> Endpoint {
        let listening = node.listen(endpoint(self.wire).as_str()).await;
        listening.expect("to listen")
    }

    /// Two peers, of which the second dialed.
    async fn pair(&self) -> [Node<Talk>; 2] {
        let (one, two) = (self.named("one"), self.named("two"));
        let at = self.listen(&one).await;
        two.dial(&at, Some(one.id())).await.expect("a peer");
        up(&mut one.events(), two.id()).await;
        [one, two]
    }
}

/// Waits until a peer is there.
async fn up(events: &mut Events<Talk>, id: PeerId) {
    loop {
        match events.next().await.expect("the node runs") {
            NodeEvent::Snapshot(peers) if peers.iter().any(|peer| peer.id() == id) => return,
            NodeEvent::Up(peer) if peer.id() == id => return,
            _ => {}
        }
    }
}

async fn rejected(node: &Node<Talk>, at: &Endpoint) -> Rejection {
    match node.dial(at, None).await {
        Err(DialError::Handshake(HandshakeError::Rejected(rejection))) => rejection,
        other => panic!("{other:?}"),
    }
}

async fn next(node: &Node<Talk>) -> (PeerId, Say) {
    let received = node.recv().await.expect("the node runs");
    (received.from, received.message)
}

async fn both_learn_who_the_other_is(world: &World) {
    let [one, two] = world.pair().await;
    let ends = [
        (&one, &two, "two", Direction::Inbound),
        (&two, &one, "one", Direction::Outbound),
    ];
    for (here, there, name, direction) in ends {
        let peer = here.peer(&there.id()).expect("a peer");
        let said = peer.introduction();
        assert_eq!(said.hello, name);
        assert_eq!((said.version, said.capabilities), (3, 5));
        assert_eq!(said.direction, direction);
        assert_eq!(said.endpoints, there.endpoints());
    }
}

async fn a_rejection_arrives_with_its_reason(world: &World) {
    let picky = Talk {
        dislikes: Some("two".to_owned()),
        ..Talk::default()
    };
    let picky = world.node(picky, NodeConfig::default().inbound(1));
    let at = world.listen(&picky).await;
    let rejection = rejected(&world.named("two"), &at).await;
    let text = "not you".to_owned();
    assert_eq!(*rejection.reason(), Reason::Application { code: 7, text });

    let old = world.node(Talk::default(), NodeConfig::default().versions(8, 9));
    assert_eq!(*rejected(&old, &at).await.reason(), Reason::Version);
    assert_eq!(*rejected(&picky, &at).await.reason(), Reason::SelfDial);

    let (three, mut events) = (world.named("three"), picky.events());
    three.dial(&at, None).await.expect("a place");
    up(&mut events, three.id()).await;
    let rejection = rejected(&world.named("four"), &at).await;
    assert_eq!(*rejection.reason(), Reason::Full);
    assert_eq!(rejection.retried_after(), Some(Duration::from_secs(30)));
    assert_eq!(picky.peers().len(), 1);
}

async fn a_broadcast_reaches_all_once_and_in_order(world: &World) {
    let middle = world.named("middle");
    let at = world.listen(&middle).await;
    let mut events = middle.events();
    let mut others = Vec::new();
    for _ in 0..5 {
        let other = world.named("other");
        other.dial(&at, None).await.expect("a peer");
        up(&mut events, other.id()).await;
        others.push(other);
    }
    let say = |number| match number {
        50 => Say::Bytes(vec![7; 300_000]),
        number => Say::Data(number),
    };
    for number in 0..100 {
        let sent = middle.broadcast(&say(number), &Select::All);
        assert_eq!(sent.expect("to encode"), report(5, 0, 0));
    }
    for other in &others {
        for number in 0..100 {
            assert_eq!(next(other).await, (middle.id(), say(number)));
        }
    }
}

async fn a_goodbye_comes_after_all_that_was_sent(world: &World) {
    let [one, two] = world.pair().await;
    let mut events = [one.events(), two.events()];
    for number in 0..50 {
        for (from, to) in [(&one, &two), (&two, &one)] {
            from.send(&to.id(), &Say::Data(number))
                .await
                .expect("to send");
        }
    }
    assert!(one.disconnect(&two.id()));
    for number in 0..50 {
        assert_eq!(next(&two).await.1, Say::Data(number));
        assert_eq!(next(&one).await.1, Say::Data(number));
    }
    for events in &mut events {
        assert!(matches!(events.next().await, Some(NodeEvent::Snapshot(_))));
        assert!(matches!(events.next().await, Some(NodeEvent::Down(_))));
    }
}

async fn a_second_dial_finds_the_same_peer(world: &World) {
    let [one, two] = world.pair().await;
    let (mut at_one, mut at_two) = (one.events(), two.events());
    let at = one.endpoints().remove(0);
    let again = two.dial(&at, None).await.expect("the same peer");
    assert_eq!(again.id(), one.id());
    // The other way too, over which of the two connections ever.
    let back = world.listen(&two).await;
    let peer = one.dial(&back, None).await.expect("the same peer");
    assert_eq!(peer.id(), two.id());
    for number in 0..20 {
        let to = two.id();
        one.send(&to, &Say::Data(number)).await.expect("to send");
        assert_eq!(next(&two).await.1, Say::Data(number));
    }
    assert_eq!((one.peers().len(), two.peers().len()), (1, 1));
    let stopped = one.shutdown(Duration::from_secs(10)).await;
    stopped.expect("the addresses to be saved");
    for events in [&mut at_one, &mut at_two] {
        assert!(matches!(events.next().await, Some(NodeEvent::Snapshot(_))));
        assert!(matches!(events.next().await, Some(NodeEvent::Down(_))));
    }
}

async fn a_ban_holds_for_every_other_connection(world: &World) {
    let [one, two] = world.pair().await;
    let mut events = two.events();
    let at = one.endpoints().remove(0);
    let ban = one.misbehaved(&two.id(), 100).expect("a ban");
    assert!(matches!(events.next().await, Some(NodeEvent::Snapshot(_))));
    assert!(matches!(events.next().await, Some(NodeEvent::Down(_))));
    // Each of these comes from a port of its own.
    for _ in 0..3 {
        let rejection = rejected(&two, &at).await;
        assert_eq!(*rejection.reason(), Reason::Banned);
        assert!(rejection.retried_after().expect("a time") <= ban);
    }
    one.pardon(&two.id());
    two.dial(&at, None).await.expect("a peer again");
}

async fn suite(runtime: SharedRuntime, wire: Wire) {
    let world = World { runtime, wire };
    both_learn_who_the_other_is(&world).await;
    a_rejection_arrives_with_its_reason(&world).await;
    a_broadcast_reaches_all_once_and_in_order(&world).await;
    a_goodbye_comes_after_all_that_was_sent(&world).await;
    a_second_dial_finds_the_same_peer(&world).await;
    a_ban_holds_for_every_other_connection(&world).await;
}

fn on_async_std(wire: Wire) {
    let _watchdog = Watchdog::default();
    async_std::task::block_on(watched(Box::pin(suite(Arc::new(AsyncStd), wire))));
}

fn on_smol(wire: Wire) {
    let _watchdog = Watchdog::default();
    smol::block_on(watched(Box::pin(suite(Arc::new(Smol), wire))));
}

fn on_tokio(wire: Wire) {
    let _watchdog = Watchdog::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let tokio: SharedRuntime = Arc::new(Tokio::current().expect("to be inside"));
        watched(Box::pin(suite(tokio, wire))).await;
    });
}

#[test]
fn nodes_behave_the_same_over_tcp() {
    on_async_std(Wire::Tcp);
    on_tokio(Wire::Tcp);
}

#[test]
fn nodes_behave_the_same_over_websocket() {
    on_smol(Wire::WebSocket);
    on_tokio(Wire::WebSocket);
}

#[cfg(unix)]
#[test]
fn nodes_behave_the_same_over_unix_sockets() {
    on_async_std(Wire::Unix);
}

#[test]
fn nodes_behave_the_same_over_memory() {
    on_smol(Wire::Memory);
}
