use super::alone::Alone;
use super::pair::{HERE, Pair, THERE, message};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::ChannelError;
use crate::mux::frame::{Frame, LENGTH_PREFIX, MAX_DATA_HEADER};

/// A size, and those just below and above it.
fn around(size: usize) -> [usize; 3] {
    [size - 1, size, size + 1]
}

#[test]
fn messages_of_every_size_class_arrive_whole_and_in_order() {
    let config = Config::default();
    let payload = config.max_frame_size as usize - (MAX_DATA_HEADER - LENGTH_PREFIX);
    let window = config.window as usize;
    let sizes: Vec<usize> = [0, 1]
        .into_iter()
        .chain(around(250))
        .chain(around(4096))
        .chain(around(16 * 1024))
        .chain(around(payload))
        .chain(around(2 * payload))
        .chain(around(window - 32))
        .chain(around(window))
        .chain([1024 * 1024 - 1, 1024 * 1024, 0])
        .collect();
    for pieces in [&[usize::MAX][..], &[1, 7, 4096], &[65_536, 3]] {
        let mut pair = Pair::introduced(config.clone()).with_pieces(pieces);
        let (here, there) = pair.channel();
        let messages: Vec<_> = sizes.iter().map(|&size| message(size, size)).collect();
        for message in &messages {
            pair.send(here, message.clone());
        }
        pair.finish(here);
        pair.run_until_quiet();
        assert_eq!(pair.lengths(there), sizes);
        assert_eq!(pair.received(there), messages);
        assert!(pair.finished(there));
        pair.tear_down();
    }
}

#[test]
fn each_size_also_goes_alone() {
    for size in [0, 1, 4096, 4097, 65_536, 131_072, 131_073, 1024 * 1024] {
        let mut pair = Pair::introduced(Config::default());
        let (here, there) = pair.channel();
        pair.send(there, message(size, 1));
        pair.run_until_quiet();
        assert_eq!(pair.lengths(here), [size]);
        pair.tear_down();
    }
}

#[test]
fn a_message_too_large_resets_its_channel_and_nothing_else() {
    let there = Config::default().max_message_size(100_000);
    let mut pair = Pair::with(Config::default(), there);
    pair.run_until_quiet();
    assert_eq!(pair.machine(HERE).max_message(), 100_000);
    // A peer that does not care for what it was told.
    pair.machine(HERE).peer.max_message = u32::MAX;
    let (bad, bad_there) = pair.channel();
    let (good, good_there) = pair.channel();
    pair.send(bad, message(100_000, 1));
    pair.send(bad, message(100_001, 2));
    pair.send(good, "before");
    pair.run_until_quiet();
    assert_eq!(
        pair.lengths(bad_there),
        [100_000],
        "the limit itself passes"
    );
    let told = pair.read_end(bad);
    assert!(
        matches!(
            &told,
            Some(Err(ChannelError::ResetByPeer {
                code: Code::TOO_LARGE,
                ..
            }))
        ),
        "{told:?}"
    );
    let known = pair.read_end(bad_there);
    assert!(
        matches!(
            &known,
            Some(Err(ChannelError::ResetHere {
                code: Code::TOO_LARGE,
                ..
            }))
        ),
        "{known:?}"
    );
    pair.send(good, "after");
    pair.run_until_quiet();
    assert_eq!(pair.received(good_there), ["before", "after"]);
    pair.assert_running();
    pair.tear_down();
}

#[test]
fn the_first_messages_of_a_channel_may_be_limited_and_later_ones_are_not() {
    for (length, comes) in [(4096, true), (4097, false)] {
        let mut pair = Pair::introduced(Config::default());
        let (here, there) = pair.channel();
        pair.send(here, message(10, 1));
        pair.run_until_quiet();
        pair.machine_and_key(there, |machine, key| machine.limit_first(key, 2, 4096));
        pair.send(here, message(length, 2));
        pair.send(here, message(100_000, 3));
        pair.run_until_quiet();
        let all = [10, 4096, 100_000];
        assert_eq!(pair.lengths(there), all[..if comes { 3 } else { 1 }]);
        pair.assert_running();
        pair.tear_down();
    }
}

