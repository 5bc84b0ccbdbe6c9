use super::alone::Alone;
use super::pair::{HERE, Pair, THERE};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::{ChannelError, OpenError};
use crate::mux::machine::{LAST_NUMBER, Machine};
use crate::mux::priority::Priority;

fn few_channels() -> Config {
    Config::default().max_channels(16)
}

#[test]
fn an_opened_channel_is_offered_and_accepted() {
    let mut pair = Pair::introduced(Config::default());
    let here = pair.open(HERE);
    let key = pair.application(here).key;
    pair.run_until_quiet();
    assert!(pair.ends[THERE].signals.incoming);
    assert!(!pair.machine(HERE).is_accepted(key).unwrap());
    pair.ends[HERE].signals.accepted = false;
    pair.accept(THERE);
    pair.run_until_quiet();
    assert!(pair.ends[HERE].signals.accepted);
    assert!(pair.machine(HERE).is_accepted(key).unwrap());
    pair.tear_down();
}

#[test]
fn both_ends_may_open() {
    let mut pair = Pair::introduced(Config::default());
    let opened = pair.open(THERE);
    pair.run_until_quiet();
    let accepted = pair.accept(HERE);
    pair.send(opened, "from there");
    pair.send(accepted, "from here");
    pair.run_until_quiet();
    assert_eq!(pair.received(accepted), ["from there"]);
    assert_eq!(pair.received(opened), ["from here"]);
    assert_eq!(pair.application(opened).number, 2);
    pair.tear_down();
}

#[test]
fn a_refused_channel_says_why_and_whether_to_retry() {
    for (code, retryable) in [(Code::UNKNOWN_PROTOCOL, false), (Code::REFUSED, true)] {
        let mut pair = Pair::introduced(Config::default());
        let here = pair.open(HERE);
        pair.run_until_quiet();
        let there = pair.take_incoming(THERE).unwrap();
        pair.reset(there, code, "not here");
        pair.run_until_quiet();
        let Some(Err(error)) = pair.read_end(here) else {
            panic!("the reader is told");
        };
        assert!(
            matches!(&error, ChannelError::Refused { code: c, reason } if *c == code && &**reason == "not here"),
            "{error:?}"
        );
        assert_eq!(error.is_retryable(), retryable);
        pair.tear_down();
    }
}

#[test]
fn a_channel_whose_handles_are_dropped_unaccepted_is_refused() {
    let mut pair = Pair::introduced(Config::default());
    let here = pair.open(HERE);
    pair.run_until_quiet();
    let there = pair.take_incoming(THERE).unwrap();
    pair.drop_both(there);
    pair.run_until_quiet();
    let Some(Err(ChannelError::Refused { code, .. })) = pair.read_end(here) else {
        panic!("{:?}", pair.read_end(here));
    };
    assert_eq!(code, Code::REFUSED);
    pair.tear_down();
}

#[test]
fn the_backlog_is_filled_and_one_past_it_is_refused() {
    let mut pair = Pair::introduced(Config::default().accept_backlog(3));
    let opened: Vec<_> = (0..4).map(|_| pair.open(HERE)).collect();
    pair.run_until_quiet();
    for &waiting in &opened[..3] {
        assert!(pair.read_end(waiting).is_none());
    }
    let Some(Err(error)) = pair.read_end(opened[3]) else {
        panic!("the fourth is refused");
    };
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(pair.machine(THERE).statistics().refused, 1);
    for _ in 0..3 {
        pair.accept(THERE);
    }
    assert!(pair.take_incoming(THERE).is_none());
    pair.assert_running();
    pair.tear_down();
}

#[test]
fn without_a_hello_sixteen_may_be_opened_and_the_seventeenth_waits() {
    let mut pair = Pair::new();
    for _ in 0..16 {
        pair.open(HERE);
    }
    assert!(pair.try_open(HERE, Priority::Normal).is_none());
    pair.run_until_quiet();
    assert!(pair.ends[HERE].signals.places);
    assert!(pair.try_open(HERE, Priority::Normal).is_some());
    pair.run_until_quiet();
    pair.assert_running();
    assert_eq!(pair.machine(THERE).backlog.len(), 17);
    pair.tear_down();
}

