//! Windows that fit the link and the reader.

use std::time::Duration;

use super::pair::{HERE, Handle, Pair, THERE, message};
use crate::mux::config::Config;

const LATENCY: Duration = Duration::from_millis(30);
const ROUND_TRIP: Duration = Duration::from_millis(60);
const MIB: usize = 1024 * 1024;

fn distant(config: Config) -> Pair {
    let mut pair = Pair::with(config.clone(), config).with_latency(LATENCY);
    pair.run_until_quiet();
    pair
}

fn window(pair: &Pair, handle: Handle) -> usize {
    let end = &pair.ends[handle.end];
    let key = end.applications[handle.index].key;
    end.machine.slots[key].receiving.window.size() as usize
}

fn send_bulk(pair: &mut Pair, handle: Handle, bytes: usize) {
    for seed in 0..bytes / 50_000 {
        pair.send(handle, message(50_000, seed));
    }
}

#[test]
fn a_window_covers_any_link_within_six_round_trips() {
    let mut pair = distant(Config::default());
    let (here, there) = pair.channel();
    send_bulk(&mut pair, here, 100 * MIB);
    pair.advance(6 * ROUND_TRIP);
    assert_eq!(window(&pair, there), 16 * MIB);
    let before: usize = pair.lengths(there).iter().sum();
    pair.advance(2 * ROUND_TRIP);
    let after: usize = pair.lengths(there).iter().sum();
    assert!(
        after - before >= 24 * MIB,
        "{} in two round trips",
        after - before
    );
    pair.tear_down();
}

#[test]
fn a_window_grows_no_further_than_the_shared_memory() {
    let config = Config::default()
        .max_channels(16)
        .max_message_size(100_000)
        .receive_memory(32 * 128 * 1024 + MIB);
    let mut pair = distant(config);
    let channels = [pair.channel(), pair.channel()];
    for (here, _) in channels {
        send_bulk(&mut pair, here, 20 * MIB);
    }
    pair.advance(20 * ROUND_TRIP);
    let [one, other] = channels.map(|(_, there)| window(&pair, there));
    let borrowed = one + other - 2 * 128 * 1024;
    assert!(
        borrowed > MIB / 2 && borrowed <= MIB - 100_000,
        "{borrowed}"
    );
    assert_eq!(pair.machine(THERE).statistics().receive_borrowed, borrowed);
    pair.tear_down();
}

#[test]
fn a_window_does_not_grow_for_a_reader_that_is_slower_than_the_link() {
    let mut pair = distant(Config::default());
    let (here, there) = pair.channel();
    pair.read_only(there, 0);
    send_bulk(&mut pair, here, 5 * MIB);
    for _ in 0..20 {
        pair.read_only(there, 1);
        pair.advance(4 * ROUND_TRIP);
    }
    assert_eq!(window(&pair, there), 128 * 1024);
    pair.tear_down();
}

#[test]
fn a_window_shrinks_to_its_first_size_for_a_slow_reader_and_gives_memory_back() {
    let config = Config::default();
    let shared = config.shared_receive_memory();
    let mut pair = distant(config);
    let (here, there) = pair.channel();
    send_bulk(&mut pair, here, 20 * MIB);
    pair.advance(10 * ROUND_TRIP);
    assert!(window(&pair, there) > 4 * MIB);
    pair.run_until_quiet();
    for _ in 0..10 {
        let half = window(&pair, there) / 2;
        send_bulk(&mut pair, here, half + 60_000);
        pair.advance(Duration::from_secs(31));
    }
    assert_eq!(window(&pair, there), 128 * 1024);
    assert_eq!(pair.machine(THERE).shared_memory, shared);
    pair.tear_down();
}

/// On a link so short that rate times round trip asks for nothing.
#[test]
fn a_window_that_holds_few_messages_grows_for_a_reader_that_waits_for_each() {
    let mut pair = Pair::with(Config::default(), Config::default());
    pair.run_until_quiet();
    let (here, there) = pair.channel();
    for seed in 0..20 {
        pair.send(here, message(50_000, seed));
        pair.run_until_quiet();
    }
    assert_eq!(window(&pair, there), 4 * 128 * 1024);
    pair.tear_down();
}

#[test]
fn starved_windows_borrow_only_so_much_together() {
    let mut pair = Pair::with(Config::default(), Config::default());
    pair.run_until_quiet();
    let channels: Vec<_> = (0..16).map(|_| pair.channel()).collect();
    for seed in 0..20 {
        for (here, _) in &channels {
            pair.send(*here, message(50_000, seed));
        }
        pair.run_until_quiet();
    }
    let borrowed = pair.machine(THERE).statistics().receive_borrowed;
    let (least, most) = (16 * 128 * 1024, 20 * 128 * 1024);
    assert!((least..most).contains(&borrowed), "{borrowed}");
    pair.tear_down();
}

#[test]
fn a_window_of_fixed_size_stays_so() {
    let mut pair = distant(Config::default().window(256 * 1024).max_window(256 * 1024));
    let (here, there) = pair.channel();
    send_bulk(&mut pair, here, 10 * MIB);
    pair.run_until_quiet();
    assert_eq!(window(&pair, there), 256 * 1024);
    assert_eq!(pair.lengths(there).len(), 10 * MIB / 50_000);
    assert!(pair.machine(HERE).statistics().send_queued == 0);
    pair.tear_down();
}
