//! What a lost connection costs: nothing that the feed still has, and all else is counted.

use super::world::{World, read, texts};
use crate::rpc::{Event, FeedLimits, GapReason, Lag, SubscribeOptions};
use futures_util::FutureExt;

#[test]
fn items_come_in_order_from_the_subscription_on() {
    let world = World::up(FeedLimits::default());
    world.publish(0..5);
    let mut subscription = world.subscribe(SubscribeOptions::default());
    world.publish(5..10);
    world.run();
    assert_eq!(read(&mut subscription), texts(5..10));
}

#[test]
fn a_subscription_goes_on_where_it_was_when_the_link_is_back() {
    let mut world = World::up(FeedLimits::default());
    let mut subscription = world.subscribe(SubscribeOptions::default());
    let id = subscription.id();
    world.publish(0..5);
    world.run();
    world.kill();
    world.publish(5..10);
    world.connect();
    world.publish(10..12);
    world.run();
    assert_eq!(read(&mut subscription), texts(0..12));
    assert_eq!(subscription.id(), id);
    assert_eq!(world.feed().followers(), 1);
}

/// Test 1: a hundred kills while a thousand items a second are published.
#[test]
fn a_hundred_kills_lose_double_and_reorder_nothing_that_the_feed_keeps() {
    let items = FeedLimits::default().items(4096);
    let options = SubscribeOptions::default().capacity(65_536);
    let (read, missed, _) = endure(items, options, 100);
    assert_eq!(missed, 0);
    assert_eq!(read.len(), 10_000);
    assert!(read.iter().copied().eq(1..=10_000));
}

/// Test 2: the same with a feed that keeps sixteen items.
#[test]
fn a_hundred_kills_with_a_small_feed_lose_what_the_gaps_count() {
    let items = FeedLimits::default().items(16);
    let options = SubscribeOptions::default().capacity(65_536);
    let (read, missed, gaps) = endure(items, options, 100);
    assert!(missed > 0);
    assert!(
        gaps <= 100,
        "a hole for each kill at most, there are {gaps}"
    );
    assert_eq!(read.len() as u64 + missed, 10_000);
    assert!(read.is_sorted());
}

