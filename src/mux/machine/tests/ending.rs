//! How channels end: finish, stop, reset, dropped handles.

use super::alone::Alone;
use super::pair::{HERE, Handle, Pair, THERE, message};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::ChannelError;
use crate::mux::frame::{FINISH, Frame};
use crate::mux::machine::{Received, inbox::Inbox};

fn pair_with_channel() -> (Pair, Handle, Handle) {
    let mut pair = Pair::introduced(Config::default());
    let (here, there) = pair.channel();
    (pair, here, there)
}

#[test]
fn each_direction_finishes_on_its_own() {
    for first_is_opener in [true, false] {
        let (mut pair, here, there) = pair_with_channel();
        let (first, second) = if first_is_opener {
            (here, there)
        } else {
            (there, here)
        };
        pair.send(first, "last words");
        pair.finish(first);
        pair.run_until_quiet();
        assert_eq!(pair.received(second), ["last words"]);
        assert!(pair.finished(second));
        assert!(pair.read_end(first).is_none());

        pair.send(second, message(300_000, 1));
        pair.finish(second);
        pair.run_until_quiet();
        assert_eq!(pair.received(first), [message(300_000, 1)]);
        assert!(pair.finished(first));
        assert_eq!(pair.machine(HERE).live, 0);
        assert_eq!(
            pair.machine(HERE).slots.len(),
            1,
            "the handles are still held"
        );
        pair.tear_down();
    }
}

#[test]
fn sending_after_finish_fails_and_a_finish_is_flushed_once_it_is_sent() {
    let (mut pair, here, _) = pair_with_channel();
    pair.send(here, "one");
    pair.finish(here);
    let key = pair.application(here).key;
    pair.run_until_quiet();
    assert!(pair.machine(HERE).is_flushed(key).unwrap());
    pair.send(here, "two");
    pair.run_until_quiet();
    assert!(matches!(
        pair.send_error(here),
        Some(ChannelError::Finished)
    ));
    pair.tear_down();
}

#[test]
fn a_finish_waits_behind_messages_that_wait_for_credit() {
    let (mut pair, here, there) = pair_with_channel();
    pair.read_only(there, 0);
    for seed in 0..4 {
        pair.send(here, message(60_000, seed));
    }
    pair.finish(here);
    pair.run_until_quiet();
    let key = pair.application(here).key;
    assert!(!pair.machine(HERE).is_flushed(key).unwrap());
    pair.read_all(there);
    pair.run_until_quiet();
    assert_eq!(pair.lengths(there), [60_000; 4]);
    assert!(pair.finished(there));
    pair.tear_down();
}

#[test]
fn a_stop_wakes_the_writer_with_its_code_and_ends_the_direction() {
    let (mut pair, here, there) = pair_with_channel();
    pair.read_only(there, 0);
    for seed in 0..40 {
        pair.send(here, message(60_000, seed));
    }
    pair.run_until_quiet();
    assert!(pair.sent(here) < 40, "the writer waits for room");
    pair.stop(there, Code::application(7));
    pair.run_until_quiet();
    let error = pair.send_error(here);
    assert!(
        matches!(error, Some(ChannelError::Stopped(code)) if code == Code::application(7)),
        "{error:?}"
    );
    assert_eq!(pair.machine(HERE).send_queued, 0);

    pair.send(there, "the other direction goes on");
    pair.finish(there);
    pair.run_until_quiet();
    assert_eq!(pair.lengths(here).len(), 1);
    assert!(pair.finished(here));
    assert_eq!(
        pair.machine(HERE).live,
        0,
        "a Stop is answered with a FINISH"
    );
    assert_eq!(pair.machine(THERE).live, 0);
    pair.tear_down();
}

