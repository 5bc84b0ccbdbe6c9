//! What other programs do to the keys of topics.

use sessionwire::rpc::{BackplaneError, Event, PublishError, RedisConfig};

use super::{process, process_over, publish, restarted, subscribing};
use crate::stage::{client, read_to};
use crate::support::proxy::Proxy;
use crate::support::redis::{Redis, free_port};
use crate::support::watched;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_another_program_holds_up_no_topic() {
    let Some(redis) = Redis::start() else {
        return;
    };
    watched(async {
        let (endpoint, topics) = process(&redis).await;
        let mut subscription = subscribing(&client(&endpoint)).await;
        let feed = topics.open(&2).await.expect("to open");
        publish(&topics, 1..=3).await;
        read_to(&mut subscription, &mut 1, 3).await;
        redis.say(r#"XADD "sessionwire:topic:\x01" * a "" b """#);
        let event = subscription.recv().await;
        assert!(matches!(event, Some(Event::Other { .. })), "{event:?}");
        publish(&topics, 4..=5).await;
        read_to(&mut subscription, &mut 4, 5).await;
        let last = topics.publish(&2, &1).await.expect("to publish");
        while feed.cursor() != last {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_whose_key_has_something_else_holds_up_itself_alone() {
    let port = free_port();
    let Some(redis) = Redis::start_with(&["--port", &port.to_string()]) else {
        return;
    };
    watched(async {
        let proxy = Proxy::before(&format!("tcp://127.0.0.1:{port}"));
        let backplane = redis.connect(proxy.endpoint(), RedisConfig::default());
        let (endpoint, topics) = process_over(backplane.await.expect("a connection")).await;
        let mut subscription = subscribing(&client(&endpoint)).await;
        let feed = topics.open(&2).await.expect("to open");
        publish(&topics, 1..=3).await;
        read_to(&mut subscription, &mut 1, 3).await;
        let accepted = proxy.counts().accepted;
        redis.say(r#"DEL "sessionwire:topic:\x01""#);
        redis.say(r#"SET "sessionwire:topic:\x01" text"#);
        let error = topics.publish(&1, &4).await.expect_err("to be refused");
        let is_told = matches!(error, PublishError::Backplane(BackplaneError::Refused(_)));
        assert!(is_told, "{error}");
        for number in 1..=5 {
            let last = topics.publish(&2, &number).await.expect("to publish");
            while feed.cursor() != last {
                tokio::task::yield_now().await;
            }
        }
        // One that is opened now is read too.
        let feed = topics.open(&3).await.expect("to open");
        let last = topics.publish(&3, &1).await.expect("to publish");
        while feed.cursor() != last {
            tokio::task::yield_now().await;
        }
        redis.say(r#"DEL "sessionwire:topic:\x01""#);
        publish(&topics, 4..=5).await;
        restarted(&mut subscription).await;
        read_to(&mut subscription, &mut 4, 5).await;
        assert_eq!(proxy.counts().accepted, accepted, "no connection was lost");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_with_a_number_that_is_too_large_holds_up_its_topic_alone() {
    let Some(redis) = Redis::start() else {
        return;
    };
    watched(async {
        let (_, topics) = process(&redis).await;
        for sequence in [u64::MAX, 1 << 60, (1 << 53) - 1] {
            publish(&topics, 1..=3).await;
            redis.say(&format!(
                r#"XADD "sessionwire:topic:\x01" {sequence}-7 item """#
            ));
            let error = topics.publish(&1, &4).await.expect_err("to be refused");
            let is_told = matches!(error, PublishError::Backplane(BackplaneError::Refused(_)));
            assert!(is_told, "{error}");
            for topic in [2, 3] {
                let cursor = topics.publish(&topic, &1).await.expect("to publish");
                assert!(cursor.origin() < 1 << 53, "{cursor:?}");
                redis.say(&format!(r#"DEL "sessionwire:topic:\x0{topic}""#));
            }
            redis.say(r#"DEL "sessionwire:topic:\x01""#);
        }
    })
    .await;
}
