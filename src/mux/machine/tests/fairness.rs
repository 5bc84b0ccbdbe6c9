//! Whose data goes first, and that nobody waits for ever.

use std::collections::HashMap;

use super::alone::Alone;
use super::pair::{HERE, Pair, message};
use super::wire::{each_frame, flatten};
use crate::mux::config::Config;
use crate::mux::frame::Frame;
use crate::mux::machine::Room;
use crate::mux::machine::transmit::Transmit;
use crate::mux::machine::window::{FLOOR_WINDOW, MAX_WINDOW};
use crate::mux::priority::Priority;

/// A machine with channels that have all the credit there is.
struct Sender {
    alone: Alone,
    /// Each with the size of the messages that it always has more of.
    channels: Vec<(usize, u32, usize)>,
}

impl Sender {
    fn new() -> Self {
        let config = Config::default().send_memory(1 << 30);
        Self {
            alone: Alone::introduced(config),
            channels: Vec::new(),
        }
    }

    fn endless(&mut self, priority: Priority, size: usize) -> u32 {
        let (key, number) = self.quiet(priority);
        self.channels.push((key, number, size));
        number
    }

    fn quiet(&mut self, priority: Priority) -> (usize, u32) {
        let key = self
            .alone
            .machine
            .open("test/1", priority)
            .unwrap()
            .unwrap();
        let number = self.alone.machine.slots[key].number;
        self.alone.says();
        let window = FLOOR_WINDOW + MAX_WINDOW - FLOOR_WINDOW;
        self.alone.hears(&Frame::Accept {
            channel: number,
            window,
        });
        (key, number)
    }

    /// Sends one batch, answers the channels of its frames with their payloads' sizes.
    fn batch(&mut self) -> Vec<(u32, usize)> {
        let machine = &mut self.alone.machine;
        for &(key, _, size) in &self.channels {
            while machine.send(key, &mut message(size, 0)).unwrap() != Room::Full {}
        }
        let mut out = Transmit::default();
        machine.poll_transmit(self.alone.now, &mut out);
        let mut sent = Vec::new();
        each_frame(&flatten(&out), |frame| {
            if let Frame::Data {
                channel, payload, ..
            } = *frame
            {
                sent.push((channel, payload.len()));
            }
        });
        sent
    }

    /// The bytes that each channel sent in so many batches.
    fn batches(&mut self, count: usize) -> HashMap<u32, usize> {
        let mut sent = HashMap::new();
        for _ in 0..count {
            for (channel, bytes) in self.batch() {
                *sent.entry(channel).or_default() += bytes;
            }
        }
        sent
    }
}

/// Within a tenth, `one` is so many times `other`.
#[track_caller]
fn assert_ratio(one: usize, other: usize, times: usize) {
    let (least, most) = (other * times * 9 / 10, other * times * 11 / 10);
    assert!((least..most).contains(&one), "{one} to {other}");
}

#[test]
fn busy_channels_share_by_bytes_whatever_the_size_of_their_messages() {
    let mut sender = Sender::new();
    let large = sender.endless(Priority::Normal, 1_000_000);
    let middle = sender.endless(Priority::Normal, 5000);
    let small = sender.endless(Priority::Normal, 500);
    let sent = sender.batches(100);
    assert_ratio(sent[&large], sent[&middle], 1);
    assert_ratio(sent[&middle], sent[&small], 1);
}

#[test]
fn priorities_share_sixteen_to_four_to_one() {
    let mut sender = Sender::new();
    let [high, normal, bulk] = [Priority::High, Priority::Normal, Priority::Bulk]
        .map(|priority| sender.endless(priority, 20_000));
    let sent = sender.batches(200);
    assert_ratio(sent[&high], sent[&normal], 4);
    assert_ratio(sent[&normal], sent[&bulk], 4);
}

#[test]
fn a_channel_that_was_alone_does_not_pay_for_it_when_another_comes() {
    let mut sender = Sender::new();
    let (key, second) = sender.quiet(Priority::Normal);
    let first = sender.endless(Priority::Normal, 60_000);
    assert!(sender.batches(100)[&first] > 10_000_000);
    sender.channels.push((key, second, 60_000));
    let sent = sender.batches(20);
    assert_ratio(sent.get(&first).copied().unwrap_or(0), sent[&second], 1);
}

#[test]
fn a_small_message_of_a_quiet_channel_goes_before_bulk() {
    let mut sender = Sender::new();
    for _ in 0..20 {
        sender.endless(Priority::Normal, 60_000);
    }
    let (key, number) = sender.quiet(Priority::Normal);
    sender.batches(10);
    let machine = &mut sender.alone.machine;
    machine.send(key, &mut "quick".into()).unwrap();
    assert_eq!(sender.batch()[0], (number, 5));
}

#[test]
fn a_channel_that_is_quiet_after_each_message_does_not_starve_the_others() {
    let mut sender = Sender::new();
    let bulk = sender.endless(Priority::Bulk, 60_000);
    let (key, _) = sender.quiet(Priority::High);
    let mut bytes = 0;
    for _ in 0..50 {
        let machine = &mut sender.alone.machine;
        machine.send(key, &mut message(60_000, 1)).unwrap();
        bytes += sender.batches(1).get(&bulk).copied().unwrap_or(0);
    }
    assert!(bytes >= 50 * 1000, "{bytes}");
}

#[test]
fn one_unread_channel_beside_a_hundred_active_ones_holds_up_none() {
    let mut pair = Pair::introduced(Config::default());
    let (unread, unread_there) = pair.channel();
    pair.read_only(unread_there, 0);
    let channels: Vec<_> = (0..100).map(|_| pair.channel()).collect();
    for seed in 0..60 {
        pair.send(unread, message(10_000, seed));
    }
    for &(here, _) in &channels {
        for seed in 0..30 {
            pair.send(here, message(10_000, seed));
        }
    }
    pair.run_until_quiet();
    for &(_, there) in &channels {
        assert_eq!(pair.lengths(there), [10_000; 30]);
    }
    assert!(pair.machine(HERE).statistics().send_queued > 0);
    pair.read_all(unread_there);
    pair.run_until_quiet();
    assert_eq!(pair.lengths(unread_there), [10_000; 60]);
    pair.tear_down();
}
