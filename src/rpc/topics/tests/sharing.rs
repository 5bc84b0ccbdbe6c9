//! Equal topics share what comes on the wire.

use super::world::{World, read, texts};
use crate::rpc::{FeedLimits, Lag, SubscribeOptions};

/// Test 5.
#[test]
fn a_thousand_and_twenty_five_subscribers_are_one_on_the_wire_and_none_when_they_are_gone() {
    let world = World::up(FeedLimits::default());
    let mut subscriptions: Vec<_> = (0..1025)
        .map(|_| world.subscribe(SubscribeOptions::default()))
        .collect();
    assert_eq!(world.feed().followers(), 1);
    world.publish(0..3);
    world.run();
    for subscription in &mut subscriptions {
        assert_eq!(read(subscription), texts(0..3));
    }
    subscriptions.truncate(1);
    world.run();
    assert_eq!(world.feed().followers(), 1);
    subscriptions.clear();
    world.run();
    assert_eq!(world.feed().followers(), 0);
}

#[test]
fn who_joins_late_gets_what_is_published_from_then_on() {
    let mut world = World::up(FeedLimits::default());
    let mut early = world.subscribe(SubscribeOptions::default());
    world.publish(0..3);
    world.run();
    let mut late = world.subscribe(SubscribeOptions::default());
    world.publish(3..5);
    world.run();
    assert_eq!(read(&mut early), texts(0..5));
    assert_eq!(read(&mut late), texts(3..5));

    world.kill();
    world.publish(5..7);
    let later = world.begin(SubscribeOptions::default());
    world.publish(7..8);
    world.connect();
    let mut later = later.get().expect("an answer").expect("to be accepted");
    let followers = world.feed().followers();
    assert_eq!(followers, 2, "who came meanwhile waits for nobody");
    world.publish(8..10);
    world.run();
    assert_eq!(read(&mut early), texts(5..10));
    assert_eq!(read(&mut late), texts(5..10));
    assert_eq!(read(&mut later), texts(8..10));
    let followers = world.feed().followers();
    assert_eq!(followers, 1, "all have come to the same place");
    world.publish(10..12);
    world.run();
    for subscription in [&mut early, &mut late, &mut later] {
        assert_eq!(read(subscription), texts(10..12));
    }
}

#[test]
fn those_who_do_not_share_have_subscriptions_of_their_own() {
    let world = World::up(FeedLimits::default());
    let alone = SubscribeOptions::default().shared(false);
    let _alone = [world.subscribe(alone.clone()), world.subscribe(alone)];
    let _pressing = world.subscribe(SubscribeOptions::default().lag(Lag::BackPressure));
    let _shared = world.subscribe(SubscribeOptions::default());
    assert_eq!(world.feed().followers(), 4);
}
