//! The memory that windows and large messages share.

use std::time::Duration;

use super::alone::Alone;
use super::pair::{HERE, Handle, Pair, THERE, message};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::frame::{Frame, LENGTH_PREFIX};
use crate::mux::input::Input;
use crate::mux::machine::inbox::SLICE_FROM;

const LARGE: usize = 300_000;

/// The shared memory is enough for one large message and nothing else.
fn one_at_a_time() -> Config {
    Config::default()
        .window(64 * 1024)
        .max_window(64 * 1024)
        .receive_memory(0)
}

fn distant(config: Config, latency: Duration) -> Pair {
    Pair::with(config.clone(), config).with_latency(latency)
}

fn channels(pair: &mut Pair, count: usize) -> Vec<(Handle, Handle)> {
    (0..count).map(|_| pair.channel()).collect()
}

#[test]
fn many_large_messages_at_once_all_arrive_in_the_order_of_the_line() {
    for latency in [0, 10] {
        let latency = Duration::from_millis(latency);
        let mut pair = distant(one_at_a_time(), latency);
        let channels = channels(&mut pair, 8);
        for &(here, _) in &channels {
            pair.send(here, message(LARGE, 1));
        }
        pair.settle();
        pair.run_until_quiet();
        let mut order = Vec::new();
        for &(_, there) in &channels {
            assert_eq!(pair.lengths(there), [LARGE]);
            order.extend(pair.application(there).receiver.times.iter().copied());
        }
        assert!(order.is_sorted(), "first come, first served");
        pair.tear_down();
    }
}

#[test]
fn a_large_message_that_nobody_reads_holds_up_large_ones_but_no_small_ones() {
    let mut pair = Pair::introduced(one_at_a_time());
    let channels = channels(&mut pair, 3);
    let [
        (unread, unread_there),
        (large, large_there),
        (small, small_there),
    ] = channels[..]
    else {
        unreachable!()
    };
    pair.read_only(unread_there, 0);
    pair.send(unread, message(LARGE, 1));
    pair.run_until_quiet();
    pair.send(large, message(LARGE, 2));
    for seed in 0..100 {
        pair.send(small, message(10_000, seed));
    }
    pair.run_until_quiet();
    assert_eq!(pair.lengths(small_there), [10_000; 100]);
    assert_eq!(pair.lengths(large_there), [0; 0]);
    pair.read_all(unread_there);
    pair.run_until_quiet();
    assert_eq!(pair.lengths(unread_there), [LARGE]);
    assert_eq!(pair.lengths(large_there), [LARGE]);
    pair.tear_down();
}

#[test]
fn a_channel_that_has_read_its_large_message_gives_the_memory_back() {
    let mut pair = Pair::introduced(one_at_a_time());
    let initial = pair.machine(THERE).shared_memory;
    for (here, there) in channels(&mut pair, 8) {
        pair.send(here, message(LARGE, 1));
        pair.run_until_quiet();
        assert_eq!(pair.lengths(there), [LARGE]);
        assert_eq!(pair.machine(THERE).shared_memory, initial);
    }
    pair.tear_down();
}

#[test]
fn an_endless_row_of_large_messages_lets_others_have_their_turn() {
    let mut pair = distant(one_at_a_time(), Duration::from_millis(10));
    let channels = channels(&mut pair, 2);
    let [(endless, endless_there), (other, other_there)] = channels[..] else {
        unreachable!()
    };
    for seed in 0..60 {
        pair.send(endless, message(LARGE, seed));
    }
    pair.advance(Duration::from_millis(50));
    pair.send(other, message(LARGE, 99));
    pair.run_until_quiet();
    assert_eq!(pair.lengths(endless_there), [LARGE; 60]);
    let other_at = pair.application(other_there).receiver.times[0];
    let earlier = pair.application(endless_there).receiver.times.iter();
    let earlier = earlier.filter(|&&at| at < other_at).count();
    assert!(earlier < 10, "{earlier} messages went first");
    pair.tear_down();
}

/// Channel 1 has borrowed for a message in parts; channel 3 waits in the line.
fn one_borrows_and_one_waits() -> (Alone, usize, usize) {
    let mut alone = Alone::introduced(one_at_a_time());
    let first = alone.accepted(1);
    let second = alone.accepted(3);
    alone.hears_data(1, 0, &vec![0; 40_000]);
    alone.hears_data(3, 0, &vec![0; 40_000]);
    alone.says();
    assert_eq!(alone.machine.shared_memory, 0);
    assert_eq!(alone.machine.waiting_for_memory, [second]);
    (alone, first, second)
}

#[test]
fn a_receiver_that_stops_gives_its_memory_to_the_next_in_the_line() {
    let (mut alone, first, second) = one_borrows_and_one_waits();
    alone.machine.stop(first, Code::CANCELLED);
    assert!(alone.machine.waiting_for_memory.is_empty());
    alone.machine.stop(second, Code::CANCELLED);
    assert_eq!(alone.machine.shared_memory, 1024 * 1024);
}