#[test]
fn a_reset_tells_the_peer_its_code_and_reason() {
    for opener_resets in [true, false] {
        let (mut pair, here, there) = pair_with_channel();
        let (one, other) = if opener_resets {
            (here, there)
        } else {
            (there, here)
        };
        pair.reset(one, Code::application(5), "enough");
        pair.run_until_quiet();
        pair.send(other, "too late");
        pair.run_until_quiet();
        for error in [
            pair.read_end(other).and_then(Result::err),
            pair.send_error(other),
        ] {
            assert!(
                matches!(&error, Some(ChannelError::ResetByPeer { code, reason })
                    if *code == Code::application(5) && &**reason == "enough"),
                "{error:?}"
            );
        }
        let own = pair.read_end(one);
        assert!(
            matches!(own, Some(Err(ChannelError::ResetHere { .. }))),
            "{own:?}"
        );
        pair.assert_running();
        pair.tear_down();
    }
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let (mut pair, here, there) = pair_with_channel();
    pair.reset(here, Code::NONE, &"ä".repeat(100));
    pair.run_until_quiet();
    let Some(Err(ChannelError::ResetByPeer { reason, .. })) = pair.read_end(there) else {
        panic!("{:?}", pair.read_end(there));
    };
    assert_eq!(&*reason, "ä".repeat(64));
    pair.tear_down();
}

#[test]
fn a_reset_wakes_a_writer_that_waits_for_room() {
    let (mut pair, here, there) = pair_with_channel();
    pair.read_only(there, 0);
    for seed in 0..40 {
        pair.send(here, message(60_000, seed));
    }
    pair.run_until_quiet();
    pair.reset(there, Code::application(1), "");
    pair.run_until_quiet();
    assert!(pair.send_error(here).is_some());
    pair.tear_down();
}

#[test]
fn a_dropped_sender_resets_unless_it_has_finished() {
    let (mut pair, here, there) = pair_with_channel();
    pair.drop_sender(here);
    pair.run_until_quiet();
    let end = pair.read_end(there);
    assert!(
        matches!(
            end,
            Some(Err(ChannelError::ResetByPeer {
                code: Code::CANCELLED,
                ..
            }))
        ),
        "{end:?}"
    );
    pair.tear_down();

    let (mut pair, here, there) = pair_with_channel();
    pair.send(here, message(300_000, 1));
    pair.finish(here);
    pair.settle();
    pair.drop_both(here);
    pair.run_until_quiet();
    assert_eq!(
        pair.lengths(there),
        [300_000],
        "what was finished still goes"
    );
    assert!(pair.finished(there));
    pair.tear_down();
}

#[test]
fn a_dropped_receiver_stops_the_peer() {
    let (mut pair, here, there) = pair_with_channel();
    pair.drop_receiver(there);
    pair.run_until_quiet();
    pair.send(here, "nobody reads");
    pair.run_until_quiet();
    let error = pair.send_error(here);
    assert!(
        matches!(error, Some(ChannelError::Stopped(Code::CANCELLED))),
        "{error:?}"
    );
    pair.tear_down();
}

#[test]
fn both_handles_dropped_before_the_accept_reset_the_channel() {
    let mut pair = Pair::introduced(Config::default());
    let here = pair.open(HERE);
    pair.send(here, "hello?");
    pair.run_until_quiet();
    pair.drop_both(here);
    pair.run_until_quiet();
    assert!(pair.take_incoming(THERE).is_none(), "nobody waits any more");
    pair.tear_down();
}

#[test]
fn a_slot_is_free_only_when_its_handles_are_gone_too() {
    let (mut pair, here, there) = pair_with_channel();
    for handle in [here, there] {
        pair.finish(handle);
    }
    pair.run_until_quiet();
    for end in [HERE, THERE] {
        assert_eq!(pair.machine(end).live, 0);
        assert_eq!(pair.machine(end).slots.len(), 1);
    }
    pair.drop_sender(here);
    assert_eq!(pair.machine(HERE).slots.len(), 1);
    pair.drop_receiver(here);
    assert_eq!(pair.machine(HERE).slots.len(), 0);
    pair.drop_receiver(there);
    assert_eq!(pair.machine(THERE).slots.len(), 1);
    pair.drop_sender(there);
    assert_eq!(pair.machine(THERE).slots.len(), 0);
    pair.tear_down();
}

