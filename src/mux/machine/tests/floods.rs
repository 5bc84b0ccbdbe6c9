//! Peers that send what costs them little: what is held for them is bounded, and what is of no use
//! is counted.

use std::time::Duration;

use super::alone::Alone;
use super::pair::{HERE, Pair};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::Violation;
use crate::mux::frame::{END_OF_MESSAGE, Frame};
use crate::mux::machine::window::FLOOR_WINDOW;

fn strict() -> Config {
    Config::default().abuse_limit(10, 0)
}

/// How many of these frames are taken before the connection ends with CALM; none if all were.
fn taken(alone: &mut Alone, mut frame: impl FnMut(u32) -> Frame<'static>) -> Option<u32> {
    for count in 0..5000 {
        alone.hears(&frame(count));
        match alone.violation() {
            None => {}
            Some(Violation::Abuse) => {
                alone.assert_goodbye(Code::CALM);
                return Some(count);
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    None
}

/// Hears the frames until their credit is used up, answers how many that were.
fn until_out_of_credit(alone: &mut Alone, mut frame: impl FnMut() -> Frame<'static>) -> u32 {
    let mut count = 0;
    loop {
        alone.hears(&frame());
        if alone.violation().is_none() {
            alone.says();
        }
        match alone.violation() {
            None => count += 1,
            Some(Violation::Credit { .. }) => return count,
            Some(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn tiny_messages_pay_for_their_headers() {
    for (payload, most) in [(&b""[..], FLOOR_WINDOW / 32), (b"x", FLOOR_WINDOW / 33)] {
        let mut alone = Alone::introduced(strict());
        alone.hears_open(1);
        let count = until_out_of_credit(&mut alone, || Frame::Data {
            channel: 1,
            flags: END_OF_MESSAGE,
            payload,
        });
        assert_eq!(count, most);
    }
}

#[test]
fn tiny_messages_that_nobody_reads_bring_no_new_credit() {
    let mut alone = Alone::introduced(strict());
    let key = alone.accepted(1);
    for count in 1..=10 {
        alone.hears_message(1, b"");
        let held = alone.machine.slots[key].receiving.window.held();
        assert_eq!(held, 32 * count);
    }
    let count = until_out_of_credit(&mut alone, || Frame::Data {
        channel: 1,
        flags: END_OF_MESSAGE,
        payload: b"",
    });
    assert_eq!(count, 128 * 1024 / 32 - 10);
}

#[test]
fn tiny_fragments_are_one_message_and_no_queue() {
    let mut alone = Alone::introduced(strict());
    let key = alone.accepted(1);
    // Half of the window's fragments are given back at once but for their payload.
    for _ in 0..100_000 {
        alone
            .machine
            .handle_frame(&[0, 1, 0, 1, b'x'], None, alone.now);
        alone.says();
    }
    alone.assert_running();
    assert_eq!(alone.machine.slots[key].receiving.window.held(), 100_000);
}

#[test]
fn pings_are_answered_by_one_pong_and_counted() {
    let mut alone = Alone::introduced(strict());
    for nonce in 0..11 {
        alone.hears(&Frame::Ping { nonce });
    }
    assert_eq!(alone.says(), ["Pong { nonce: 10 }"]);
    alone.hears(&Frame::Ping { nonce: 11 });
    alone.assert_running();
    alone.hears(&Frame::Ping { nonce: 12 });
    alone.assert_goodbye(Code::CALM);
}

#[test]
fn pongs_that_nobody_asked_for_are_counted() {
    for nonce in [0, 2, 77] {
        let mut alone = Alone::introduced(strict());
        assert_eq!(taken(&mut alone, |_| Frame::Pong { nonce }), Some(10));
    }
}

#[test]
fn credit_of_nothing_is_counted() {
    let mut alone = Alone::introduced(strict());
    alone.accepted(1);
    assert_eq!(
        taken(&mut alone, |_| Frame::Credit {
            channel: 1,
            bytes: 0
        }),
        Some(10)
    );
}

#[test]
fn a_stop_again_and_again_is_counted() {
    let mut alone = Alone::introduced(strict());
    alone.accepted(1);
    let count = taken(&mut alone, |_| Frame::Stop {
        channel: 1,
        code: 1,
    });
    assert!(matches!(count, Some(10..=12)), "{count:?}");
}

#[test]
fn an_allow_of_nothing_new_is_counted() {
    let mut alone = Alone::introduced(strict());
    assert_eq!(
        taken(&mut alone, |_| Frame::Allow { channels: 128 }),
        Some(10)
    );
}

#[test]
fn goaway_again_and_again_is_counted() {
    let mut alone = Alone::introduced(strict());
    alone.accepted(1);
    let go_away = |_| Frame::GoAway {
        last_channel: 0,
        code: 0,
        reason: "",
    };
    assert_eq!(taken(&mut alone, go_away), Some(11));
}

#[test]
fn opens_that_are_reset_before_anyone_looks_are_counted() {
    let mut alone = Alone::introduced(strict());
    let count = taken(&mut alone, |count| {
        let channel = count / 2 * 2 + 1;
        if count % 2 == 0 {
            Frame::Open {
                channel,
                window: FLOOR_WINDOW,
                priority: 0,
                protocol: "test/1",
            }
        } else {
            Frame::Reset {
                channel,
                code: 0,
                reason: "",
            }
        }
    });
    assert_eq!(count, Some(21));
    assert!(alone.machine.slots.len() <= 1, "only the last one is there");
}

#[test]
fn opens_beyond_the_backlog_are_counted_and_keep_no_more_slots_than_allowed() {
    let mut alone = Alone::introduced(strict().accept_backlog(4));
    let count = taken(&mut alone, |count| Frame::Open {
        channel: 2 * count + 1,
        window: FLOOR_WINDOW,
        priority: 0,
        protocol: "test/1",
    });
    assert_eq!(count, Some(14));
    assert!(alone.machine.slots.len() <= 15);
}

#[test]
fn the_allowance_comes_back_with_time() {
    let mut alone = Alone::introduced(Config::default().abuse_limit(10, 2));
    for _ in 0..10 {
        alone.hears(&Frame::Pong { nonce: 5 });
    }
    for _ in 0..100 {
        alone.now += Duration::from_millis(500);
        alone.hears(&Frame::Pong { nonce: 5 });
    }
    alone.assert_running();
    alone.hears(&Frame::Pong { nonce: 5 });
    alone.assert_goodbye(Code::CALM);
}

#[test]
fn a_peer_that_never_reads_makes_nothing_grow() {
    let mut alone = Alone::introduced(Config::default().abuse_limit(u32::MAX, 0));
    let keys: Vec<_> = (0..64).map(|place| alone.accepted(2 * place + 1)).collect();
    for round in 0..1000 {
        let channel = 2 * (round % 64) + 1;
        alone.hears(&Frame::Ping {
            nonce: round.into(),
        });
        alone.hears(&Frame::Credit { channel, bytes: 1 });
        alone.hears(&Frame::Stop { channel, code: 1 });
        alone.hears_message(channel, b"x");
    }
    for key in keys {
        alone.machine.reset(key, Code::CANCELLED, &"r".repeat(500));
    }
    // One pong, one FINISH or Reset for each channel, and the ping of the beginning.
    let bytes = alone.batch();
    assert!(bytes <= 64 * 160 + 100, "{bytes}");
}

#[test]
fn honest_pings_are_no_abuse() {
    let mut pair = Pair::introduced(Config::default());
    for answered in 0..1000 {
        let number = pair.machine(HERE).ping().unwrap();
        pair.run_until_quiet();
        assert!(
            pair.machine(HERE).pings_answered() >= number,
            "ping {answered}"
        );
    }
    pair.assert_running();
    pair.tear_down();
}
