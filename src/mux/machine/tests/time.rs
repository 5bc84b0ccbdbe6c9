//! Deadlines: silence, a peer that does not introduce itself, a transport that takes nothing.

use std::time::Duration;

use super::alone::Alone;
use super::pair::{HERE, Pair, THERE, message};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::{ConnectionError, Timeout};
use crate::mux::frame::Frame;

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn assert_timeout(outcome: Option<&ConnectionError>, expected: Timeout) {
    assert!(
        matches!(outcome, Some(ConnectionError::TimedOut(timeout)) if *timeout == expected),
        "{outcome:?}"
    );
}

#[test]
fn an_idle_connection_lives_by_pings() {
    let mut pair = Pair::introduced(Config::default());
    pair.advance(600 * SECOND);
    pair.assert_running();
    let pings = pair.machine(HERE).statistics().frames_sent.ping;
    assert!((30..200).contains(&pings), "{pings}");
    pair.tear_down();
}

#[test]
fn a_silent_peer_is_asked_and_given_up() {
    let mut pair = Pair::introduced(Config::default());
    pair.ends[THERE].reads = false;
    let before = pair.machine(HERE).statistics().frames_sent.ping;
    pair.wires[THERE].capacity = 0;
    pair.advance(44 * SECOND);
    assert!(pair.outcome(HERE).is_none());
    assert_eq!(pair.machine(HERE).statistics().frames_sent.ping, before + 1);
    pair.advance(2 * SECOND);
    assert_timeout(pair.outcome(HERE).as_ref(), Timeout::Silence);
}

#[test]
fn a_peer_that_does_not_introduce_itself_is_given_up() {
    let mut alone = Alone::new(Config::default());
    alone.says();
    let start = alone.now;
    assert_eq!(alone.machine.poll_timeout(), Some(start + 10 * SECOND));
    let just_before = Duration::from_nanos(9_999_999_999);
    alone.machine.handle_timeout(start + just_before);
    alone.assert_running();
    alone.machine.handle_timeout(start + 10 * SECOND);
    assert_timeout(alone.machine.outcome(), Timeout::Hello);
    alone.assert_goodbye(Code::TIMED_OUT);
}

#[test]
fn a_transport_that_takes_nothing_is_given_up_and_one_that_is_slow_is_not() {
    for slow in [true, false] {
        let mut pair = Pair::introduced(Config::default().idle_timeout(600 * SECOND));
        let (here, there) = pair.channel();
        pair.read_only(there, 0);
        pair.wires[HERE].capacity = 100;
        pair.ends[THERE].reads = false;
        for seed in 0..4 {
            pair.send(here, message(20_000, seed));
        }
        for _ in 0..4 {
            pair.advance(9 * SECOND);
            if slow {
                pair.ends[THERE].reads = true;
                pair.read(THERE, 1);
                pair.ends[THERE].reads = false;
            }
        }
        if slow {
            assert!(pair.outcome(HERE).is_none());
            let blocked = pair.machine(HERE).statistics().blocked_by_transport;
            assert!(blocked >= 25 * SECOND, "{blocked:?}");
        } else {
            assert_timeout(pair.outcome(HERE).as_ref(), Timeout::Write);
        }
    }
}

#[test]
fn the_round_trip_is_measured() {
    let latency = Duration::from_millis(30);
    let mut pair = Pair::with(Config::default(), Config::default()).with_latency(latency);
    pair.run_until_quiet();
    let round_trip = pair.machine(HERE).statistics().round_trip.unwrap();
    assert_eq!(round_trip.last, 2 * latency);
    pair.wires[HERE].latency *= 3;
    let number = pair.machine(HERE).ping().unwrap();
    pair.run_until_quiet();
    assert_eq!(pair.machine(HERE).pings_answered(), number);
    let round_trip = pair.machine(HERE).statistics().round_trip.unwrap();
    assert_eq!(round_trip.last, 4 * latency);
    assert_eq!(round_trip.min, 2 * latency);
    assert_eq!(round_trip.smoothed, (2 * latency * 7 + 4 * latency) / 8);
    assert!(pair.ends[HERE].signals.pong);
    pair.tear_down();
}

#[test]
fn time_without_credit_is_counted() {
    let mut pair = Pair::introduced(Config::default());
    let (here, there) = pair.channel();
    pair.read_only(there, 0);
    for seed in 0..4 {
        pair.send(here, message(60_000, seed));
    }
    pair.advance(3 * SECOND);
    pair.read_all(there);
    pair.run_until_quiet();
    let blocked = pair.machine(HERE).statistics().blocked_by_credit;
    assert_eq!(blocked, 3 * SECOND);
    pair.tear_down();
}

#[test]
fn what_one_end_sent_the_other_received() {
    let mut pair = Pair::introduced(Config::default());
    let (here, there) = pair.channel();
    for seed in 0..50 {
        pair.send(here, message(seed * 2000, seed));
        pair.send(there, message(seed * 100, seed));
    }
    pair.finish(here);
    pair.run_until_quiet();
    pair.reset(there, Code::CANCELLED, "");
    let refused = pair.open(HERE);
    pair.run_until_quiet();
    let incoming = pair.take_incoming(THERE).unwrap();
    pair.drop_both(incoming);
    pair.drop_receiver(refused);
    pair.run_until_quiet();
    let [one, other] = [HERE, THERE].map(|end| pair.machine(end).statistics());
    for (from, to) in [(&one, &other), (&other, &one)] {
        assert_eq!(from.bytes_sent, to.bytes_received);
        assert_eq!(from.frames_sent, to.frames_received);
        assert_eq!(from.messages_sent, 50);
        assert_eq!(to.messages_received, 50);
        assert!(from.writes > 0 && from.writes <= from.bytes_sent);
    }
    assert_eq!(one.peak_channels, 2);
    assert_eq!(other.send_queued, 0);
    assert_eq!(one.frames_sent.open, 2);
    assert_eq!(other.frames_sent.reset, 2);
    pair.tear_down();
}

#[test]
fn a_ping_waits_for_the_answer_to_the_one_before() {
    let mut alone = Alone::introduced(Config::default());
    let first = alone.machine.ping().unwrap();
    assert_eq!(
        alone.says(),
        Vec::<String>::new(),
        "the first of the connection is on its way"
    );
    alone.hears(&Frame::Pong { nonce: 1 });
    assert!(alone.machine.take_signals().pong);
    assert_eq!(alone.says(), [format!("Ping {{ nonce: {first} }}")]);
}
