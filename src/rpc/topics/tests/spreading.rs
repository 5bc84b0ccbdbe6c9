//! Two servers of one service, over a backplane: a client that moves from one to the other.

use futures_util::FutureExt;

use super::world::{Numbers, World, read, runtime, texts};
use crate::rpc::{
    Caller, Fault, Feed, FeedLimits, LocalBackplane, Never, PublishError, Service, SharedTopics,
    SubscribeOptions, TopicLimits, Topics,
};

#[derive(Debug, Clone)]
pub(super) struct Board(pub(super) SharedTopics<Numbers, LocalBackplane>);

impl Service for Board {
    type Interface = Numbers;

    async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
        match request {}
    }

    async fn follow(&self, _: Caller, topic: u32) -> Result<Feed<u64>, Fault> {
        let feed = self.0.open(&topic).await;
        feed.map_err(|error| Fault::refused(error.to_string()))
    }
}

pub(super) fn board(world: &World, backplane: &LocalBackplane, limits: FeedLimits) -> Board {
    let backplane = backplane.clone();
    Board(SharedTopics::with_runtime(
        backplane,
        2,
        limits,
        runtime(&world.clock),
    ))
}

pub(super) fn publish(board: &Board, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let published = board.0.publish(&1, &number).now_or_never();
        published.expect("no wait").expect("to be published");
    }
}

#[test]
fn a_client_that_moves_to_another_server_gets_everything_once() {
    let limits = FeedLimits::default();
    let mut world = World::new(limits);
    let backplane = LocalBackplane::new();
    let boards = [(); 2].map(|()| board(&world, &backplane, limits));
    world.serve(boards[0].clone(), TopicLimits::default());
    world.connect();
    let mut subscription = world.subscribe(SubscribeOptions::default());
    let mut next = 0;
    for turn in 0..10 {
        publish(&boards[turn % 2], next..next + 3);
        world.run();
        world.kill();
        // Where it was published makes no difference.
        publish(&boards[turn % 3 % 2], next + 3..next + 5);
        world.serve(boards[(turn + 1) % 2].clone(), TopicLimits::default());
        world.connect();
        world.run();
        assert_eq!(read(&mut subscription), texts(next..next + 5));
        next += 5;
    }
}

#[test]
fn a_server_that_comes_late_loads_what_the_backplane_keeps() {
    let limits = FeedLimits::default();
    let mut world = World::new(limits);
    let backplane = LocalBackplane::with_limits(8, limits.items(4));
    let first = board(&world, &backplane, limits);
    world.serve(first.clone(), TopicLimits::default());
    world.connect();
    let mut subscription = world.subscribe(SubscribeOptions::default());
    publish(&first, 0..3);
    world.run();
    world.kill();
    publish(&first, 3..10);
    let late = board(&world, &backplane, limits);
    world.serve(late, TopicLimits::default());
    world.connect();
    publish(&first, 10..11);
    world.run();
    let mut expected = texts(0..3);
    expected.push("Some(3) NotRetained".to_owned());
    expected.extend(texts(6..11));
    assert_eq!(read(&mut subscription), expected);
}

#[test]
fn topics_are_limited_and_their_feeds_publish_nothing_themselves() {
    let world = World::new(FeedLimits::default());
    let board = board(&world, &LocalBackplane::new(), FeedLimits::default());
    let open = |topic| board.0.open(&topic).now_or_never().expect("no wait");
    let feed = open(1).expect("a feed");
    assert!(matches!(feed.publish(&1), Err(PublishError::Mirror)));
    open(2).expect("another");
    open(1).expect("the first again");
    let error = open(3).expect_err("a third");
    assert!(matches!(error, PublishError::TooManyTopics { limit: 2 }));
    board.0.close(&2, None);
    open(3).expect("a third");
}

/// A feed is closed by whoever has it.
#[test]
fn a_topic_whose_feed_was_closed_is_opened_anew_and_counts_no_more() {
    let world = World::new(FeedLimits::default());
    let topics: Topics<Numbers> =
        Topics::with_runtime(2, FeedLimits::default(), runtime(&world.clock));
    let board = board(&world, &LocalBackplane::new(), FeedLimits::default());
    let open_shared = |topic| board.0.open(&topic).now_or_never().expect("no wait");
    let opens: [&dyn Fn(u32) -> Result<Feed<u64>, PublishError>; 2] =
        [&|topic| topics.open(&topic), &open_shared];
    for open in opens {
        let first = open(1).expect("a feed");
        open(2).expect("another");
        first.close(None);
        assert!(!open(1).expect("a feed that goes on").is_closed());
        open(2).expect("another").close(None);
        open(3).expect("the place of the second");
        let error = open(2).expect_err("a third");
        assert!(matches!(error, PublishError::TooManyTopics { limit: 2 }));
    }
    topics.open(&1).expect("a feed").close(None);
    assert!(topics.get(&1).is_none());
    assert_eq!((topics.len(), board.0.len()), (1, 2));
}
