//! A node among a thousand, of whom one in a hundred takes nothing any more.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize, Serializer};
use sessionwire::mux::Config;
use sessionwire::node::{
    App, Direction, Events, Node, NodeConfig, NodeEvent, PeerId, Report, Select, Slow,
};
use sessionwire::runtime::SharedRuntime;
use sessionwire::transport::pipe;

use super::stage::{Cable, SECOND, Stage, network, poll_once, report};
use super::support::proxy::{Direction as Way, Fault, Proxy};
use super::support::world::{Wire, endpoint};
use super::support::{KIB, Watchdog, watched};

/// What may wait for one peer.
const QUEUE: usize = 8;
/// More than a connection that stands still takes in, and its queue.
const ROUNDS: u64 = 26;

thread_local! {
    static ENCODED: Cell<u64> = const { Cell::new(0) };
}

/// 1 KiB with a number, which counts how often it is encoded.
#[derive(Serialize, Deserialize)]
struct Numbered {
    #[serde(serialize_with = "counted")]
    number: u64,
    #[serde(with = "serde_bytes")]
    rest: Vec<u8>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn counted<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    ENCODED.set(ENCODED.get() + 1);
    number.serialize(serializer)
}

fn numbered(number: u64) -> Numbered {
    let rest = vec![7; KIB];
    Numbered { number, rest }
}

struct Counting;

impl App for Counting {
    type Message = Numbered;
    type Hello = ();
    fn hello(&self, _: Direction) {}
}

/// Peers of the one in the middle: a thousand, or as many as `SESSIONWIRE_PEERS` says.
fn peers() -> usize {
    let set = std::env::var("SESSIONWIRE_PEERS").ok();
    let peers = set.map_or(1000, |text| text.parse().expect("a number"));
    assert!(peers >= 100, "one in a hundred is a hole");
    peers
}

fn config(peers: usize, slow: Slow) -> NodeConfig {
    let connection = Config::default()
        .channel_send_buffer(KIB)
        .window(64 * KIB)
        .idle_timeout(25 * SECOND)
        .write_timeout(20 * SECOND);
    let queue = QUEUE * 2 * KIB;
    NodeConfig::default()
        .inbound(peers)
        .pending(peers)
        .per_address(peers)
        .queue(QUEUE, queue)
        .events(2 * peers)
        .slow(slow)
        .connection(connection)
}

fn node(id: usize, config: NodeConfig, runtime: &SharedRuntime) -> Node<Counting> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    Node::with_runtime(
        PeerId::new(bytes),
        network(),
        Counting,
        config,
        runtime.clone(),
    )
}

/// A node in the middle of a crowd, over memory.
struct Crowd {
    stage: Stage,
    middle: Node<Counting>,
    events: Events<Counting>,
    honest: Vec<Node<Counting>>,
    holes: Vec<Node<Counting>>,
    cables: Vec<Cable>,
}

impl Crowd {
    fn new(slow: Slow) -> Self {
        let (stage, peers) = (Stage::default(), peers());
        let runtime: SharedRuntime = Arc::new(stage.clock.clone());
        let middle = node(0, config(peers, slow), &runtime);
        let mut crowd = Self {
            events: middle.events(),
            stage,
            middle,
            honest: Vec::new(),
            holes: Vec::new(),
            cables: Vec::new(),
        };
        let random = &mut SmallRng::seed_from_u64(22);
        for number in 1..=peers {
            let other = node(number, config(1, slow), &runtime);
            let is_hole = number % 100 == 0;
            let (here, there) = if is_hole {
                let (here, there, cable) = crowd.stage.cable(random, 0);
                crowd.cables.push(cable);
                (here, there)
            } else {
                pipe(64 * KIB)
            };
            crowd.middle.accept_over(there);
            let dialing = other.clone();
            let dialed = crowd
                .stage
                .run(async move { dialing.dial_over(here, None).await });
            dialed.expect("a peer");
            let others = if is_hole {
                &mut crowd.holes
            } else {
                &mut crowd.honest
            };
            others.push(other);
        }
        crowd
    }

