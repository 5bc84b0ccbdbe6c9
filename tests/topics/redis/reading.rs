//! How the topics of a process are read.

use std::time::Duration;

use bytes::Bytes;
use sessionwire::rpc::{Backplane as _, Feed, FeedLimits, RedisConfig};

use super::{Topics, process_over, publish_at_last, subscribing};
use crate::stage::{client, read_to};
use crate::support::proxy::{Direction, Fault, Proxy};
use crate::support::redis::{Redis, free_port};
use crate::support::watched;

/// Waits until a feed has so many items of its origin.
async fn until(feed: &Feed<u64>, number: u64) {
    while feed.cursor().sequence() != number {
        tokio::task::yield_now().await;
    }
}

/// How often a command was called.
fn calls(redis: &Redis, command: &str) -> u64 {
    let statistics = redis.say("INFO commandstats");
    let calls = statistics.split_once(&format!("cmdstat_{command}:calls="));
    let calls = calls.expect("some").1;
    let calls = calls.split_once(',').expect("a number").0;
    calls.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_mirrors_of_a_topic_over_one_backplane_get_its_items() {
    let Some(redis) = Redis::start() else {
        return;
    };
    watched(async {
        let backplane = redis.backplane().await;
        let [one, other] = [(); 2].map(|()| Topics::new(backplane.clone()));
        one.publish(&1, &1).await.expect("to publish");
        let first = one.open(&1).await.expect("to open");
        let second = other.open(&1).await.expect("to open");
        for number in 2..=40 {
            one.publish(&1, &number).await.expect("to publish");
        }
        until(&second, 40).await;
        until(&first, 40).await;
        // A topic that is closed and opened again goes on.
        one.close(&1, None);
        let third = one.open(&1).await.expect("to open");
        other.publish(&1, &41).await.expect("to publish");
        until(&third, 41).await;
        until(&second, 41).await;
        assert_eq!(first.cursor().sequence(), 40);
    })
    .await;
}

/// Of each topic comes one item at once, of all 1,024: the busy one would need as many answers as it has items.
/// Subscribers are not told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_told_to_who_asks_for_health() {
    watched(async {
        let port = free_port();
        let Some(redis) = Redis::start_with(&["--port", &port.to_string()]) else {
            return;
        };
        let proxy = Proxy::before(&format!("tcp://127.0.0.1:{port}"));
        let config = RedisConfig::default().answer_timeout(Duration::from_secs(1));
        let backplane = redis.connect(proxy.endpoint(), config).await;
        let backplane = backplane.expect("a connection");
        let (endpoint, topics) = process_over(backplane.clone()).await;
        let client = client(&endpoint);
        let mut subscription = subscribing(&client).await;
        assert!(backplane.health().is_ok());
        proxy.set(Fault::Blackhole(Direction::ToClient));
        let error = loop {
            match backplane.health() {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(!error.is_fatal(), "{error}");
        proxy.set(Fault::Pass);
        while backplane.health().is_err() {
            tokio::task::yield_now().await;
        }
        publish_at_last(&topics, 9).await;
        read_to(&mut subscription, &mut 9, 9).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_topic_among_many_quiet_ones_needs_few_answers() {
    const ITEMS: u64 = 1600;
    let port = free_port();
    let Some(redis) = Redis::start_with(&["--port", &port.to_string()]) else {
        return;
    };
    watched(async {
        let config = RedisConfig::default().items(65_536);
        let direct = redis.connect(&redis.endpoint(), config.clone()).await;
        let direct = Topics::new(direct.expect("a connection"));
        let proxy = Proxy::before(&format!("tcp://127.0.0.1:{port}"));
        let limits = FeedLimits::default();
        let backplane = redis.connect(proxy.endpoint(), config).await;
        let topics = Topics::with_limits(backplane.expect("a connection"), 1024, limits);
        let opening = (0..1024).map(|topic| {
            let topics = topics.clone();
            async move { topics.open(&topic).await.expect("to open") }
        });
        let feeds = futures::future::join_all(opening).await;
        proxy.set(Fault::Reset);
        proxy.until(|counts| counts.open == 0).await;
        let publishing = (1..=ITEMS).map(async |number| direct.publish(&7, &number).await);
        for published in futures::future::join_all(publishing).await {
            published.expect("to publish");
        }
        for topic in 8..108 {
            for number in 1..=3 {
                direct.publish(&topic, &number).await.expect("to publish");
            }
        }
        redis.say("CONFIG RESETSTAT");
        proxy.set(Fault::Pass);
        until(&feeds[7], ITEMS).await;
        for feed in &feeds[8..108] {
            until(feed, 3).await;
        }
        assert_eq!(feeds[6].cursor().sequence(), 0);
        let calls = calls(&redis, "xread");
        assert!(calls < ITEMS / 4, "{calls} answers");
    })
    .await;
}

/// Over a slow line, each answer that is waited for counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_many_items_is_opened_by_few_answers_none_of_them_large() {
    const ITEMS: u64 = 3000;
    let Some(redis) = Redis::start() else {
        return;
    };
    watched(async {
        let config = RedisConfig::default().items(65_536);
        let backplane = redis.connect(&redis.endpoint(), config).await;
        let backplane = backplane.expect("a connection");
        let writer = Topics::new(backplane.clone());
        let publishing = (1..=ITEMS).map(async |number| writer.publish(&1, &number).await);
        for published in futures::future::join_all(publishing).await {
            published.expect("to publish");
        }
        let limits = FeedLimits::default().items(2500);
        let reader = Topics::with_limits(backplane.clone(), 16, limits);
        redis.say("CONFIG RESETSTAT");
        let feed = reader.open(&1).await.expect("to open");
        assert_eq!(feed.cursor().sequence(), ITEMS);
        // Three for what the feed keeps; the others begin the topic.
        assert!((4..=6).contains(&calls(&redis, "eval")));
        assert_eq!(calls(&redis, "xrevrange"), 2500_u64.div_ceil(16));
        // Of large items, as many as make up 1 MiB.
        for _ in 0..100 {
            let item = vec![7; 64 * 1024].into();
            let published = backplane.publish(Bytes::from_static(&[2]), item).await;
            published.expect("to publish");
        }
        redis.say("CONFIG RESETSTAT");
        let feed = reader.open(&2).await.expect("to open");
        assert_eq!(feed.cursor().sequence(), 100);
        assert_eq!(
            (calls(&redis, "eval"), calls(&redis, "xrevrange")),
            (1 + 4, 4)
        );
    })
    .await;
}