#[test]
fn of_a_first_message_no_more_is_kept_than_it_may_have() {
    for is_limited_late in [false, true] {
        let mut alone = Alone::introduced(Config::default());
        let key = alone.accepted(1);
        if !is_limited_late {
            alone.machine.limit_first(key, 1, 4096);
        }
        alone.hears_data(1, 0, &[0; 4096]);
        alone.machine.limit_first(key, 1, 4096);
        assert_eq!(alone.says(), [""; 0], "it may end here");
        assert_eq!(alone.machine.slots[key].receiving.parts.len(), 4096);
        if is_limited_late {
            alone.machine.limit_first(key, 1, 4095);
        } else {
            alone.hears_data(1, 0, &[0]);
        }
        let said = alone.says();
        assert!(said.iter().any(|frame| frame.contains("Reset")), "{said:?}");
        assert_eq!(alone.machine.slots[key].receiving.parts.len(), 0);
    }
}

#[test]
fn a_large_message_goes_through_the_smallest_window() {
    for latency in [0, 30] {
        let config = Config::default().window(64 * 1024).max_window(64 * 1024);
        let mut pair =
            Pair::introduced(config).with_latency(std::time::Duration::from_millis(latency));
        let (here, there) = pair.channel();
        pair.send(here, message(1024 * 1024, 9));
        pair.run_until_quiet();
        assert_eq!(pair.received(there), [message(1024 * 1024, 9)]);
        pair.tear_down();
    }
}

#[test]
fn a_large_message_sent_before_its_channel_is_accepted_arrives_once_it_is() {
    let config = Config::default().window(64 * 1024).max_window(64 * 1024);
    let mut pair = Pair::introduced(config);
    let here = pair.open(HERE);
    pair.send(here, message(1024 * 1024, 3));
    pair.run_until_quiet();
    let there = pair.accept(THERE);
    pair.run_until_quiet();
    assert_eq!(pair.lengths(there), [1024 * 1024]);
    pair.tear_down();
}

#[test]
fn a_bounded_wire_loses_nothing() {
    for capacity in [7, 100, 10_240] {
        let mut pair = Pair::introduced(Config::default()).with_capacity(capacity);
        let (here, there) = pair.channel();
        for seed in 0..20 {
            pair.send(here, message(seed * 500, seed));
            pair.send(there, message(seed * 400, seed));
        }
        pair.run_until_quiet();
        for seed in 0..20 {
            assert_eq!(pair.received(there)[seed], message(seed * 500, seed));
            assert_eq!(pair.received(here)[seed], message(seed * 400, seed));
        }
        pair.tear_down();
    }
}

#[test]
fn small_messages_use_the_credit_to_the_last_that_fits() {
    for size in [0, 100, 250, 251, 1000, 4096] {
        let mut pair = Pair::introduced(Config::default());
        let (here, there) = pair.channel();
        pair.read_only(there, 0);
        let fit = 128 * 1024 / (size + 32);
        for seed in 0..fit + 10 {
            pair.send(here, message(size, seed));
        }
        pair.run_until_quiet();
        let arrived = pair.machine(THERE).statistics().messages_received;
        assert_eq!(arrived, fit as u64, "of {size} bytes");
        pair.read_all(there);
        pair.run_until_quiet();
        assert_eq!(pair.received(there).len(), fit + 10);
        pair.tear_down();
    }
}

#[test]
fn a_part_of_a_message_waits_until_it_is_worth_its_frame() {
    let mut alone = Alone::introduced(Config::default());
    alone.hears_open(1);
    let (key, _) = alone.machine.take_incoming().unwrap();
    alone.machine.accept(key);
    alone.machine.send(key, &mut message(200_000, 1)).unwrap();
    alone.says();
    let sending = &alone.machine.slots[key].sending;
    let (left, credit) = (sending.queue.bytes(), sending.credit.left());
    alone.hears(&Frame::Credit {
        channel: 1,
        bytes: 4127 - u32::try_from(credit).unwrap(),
    });
    assert_eq!(alone.says(), Vec::<String>::new());
    alone.hears(&Frame::Credit {
        channel: 1,
        bytes: 1,
    });
    assert_eq!(alone.says().len(), 1);
    assert_eq!(alone.machine.slots[key].sending.queue.bytes(), left - 4096);
    alone.hears(&Frame::Credit {
        channel: 1,
        bytes: 100_000,
    });
    alone.says();
    assert_eq!(alone.machine.send_queued, 0);
}