#[test]
fn a_channel_that_was_reset_gives_its_memory_to_the_next_in_the_line() {
    let (mut alone, ..) = one_borrows_and_one_waits();
    alone.hears(&Frame::Reset {
        channel: 1,
        code: 1,
        reason: "",
    });
    assert!(alone.machine.waiting_for_memory.is_empty());
    alone.hears(&Frame::Reset {
        channel: 3,
        code: 1,
        reason: "",
    });
    assert_eq!(alone.machine.shared_memory, 1024 * 1024);
}

#[test]
fn a_channel_whose_message_found_room_while_it_waited_borrows_nothing() {
    let (mut alone, first, _) = one_borrows_and_one_waits();
    alone.hears_message(3, b"the end of it");
    alone.machine.stop(first, Code::CANCELLED);
    assert!(alone.machine.waiting_for_memory.is_empty());
    assert_eq!(alone.machine.shared_memory, 1024 * 1024);
}

#[test]
fn a_channel_that_ends_in_the_line_for_memory_leaves_it() {
    for stops in [true, false] {
        let (mut alone, first, second) = one_borrows_and_one_waits();
        if stops {
            alone.machine.stop(second, Code::CANCELLED);
        } else {
            alone.hears(&Frame::Reset {
                channel: 3,
                code: 1,
                reason: "",
            });
        }
        assert!(alone.machine.waiting_for_memory.is_empty());
        alone.machine.reset(first, Code::CANCELLED, "");
        assert_eq!(alone.machine.shared_memory, 1024 * 1024);
    }
}

#[test]
fn windows_that_grew_leave_enough_for_a_large_message() {
    let config = Config::default()
        .max_channels(16)
        .receive_memory(2 * 16 * 128 * 1024 + 4 * 1024 * 1024);
    let mut pair = distant(config, Duration::from_millis(30));
    let channels = channels(&mut pair, 3);
    for &(here, _) in &channels[..2] {
        for seed in 0..400 {
            pair.send(here, message(60_000, seed));
        }
    }
    pair.run_until_quiet();
    let borrowed = pair.machine(THERE).statistics().receive_borrowed;
    assert!(borrowed >= 2 * 1024 * 1024, "the windows grew: {borrowed}");
    let (here, there) = channels[2];
    pair.send(here, message(LARGE, 1));
    pair.run_until_quiet();
    assert_eq!(pair.lengths(there), [LARGE]);
    pair.tear_down();
}

#[test]
fn what_is_held_stays_within_the_memory_however_much_is_sent() {
    let mut pair = Pair::introduced(one_at_a_time().max_channels(16));
    let channels = channels(&mut pair, 16);
    for &(here, there) in &channels {
        pair.read_only(there, 0);
        for seed in 0..10 {
            pair.send(here, message(LARGE, seed));
            pair.send(here, message(seed, seed));
        }
    }
    pair.run_until_quiet();
    let slots = &pair.ends[THERE].machine.slots;
    let held: u64 = slots
        .iter()
        .map(|(_, slot)| slot.receiving.window.held())
        .sum();
    assert!(held <= 16 * 64 * 1024 + 1024 * 1024, "{held}");
    for &(_, there) in &channels {
        pair.read_all(there);
    }
    pair.run_until_quiet();
    for &(_, there) in &channels {
        assert_eq!(pair.received(there).len(), 20);
    }
    pair.tear_down();
}

#[test]
fn senders_wait_while_the_connection_holds_enough_and_go_on_afterwards() {
    let config = Config::default()
        .send_memory(200_000)
        .channel_send_buffer(100_000);
    let mut pair = Pair::introduced(config);
    let channels = channels(&mut pair, 4);
    pair.ends[THERE].reads = false;
    pair.wires[HERE].capacity = 0;
    for &(here, _) in &channels {
        for seed in 0..10 {
            pair.send(here, message(50_000, seed));
        }
    }
    pair.run_until_quiet();
    let queued = pair.machine(HERE).statistics().send_queued;
    assert!(queued <= 200_000 + 4 * 50_000, "{queued}");
    assert!(pair.machine(HERE).statistics().blocked_by_send_buffer > 0);
    pair.wires[HERE].capacity = usize::MAX;
    pair.ends[THERE].reads = true;
    pair.run_until_quiet();
    for &(_, there) in &channels {
        assert_eq!(pair.lengths(there), [50_000; 10]);
    }
    pair.tear_down();
}

#[test]
fn an_unread_message_keeps_no_more_than_four_times_its_size_alive() {
    let mut input = Input::new();
    let frame = |length: usize| {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        frame.resize(LENGTH_PREFIX + length, 0);
        frame
    };
    // What is read at once beside what is left unread, in one buffer.
    let bytes = [
        frame(65_000),
        frame(SLICE_FROM),
        frame(65_000),
        frame(65_000),
    ]
    .concat();
    let mut kept = 0;
    for _ in 0..20 {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let room = input.room();
            let count = room.len().min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            input.filled(count);
            let frames = input.frames(65_536, |body, backing| {
                if let Some(backing) = backing {
                    kept += 1;
                    assert!(
                        body.len() * 4 >= backing.len(),
                        "{} of {}",
                        body.len(),
                        backing.len()
                    );
                }
            });
            frames.unwrap();
        }
    }
    assert!(kept > 0, "large messages stay where they are");
}