/// Publishes an item each millisecond; every 100 ms the connection is lost, at some time in these, for
/// some time. Answers the items that came, how many were missed, and in how many gaps.
fn endure(limits: FeedLimits, options: SubscribeOptions, kills: u64) -> (Vec<u64>, u64, u64) {
    let mut world = World::up(limits);
    let mut subscription = world.subscribe(options);
    let id = subscription.id();
    let (mut came, mut missed, mut gaps) = (Vec::new(), 0, 0);
    let mut last = 0;
    for kill in 0..kills {
        // Both differ from kill to kill, and share no factor with each other.
        let (dies, lives) = (kill * 7 % 50, 50 + kill * 11 % 50);
        for millisecond in 0..100 {
            if millisecond == dies {
                world.kill();
            }
            if millisecond == lives {
                world.connect();
            }
            world.publish([kill * 100 + millisecond + 1]);
            world.clock.advance(std::time::Duration::from_millis(1));
        }
        while let Some(Some(event)) = subscription.recv().now_or_never() {
            match event {
                Event::Item { cursor, value } => {
                    assert_eq!(cursor.sequence(), value, "published in order");
                    assert_eq!(value, last + 1, "no hole without a gap");
                    last = value;
                    came.push(value);
                }
                Event::Gap { missed: count, why } => {
                    assert_eq!(why, GapReason::NotRetained);
                    let count = count.expect("the same feed counts");
                    (missed, gaps, last) = (missed + count, gaps + 1, last + count);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(subscription.id(), id);
    (came, missed, gaps)
}

/// Test 3, of subscriptions.
#[test]
fn a_server_that_restarted_is_said_once_and_then_its_items_come() {
    let mut world = World::up(FeedLimits::default());
    let mut subscription = world.subscribe(SubscribeOptions::default());
    world.publish(0..3);
    world.run();
    world.kill();
    world.boot(FeedLimits::default());
    world.publish(100..102);
    world.connect();
    world.publish(102..104);
    world.run();
    world.kill();
    world.connect();
    world.publish(104..105);
    world.run();
    let expected = [
        "0",
        "1",
        "2",
        "None Restarted",
        "100",
        "101",
        "102",
        "103",
        "104",
    ];
    assert_eq!(read(&mut subscription), expected);
}

/// Test 4.
#[test]
fn losing_the_link_again_before_it_is_resumed_leaves_no_orphans() {
    for times in 1..=5 {
        let mut world = World::up(FeedLimits::default());
        let mut subscription = world.subscribe(SubscribeOptions::default());
        world.publish(0..3);
        world.run();
        for _ in 0..times {
            world.kill();
            world.connect_unserved();
        }
        world.kill();
        world.connect();
        world.publish(3..6);
        world.run();
        assert_eq!(world.feed().followers(), 1, "after {times} more losses");
        assert_eq!(read(&mut subscription), texts(0..6));
    }
}

#[test]
fn one_that_does_not_resume_counts_what_it_missed() {
    let mut world = World::up(FeedLimits::default());
    let options = SubscribeOptions::default().resume(false);
    let mut subscription = world.subscribe(options);
    world.publish(0..3);
    world.run();
    world.kill();
    world.publish(3..7);
    world.connect();
    world.publish(7..9);
    world.run();
    let expected = ["0", "1", "2", "Some(4) NotResumed", "7", "8"];
    assert_eq!(read(&mut subscription), expected);
}

#[test]
fn a_cursor_that_was_kept_goes_on_in_another_run_of_the_program() {
    let world = World::up(FeedLimits::default());
    world.publish(0..3);
    let cursor = world.feed().cursor();
    world.publish(3..6);
    let mut subscription = world.subscribe(SubscribeOptions::default().after(cursor));
    world.publish(6..7);
    world.run();
    assert_eq!(read(&mut subscription), texts(3..7));
}

#[test]
fn what_is_not_there_any_more_behind_a_kept_cursor_is_counted() {
    let world = World::up(FeedLimits::default().items(2));
    world.publish(0..1);
    let cursor = world.feed().cursor();
    world.publish(1..6);
    let mut subscription = world.subscribe(SubscribeOptions::default().after(cursor));
    world.run();
    let expected = ["Some(3) NotRetained", "4", "5"];
    assert_eq!(read(&mut subscription), expected);
}

#[test]
fn a_kept_cursor_of_another_server_is_a_restart() {
    let mut world = World::up(FeedLimits::default());
    world.publish(0..3);
    let cursor = world.feed().cursor();
    world.kill();
    world.boot(FeedLimits::default());
    world.publish(100..102);
    world.connect();
    let mut subscription = world.subscribe(SubscribeOptions::default().after(cursor));
    world.run();
    assert_eq!(read(&mut subscription), ["None Restarted", "100", "101"]);
}

#[test]
fn a_kept_cursor_counts_for_one_that_does_not_resume() {
    let world = World::up(FeedLimits::default());
    world.publish(0..3);
    let cursor = world.feed().cursor();
    world.publish(3..6);
    let options = SubscribeOptions::default().resume(false).after(cursor);
    let mut subscription = world.subscribe(options);
    world.run();
    assert_eq!(read(&mut subscription), texts(3..6));
}

/// What was published while the link was away comes as it is read, and is no lag; what comes later is.
#[test]
fn what_a_feed_has_kept_comes_through_a_small_queue() {
    for policy in [Lag::DropOldest, Lag::Disconnect] {
        let mut world = World::up(FeedLimits::default());
        let options = SubscribeOptions::default().capacity(4).lag(policy);
        let mut subscription = world.subscribe(options);
        for cut in 0..3 {
            let all = cut * 1000..(cut + 1) * 1000;
            world.kill();
            world.publish(all.clone());
            world.connect();
            let mut heard = Vec::new();
            while heard.len() < 1000 {
                world.run();
                let some = read(&mut subscription);
                assert!((1..=4).contains(&some.len()), "{policy:?}: {some:?}");
                heard.extend(some);
            }
            assert_eq!(heard, texts(all), "{policy:?}");
            world.run();
        }
        world.publish(3000..3005);
        world.run();
        let expected = match policy {
            Lag::Disconnect => [
                "3000",
                "3001",
                "3002",
                "3003",
                "the subscriber was too slow",
            ],
            _ => ["Some(1) Lagged", "3001", "3002", "3003", "3004"],
        };
        assert_eq!(read(&mut subscription), expected);
    }
}

#[test]
fn who_does_not_read_holds_up_nobody_who_catches_up_on_the_same() {
    let mut world = World::up(FeedLimits::default());
    let small = || SubscribeOptions::default().capacity(4);
    let (mut idle, mut busy) = (world.subscribe(small()), world.subscribe(small()));
    world.kill();
    world.publish(0..100);
    world.connect();
    world.run();
    let mut late = world.subscribe(small());
    let mut heard = Vec::new();
    for _ in 0..100 {
        heard.extend(read(&mut busy));
        world.run();
    }
    assert_eq!(heard, texts(0..100));
    assert_eq!(read(&mut late), [""; 0], "it came when all was published");
    world.publish(100..102);
    world.run();
    assert_eq!(read(&mut busy), texts(100..102));
    assert_eq!(read(&mut late), texts(100..102));
    let mut expected = vec!["Some(98) Lagged".to_owned()];
    expected.extend(texts(98..102));
    assert_eq!(read(&mut idle), expected);
}

/// Nor does it hold up itself for ever, when the one who read for it has left.
#[test]
fn who_is_left_catches_up_at_its_own_pace() {
    let mut world = World::up(FeedLimits::default());
    let small = || SubscribeOptions::default().capacity(4);
    let (mut stays, leaves) = (world.subscribe(small()), world.subscribe(small()));
    world.kill();
    world.publish(0..100);
    world.connect();
    world.run();
    drop(leaves);
    let mut heard = Vec::new();
    while heard.len() < 100 {
        world.run();
        let some = read(&mut stays);
        assert!(!some.is_empty(), "it stalls after {}", heard.len());
        heard.extend(some);
    }
    assert_eq!(heard, texts(0..100));
}

/// As many as a feed keeps by default are taken by default, even if nobody reads until all have come.
#[test]
fn the_defaults_go_together() {
    let mut world = World::up(FeedLimits::default());
    let mut subscription = world.subscribe(SubscribeOptions::default());
    world.kill();
    world.publish(0..1024);
    world.connect();
    world.run();
    assert_eq!(read(&mut subscription), texts(0..1024));
    world.kill();
    world.publish(1024..2049);
    world.connect();
    world.run();
    let mut expected = vec!["Some(1) NotRetained".to_owned()];
    expected.extend(texts(1025..2049));
    assert_eq!(read(&mut subscription), expected);
}
