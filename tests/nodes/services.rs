//! Services of nodes: calls and subscriptions on the connection of a peer, whoever dialed it.

use std::task::Poll;
use std::time::Duration;

use sessionwire::Router;
use sessionwire::node::{Node, NodeConfig, NodeError, PeerId};
use sessionwire::rpc::{
    Attempt, CallError, Caller, Client, DialError, Dialer, EndReason, Event, Fault, FaultKind,
    Feed, FeedLimits, Interface, Link, LinkConfig, LinkState, Service, Subscription, Topics,
};
use sessionwire::runtime::{Runtime, VirtualClock};

use super::stage::{SECOND, Say, Stage, Talk, id, poll_once, received, told};

/// Says who it is, after a while, and counts.
enum Count {}

impl Interface for Count {
    const NAME: &'static str = "count/1";
    /// Milliseconds that the answer takes.
    type Request = u64;
    /// Who answers.
    type Response = u8;
    type Topic = ();
    type Item = u64;
}

#[derive(Clone)]
struct Counting {
    name: u8,
    topics: Topics<Count>,
    clock: VirtualClock,
}

impl Service for Counting {
    type Interface = Count;

    async fn call(&self, _: Caller, milliseconds: u64) -> Result<u8, Fault> {
        let until = self.clock.now() + Duration::from_millis(milliseconds);
        self.clock.sleep_until(until).await;
        Ok(self.name)
    }

    async fn follow(&self, _: Caller, (): ()) -> Result<Feed<u64>, Fault> {
        let feed = self.topics.get(&());
        feed.ok_or_else(|| Fault::new(FaultKind::UnknownTopic, ""))
    }
}

/// A node that serves, and what it publishes on.
struct Serving {
    node: Node<Talk>,
    topics: Topics<Count>,
}

impl Serving {
    fn new(stage: &Stage, number: u8) -> Self {
        let runtime = std::sync::Arc::new(stage.clock.clone());
        let topics = Topics::with_runtime(1, FeedLimits::default(), runtime);
        topics.open(&()).expect("a place for a topic");
        let service = Counting {
            name: number,
            topics: topics.clone(),
            clock: stage.clock.clone(),
        };
        let router = Router::new().on_service(service);
        let config = NodeConfig::default().router(router);
        let node = stage.node_with(number, Talk::default(), config);
        Self { node, topics }
    }

    /// A client of another node's service, over the connection that there is now.
    fn client(&self, of: u8) -> Client<Count> {
        let peer = self.node.peer(&id(of)).expect("a peer");
        Client::over(peer.connection())
    }

    fn publish(&self, item: u64) {
        self.topics.publish(&(), &item).expect("to publish");
    }
}

fn ask(stage: &Stage, client: &Client<Count>) -> Result<u8, CallError> {
    let client = client.clone();
    stage.run(async move { client.call(&0).await })
}

fn subscribe(stage: &Stage, client: &Client<Count>) -> Subscription<Count> {
    let client = client.clone();
    let subscribed = stage.run(async move { client.subscribe(&()).await });
    subscribed.expect("to follow")
}

/// The items that have come, and how it ended if it has.
fn items(stage: &Stage, subscription: &mut Subscription<Count>) -> (Vec<u64>, Option<EndReason>) {
    stage.clock.run_until_stalled();
    let mut items = Vec::new();
    while let Poll::Ready(Some(event)) = poll_once(subscription.recv()) {
        match event {
            Event::Item { value, .. } => items.push(value),
            Event::End(reason) => return (items, Some(reason)),
            other => panic!("{other:?}"),
        }
    }
    (items, None)
}

/// Two nodes, of which the second dialed: the first may dial too, and then its connection wins.
fn pair(stage: &Stage) -> [Serving; 2] {
    let nodes = [1, 2].map(|number| Serving::new(stage, number));
    stage.connect(&nodes[1].node, &nodes[0].node);
    nodes
}

#[test]
fn each_node_asks_and_follows_the_other_over_the_one_connection() {
    let stage = Stage::default();
    let nodes = pair(&stage);
    let [one, two] = &nodes;
    let (of_two, of_one) = (one.client(2), two.client(1));
    assert_eq!(ask(&stage, &of_two).expect("an answer"), 2);
    assert_eq!(ask(&stage, &of_one).expect("an answer"), 1);
    let mut followed = [subscribe(&stage, &of_one), subscribe(&stage, &of_two)];
    for number in 0..10 {
        one.publish(number);
        two.publish(100 + number);
        one.node
            .broadcast(&Say::Data(number), &sessionwire::node::Select::All)
            .expect("to encode");
    }
    let counted = |from: u64| (from..from + 10).collect::<Vec<_>>();
    assert_eq!(items(&stage, &mut followed[0]).0, counted(0));
    assert_eq!(items(&stage, &mut followed[1]).0, counted(100));
    assert_eq!(received(&two.node).len(), 10);
    // Clients come and go, the peer stays.
    drop((of_one, of_two, followed));
    stage.advance(60 * SECOND);
    assert_eq!(one.node.peers().len(), 1);
    assert_eq!(ask(&stage, &one.client(2)).expect("an answer"), 2);
}

