use std::pin::pin;

use super::{Fate, World, fatal, millis, passing, poll, seconds, up};
use crate::Router;
use crate::mux::{ChannelError, Code, Config, RawChannel};
use crate::rpc::link::Dialer as _;
use crate::rpc::link::dialer::Endpoints;
use crate::rpc::link::{DialError, Link, LinkConfig, LinkFailure, LinkState};
use crate::runtime::Runtime as _;
use crate::transport::TransportConfig;

#[test]
fn it_is_made_without_waiting_and_is_up_without_a_pause() {
    let world = World::new();
    let link = world.link();
    assert_eq!(link.state().to_string(), "connecting, attempt 1");
    assert_eq!(world.dials(), 0);
    world.settle();
    let (epoch, connection) = up(&link).expect("a connection");
    assert_eq!((epoch, world.dials()), (1, 1));
    assert!(world.run(connection.ping()).expect("an answer").is_ok());
}

#[test]
fn a_connection_that_is_lost_is_made_again_after_a_pause() {
    let world = World::new();
    let start = world.clock.now();
    let link = world.link();
    world.pass(seconds(20));
    world.there().close(Code::application(1), "restart");
    world.settle();
    let LinkState::Waiting {
        attempt: 1,
        until,
        why: Some(why),
        ..
    } = link.state()
    else {
        panic!("{:?}", link.state());
    };
    assert!(why.to_string().contains("restart"), "{why}");
    assert_eq!(until - world.clock.now(), millis(125));
    world.pass(millis(125));
    assert_eq!(up(&link).expect("a connection").0, 2);
    assert_eq!(world.times(start), [0, 20_125]);
}

#[test]
fn its_state_says_why_it_is_not_up() {
    let world = World::new();
    world.next([Fate::Fails(DialError::other("no route")), Fate::Hangs]);
    let link = world.link();
    let says = |expected: &str| assert_eq!(link.state().to_string(), expected);
    world.settle();
    says("waiting to connect to place 0, attempt 2; before that: place 0: no route");
    world.pass(millis(125));
    says("connecting to place 0, attempt 2; before that: place 0: no route");
    world.pass(seconds(11));
    says("up, connection 1");
    world.next([Fate::Fails(fatal())]);
    world.there().close(Code::application(1), "restart");
    world.settle();
    world.pass(seconds(1));
    let text = link.state().to_string();
    assert!(text.starts_with("down: attempt "), "{text}");
}

#[test]
fn a_failure_names_the_endpoint_once_and_no_query() {
    let endpoints = [
        "wss://one.example/wire?token=secret",
        "tcp://two.example:9000",
    ];
    let endpoints = Endpoints::new(endpoints, Config::default(), TransportConfig::default());
    let endpoints = endpoints.expect("endpoints");
    let names = [0, 1, 2].map(|target| endpoints.name(target));
    let [Some(one), Some(two), None] = names else {
        panic!("{names:?}");
    };
    assert_eq!(
        [&*one, &*two],
        ["wss://one.example/wire", "tcp://two.example:9000"]
    );
    let failure = |target: &str, text: &str| {
        let (target, error) = (Some(target.into()), DialError::other(text));
        LinkFailure { target, error }.to_string()
    };
    assert_eq!(failure(&one, "gone"), "wss://one.example/wire: gone");
    let refused = "cannot connect to tcp://two.example:9000: refused";
    assert_eq!(failure(&two, refused), refused);
}

#[test]
fn an_attempt_that_hangs_is_cut() {
    let world = World::new();
    let start = world.clock.now();
    world.next([Fate::Hangs, Fate::Silent]);
    let link = world.link();
    world.pass(seconds(21));
    assert_eq!(up(&link).expect("a connection").0, 1);
    // Ten seconds each, and pauses of 125 ms and 250 ms.
    assert_eq!(world.times(start), [0, 10_125, 20_375]);
}

#[test]
fn a_server_that_accepts_and_closes_is_dialled_less_and_less() {
    let world = World::new();
    world.always(Fate::Goodbye(Code::application(1)));
    let _link = world.link();
    world.pass(seconds(60));
    assert_eq!(world.dials(), 13);
}

#[test]
fn only_a_connection_that_was_up_for_ten_seconds_ends_the_back_off() {
    for (up, pause) in [(9_999, 1000), (10_000, 125)] {
        let world = World::new();
        world.next([passing(), passing(), passing()].map(Fate::Fails));
        let link = world.link();
        world.pass(millis(125 + 250 + 500));
        assert!(super::up(&link).is_some());
        world.pass(millis(up));
        world.there().close(Code::NONE, "");
        world.settle();
        let LinkState::Waiting { until, .. } = link.state() else {
            panic!("{:?}", link.state());
        };
        assert_eq!(until - world.clock.now(), millis(pause), "up for {up} ms");
    }
}

#[test]
fn targets_are_tried_in_turn() {
    let world = World::new();
    world
        .peer
        .targets
        .store(3, std::sync::atomic::Ordering::SeqCst);
    world.next([Fate::Fails(passing()), Fate::Fails(fatal()), Fate::Hangs]);
    let _link = world.link();
    world.pass(seconds(12));
    world.there().close(Code::NONE, "");
    world.pass(seconds(12));
    // The one that failed for good is left out, as the connection was not stable.
    assert_eq!(world.targets(), [0, 1, 2, 0, 2]);
}