#[test]
fn complete_messages_can_be_read_after_a_reset_and_after_the_end() {
    for whole_connection in [false, true] {
        let (mut pair, here, there) = pair_with_channel();
        pair.read_only(there, 0);
        pair.send(here, "one");
        pair.send(here, "two");
        pair.run_until_quiet();
        if whole_connection {
            pair.machine(HERE).close(Code::application(3), "bye");
        } else {
            pair.reset(here, Code::application(3), "bye");
        }
        pair.run_until_quiet();
        pair.read_all(there);
        pair.run_until_quiet();
        assert_eq!(pair.received(there), ["one", "two"]);
        assert!(matches!(pair.read_end(there), Some(Err(_))));
        pair.tear_down();
    }
}

#[test]
fn a_message_cut_off_by_a_reset_is_not_delivered() {
    let config = Config::default().window(64 * 1024).max_window(64 * 1024);
    let mut alone = Alone::introduced(config);
    let key = alone.accepted(1);
    alone.hears_message(1, b"whole");
    alone.hears_data(1, 0, &vec![0; 30_000]);
    alone.hears(&Frame::Reset {
        channel: 1,
        code: 1,
        reason: "",
    });
    let mut inbox = Inbox::default();
    assert_eq!(
        alone.machine.receive(key, 0, &mut inbox).unwrap(),
        Received::Messages
    );
    assert_eq!(inbox.next().unwrap(), "whole");
    assert!(inbox.next().is_none());
    assert!(alone.machine.receive(key, 37, &mut inbox).is_err());
}

#[test]
fn a_stop_that_crosses_the_finish_is_no_abuse() {
    let mut pair = Pair::introduced(Config::default().abuse_limit(3, 0));
    let channels: Vec<_> = (0..40).map(|_| pair.channel()).collect();
    for &(here, there) in &channels {
        // The answer is complete; the asker is content before it has seen that.
        pair.finish(there);
        pair.ends[HERE].reads = false;
        pair.run_until_quiet();
        pair.drop_receiver(here);
        pair.run_until_quiet();
        pair.ends[HERE].reads = true;
        pair.run_until_quiet();
        pair.assert_running();
    }
    pair.tear_down();
}

#[test]
fn late_frames_for_a_closed_channel_are_forgiven_up_to_what_was_on_its_way() {
    let mut alone = Alone::introduced(Config::default().abuse_limit(2, 0));
    let key = alone.accepted(1);
    alone.machine.reset(key, Code::CANCELLED, "");
    alone.says();
    // The window of 128 KiB, and 8 frames' cost beside it.
    for _ in 0..4 {
        alone.hears_message(1, &vec![0; 32 * 1024 - 32]);
    }
    for _ in 0..8 {
        alone.hears(&Frame::Credit {
            channel: 1,
            bytes: 1,
        });
    }
    alone.assert_running();
    assert_eq!(alone.machine.statistics().stale_frames, 12);
    for _ in 0..2 {
        alone.hears(&Frame::Credit {
            channel: 1,
            bytes: 1,
        });
        alone.assert_running();
    }
    alone.hears(&Frame::Credit {
        channel: 1,
        bytes: 1,
    });
    alone.assert_goodbye(Code::CALM);
}

#[test]
fn a_finish_for_a_closed_channel_is_not_free_for_ever() {
    let mut alone = Alone::introduced(Config::default());
    let key = alone.accepted(1);
    alone.machine.reset(key, Code::CANCELLED, "");
    alone.says();
    for _ in 0..100_000 {
        alone
            .machine
            .handle_frame(&[0, 1, FINISH, 0], None, alone.now);
    }
    alone.assert_goodbye(Code::CALM);
}