#[test]
fn what_was_asked_is_answered_when_another_connection_takes_the_place_of_the_first() {
    let stage = Stage::default();
    let [one, two] = pair(&stage);
    let mut events = one.node.events();
    let client = one.client(2);
    let mut subscription = subscribe(&stage, &client);
    let slow = client.clone();
    let call = stage.task(async move { slow.call(&3000).await });
    two.publish(1);
    stage.connect(&one.node, &two.node);
    stage.advance(SECOND);
    assert_eq!(
        told(&mut events),
        ["peers [2]"],
        "it was there all the time"
    );
    two.publish(2);
    let late = client.clone();
    let late = stage.task(async move { late.call(&0).await });
    // What takes its place is there at once.
    let next = one.client(2);
    let mut again = subscribe(&stage, &next);
    two.publish(3);
    assert_eq!(items(&stage, &mut again).0, [3]);
    let (came, end) = items(&stage, &mut subscription);
    assert!(came == [1] && end.is_none(), "{came:?} {end:?}");
    assert!(late.output().is_none(), "no call is taken any more");
    // The first connection ends with what it still had to do.
    stage.advance(2 * SECOND);
    let answer = call.output().expect("an end");
    assert_eq!(answer.expect("an answer"), 2);
    let late = late.output().expect("an end").expect_err("it is too late");
    assert!(late.is_not_run(), "{late}");
    let (came, end) = items(&stage, &mut subscription);
    assert!(came.is_empty(), "{came:?}");
    assert!(matches!(end, Some(EndReason::Down(_))), "{end:?}");
    assert!(matches!(client.link().state(), LinkState::Down(_)));
    assert_eq!(ask(&stage, &next).expect("an answer"), 2);
}

#[test]
fn a_call_that_takes_longer_than_a_connection_has_left_is_said_to_be_unknown() {
    let stage = Stage::default();
    let [one, two] = pair(&stage);
    let client = one.client(2);
    let call = stage.task(async move { client.call(&10_000).await });
    stage.connect(&one.node, &two.node);
    stage.advance(4 * SECOND);
    assert!(call.output().is_none(), "`drain_timeout` is 5 s");
    stage.advance(2 * SECOND);
    let answer = call.output().expect("an end").expect_err("it was cut");
    assert!(matches!(answer, CallError::Unknown(_)), "{answer:?}");
    assert_eq!(one.node.peers().len(), 1);
}

#[test]
fn a_peer_that_leaves_finishes_what_it_is_asked_and_takes_its_services_with_it() {
    let stage = Stage::default();
    let [one, two] = pair(&stage);
    let client = one.client(2);
    let mut subscription = subscribe(&stage, &client);
    let slow = client.clone();
    let call = stage.task(async move { slow.call(&2000).await });
    assert!(two.node.disconnect(&id(1)));
    stage.advance(3 * SECOND);
    let answer = call.output().expect("an end");
    assert_eq!(answer.expect("an answer"), 2);
    let (_, end) = items(&stage, &mut subscription);
    assert!(matches!(end, Some(EndReason::Down(_))), "{end:?}");
    let error = ask(&stage, &client).expect_err("nobody is there");
    assert!(matches!(error, CallError::NotSent(_)), "{error:?}");
    assert!(one.node.peers().is_empty());
}

/// Dials nobody: takes the connection that a node has with a peer.
struct Following {
    node: Node<Talk>,
    peer: PeerId,
}

impl Dialer for Following {
    async fn dial(&self, _: Attempt) -> Result<sessionwire::Connection, DialError> {
        let peer = self.node.peer(&self.peer);
        let peer = peer.ok_or_else(|| DialError::other(NodeError::NotConnected(self.peer)))?;
        Ok(peer.connection())
    }
}

#[test]
fn a_link_over_the_node_goes_on_from_connection_to_connection_and_misses_nothing() {
    let stage = Stage::default();
    let [one, two] = pair(&stage);
    let following = Following {
        node: one.node.clone(),
        peer: id(2),
    };
    let config = LinkConfig::default().backoff_base(SECOND / 10);
    let runtime = std::sync::Arc::new(stage.clock.clone());
    let link = Link::with_runtime(following, config, runtime);
    stage.clock.run_until_stalled();
    let client = Client::new(&link);
    let mut subscription = subscribe(&stage, &client);
    two.publish(1);
    // Another connection takes its place.
    stage.connect(&one.node, &two.node);
    two.publish(2);
    stage.advance(SECOND);
    two.publish(3);
    assert_eq!(items(&stage, &mut subscription).0, [1, 2, 3]);
    assert_eq!(ask(&stage, &client).expect("an answer"), 2);
    // The peer leaves, and comes back.
    two.node.disconnect(&id(1));
    stage.advance(SECOND);
    two.publish(4);
    stage.connect(&two.node, &one.node);
    two.publish(5);
    stage.advance(10 * SECOND);
    two.publish(6);
    assert_eq!(items(&stage, &mut subscription).0, [4, 5, 6]);
    assert_eq!(ask(&stage, &client).expect("an answer"), 2);
}