#[test]
fn of_an_end_that_holds_its_places_sixteen_may_be_opened_until_it_grants_them() {
    let mut pair = Pair::new();
    pair.machine(THERE).hold_places();
    pair.run_until_quiet();
    for _ in 0..16 {
        pair.open(HERE);
    }
    assert!(pair.try_open(HERE, Priority::Normal).is_none());
    pair.run_until_quiet();
    assert!(pair.try_open(HERE, Priority::Normal).is_none());
    pair.ends[HERE].signals.places = false;
    pair.machine(THERE).grant_places();
    pair.run_until_quiet();
    assert!(pair.ends[HERE].signals.places, "whoever waits is woken");
    for _ in 16..128 {
        pair.open(HERE);
    }
    assert!(pair.try_open(HERE, Priority::Normal).is_none());
    pair.run_until_quiet();
    pair.assert_running();
    pair.tear_down();
}

#[test]
fn a_message_sent_before_the_hello_arrives_with_its_channel() {
    let mut pair = Pair::new();
    let here = pair.open(HERE);
    pair.send(here, "at once");
    pair.finish(here);
    pair.run_until_quiet();
    let there = pair.accept(THERE);
    pair.run_until_quiet();
    assert_eq!(pair.received(there), ["at once"]);
    assert!(pair.finished(there));
    pair.tear_down();
}

#[test]
fn an_open_waits_for_a_place_and_is_woken_when_one_is_free() {
    let mut pair = Pair::introduced(few_channels());
    let opened: Vec<_> = (0..16).map(|_| pair.open(HERE)).collect();
    pair.run_until_quiet();
    let accepted: Vec<_> = (0..16).map(|_| pair.accept(THERE)).collect();
    pair.run_until_quiet();
    assert!(pair.try_open(HERE, Priority::Normal).is_none());

    pair.drop_both(opened[0]);
    pair.run_until_quiet();
    assert!(
        pair.try_open(HERE, Priority::Normal).is_none(),
        "the peer's application still holds the channel"
    );
    pair.ends[HERE].signals.places = false;
    pair.drop_both(accepted[0]);
    pair.run_until_quiet();
    assert!(pair.ends[HERE].signals.places, "Allow wakes who waits");
    assert!(pair.try_open(HERE, Priority::Normal).is_some());
    assert!(pair.try_open(HERE, Priority::Normal).is_none());
    pair.tear_down();
}

#[test]
fn places_come_back_for_ever() {
    let mut pair = Pair::introduced(few_channels());
    for _ in 0..200 {
        let (here, there) = pair.channel();
        pair.drop_both(here);
        pair.drop_both(there);
        pair.run_until_quiet();
    }
    pair.assert_running();
    pair.tear_down();
}

#[test]
fn channels_dropped_before_they_were_offered_take_no_place() {
    let mut pair = Pair::introduced(few_channels().abuse_limit(4, 0));
    for _ in 0..100 {
        let here = pair.open(HERE);
        pair.drop_both(here);
        pair.run_until_quiet();
    }
    pair.assert_running();
    assert_eq!(pair.machine(THERE).statistics().frames_received.open, 0);
    pair.tear_down();
}

#[test]
fn a_channel_dropped_before_it_was_offered_is_never_mentioned() {
    let mut alone = Alone::introduced(Config::default());
    let (key, _) = alone.opened();
    alone.machine.drop_receiver(key);
    alone.machine.drop_sender(key);
    assert_eq!(alone.says(), Vec::<String>::new());
    assert!(alone.machine.slots.is_empty());
}

#[test]
fn a_name_of_255_bytes_is_allowed_and_one_of_256_is_not() {
    let mut alone = Alone::introduced(Config::default());
    let machine: &mut Machine = &mut alone.machine;
    assert!(machine.open(&"n".repeat(255), Priority::Normal).is_ok());
    let error = machine.open(&"n".repeat(256), Priority::Normal);
    assert!(matches!(error, Err(OpenError::NameTooLong(256))));
}

#[test]
fn when_the_numbers_are_used_up_open_says_so() {
    let mut pair = Pair::introduced(Config::default());
    pair.machine(HERE).opened.next_number = LAST_NUMBER - 1;
    let (last, there) = pair.channel();
    assert_eq!(pair.application(last).number, LAST_NUMBER - 1);
    let error = pair.machine(HERE).open("test/1", Priority::Normal);
    assert!(
        matches!(error, Err(OpenError::NumbersExhausted)),
        "{error:?}"
    );
    pair.send(last, "still works");
    pair.run_until_quiet();
    assert_eq!(pair.received(there), ["still works"]);
    pair.tear_down();
}