    /// Sends one message to all, and has it received by all who receive.
    fn broadcast(&self, number: u64) -> Report {
        let before = ENCODED.get();
        let message = numbered(number);
        let sent = self.middle.broadcast(&message, &Select::All);
        assert_eq!(ENCODED.get() - before, 1, "it is encoded once");
        self.stage.clock.run_until_stalled();
        for (place, other) in self.honest.iter().enumerate() {
            assert_eq!(heard(other), Some(number), "of honest peer {place}");
        }
        sent.expect("to encode")
    }

    fn gone(&mut self) -> Vec<PeerId> {
        let mut gone = Vec::new();
        while let std::task::Poll::Ready(Some(event)) = poll_once(self.events.next()) {
            if let NodeEvent::Down(id) = event {
                gone.push(id);
            }
        }
        gone.sort();
        gone
    }

    fn hole_ids(&self) -> Vec<PeerId> {
        self.holes.iter().map(Node::id).collect()
    }
}

fn heard(node: &Node<Counting>) -> Option<u64> {
    match poll_once(node.recv()) {
        std::task::Poll::Ready(received) => received.map(|received| received.message.number),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn of_a_thousand_peers_ten_holes_cost_the_others_nothing_and_no_memory_but_their_queues() {
    let mut crowd = Crowd::new(Slow::DropOldest);
    let (peers, holes) = (peers(), crowd.holes.len());
    // What all need who are alive is there after a few.
    for number in 0..4 {
        assert_eq!(crowd.broadcast(number), report(peers, 0, 0));
    }
    crowd.cables.iter().for_each(Cable::stall);
    let mut shed = 0;
    let held = measure(|| {
        for number in 4..ROUNDS {
            let sent = crowd.broadcast(number);
            assert_eq!(
                (sent.queued, sent.skipped),
                (peers, 0),
                "the oldest gives way"
            );
            assert!(sent.shed <= holes);
            shed += sent.shed;
        }
    });
    let mut sent = 0;
    for hole in &crowd.holes {
        let peer = crowd.middle.peer(&hole.id()).expect("nobody knows yet");
        let statistics = peer.statistics();
        assert_eq!(statistics.waiting.0, QUEUE);
        // One waits for room in the connection.
        sent += statistics.messages_sent as usize + 1 + QUEUE;
    }
    assert_eq!(
        sent + shed,
        holes * ROUNDS as usize,
        "each is sent, waits, or was shed"
    );
    assert!(shed > 5 * holes, "only {shed} were shed");
    // Much less, as the queues share the bytes of each message.
    let queues = holes * QUEUE * 2 * KIB;
    let remain = usize::try_from(held.bytes_current).unwrap_or_default();
    assert!(remain <= queues, "{remain} bytes remain");
    let on_the_way = peers * 2 * KIB;
    assert!(
        held.bytes_max <= (queues + on_the_way) as u64,
        "{} bytes at most",
        held.bytes_max
    );

    crowd.stage.advance(25 * SECOND);
    assert_eq!(crowd.gone(), crowd.hole_ids());
    assert_eq!(crowd.broadcast(ROUNDS), report(peers - holes, 0, 0));
    assert_eq!(crowd.middle.occupancy().inbound, peers - holes);
}

#[test]
fn of_a_thousand_peers_ten_holes_are_disconnected_if_that_is_wanted() {
    let after = Duration::ZERO;
    let mut crowd = Crowd::new(Slow::Disconnect { after });
    let (peers, holes) = (peers(), crowd.holes.len());
    crowd.cables.iter().for_each(Cable::stall);
    let (mut shed, mut number) = (0, 0);
    while shed < holes {
        assert!(number < ROUNDS, "{shed} were shed");
        let sent = crowd.broadcast(number);
        assert_eq!(sent.queued + sent.shed + shed, peers);
        shed += sent.shed;
        number += 1;
    }
    assert_eq!(crowd.gone(), crowd.hole_ids(), "each was shed once");
    assert_eq!(crowd.broadcast(number), report(peers - holes, 0, 0));
}

#[test]
fn a_broadcast_allocates_as_much_for_a_thousand_as_for_one() {
    let crowd = Crowd::new(Slow::DropOldest);
    for number in 0..QUEUE as u64 {
        crowd.broadcast(number);
    }
    let message = numbered(0);
    let allocated = measure(|| {
        crowd
            .middle
            .broadcast(&message, &Select::All)
            .expect("to encode");
    });
    // The list of peers, and the message.
    let (times, bytes) = (allocated.count_total, allocated.bytes_total);
    assert!(times <= 4, "{times} allocations");
    let most = 4 * KIB + 16 * peers();
    assert!(bytes <= most as u64, "{bytes} bytes");
}

/// Twenty over sockets, of whom two are behind a network that goes dark.
async fn over_sockets(wire: Wire, runtime: SharedRuntime) {
    const HONEST: usize = 18;
    let slow = Slow::Disconnect {
        after: Duration::ZERO,
    };
    let middle = node(0, config(HONEST + 2, slow), &runtime);
    let listening = middle.listen(endpoint(wire).as_str()).await;
    let listening = listening.expect("to listen");
    let proxy = Proxy::before(&listening.to_string());
    let mut events = middle.events();
    let (mut honest, mut holes) = (Vec::new(), Vec::new());
    for number in 1..=HONEST + 2 {
        let other = node(number, config(1, slow), &runtime);
        let is_hole = number > HONEST;
        let dialed = if is_hole {
            other.dial(proxy.endpoint(), None).await
        } else {
            other.dial(&listening, None).await
        };
        dialed.expect("a peer");
        let others = if is_hole { &mut holes } else { &mut honest };
        others.push(other);
    }
    assert!(matches!(
        events.next().await,
        Some(NodeEvent::Snapshot(peers)) if peers.is_empty()
    ));
    for _ in 0..HONEST + 2 {
        assert!(matches!(events.next().await, Some(NodeEvent::Up(_))));
    }
    proxy.set(Fault::Blackhole(Way::Both));
    let (mut shed, mut number, mut gone) = (0, 0, Vec::new());
    while shed < 2 {
        let sent = middle.broadcast(&numbered(number), &Select::All);
        let sent = sent.expect("to encode");
        assert_eq!(sent.queued + sent.shed + shed, HONEST + 2);
        shed += sent.shed;
        for other in &honest {
            let received = other.recv().await.expect("the node runs");
            assert_eq!(received.message.number, number);
        }
        for _ in 0..sent.shed {
            match events.next().await {
                Some(NodeEvent::Down(id)) => gone.push(id),
                other => panic!("{other:?}"),
            }
        }
        number += 1;
    }
    gone.sort();
    assert!(gone.into_iter().eq(holes.iter().map(Node::id)));
    let sent = middle.broadcast(&numbered(number), &Select::All);
    assert_eq!(sent.expect("to encode"), report(HONEST, 0, 0));
}

#[test]
fn holes_in_the_network_are_shed_over_tcp_and_the_others_get_everything() {
    let _watchdog = Watchdog::default();
    let runtime: SharedRuntime = Arc::new(sessionwire::runtime::AsyncStd);
    async_std::task::block_on(watched(Box::pin(over_sockets(Wire::Tcp, runtime))));
}

#[test]
fn holes_in_the_network_are_shed_over_websocket_and_the_others_get_everything() {
    let _watchdog = Watchdog::default();
    let runtime: SharedRuntime = Arc::new(sessionwire::runtime::Smol);
    smol::block_on(watched(Box::pin(over_sockets(Wire::WebSocket, runtime))));
}
