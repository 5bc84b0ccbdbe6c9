//! How connections end: drained, closed, cut off.

use std::time::Duration;

use super::alone::Alone;
use super::pair::{HERE, Pair, THERE, message};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::{ChannelError, ConnectionError, OpenError, Timeout};
use crate::mux::frame::Frame;
use crate::mux::machine::{Phase, Received, inbox::Inbox};
use crate::mux::priority::Priority;

const LATENCY: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_hours(1);

fn pair() -> Pair {
    let mut pair = Pair::with(Config::default(), Config::default()).with_latency(LATENCY);
    pair.run_until_quiet();
    pair
}

fn drain(pair: &mut Pair, end: usize, time: Duration) {
    let deadline = pair.now + time;
    pair.machine(end).drain(deadline);
}

#[track_caller]
fn assert_clean(pair: &Pair) {
    for end in [HERE, THERE] {
        let outcome = pair.outcome(end);
        assert!(
            outcome.as_ref().is_some_and(ConnectionError::is_clean),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_drained_connection_without_channels_ends_at_both_ends() {
    let mut pair = pair();
    drain(&mut pair, HERE, HOUR);
    pair.run_until_quiet();
    assert!(matches!(
        pair.outcome(HERE),
        Some(ConnectionError::ClosedHere { .. })
    ));
    assert!(matches!(
        pair.outcome(THERE),
        Some(ConnectionError::ClosedByPeer { .. })
    ));
    assert_clean(&pair);
    pair.tear_down();
}

#[test]
fn both_ends_may_drain_at_once() {
    for with_channel in [false, true] {
        let mut pair = pair();
        let handles = with_channel.then(|| pair.channel());
        drain(&mut pair, HERE, HOUR);
        drain(&mut pair, THERE, HOUR);
        pair.run_until_quiet();
        if let Some((here, there)) = handles {
            pair.assert_running();
            pair.send(here, "still");
            pair.finish(here);
            pair.finish(there);
            pair.run_until_quiet();
            assert_eq!(pair.received(there), ["still"]);
        }
        assert_clean(&pair);
        pair.tear_down();
    }
}

#[test]
fn open_channels_finish_in_a_drain_and_no_new_ones_begin() {
    let mut pair = pair();
    let (here, there) = pair.channel();
    drain(&mut pair, THERE, HOUR);
    pair.run_until_quiet();
    for end in [HERE, THERE] {
        let error = pair.machine(end).open("test/1", Priority::Normal);
        assert!(matches!(error, Err(OpenError::Draining)), "{error:?}");
    }
    pair.send(here, message(700_000, 1));
    pair.send(there, message(700_000, 2));
    pair.run_until_quiet();
    pair.finish(here);
    pair.run_until_quiet();
    pair.assert_running();
    pair.finish(there);
    pair.run_until_quiet();
    assert_eq!(pair.lengths(there), [700_000]);
    assert_eq!(pair.lengths(here), [700_000]);
    assert_clean(&pair);
    pair.tear_down();
}

#[test]
fn what_was_opened_sent_and_finished_before_the_drain_arrives() {
    let mut pair = pair();
    let channels: Vec<_> = (0..20).map(|_| pair.open(HERE)).collect();
    for &here in &channels {
        pair.send(here, "the last thing");
        pair.finish(here);
    }
    pair.ends[HERE].act(pair.now);
    for &here in &channels {
        pair.drop_both(here);
    }
    drain(&mut pair, HERE, HOUR);
    pair.run_until_quiet();
    for _ in &channels {
        let there = pair.accept(THERE);
        pair.finish(there);
        pair.run_until_quiet();
        assert_eq!(pair.received(there), ["the last thing"]);
    }
    assert_clean(&pair);
    pair.tear_down();
}

#[test]
fn a_goaway_comes_after_every_open_however_many_there_are() {
    let mut alone = Alone::introduced(Config::default().max_channels(1000));
    alone.hears(&Frame::Allow { channels: 1000 });
    for _ in 0..1000 {
        let opened = alone.machine.open(&"n".repeat(255), Priority::Normal);
        opened.unwrap().unwrap();
    }
    alone.machine.drain(alone.now + HOUR);
    let said = alone.says();
    assert!(said[..1000].iter().all(|frame| frame.starts_with("Open")));
    assert!(said[1000].starts_with("GoAway"));
}

#[test]
fn opens_that_cross_a_goaway_are_refused_and_may_be_retried_elsewhere() {
    let mut pair = pair();
    let (here, there) = pair.channel();
    drain(&mut pair, THERE, HOUR);
    let crossing = pair.open(HERE);
    pair.send(crossing, message(30_000, 1));
    let key = pair.application(crossing).key;
    pair.run_until_quiet();
    let error = pair.machine(HERE).is_accepted(key).unwrap_err();
    assert!(
        matches!(
            error,
            ChannelError::Refused {
                code: Code::SHUTDOWN,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_retryable());
    assert!(pair.take_incoming(THERE).is_none());
    pair.assert_running();
    pair.finish(here);
    pair.finish(there);
    pair.run_until_quiet();
    assert_clean(&pair);
    pair.tear_down();
}

#[test]
fn a_channel_that_comes_before_the_goaway_is_sent_is_refused() {
    let mut alone = Alone::introduced(Config::default());
    alone.hears_open(1);
    alone.machine.drain(alone.now + HOUR);
    alone.hears_open(3);
    let said = alone.says();
    for number in [1, 3] {
        let refusal = format!("Reset {{ channel: {number}, code: 3,");
        assert!(
            said.iter().any(|frame| frame.starts_with(&refusal)),
            "{said:?}"
        );
    }
    assert!(
        alone
            .machine
            .outcome()
            .is_some_and(ConnectionError::is_clean)
    );
    assert!(alone.machine.slots.is_empty());
}

#[test]
fn a_waiting_channel_that_is_over_already_is_forgotten_in_a_drain() {
    let mut alone = Alone::introduced(Config::default().max_message_size(100));
    let _running = alone.accepted(1);
    alone.hears_open(3);
    alone.hears_message(3, &[0; 101]);
    alone.says();
    alone.machine.drain(alone.now + HOUR);
    alone.says();
    assert_eq!(alone.machine.slots.len(), 1);
}

#[test]
fn channels_that_are_open_when_the_time_is_up_are_cut() {
    let mut pair = pair();
    let (here, there) = pair.channel();
    drain(&mut pair, HERE, Duration::from_secs(5));
    pair.advance(Duration::from_millis(4990));
    pair.assert_running();
    // A later deadline does not put it off.
    drain(&mut pair, HERE, HOUR);
    pair.advance(Duration::from_millis(100));
    let outcome = pair.outcome(HERE);
    assert!(
        matches!(outcome, Some(ConnectionError::TimedOut(Timeout::Drain))),
        "{outcome:?}"
    );
    let outcome = pair.outcome(THERE);
    assert!(
        matches!(
            outcome,
            Some(ConnectionError::ClosedByPeer {
                code: Code::TIMED_OUT,
                ..
            })
        ),
        "{outcome:?}"
    );
    for handle in [here, there] {
        assert!(matches!(
            pair.read_end(handle),
            Some(Err(ChannelError::Connection(_)))
        ));
    }
    pair.tear_down();
}

#[test]
fn a_close_tells_its_code_and_reason() {
    let mut pair = pair();
    let (here, there) = pair.channel();
    pair.machine(THERE)
        .close(Code::application(9), "maintenance");
    pair.run_until_quiet();
    let outcome = pair.outcome(HERE);
    assert!(
        matches!(&outcome, Some(ConnectionError::ClosedByPeer { code, reason })
            if *code == Code::application(9) && &**reason == "maintenance"),
        "{outcome:?}"
    );
    for handle in [here, there] {
        assert!(matches!(
            pair.read_end(handle),
            Some(Err(ChannelError::Connection(_)))
        ));
    }
    pair.tear_down();
}

#[test]
fn a_close_overtakes_a_drain() {
    let mut pair = pair();
    let _channel = pair.channel();
    drain(&mut pair, HERE, HOUR);
    pair.run_until_quiet();
    pair.machine(HERE).close(Code::application(1), "now");
    pair.run_until_quiet();
    let outcome = pair.outcome(THERE);
    assert!(
        matches!(&outcome, Some(ConnectionError::ClosedByPeer { code, .. }) if *code == Code::application(1)),
        "{outcome:?}"
    );
    pair.tear_down();
}

#[test]
fn the_end_of_the_stream_is_clean_only_after_a_goodbye() {
    let mut alone = Alone::introduced(Config::default());
    alone.machine.handle_end_of_stream();
    let outcome = alone.machine.outcome();
    assert!(
        matches!(outcome, Some(ConnectionError::Io(_))),
        "{outcome:?}"
    );
    assert_eq!(
        alone.says(),
        Vec::<String>::new(),
        "there is nobody to tell"
    );

    let mut alone = Alone::introduced(Config::default());
    alone.accepted(1);
    alone.hears(&Frame::GoAway {
        last_channel: 0,
        code: 0,
        reason: "",
    });
    alone.assert_running();
    alone.machine.handle_end_of_stream();
    assert!(
        alone
            .machine
            .outcome()
            .is_some_and(ConnectionError::is_clean)
    );
}

#[test]
fn after_the_end_everything_answers_with_the_outcome() {
    let mut alone = Alone::introduced(Config::default());
    let key = alone.accepted(1);
    alone.machine.close(Code::application(2), "over");
    let is_outcome = |error: &ConnectionError| matches!(error, ConnectionError::ClosedHere { code, .. } if *code == Code::application(2));
    let of_channel = |error: ChannelError| match error {
        ChannelError::Connection(error) => is_outcome(&error),
        _ => false,
    };
    let machine = &mut alone.machine;
    assert_eq!(machine.phase(), Phase::Closing);
    assert!(of_channel(machine.send_room(key).unwrap_err()));
    assert!(of_channel(
        machine.receive(key, 0, &mut Inbox::default()).unwrap_err()
    ));
    assert!(of_channel(machine.is_flushed(key).unwrap_err()));
    assert!(is_outcome(&machine.ping().unwrap_err()));
    let Err(OpenError::Connection(error)) = machine.open("test/1", Priority::Normal) else {
        panic!("nothing can be opened");
    };
    assert!(is_outcome(&error));
    assert_eq!(machine.poll_timeout(), None);
    machine.close(Code::NONE, "again");
    machine.end(ConnectionError::DriverDropped);
    assert!(
        machine.outcome().is_some_and(is_outcome),
        "the first reason stays"
    );
    machine.handle_frame(&[99], None, alone.now);
    alone.assert_goodbye(Code::application(2));
    assert_eq!(alone.machine.phase(), Phase::Closed);
    alone.machine.drop_sender(key);
    alone.machine.drop_receiver(key);
    assert!(alone.machine.slots.is_empty());
}

#[test]
fn an_end_wakes_readers_and_writers() {
    let mut pair = pair();
    let (reading, _) = pair.channel();
    let (writing, unread) = pair.channel();
    pair.read_only(unread, 0);
    for seed in 0..40 {
        pair.send(writing, message(60_000, seed));
    }
    pair.run_until_quiet();
    let key = pair.application(reading).key;
    let nothing = pair.machine(HERE).receive(key, 0, &mut Inbox::default());
    assert_eq!(nothing.unwrap(), Received::Nothing);
    pair.machine(HERE).end(ConnectionError::DriverDropped);
    pair.run_until_quiet();
    for error in [
        pair.read_end(reading).and_then(Result::err),
        pair.send_error(writing),
    ] {
        assert!(
            matches!(
                error,
                Some(ChannelError::Connection(ConnectionError::DriverDropped))
            ),
            "{error:?}"
        );
    }
    let signals = pair.ends[HERE].signals;
    assert!(signals.ended && signals.places && signals.incoming && signals.pong);
    pair.tear_down();
}