#[test]
fn a_draining_peer_is_replaced_while_what_is_open_finishes() {
    let world = World::new();
    world
        .peer
        .targets
        .store(2, std::sync::atomic::Ordering::SeqCst);
    let link = world.link();
    world.pass(seconds(10));
    let (_, old) = up(&link).expect("a connection");
    let mut channel = world.run(old.open_raw("old/1")).expect("at once").unwrap();
    world.settle();
    let there = world.there();
    let opened = world.run(there.accept()).expect("at once").unwrap();
    let mut accepted = opened.expect("a channel").accept_raw();

    world.clock.spawn(Box::pin(async move {
        there.drain(seconds(60)).await.unwrap();
    }));
    world.settle();
    let text = link.state().to_string();
    let expected = "waiting to connect to place 1, attempt 1; before that: place 0: the connection takes no more channels";
    assert!(text.starts_with(expected), "{text}");
    world.pass(millis(125));
    assert_eq!(up(&link).expect("another connection").0, 2);
    assert_eq!(world.targets(), [0, 1]);

    world
        .run(channel.send("still here".into()))
        .expect("room")
        .unwrap();
    let heard = world.run(accepted.recv()).expect("a message").unwrap();
    assert_eq!(heard.expect("a message"), "still here");
    drop((channel, accepted));
    assert!(world.run(old.closed()).expect("the end").is_clean());
}

#[test]
fn a_peer_that_drains_keeps_what_is_open_only_for_so_long() {
    let world = World::new();
    let link = world.link_with(LinkConfig::default().drain_timeout(seconds(3)));
    world.pass(seconds(10));
    let (_, old) = up(&link).expect("a connection");
    let mut channel = world.run(old.open_raw("old/1")).expect("at once").unwrap();
    world.settle();
    let there = world.there();
    let opened = world.run(there.accept()).expect("at once").unwrap();
    let _accepted = opened.expect("a channel").accept_raw();
    assert!(poll(pin!(there.drain(seconds(600)))).is_pending());
    world.settle();
    world.pass(millis(2_999));
    assert!(world.run(channel.recv()).is_none(), "it was cut too early");
    world.pass(millis(1));
    assert!(world.run(channel.recv()).expect("an end").is_err());
    assert_eq!(up(&link).expect("another connection").0, 2);
}

#[test]
fn a_connection_without_numbers_for_channels_is_replaced() {
    let world = World::new();
    let link = world.link();
    world.pass(seconds(10));
    let (_, old) = up(&link).expect("a connection");
    old.use_up_numbers_but(1);
    let mut channel = world.run(old.open_raw("last/1")).expect("at once").unwrap();
    world.pass(millis(125));
    assert_eq!(up(&link).expect("another connection").0, 2);
    world
        .run(channel.send("still here".into()))
        .expect("room")
        .unwrap();
}

async fn echo(mut channel: RawChannel) -> Result<(), ChannelError> {
    while let Some(message) = channel.recv().await? {
        channel.send(message).await?;
    }
    channel.finish();
    Ok(())
}

fn is_served(world: &World) -> bool {
    let there = world.there();
    let mut channel = world
        .run(there.open_raw("echo/1"))
        .expect("at once")
        .unwrap();
    world
        .run(channel.send("hello".into()))
        .expect("room")
        .unwrap();
    world
        .run(channel.recv())
        .is_some_and(|heard| heard.unwrap().is_some())
}

#[test]
fn a_router_serves_every_connection() {
    let world = World::new();
    let link = world.link();
    link.serve(Router::new().on_raw("echo/1", echo));
    world.settle();
    assert!(is_served(&world));
    world.there().close(Code::NONE, "");
    world.pass(seconds(1));
    assert_eq!(up(&link).expect("another connection").0, 2);
    assert!(is_served(&world));
}

#[test]
fn a_link_over_one_connection_makes_no_other() {
    let world = World::new();
    let lender = world.link();
    world.settle();
    let (_, connection) = up(&lender).expect("a connection");
    let link = Link::over(connection);
    assert_eq!(up(&link).expect("up at once").0, 1);
    world.there().close(Code::application(1), "over");
    let error = world.run(link.closed()).expect("an end");
    assert_eq!(
        error.to_string(),
        "the connection of the link ended: the peer closed the connection: application code 1 (over)"
    );
}

#[test]
fn a_link_over_one_connection_uses_it_to_its_end() {
    let world = World::new();
    let lender = world.link();
    world.settle();
    let (_, connection) = up(&lender).expect("a connection");
    let link = Link::over(connection.clone());
    let channel = world
        .run(connection.open_raw("a/1"))
        .expect("at once")
        .unwrap();
    world.settle();
    let there = world.there();
    let opened = world.run(there.accept()).expect("at once").unwrap();
    let accepted = opened.expect("a channel").accept_raw();
    assert!(poll(pin!(there.drain(seconds(60)))).is_pending());
    world.settle();
    assert!(up(&link).is_some(), "a channel is open");
    drop((channel, accepted));
    assert!(world.run(link.closed()).is_some());
}

#[test]
fn it_gives_up_after_as_many_attempts_as_it_may_make() {
    let world = World::new();
    world.always(Fate::Fails(passing()));
    let link = world.link_with(LinkConfig::default().max_attempts(3));
    world.pass(seconds(60));
    assert_eq!(world.dials(), 3);
    let error = world.run(link.connection()).expect("an end").unwrap_err();
    assert_eq!(
        error.to_string(),
        "attempt 3 to make a connection failed, and no other is made: place 0: out of order"
    );
}
