//! How subscriptions end, and what they leave behind: nothing.

use std::sync::{Arc, Mutex};

use super::world::{Board, Numbers, World, read, texts};
use crate::rpc::{
    Caller, Fault, FaultKind, Feed, FeedLimits, LinkError, Never, Service, SubscribeError,
    SubscribeOptions, TopicLimits,
};

/// Test 6: in every state of the link.
#[test]
fn one_that_is_dropped_while_the_link_is_down_never_reaches_the_server() {
    let mut world = World::up(FeedLimits::default());
    let subscription = world.subscribe(SubscribeOptions::default());
    world.kill();
    drop(subscription);
    let waiting = world.begin(SubscribeOptions::default());
    drop(waiting);
    world.connect();
    world.pass(11);
    assert_eq!(world.feed().followers(), 0);
}

#[test]
fn unsubscribing_returns_in_every_state_of_the_link() {
    let mut world = World::up(FeedLimits::default());
    let subscription = world.subscribe(SubscribeOptions::default());
    assert_eq!(world.feed().followers(), 1);
    world
        .spawn(subscription.unsubscribe())
        .get()
        .expect("an acknowledgement");
    assert_eq!(world.feed().followers(), 0);

    let subscription = world.subscribe(SubscribeOptions::default());
    world.kill();
    world
        .spawn(subscription.unsubscribe())
        .get()
        .expect("nobody to ask");
    world.connect();
    assert_eq!(world.feed().followers(), 0);

    let subscription = world.subscribe(SubscribeOptions::default());
    world.kill();
    world.connect_unserved();
    let unsubscribed = world.spawn(subscription.unsubscribe());
    assert!(unsubscribed.get().is_none(), "the server has yet to say so");
    world.kill();
    unsubscribed.get().expect("a lost link ends it as well");
    world.connect();
    assert_eq!(world.feed().followers(), 0);
}

#[test]
fn a_connection_that_drains_does_not_wait_for_subscriptions() {
    for here in [true, false] {
        let mut world = World::up(FeedLimits::default());
        let mut subscription = world.subscribe(SubscribeOptions::default());
        world.publish(0..3);
        let drained = world.drain(here);
        drained.get().expect("to be drained").expect("to be clean");
        assert_eq!(world.feed().followers(), 0);
        world.publish(3..6);
        world.connect();
        assert_eq!(read(&mut subscription), texts(0..6));
    }
}

/// Test 27, of subscriptions.
#[test]
fn a_subscription_outlives_its_client_and_nothing_outlives_both() {
    let mut world = World::up(FeedLimits::default());
    let idle = world.clock.run_until_stalled();
    let mut subscription = world.subscribe(SubscribeOptions::default());
    world.client = None;
    world.publish(0..3);
    world.run();
    world.kill();
    world.connect();
    world.publish(3..5);
    world.run();
    assert_eq!(read(&mut subscription), texts(0..5));
    drop(subscription);
    assert_eq!(world.clock.run_until_stalled(), idle);
    assert_eq!(world.feed().followers(), 0);
}

#[test]
fn a_link_that_is_down_ends_everything_with_its_error() {
    let mut world = World::up(FeedLimits::default());
    let mut subscription = world.subscribe(SubscribeOptions::default());
    world.publish(0..2);
    world.run();
    world.kill();
    let waiting = world.begin(SubscribeOptions::default().shared(false));
    world.down(LinkError::Closed);
    let expected = ["0", "1", "the link is down: the link was closed here"];
    assert_eq!(read(&mut subscription), expected);
    for begun in [waiting, world.begin(SubscribeOptions::default())] {
        let error = begun.get().expect("an answer").expect_err("it is down");
        assert!(matches!(error, SubscribeError::Down(LinkError::Closed)));
    }
}

#[test]
fn without_a_link_the_deadline_passes() {
    let mut world = World::new(FeedLimits::default());
    let begun = world.begin(SubscribeOptions::default());
    world.pass(9);
    assert!(begun.get().is_none());
    world.pass(1);
    let error = begun
        .get()
        .expect("an answer")
        .expect_err("there is no link");
    let is_right = matches!(error, SubscribeError::NoConnection { why: None, .. });
    assert!(is_right, "{error}");
    world.connect_unserved();
    let begun = world.begin(SubscribeOptions::default());
    world.pass(10);
    let error = begun.get().expect("an answer").expect_err("it is silent");
    let is_right = matches!(error, SubscribeError::DeadlinePassed(_));
    assert!(is_right, "{error}");
    world.connect();
    assert_eq!(world.feed().followers(), 0);
}

/// A board that cannot answer while it lacks what it needs.
#[derive(Debug, Clone)]
struct Moody {
    board: Board,
    lacks: Arc<Mutex<Option<FaultKind>>>,
}

impl Service for Moody {
    type Interface = Numbers;

    async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
        match request {}
    }

    async fn follow(&self, caller: Caller, topic: u32) -> Result<Feed<u64>, Fault> {
        let lacks = *self.lacks.lock().unwrap();
        match lacks {
            Some(kind) => Err(Fault::new(kind, "")),
            None => self.board.follow(caller, topic).await,
        }
    }
}

#[test]
fn a_service_that_is_busy_when_a_subscription_comes_back_is_asked_again() {
    let mut world = World::up(FeedLimits::default());
    let mut subscription = world.subscribe(SubscribeOptions::default());
    let lacks = Arc::new(Mutex::new(Some(FaultKind::Busy)));
    let board = Board(world.topics.clone());
    let moody = Moody {
        board,
        lacks: lacks.clone(),
    };
    world.serve(moody, TopicLimits::default());
    world.kill();
    world.publish(0..3);
    world.connect();
    for kind in [
        FaultKind::Busy,
        FaultKind::Unavailable,
        FaultKind::DeadlinePassed,
    ] {
        *lacks.lock().unwrap() = Some(kind);
        world.pass(10);
        assert_eq!(read(&mut subscription), [""; 0]);
    }
    *lacks.lock().unwrap() = None;
    world.publish(3..5);
    world.pass(2);
    world.publish(5..6);
    world.run();
    assert_eq!(read(&mut subscription), texts(0..6));
    assert_eq!(world.feed().followers(), 1);

    *lacks.lock().unwrap() = Some(FaultKind::Refused);
    world.kill();
    world.connect();
    assert_eq!(
        read(&mut subscription),
        ["the service refused to go on: the service refused"]
    );
}
