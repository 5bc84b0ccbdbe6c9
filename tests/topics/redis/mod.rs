//! Items go from one process of a service to the subscribers of another, through a Redis server of
//! the test's own.
//!
//! Without `redis-server` these are skipped, and say so; with `SESSIONWIRE_CLIENTS=required` that is a
//! failure.

mod access;
mod others;
mod publishing;
mod reading;
mod restarts;

use sessionwire::Router;
use sessionwire::rpc::{
    BackplaneError, Caller, Client, Cursor, Event, Fault, Feed, FeedLimits, GapReason, Never,
    PublishError, RedisBackplane, RedisConfig, Service, SharedTopics, SubscribeOptions,
    Subscription,
};

use crate::stage::{Numbers, client, read_to, reset};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::watched;

type Topics = SharedTopics<Numbers, RedisBackplane>;

struct Board(Topics);

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

/// One process of the service: where it listens, and its topics.
async fn process(redis: &Redis) -> (String, Topics) {
    process_over(redis.backplane().await).await
}

async fn process_over(backplane: RedisBackplane) -> (String, Topics) {
    let topics = Topics::with_limits(backplane, 8, FeedLimits::default().items(65_536));
    let mut listener = sessionwire::listen("tcp://127.0.0.1:0")
        .await
        .expect("to listen");
    let endpoint = listener.endpoint().to_string();
    let router = Router::new().on_service(Board(topics.clone()));
    tokio::spawn(async move { listener.serve(&router).await });
    (endpoint, topics)
}

async fn publish(topics: &Topics, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        topics.publish(&1, &number).await.expect("to publish");
    }
}

/// Publishes to a server that was started again: the connection is dead, and then the server not yet there.
async fn publish_at_last(topics: &Topics, number: u64) -> Cursor {
    loop {
        match topics.publish(&1, &number).await {
            Ok(cursor) => return cursor,
            Err(PublishError::Backplane(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads a gap that says that other numbers begin.
async fn restarted(subscription: &mut Subscription<Numbers>) {
    let event = subscription.recv().await.expect("a gap");
    let Event::Gap { missed: None, why } = event else {
        panic!("{event:?}");
    };
    assert_eq!(why, GapReason::Restarted);
}

fn subscribing(client: &Client<Numbers>) -> impl Future<Output = Subscription<Numbers>> {
    let options = SubscribeOptions::default().capacity(65_536);
    let client = client.clone();
    async move { client.subscribe_with(&1, options).await.expect("to follow") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_publishes_comes_to_the_subscribers_of_the_other() {
    let Some(redis) = Redis::start() else { return };
    watched(async {
        let ((one, topics), (other, others)) = (process(&redis).await, process(&redis).await);
        let mut here = subscribing(&client(&one)).await;
        let mut there = subscribing(&client(&other)).await;
        publish(&topics, 1..=50).await;
        publish(&others, 51..=100).await;
        for subscription in [&mut here, &mut there] {
            read_to(subscription, &mut 1, 100).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_moves_between_processes_gets_everything_once() {
    let Some(redis) = Redis::start() else { return };
    watched(async {
        let processes = [process(&redis).await, process(&redis).await];
        let proxy = Proxy::before(&processes[0].0);
        let client = client(proxy.endpoint());
        let mut subscription = subscribing(&client).await;
        let (mut published, mut next) = (0, 1);
        for turn in 0..10 {
            let topics = &processes[turn % 3 % 2].1;
            publish(topics, published + 1..=published + 40).await;
            read_to(&mut subscription, &mut next, published + 20).await;
            proxy.move_to(&processes[(turn + 1) % 2].0);
            reset(&proxy).await;
            publish(topics, published + 41..=published + 50).await;
            published += 50;
        }
        read_to(&mut subscription, &mut next, published).await;
        assert_eq!(published, 500);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_at_the_same_time_leave_no_holes() {
    let Some(redis) = Redis::start() else { return };
    watched(async {
        let ((one, topics), (_, others)) = (process(&redis).await, process(&redis).await);
        let mut subscription = subscribing(&client(&one)).await;
        let publishing =
            futures::future::join(publish(&topics, 0..200), publish(&others, 200..400));
        publishing.await;
        let mut came = Vec::new();
        while came.len() < 400 {
            match subscription.recv().await {
                Some(Event::Item { cursor, value }) => {
                    came.push(value);
                    assert_eq!(cursor.sequence(), came.len() as u64);
                }
                other => panic!("{other:?}"),
            }
        }
        came.sort_unstable();
        assert!(came.into_iter().eq(0..400));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_everything_is_a_restart_and_no_end() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    watched(async {
        let (endpoint, topics) = process(&redis).await;
        let mut subscription = subscribing(&client(&endpoint)).await;
        publish(&topics, 1..=10).await;
        read_to(&mut subscription, &mut 1, 10).await;
        redis.restart();
        publish_at_last(&topics, 11).await;
        restarted(&mut subscription).await;
        read_to(&mut subscription, &mut 11, 11).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_unreachable() {
    let backplane = RedisBackplane::connect("unix:///nonexistent/socket", RedisConfig::default());
    let error = backplane.await.expect_err("there is none");
    assert!(matches!(error, BackplaneError::Unreachable(_)), "{error}");
}
