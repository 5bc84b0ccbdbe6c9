//! Subscribers that are slower than what is published.

use std::time::Duration;

use super::rules::Only;
use super::world::{World, read, read_one, texts};
use crate::rpc::{Feed, FeedLimits, Lag, SubscribeOptions, TopicLimits};

fn lag(lag: Lag, capacity: usize) -> SubscribeOptions {
    SubscribeOptions::default().lag(lag).capacity(capacity)
}

/// Test 21: one of a hundred subscribers is slow.
#[test]
fn a_slow_subscriber_costs_the_others_nothing() {
    for policy in [Lag::DropOldest, Lag::Disconnect, Lag::BackPressure] {
        let world = World::up(FeedLimits::default().items(64));
        let mut others: Vec<_> = (0..99)
            .map(|_| world.subscribe(SubscribeOptions::default()))
            .collect();
        let mut slow = world.subscribe(lag(policy, 4));
        let mut heard = Vec::new();
        for second in 0..100 {
            world.publish(second * 10..second * 10 + 10);
            world.run();
            for other in &mut others {
                assert_eq!(read(other), texts(second * 10..second * 10 + 10));
            }
            heard.extend(read_one(&mut slow));
            world.run();
        }
        // It may be granted more only once it has read.
        while let Some(text) = read_one(&mut slow) {
            heard.push(text);
            world.run();
        }
        account(policy, &heard);
    }
}

/// Test 21, of the memory: both ends are in this thread.
#[test]
fn a_minute_with_a_slow_subscriber_leaves_memory_where_it_was() {
    const SECONDS: u64 = 60;
    const ITEMS: u64 = 50;
    for policy in [Lag::DropOldest, Lag::Disconnect, Lag::BackPressure] {
        let world = World::up(FeedLimits::default().items(64));
        let mut others: Vec<_> = (0..99)
            .map(|_| world.subscribe(SubscribeOptions::default()))
            .collect();
        let mut slow = world.subscribe(lag(policy, 4));
        let mut second = |second: u64| {
            for item in second * ITEMS..(second + 1) * ITEMS {
                world.publish([item]);
                world.clock.advance(Duration::from_millis(1000 / ITEMS));
                for other in &mut others {
                    assert_eq!(read_one(other), Some(item.to_string()));
                }
            }
            read_one(&mut slow);
        };
        // Until all queues and the feed are full.
        (0..10).for_each(&mut second);
        let measured = allocation_counter::measure(|| (10..10 + SECONDS).for_each(&mut second));
        let (grown, most) = (measured.bytes_current, measured.bytes_max);
        assert!(grown.abs() < 4096, "{policy:?}: {grown} bytes more");
        assert!(most < 64 * 1024, "{policy:?}: {most} bytes meanwhile");
    }
}

/// What a slow subscriber has heard of a thousand items adds up.
fn account(policy: Lag, heard: &[String]) {
    let (mut next, mut ended) = (0, false);
    for text in heard {
        assert!(!ended, "nothing follows the end");
        if let Ok(number) = text.parse::<u64>() {
            assert_eq!(number, next, "{policy:?}: no hole without a gap");
            next += 1;
        } else if let Some(rest) = text.strip_prefix("Some(") {
            let count = rest.strip_suffix(") Lagged").expect("the reason");
            next += count.parse::<u64>().unwrap();
        } else {
            assert_eq!(text, "the subscriber was too slow");
            ended = true;
        }
    }
    assert_eq!(ended, policy == Lag::Disconnect);
    assert!(
        ended || next == 1000,
        "{policy:?}: {next} are accounted for"
    );
}

#[test]
fn at_its_capacity_a_queue_drops_nothing_and_one_beyond_it_does() {
    let world = World::up(FeedLimits::default());
    let mut subscription = world.subscribe(lag(Lag::DropOldest, 4));
    world.publish(0..4);
    world.run();
    assert_eq!(read(&mut subscription), texts(0..4));
    world.publish(4..9);
    world.run();
    assert_eq!(
        read(&mut subscription),
        ["Some(1) Lagged", "5", "6", "7", "8"]
    );
}

#[test]
fn back_pressure_leaves_items_in_the_feed() {
    let world = World::up(FeedLimits::default().items(16));
    let mut pressing = world.subscribe(lag(Lag::BackPressure, 4));
    let mut other = world.subscribe(lag(Lag::DropOldest, 64));
    world.publish(0..16);
    world.run();
    assert_eq!(read(&mut other), texts(0..16));
    assert_eq!(read(&mut pressing), texts(0..4));
    world.run();
    assert_eq!(read(&mut pressing), texts(4..8));
    world.run();
    world.publish(16..32);
    world.run();
    world.publish(32..40);
    world.run();
    assert_eq!(read(&mut other), texts(16..40));
    assert_eq!(read(&mut pressing), texts(8..12));
    world.run();
    let mut expected = vec!["Some(12) Lagged".to_owned()];
    expected.extend(texts(24..28));
    assert_eq!(read(&mut pressing), expected);
}

#[test]
fn a_subscriber_that_is_to_be_cut_off_reads_its_queue_first() {
    let world = World::up(FeedLimits::default());
    let mut subscription = world.subscribe(lag(Lag::Disconnect, 4));
    world.publish(0..5);
    world.run();
    let expected = ["0", "1", "2", "3", "the subscriber was too slow"];
    assert_eq!(read(&mut subscription), expected);
    assert_eq!(world.feed().followers(), 0);
    assert_eq!(read(&mut subscription), [""; 0]);
}

#[test]
fn an_item_that_fits_in_no_message_holds_up_nobody() {
    let limits = FeedLimits::default()
        .item_bytes(4 * 1024 * 1024)
        .bytes(16 * 1024 * 1024);
    let feed: Feed<String> = Feed::with_limits(limits);
    let mut world = World::new(FeedLimits::default());
    world.serve(Only(feed.retyped()), TopicLimits::default());
    world.connect();
    let mut pressing = world.subscribe(lag(Lag::BackPressure, 1));
    for length in [2 * 1024 * 1024, 2 * 1024 * 1024, 0] {
        feed.publish(&"x".repeat(length)).unwrap();
    }
    let mut heard = Vec::new();
    for _ in 0..3 {
        world.run();
        heard.extend(read(&mut pressing));
    }
    assert_eq!(heard, ["Some(2) TooLarge", "0"]);
}

/// Neither do they come at once, nor does the last of them stall.
#[test]
fn items_larger_than_the_capacity_arrive_under_every_policy() {
    let feed: Feed<Vec<u8>> = Feed::new();
    let mut world = World::new(FeedLimits::default());
    world.serve(Only(feed.retyped()), TopicLimits::default());
    world.connect();
    for policy in [Lag::DropOldest, Lag::Disconnect, Lag::BackPressure] {
        let mut subscription = world.subscribe(lag(policy, 4).capacity_bytes(1000));
        for _ in 0..10 {
            feed.publish(&vec![7; 100_000]).unwrap();
            world.run();
            let heard = read(&mut subscription);
            assert_eq!(heard.len(), 1, "{policy:?}");
            world.run();
        }
        // With nobody reading, one is kept, or waits at the server.
        for _ in 0..10 {
            feed.publish(&vec![7; 100_000]).unwrap();
        }
        world.run();
        let mut heard = 0;
        while read_one(&mut subscription).is_some() {
            heard += 1;
            world.run();
        }
        let expected = if policy == Lag::BackPressure { 10 } else { 2 };
        assert_eq!(heard, expected, "{policy:?}");
    }
}
