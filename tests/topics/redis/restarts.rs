//! A server that starts again, with less than it had or with all of it.

use std::collections::HashMap;

use sessionwire::rpc::{Cursor, Event, GapReason, RedisConfig, SubscribeOptions, Subscription};

use super::{Topics, process, process_over, publish, publish_at_last, restarted, subscribing};
use crate::stage::{Numbers, client, read_to};
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::{Redis, free_port};
use crate::support::watched;

/// The stream of topic 1.
const STREAM: &str = r#""sessionwire:topic:\x01""#;

/// A server, and a network before it that fails on command.
fn behind_a_proxy() -> Option<(Redis, Proxy)> {
    behind_a_proxy_on(free_port())
}

fn behind_a_proxy_on(port: u16) -> Option<(Redis, Proxy)> {
    // A copy needs not wait for others.
    let delay = ["--repl-diskless-sync-delay", "0"];
    let redis = Redis::start_with(&[["--port", &port.to_string()], delay].concat())?;
    let proxy = Proxy::before(&format!("tcp://127.0.0.1:{port}"));
    Some((redis, proxy))
}

/// One process of the service, which reaches its server through the network.
async fn process_through(proxy: &Proxy, redis: &Redis) -> (String, Topics) {
    let backplane = redis.connect(proxy.endpoint(), RedisConfig::default());
    process_over(backplane.await.expect("a connection")).await
}

