//! Many items at once, and what becomes of them when the connection or the server is lost.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, join_all};
use sessionwire::rpc::{
    Backplane, BackplaneError, Cursor, Event, GapReason, PublishError, RedisConfig,
    SubscribeOptions,
};

use super::{Topics, process, process_over, subscribing};
use crate::stage::{client, read_to, reset};
use crate::support::proxy::{Counts, Direction, Fault, Proxy};
use crate::support::redis::{Redis, free_port};
use crate::support::watched;

/// More items than any test publishes.
const MANY: usize = 65_536;
/// What is published until it succeeds.
const LATER: u64 = u64::MAX - 1;
/// The last item of a test.
const LAST: u64 = u64::MAX;

fn error(published: Result<Cursor, PublishError>) -> BackplaneError {
    match published {
        Err(PublishError::Backplane(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Whatever a server has of topic 1 behind a place, if it was started again so many times since.
async fn everything(redis: &Redis, after: Cursor, restarts: usize) -> Vec<u64> {
    let config = RedisConfig::default().items(MANY);
    let backplane = redis.connect(&redis.endpoint(), config).await;
    let (endpoint, topics) = process_over(backplane.expect("a connection")).await;
    topics.publish(&1, &LAST).await.expect("to publish");
    let options = SubscribeOptions::default().capacity(MANY).after(after);
    let subscription = client(&endpoint).subscribe_with(&1, options).await;
    let (mut subscription, mut values) = (subscription.expect("to follow"), Vec::new());
    let (mut place, mut gaps) = (Some(after), 0);
    loop {
        match subscription.recv().await {
            Some(Event::Item { value, cursor }) => {
                let begin = Cursor::new(cursor.origin(), 0);
                let place = place.replace(cursor).unwrap_or(begin);
                let next = Cursor::new(place.origin(), place.sequence() + 1);
                assert_eq!(cursor, next, "no holes");
                if value == LAST {
                    assert_eq!(gaps, restarts);
                    return values;
                }
                values.push(value);
            }
            Some(Event::Gap { why, .. }) => {
                assert_eq!(why, GapReason::Restarted);
                (place, gaps) = (None, gaps + 1);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A server behind a network that fails, and topics over it.
async fn behind_a_proxy(config: RedisConfig) -> Option<(Redis, Proxy, Topics)> {
    let port = free_port();
    let redis = Redis::start_with(&["--port", &port.to_string()])?;
    let proxy = Proxy::before(&format!("tcp://127.0.0.1:{port}"));
    let backplane = redis.connect(proxy.endpoint(), config).await;
    Some((redis, proxy, Topics::new(backplane.expect("a connection"))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_are_numbered_in_the_order_of_publishing_without_being_awaited() {
    let Some(redis) = Redis::start() else { return };
    watched(async {
        for (at_once, bytes) in [(1, 0), (7, 1 << 20), (256, 40), (256, 1 << 20)] {
            let config = RedisConfig::default()
                .prefix(format!("{at_once}/{bytes}:"))
                .publishes_at_once(at_once)
                .publish_bytes(bytes);
            let backplane = redis.connect(&redis.endpoint(), config).await;
            let backplane = backplane.expect("a connection");
            let (topic, item) = (Bytes::from_static(b"topic"), Bytes::from_static(b"item"));
            let publishing = (0..500).map(|_| backplane.publish(topic.clone(), item.clone()));
            for (number, published) in (1..).zip(join_all(publishing).await) {
                assert_eq!(published.expect("to publish").sequence(), number);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_whose_answers_are_lost_are_told_and_are_there_once() {
    watched(async {
        let Some((redis, proxy, topics)) = behind_a_proxy(RedisConfig::default()).await else {
            return;
        };
        let begin = topics.publish(&1, &0).await.expect("to publish");
        let (endpoint, _others) = process(&redis).await;
        let mut subscription = subscribing(&client(&endpoint)).await;
        let before = proxy.counts();
        // Of the next answer comes a byte.
        proxy.set(Fault::CutAfter(1, Direction::ToClient));
        let publishing = join_all((1..=100).map(async |n| topics.publish(&1, &n).await));
        let mending = async {
            // The first is there, as all others see.
            read_to(&mut subscription, &mut 1, 1).await;
            let is_lost = |counts: &Counts| counts.open == 0 || counts.accepted > before.accepted;
            proxy.until(is_lost).await;
            proxy.set(Fault::Pass);
        };
        let (published, ()) = join(publishing, mending).await;
        let first = error(published[0].clone());
        assert!(matches!(first, BackplaneError::Io(_)), "{first}");
        assert!(first.may_have_been_published(), "{first}");
        let all = everything(&redis, begin, 0).await;
        assert!(
            all.is_sorted_by(|one, other| one < other),
            "in their order, none twice: {all:?}"
        );
        for (number, published) in (1..).zip(published) {
            match published {
                Ok(_) => assert!(all.contains(&number), "{number} was confirmed: {all:?}"),
                Err(PublishError::Backplane(error)) if error.may_have_been_published() => {}
                Err(error) => assert!(!all.contains(&number), "{number}, {error}: {all:?}"),
            }
        }
        let end = begin.sequence() + all.len() as u64 + 1;
        let next = topics.publish(&1, &101).await.expect("to publish");
        assert_eq!(next.sequence(), end + 1, "it came behind the last");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_given_up_and_what_was_not_sent_is_not_there() {
    let config = RedisConfig::default()
        .publishes_at_once(10)
        .answer_timeout(Duration::from_millis(300));
    watched(async {
        let Some((redis, proxy, topics)) = behind_a_proxy(config).await else {
            return;
        };
        let begin = topics.publish(&1, &0).await.expect("to publish");
        let before = proxy.counts();
        proxy.set(Fault::Blackhole(Direction::ToServer));
        let published = join_all((1..=100).map(async |n| topics.publish(&1, &n).await)).await;
        let errors: Vec<_> = published.into_iter().map(error).collect();
        let unsent: Vec<u64> = (1..)
            .zip(&errors)
            .filter(|(_, error)| !error.may_have_been_published())
            .map(|(number, _)| number)
            .collect();
        assert!(unsent.len() < 100 && !unsent.is_empty(), "{errors:?}");
        // By then the silence of the connection has been noticed too.
        let later = topics.publish(&1, &LATER).await;
        later.expect_err("nothing comes through");
        proxy.set(Fault::Pass);
        while topics.publish(&1, &LATER).await.is_err() {
            tokio::task::yield_now().await;
        }
        let is_another = proxy.counts().accepted > before.accepted;
        assert!(is_another, "the silent connection is not used again");
        let mut all = everything(&redis, begin, 0).await;
        assert!(unsent.iter().all(|number| !all.contains(number)), "{all:?}");
        all.retain(|number| *number != LATER);
        all.sort_unstable();
        assert!(
            all.is_sorted_by(|one, other| one < other),
            "none is there twice: {all:?}"
        );
    })
    .await;
}

/// With what it has answered on its disk.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_is_published_to_has_everything_that_it_confirmed() {
    let Some(mut redis) = Redis::start_with(&DURABLE) else {
        return;
    };
    watched(async {
        let topics = [durable(&redis).await, durable(&redis).await];
        let begin = topics[0].publish(&1, &0).await.expect("to publish");
        let publishers = [(&topics[0], 0), (&topics[1], 1_000_000)]
            .map(|(topics, before)| tokio::spawn(publisher(topics.clone(), before)));
        for _ in 0..2 {
            topics[0].publish(&2, &0).await.expect("to publish");
        }
        redis.restart();
        let mut confirmed = Vec::new();
        for publisher in publishers {
            confirmed.push(publisher.await.expect("a publisher"));
        }
        let all = everything(&redis, begin, 1).await;
        let mut known = all.clone();
        known.sort_unstable();
        assert!(
            known.is_sorted_by(|one, other| one < other),
            "none is there twice"
        );
        for confirmed in confirmed {
            assert!(!confirmed.is_empty());
            let places = confirmed.iter().map(|number| {
                let place = all.iter().position(|other| other == number);
                place.unwrap_or_else(|| panic!("{number} was confirmed and is not there"))
            });
            assert!(places.is_sorted(), "in the order of publishing");
        }
    })
    .await;
}

async fn durable(redis: &Redis) -> Topics {
    let config = RedisConfig::default().items(MANY);
    let backplane = redis.connect(&redis.endpoint(), config).await;
    Topics::new(backplane.expect("a connection"))
}

/// Publishes the numbers behind `before` in groups until some went wrong and a group after them did not; answers those that
/// were confirmed.
async fn publisher(topics: Topics, before: u64) -> Vec<u64> {
    let (mut confirmed, mut failed) = (Vec::new(), false);
    for group in 0.. {
        let numbers: Vec<u64> = (0..8).map(|n| before + group * 8 + n + 1).collect();
        let publishing = numbers
            .iter()
            .map(async |number| topics.publish(&1, number).await);
        let published = join_all(publishing).await;
        let succeeded = published.iter().all(Result::is_ok);
        for (number, published) in numbers.into_iter().zip(published) {
            if published.is_ok() {
                confirmed.push(number);
            }
        }
        if failed && succeeded {
            break;
        }
        failed |= !succeeded;
        tokio::task::yield_now().await;
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_each_connection_that_is_lost_another_one_is_made() {
    watched(async {
        let Some((_redis, proxy, topics)) = behind_a_proxy(RedisConfig::default()).await else {
            return;
        };
        for number in 0..20 {
            topics.publish(&1, &number).await.expect("to publish");
            reset(&proxy).await;
            // Until this end has seen it, the lost connection may be used in vain.
            while let Err(PublishError::Backplane(error)) = topics.publish(&2, &0).await {
                assert!(error.may_have_been_published(), "{error}");
            }
        }
    })
    .await;
}

/// What a handle left behind does not keep anything alive.
#[tokio::test]
async fn the_last_handle_closes_both_connections() {
    let config = RedisConfig::default();
    watched(async {
        let Some((_redis, proxy, topics)) = behind_a_proxy(config).await else {
            return;
        };
        let feed = topics.open(&1).await.expect("to open");
        proxy.until(|counts| counts.open == 2).await;
        drop((topics, feed));
        proxy.until(|counts| counts.open == 0).await;
    })
    .await;
}
