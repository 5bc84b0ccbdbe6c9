//! The server alone, before a peer that speaks the protocol by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;

use super::peer::{Peer, credit, subscribe};
use super::world::{Board, Numbers, World};
use crate::mux::{ChannelError, Code};
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::wire::{Credit, FromClient, FromServer};
use crate::rpc::{Caller, Fault, Feed, FeedLimits, Never, Service, TopicLimits};

fn up() -> World {
    World::up(FeedLimits::default())
}

#[test]
fn a_topic_that_is_unknown_or_unreadable_is_refused_and_the_channel_lives() {
    let world = up();
    let mut peer = Peer::new(&world);
    peer.subscribe(1, 2, None);
    peer.say(&FromClient::Subscribe {
        id: 2,
        after: None,
        credit: None,
        topic: Bytes::from_static(b"not a number"),
    });
    peer.subscribe(3, 1, None);
    let expected = [
        "1 refused: UnknownTopic",
        "2 refused: Undecodable",
        "3 accepted behind 0",
    ];
    assert_eq!(peer.heard_briefly(), expected);
}

/// Otherwise who subscribes a thousand times to topics of a megabyte has a service that takes its time
/// hold a gigabyte.
#[test]
fn a_topic_of_sixteen_kilobytes_is_decided_on_and_a_longer_one_is_refused() {
    let world = up();
    let mut peer = Peer::new(&world);
    for (id, length) in [(1, 16 * 1024), (2, 16 * 1024 + 1)] {
        peer.say(&FromClient::Subscribe {
            id,
            after: None,
            credit: None,
            topic: vec![250; length].into(),
        });
    }
    assert_eq!(
        peer.heard_briefly(),
        ["1 refused: Undecodable", "2 refused: Refused"]
    );
}

#[test]
fn at_the_limit_a_subscription_is_accepted_and_one_beyond_it_is_refused() {
    let mut world = World::new(FeedLimits::default());
    let limits = TopicLimits::default().subscriptions(3);
    world.serve(Board(world.topics.clone()), limits);
    world.connect();
    let (mut peer, mut other) = (Peer::new(&world), Peer::new(&world));
    peer.subscribe(1, 1, None);
    peer.subscribe(2, 1, None);
    other.subscribe(1, 1, None);
    assert_eq!(peer.heard_briefly().len(), 2);
    assert_eq!(other.heard_briefly(), ["1 accepted behind 0"]);
    other.subscribe(2, 1, None);
    assert_eq!(other.heard_briefly(), ["2 refused: Busy"]);
    peer.say(&FromClient::Unsubscribe { id: 1 });
    other.subscribe(3, 1, None);
    assert_eq!(other.heard_briefly(), ["3 accepted behind 0"]);
    drop(peer);
    world.run();
    assert_eq!(world.feed().followers(), 2);
}

#[test]
fn a_peer_that_breaks_the_rules_loses_the_channel_and_nothing_else() {
    let id = 1;
    let broken = [
        subscribe(1, 1, None, None),
        FromClient::Unsubscribe { id: 2 },
        credit(2, 1),
    ];
    let bytes = broken.map(|message| {
        let mut encoded = BytesMut::new();
        message.encode(&mut encoded);
        encoded.freeze()
    });
    for message in bytes.into_iter().chain([Bytes::from_static(b"\x07\x01")]) {
        let world = up();
        let mut peer = Peer::new(&world);
        peer.subscribe(id, 1, None);
        assert_eq!(peer.heard_briefly(), ["1 accepted behind 0"]);
        peer.say_bytes(message);
        let ChannelError::ResetByPeer { code, .. } = peer.error() else {
            panic!("the channel was reset");
        };
        assert_eq!(code, Code::PROTOCOL_ERROR);
        assert_eq!(world.feed().followers(), 0);
        Peer::new(&world).subscribe(1, 1, None);
    }
}

#[test]
fn messages_about_one_that_is_over_are_no_fault() {
    let world = up();
    let mut peer = Peer::new(&world);
    peer.subscribe(1, 1, None);
    world.publish([1]);
    world.topics.close(&1, Some(Fault::refused("sold out")));
    world.run();
    peer.say(&credit(1, 1));
    peer.say(&FromClient::Unsubscribe { id: 1 });
    let heard = peer.heard_briefly();
    assert_eq!(heard[..2], ["1 accepted behind 0", "1 item 1"]);
    assert!(heard[2].starts_with("1 ended: Some("), "{heard:?}");
    assert_eq!(heard.len(), 3);
}

#[test]
fn credit_is_kept_to_the_item_and_cannot_overflow() {
    let world = up();
    let mut peer = Peer::new(&world);
    peer.subscribe(1, 1, Some(2));
    world.publish(0..5);
    world.run();
    assert_eq!(
        peer.heard_briefly(),
        ["1 accepted behind 0", "1 item 1", "1 item 2"]
    );
    peer.say(&credit(1, 1));
    assert_eq!(peer.heard_briefly(), ["1 item 3"]);
    for _ in 0..2 {
        peer.say(&credit(1, u64::MAX));
    }
    assert_eq!(peer.heard_briefly(), ["1 item 4", "1 item 5"]);
}