/// Ends all connections through the network, and those to come.
async fn cut(proxy: &Proxy) {
    proxy.set(Fault::Reset);
    proxy.until(|counts| counts.open == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_its_newest_items_is_a_restart_for_who_has_read_them() {
    let Some((mut redis, proxy)) = behind_a_proxy() else {
        return;
    };
    watched(async {
        let (endpoint, _reads) = process_through(&proxy, &redis).await;
        let (_, writes) = process(&redis).await;
        let mut subscription = subscribing(&client(&endpoint)).await;
        publish(&writes, 1..=5).await;
        redis.say("SAVE");
        publish(&writes, 6..=11).await;
        read_to(&mut subscription, &mut 1, 11).await;
        // The numbers of the lost ones are taken before the reader looks.
        cut(&proxy).await;
        redis.restart();
        // Another topic comes first.
        while writes.publish(&2, &0).await.is_err() {
            tokio::task::yield_now().await;
        }
        publish(&writes, 12..=20).await;
        proxy.set(Fault::Pass);
        restarted(&mut subscription).await;
        read_to(&mut subscription, &mut 12, 20).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_read_what_is_lost_is_told_so_by_a_process_that_never_saw_it() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    watched(async {
        let (endpoint, topics) = process(&redis).await;
        let proxy = Proxy::before(&endpoint);
        let mut subscription = subscribing(&client(proxy.endpoint())).await;
        publish(&topics, 1..=5).await;
        redis.say("SAVE");
        publish(&topics, 6..=11).await;
        read_to(&mut subscription, &mut 1, 11).await;
        cut(&proxy).await;
        redis.restart();
        let (endpoint, topics) = process(&redis).await;
        publish_at_last(&topics, 12).await;
        publish(&topics, 13..=20).await;
        proxy.move_to(&endpoint);
        proxy.set(Fault::Pass);
        restarted(&mut subscription).await;
        read_to(&mut subscription, &mut 12, 20).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_takes_the_place_of_its_primary_with_less_is_a_restart() {
    let primary = free_port();
    let Some((mut redis, proxy)) = behind_a_proxy_on(primary) else {
        return;
    };
    let (primary, port) = (primary.to_string(), free_port().to_string());
    let settings = ["--port", &port, "--replicaof", "127.0.0.1", &primary];
    let Some(copy) = Redis::start_with(&settings) else {
        return;
    };
    watched(async {
        let (endpoint, topics) = process_through(&proxy, &redis).await;
        let mut subscription = subscribing(&client(&endpoint)).await;
        publish(&topics, 1..=5).await;
        read_to(&mut subscription, &mut 1, 5).await;
        // It may still be starting, or loading.
        drop(copy.connect(&copy.endpoint(), RedisConfig::default()).await);
        while copy.say(&format!("XLEN {STREAM}")) != "5" {
            tokio::task::yield_now().await;
        }
        copy.say("REPLICAOF NO ONE");
        publish(&topics, 6..=11).await;
        read_to(&mut subscription, &mut 6, 11).await;
        cut(&proxy).await;
        redis.kill();
        let (_, others) = process(&copy).await;
        publish(&others, 12..=20).await;
        proxy.move_to(&format!("tcp://127.0.0.1:{port}"));
        proxy.set(Fault::Pass);
        restarted(&mut subscription).await;
        read_to(&mut subscription, &mut 12, 20).await;
    })
    .await;
}

/// Without a restart nobody can tell, unless the reader looks before the numbers are taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_less_than_was_read_of_it_is_begun_anew() {
    let Some((redis, proxy)) = behind_a_proxy() else {
        return;
    };
    watched(async {
        let (endpoint, topics) = process_through(&proxy, &redis).await;
        let mut subscription = subscribing(&client(&endpoint)).await;
        publish(&topics, 1..=4).await;
        let origin = topics.publish(&1, &5).await.expect("to publish").origin();
        read_to(&mut subscription, &mut 1, 5).await;
        cut(&proxy).await;
        redis.say(&format!("XDEL {STREAM} {origin}-5"));
        redis.say(&format!("XSETID {STREAM} {origin}-4"));
        proxy.set(Fault::Pass);
        restarted(&mut subscription).await;
        publish_at_last(&topics, 6).await;
        read_to(&mut subscription, &mut 6, 6).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_nothing_is_told_by_one_gap_behind_what_it_had() {
    let Some((mut redis, proxy)) = behind_a_proxy() else {
        return;
    };
    watched(async {
        let (endpoint, _reads) = process_through(&proxy, &redis).await;
        let (_, writes) = process(&redis).await;
        let (mut subscription, mut next) = (subscribing(&client(&endpoint)).await, 1);
        publish(&writes, 1..=10).await;
        read_to(&mut subscription, &mut next, 10).await;
        cut(&proxy).await;
        // More than is read at once.
        publish(&writes, 11..=60).await;
        redis.say("SAVE");
        redis.restart();
        publish_at_last(&writes, 61).await;
        publish(&writes, 62..=70).await;
        proxy.set(Fault::Pass);
        read_to(&mut subscription, &mut next, 60).await;
        restarted(&mut subscription).await;
        publish(&writes, 71..=80).await;
        read_to(&mut subscription, &mut next, 80).await;
        // Without anything new it is told too.
        redis.say("SAVE");
        redis.restart();
        restarted(&mut subscription).await;
        publish_at_last(&writes, 81).await;
        read_to(&mut subscription, &mut next, 81).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_comes_later_has_what_is_left_of_the_former_numbers() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    watched(async {
        let (_, topics) = process(&redis).await;
        publish(&topics, 1..=2).await;
        redis.say("SAVE");
        redis.restart();
        let begin = publish_at_last(&topics, 3).await;
        publish(&topics, 4..=40).await;
        redis.say("SAVE");
        for lost in [41..=50, 41..=45] {
            publish(&topics, lost).await;
            redis.restart();
            // Nothing has come of the new numbers yet.
            let (endpoint, late) = process(&redis).await;
            let options = SubscribeOptions::default().after(begin);
            let subscription = client(&endpoint).subscribe_with(&1, options.clone()).await;
            let (mut subscription, mut next) = (subscription.expect("to follow"), 4);
            read_to(&mut subscription, &mut next, 40).await;
            restarted(&mut subscription).await;
            publish(&late, 41..=42).await;
            read_to(&mut subscription, &mut next, 42).await;
            // They have, and it is the same.
            let (endpoint, _late) = process(&redis).await;
            let subscription = client(&endpoint).subscribe_with(&1, options).await;
            let (mut subscription, mut next) = (subscription.expect("to follow"), 4);
            read_to(&mut subscription, &mut next, 40).await;
            restarted(&mut subscription).await;
            read_to(&mut subscription, &mut next, 42).await;
            publish_at_last(&topics, 43).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_go_on_when_the_clock_was_set_back() {
    let Some(redis) = Redis::start() else {
        return;
    };
    watched(async {
        let (endpoint, topics) = process(&redis).await;
        let (mut subscription, mut next) = (subscribing(&client(&endpoint)).await, 1);
        publish(&topics, 1..=3).await;
        read_to(&mut subscription, &mut next, 3).await;
        // Another run had a clock that was ahead.
        redis.say("HSET sessionwire:origins run another last 5000000000000000");
        let mut before = 5_000_000_000_000_000;
        for _ in 0..2 {
            let cursor = topics.publish(&1, &next).await.expect("to publish");
            is_above(before, cursor);
            assert_eq!(cursor.sequence(), 1);
            before = cursor.origin();
            let (last, then) = (next + 1, next + 2);
            publish(&topics, last..then).await;
            restarted(&mut subscription).await;
            read_to(&mut subscription, &mut next, last).await;
            redis.say(&format!("DEL {STREAM}"));
        }
        // Origins that nobody gave.
        redis.say(&format!(r#"XADD {STREAM} 6000000000000000-7 item """#));
        let cursor = topics.publish(&1, &next).await.expect("to publish");
        is_above(6_000_000_000_000_000, cursor);
        assert_eq!(cursor.sequence(), 1);
        redis.say(&format!(r#"XADD {STREAM} 7000000000000000-7 item """#));
        let (_, late) = process(&redis).await;
        let feed = late.open(&1).await.expect("to open");
        is_above(7_000_000_000_000_000, feed.cursor());
        assert_eq!(feed.cursor().sequence(), 0);
    })
    .await;
}

/// Runs give numbers that are apart by their names, of which five digits count.
fn is_above(origin: u64, cursor: Cursor) {
    let above = cursor.origin().saturating_sub(origin);
    assert!((1..=1 << 20).contains(&above), "{cursor:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_lost_and_the_next_one_have_other_numbers_though_the_clock_was_set_back() {
    let Some((mut redis, proxy)) = behind_a_proxy() else {
        return;
    };
    watched(async {
        let (endpoint, _reads) = process_through(&proxy, &redis).await;
        // Another run had a clock that was ahead.
        redis.say("HSET sessionwire:origins run another last 5000000000000000");
        redis.say("SAVE");
        let mut subscription = subscribing(&client(&endpoint)).await;
        let (_, writes) = process(&redis).await;
        publish(&writes, 1..=5).await;
        read_to(&mut subscription, &mut 1, 5).await;
        cut(&proxy).await;
        redis.restart();
        publish_at_last(&writes, 6).await;
        publish(&writes, 7..=12).await;
        proxy.set(Fault::Pass);
        restarted(&mut subscription).await;
        read_to(&mut subscription, &mut 6, 12).await;
    })
    .await;
}

/// A topic may be encoded in no bytes at all, or in any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_topic_has_the_key_that_says_which_origins_hold() {
    use bytes::Bytes;
    use sessionwire::rpc::Backplane;
    let Some(redis) = Redis::start() else {
        return;
    };
    watched(async {
        let backplane = redis.backplane().await;
        for topic in ["", "origins", ":", "topic:"] {
            let (topic, item) = (Bytes::from(topic), Bytes::from("item"));
            let first = backplane.publish(topic.clone(), item.clone()).await;
            let second = backplane.publish(topic, item).await.expect("to publish");
            let origin = first.expect("to publish").origin();
            assert_eq!((second.origin(), second.sequence()), (origin, 2));
        }
        assert_eq!(redis.say("DBSIZE"), "5");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_is_given_twice_however_often_a_server_loses_its_newest_items() {
    let Some((mut redis, proxy)) = behind_a_proxy() else {
        return;
    };
    watched(async {
        let (endpoint, _reads) = process_through(&proxy, &redis).await;
        let (_, writes) = process(&redis).await;
        let mut subscription = subscribing(&client(&endpoint)).await;
        let (mut published, mut value, mut last) = (HashMap::new(), 0, None);
        for round in 1..=8 {
            for number in 0..10 + round {
                value += 1;
                let cursor = publish_at_last(&writes, value).await;
                assert_eq!(published.insert(cursor, value), None, "{cursor:?} twice");
                last = Some(cursor);
                if number == 2 * round {
                    redis.say("SAVE");
                }
            }
            // Of some rounds the reader sees all, of some nothing, of some whatever comes.
            match round % 3 {
                0 => {
                    cut(&proxy).await;
                    redis.restart();
                    value += 1;
                    published.insert(publish_at_last(&writes, value).await, value);
                    proxy.set(Fault::Pass);
                }
                1 => {
                    while next(&mut subscription, &published).await != last {}
                    redis.restart();
                }
                _ => redis.restart(),
            }
        }
        value += 1;
        let last = publish_at_last(&writes, value).await;
        published.insert(last, value);
        while next(&mut subscription, &published).await != Some(last) {}
    })
    .await;
}

/// The next item, which is the one that was published with its number.
async fn next(
    subscription: &mut Subscription<Numbers>,
    published: &HashMap<Cursor, u64>,
) -> Option<Cursor> {
    match subscription.recv().await {
        Some(Event::Item { cursor, value }) => {
            assert_eq!(published.get(&cursor), Some(&value), "{cursor:?}");
            Some(cursor)
        }
        Some(Event::Gap { why, .. }) => {
            assert_eq!(why, GapReason::Restarted);
            None
        }
        other => panic!("{other:?}"),
    }
}
