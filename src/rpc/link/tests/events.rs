use std::pin::pin;

use futures_util::StreamExt;
use pharos::{Channel, Filter, Observable, ObserveConfig};

use super::{Fate, World, passing, poll, seconds, up};
use crate::mux::Code;
use crate::rpc::link::{Link, LinkEvent};

fn observe(
    world: &World,
    link: &mut Link,
    options: ObserveConfig<LinkEvent>,
) -> pharos::Events<LinkEvent> {
    let observed = world.run(link.observe(options)).expect("at once");
    observed.expect("a channel with room")
}

fn heard(world: &World, events: &mut pharos::Events<LinkEvent>) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(Some(event)) = world.run(events.next()) {
        heard.push(match event {
            LinkEvent::Dialing(attempt) => format!("dialing {}", attempt.number),
            LinkEvent::Failed(attempt, error) => format!("failed {}: {error}", attempt.number),
            LinkEvent::Up(epoch) => format!("up {epoch}"),
            LinkEvent::Retired(epoch) => format!("retired {epoch}"),
            LinkEvent::Lost(epoch, error) => format!("lost {epoch}: {error}"),
            LinkEvent::Waiting(attempt, _) => format!("waiting for {}", attempt.number),
            LinkEvent::Down(error) => format!("down: {error}"),
            LinkEvent::Missed(count) => format!("missed {count}"),
        });
    }
    heard
}

#[test]
fn observers_hear_all_that_happens_in_order() {
    let world = World::new();
    world.next([Fate::Fails(passing())]);
    let mut link = world.link();
    let mut events = observe(&world, &mut link, ObserveConfig::default());
    world.pass(seconds(20));
    world.there().close(Code::application(1), "");
    world.settle();
    world.pass(seconds(20));
    let (_, connection) = up(&link).expect("a connection");
    let _open = world.run(connection.open_raw("a/1")).expect("at once");
    world.settle();
    let there = world.there();
    let opened = world.run(there.accept()).expect("at once").unwrap();
    let _accepted = opened.expect("a channel").accept_raw();
    assert!(
        poll(pin!(there.drain(seconds(60)))).is_pending(),
        "a channel is open"
    );
    world.pass(seconds(20));
    drop(link);
    let expected = [
        "dialing 1",
        "failed 1: out of order",
        "waiting for 2",
        "dialing 2",
        "up 1",
        "lost 1: the peer closed the connection: application code 1",
        "waiting for 1",
        "dialing 1",
        "up 2",
        "retired 2",
        "waiting for 1",
        "dialing 1",
        "up 3",
        "down: the link was closed here",
    ];
    assert_eq!(heard(&world, &mut events), expected);
}

#[test]
fn a_slow_observer_holds_up_nothing_and_is_told_what_it_missed() {
    let world = World::new();
    let mut link = world.link();
    let mut slow = observe(&world, &mut link, Channel::Bounded(1).into());
    let mut other = observe(&world, &mut link, ObserveConfig::default());
    for _ in 0..5 {
        world.pass(seconds(20));
        assert!(up(&link).is_some());
        world.there().close(Code::application(1), "");
    }
    world.pass(seconds(20));
    let all = heard(&world, &mut other).len();
    let few = heard(&world, &mut slow);
    assert!(few.len() < 5, "{few:?}");
    world.there().close(Code::application(1), "");
    world.settle();
    let missed = heard(&world, &mut slow);
    assert_eq!(missed[0], format!("missed {}", all - few.len()));
    assert_eq!(up(&link).map(|(epoch, _)| epoch), None);
}

#[test]
fn an_observer_that_has_left_is_forgotten_and_a_filter_holds_back() {
    let world = World::new();
    let mut link = world.link();
    let left = observe(&world, &mut link, ObserveConfig::default());
    let only_up = Filter::Pointer(|event| matches!(event, LinkEvent::Up(_)));
    let mut filtered = observe(&world, &mut link, only_up.into());
    drop(left);
    world.settle();
    assert_eq!(heard(&world, &mut filtered), ["up 1"]);
    assert_eq!(format!("{:?}", link.observers()), "Observers(1)");
}