#[test]
fn credit_in_bytes_is_kept_but_for_the_last_item_which_is_made_up_for() {
    let feed: Feed<Vec<u8>> = Feed::new();
    let mut world = World::new(FeedLimits::default());
    world.serve(Only(feed.retyped()), TopicLimits::default());
    world.connect();
    let mut peer = Peer::new(&world);
    let credit = |bytes| Credit { items: 100, bytes };
    let mut subscription = subscribe(1, 1, None, None);
    if let FromClient::Subscribe {
        credit: granted, ..
    } = &mut subscription
    {
        *granted = Some(credit(100));
    }
    peer.say(&subscription);
    // Each is a byte longer with its length.
    for length in [98, 200, 0, 0] {
        feed.publish(&vec![7; length]).unwrap();
    }
    world.run();
    let first = ["1 accepted behind 0", "1 item 1", "1 item 2"];
    assert_eq!(peer.heard_briefly(), first);
    for (bytes, expected) in [(199, None), (1, None), (1, Some("1 item 3"))] {
        let (id, credit) = (1, credit(bytes));
        peer.say(&FromClient::Credit { id, credit });
        assert_eq!(peer.heard_briefly(), Vec::from_iter(expected));
    }
}

#[test]
fn a_long_backlog_does_not_hold_up_other_subscriptions() {
    let world = World::up(FeedLimits::default().items(10_000));
    world.topics.open(&2).unwrap();
    let before = world.feed().cursor();
    world.publish(0..10_000);
    let mut peer = Peer::new(&world);
    let begin = Cursor::new(before.origin(), 0);
    // In one go, so that neither is served before the other is there.
    peer.say(&subscribe(1, 2, None, None));
    world.topics.publish(&2, &1).unwrap();
    let mut both = BytesMut::new();
    subscribe(2, 1, Some(begin), None).encode(&mut both);
    peer.channel
        .send(both.freeze())
        .now_or_never()
        .expect("room")
        .expect("a living channel");
    world.topics.publish(&2, &2).unwrap();
    world.run();
    let mut heard = Vec::new();
    while heard.len() < 10_004 {
        heard.extend(peer.heard_briefly());
        world.run();
    }
    let place = |text: &str| heard.iter().position(|heard| heard == text).unwrap();
    assert!(place("1 item 2") < 200, "{}", place("1 item 2"));
    assert_eq!(place("2 item 10000"), 10_003);
}

#[test]
fn an_item_that_fits_in_no_message_is_a_gap() {
    let limits = FeedLimits::default().item_bytes(4 * 1024 * 1024);
    let feed: Feed<String> = Feed::with_limits(limits);
    let mut world = World::new(FeedLimits::default());
    world.serve(Only(feed.retyped()), TopicLimits::default());
    world.connect();
    let mut peer = Peer::new(&world);
    peer.subscribe(1, 1, None);
    feed.publish(&"x".repeat(2 * 1024 * 1024)).unwrap();
    feed.publish(&"x".to_owned()).unwrap();
    world.run();
    let expected = ["1 accepted behind 0", "1 TooLarge 1", "1 item 2"];
    assert_eq!(peer.heard_briefly(), expected);
}

/// Serves one feed as all topics.
pub(super) struct Only(pub(super) Feed<u64>);

impl Service for Only {
    type Interface = Numbers;

    async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
        match request {}
    }

    async fn follow(&self, _: Caller, _: u32) -> Result<Feed<u64>, Fault> {
        Ok(self.0.clone())
    }
}

/// Panics on topic 0, takes seconds on others, and counts who is at it.
struct Slow {
    feed: Feed<u64>,
    busy: Arc<AtomicUsize>,
}

struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service for Slow {
    type Interface = Numbers;

    async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
        match request {}
    }

    async fn follow(&self, caller: Caller, topic: u32) -> Result<Feed<u64>, Fault> {
        assert!(topic > 0, "on purpose");
        self.busy.fetch_add(1, Ordering::Relaxed);
        let _busy = Busy(Arc::clone(&self.busy));
        let runtime = caller.connection().runtime();
        let ready = runtime.now() + Duration::from_secs(topic.into());
        runtime.sleep_until(ready).await;
        Ok(self.feed.clone())
    }
}

fn slow() -> (World, Feed<u64>, Arc<AtomicUsize>) {
    let mut world = World::new(FeedLimits::default());
    let (feed, busy) = (world.feed(), Arc::<AtomicUsize>::default());
    let service = Slow {
        feed: feed.clone(),
        busy: Arc::clone(&busy),
    };
    world.serve(service, TopicLimits::default());
    world.connect();
    (world, feed, busy)
}

/// Test 23, of subscriptions.
#[test]
fn a_handler_that_panics_or_takes_too_long_is_a_fault_of_one_subscription() {
    let (world, feed, busy) = slow();
    let mut peer = Peer::new(&world);
    for (id, topic) in [(1, 0), (2, 9), (3, 11)] {
        peer.subscribe(id, topic, None);
    }
    assert_eq!(peer.heard_briefly(), ["1 refused: Panicked"]);
    world.pass(9);
    assert_eq!(peer.heard_briefly(), ["2 accepted behind 0"]);
    world.pass(1);
    assert_eq!(peer.heard_briefly(), ["3 refused: DeadlinePassed"]);
    assert_eq!(feed.followers(), 1);
    assert_eq!(busy.load(Ordering::Relaxed), 0);
}

#[test]
fn one_given_up_while_its_handler_runs_stops_the_handler() {
    let (world, feed, busy) = slow();
    let mut peer = Peer::new(&world);
    peer.subscribe(1, 5, None);
    assert_eq!(busy.load(Ordering::Relaxed), 1);
    peer.say(&FromClient::Unsubscribe { id: 1 });
    assert_eq!(busy.load(Ordering::Relaxed), 0);
    assert_eq!(peer.heard_briefly(), ["1 unsubscribed"]);
    world.pass(5);
    assert_eq!(peer.heard_briefly(), [""; 0]);
    assert_eq!(feed.followers(), 0);
}

#[test]
fn a_handler_whose_link_is_gone_leaves_nothing_behind() {
    let (mut world, feed, busy) = slow();
    let tasks = world.clock.run_until_stalled();
    let mut peer = Peer::new(&world);
    peer.subscribe(1, 5, None);
    drop(peer);
    world.kill();
    assert_eq!(busy.load(Ordering::Relaxed), 0);
    world.pass(5);
    assert_eq!(feed.followers(), 0);
    world.connect();
    assert_eq!(world.clock.run_until_stalled(), tasks);
}

#[test]
fn a_peer_that_reads_nothing_makes_nothing_grow() {
    let world = up();
    let mut peer = Peer::new(&world);
    let mut asked: u64 = 0;
    // It subscribes and unsubscribes, and reads none of the answers.
    for id in 1..200_000 {
        let mut encoded = BytesMut::new();
        subscribe(id, 1, None, None).encode(&mut encoded);
        let sent = peer.channel.send(encoded.freeze()).now_or_never();
        world.run();
        if sent.is_none() {
            break;
        }
        asked = id;
        let mut encoded = BytesMut::new();
        FromClient::Unsubscribe { id }.encode(&mut encoded);
        let sent = peer.channel.send(encoded.freeze()).now_or_never();
        world.run();
        if sent.is_none() {
            break;
        }
    }
    assert!(asked < 100_000, "the server reads on and on");
    assert!(world.feed().followers() <= 1);
    let (_, there) = world.ends.as_ref().expect("a connection");
    assert!(there.statistics().send_queued < 1024 * 1024);
    let mut confirmed = 0;
    loop {
        let heard = peer.heard();
        world.run();
        if heard.is_empty() {
            break;
        }
        let is_confirmation =
            |message: &&FromServer| matches!(message, FromServer::Unsubscribed { .. });
        confirmed += heard.iter().filter(is_confirmation).count() as u64;
    }
    assert!(confirmed + 1 >= asked, "{confirmed} of {asked} confirmed");
}

#[test]
fn one_publish_wakes_a_connection_once_and_encodes_once() {
    use serde::{Serialize, Serializer};

    static ENCODED: AtomicUsize = AtomicUsize::new(0);

    struct Counted;
    impl Serialize for Counted {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            ENCODED.fetch_add(1, Ordering::Relaxed);
            serializer.serialize_u64(7)
        }
    }

    let feed: Feed<Counted> = Feed::new();
    let mut world = World::new(FeedLimits::default());
    world.serve(Only(feed.retyped()), TopicLimits::default());
    world.connect();
    let mut peer = Peer::new(&world);
    for id in 1..=100 {
        peer.subscribe(id, 1, None);
    }
    assert_eq!(feed.followers(), 100);
    peer.heard();
    feed.publish(&Counted).unwrap();
    world.run();
    assert_eq!(peer.heard().len(), 100);
    assert_eq!(ENCODED.load(Ordering::Relaxed), 1);
    assert_eq!(super::wakes_of_a_publish(10), 1);
}

#[test]
fn a_service_without_topics_knows_none() {
    struct Callless;
    impl Service for Callless {
        type Interface = Numbers;
        async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
            match request {}
        }
    }
    let mut world = World::new(FeedLimits::default());
    world.serve(Callless, TopicLimits::default());
    world.connect();
    let mut peer = Peer::new(&world);
    peer.subscribe(1, 1, None);
    assert_eq!(peer.heard_briefly(), ["1 refused: UnknownTopic"]);
}
