//! What no peer of ours does: each ends the connection, with a code that says so.

use super::alone::{Alone, HELLO};
use crate::mux::code::Code;
use crate::mux::config::Config;
use crate::mux::error::{ConnectionError, Violation};
use crate::mux::frame::{END_OF_MESSAGE, FINISH, Frame, FrameError, Hello};
use crate::mux::input::Input;
use crate::mux::machine::window::{FLOOR_WINDOW, MAX_WINDOW};

fn introduced() -> Alone {
    Alone::introduced(Config::default())
}

fn with_channel() -> Alone {
    let mut alone = introduced();
    alone.accepted(1);
    alone
}

/// The connection ends for something out of order on the channel.
#[track_caller]
fn assert_out_of_order(mut alone: Alone, number: u32) {
    let violation = alone.violation();
    assert!(
        matches!(violation, Some(Violation::OutOfOrder { channel, .. }) if channel == number),
        "{violation:?}"
    );
    alone.assert_goodbye(Code::PROTOCOL_ERROR);
}

#[test]
fn numbers_must_be_the_peers_own_and_rise() {
    for number in [0, 2, 4] {
        let mut alone = introduced();
        alone.hears_open(number);
        alone.assert_violation(&Violation::ChannelNumber(number));
    }
    for (first, second) in [(5, 5), (5, 3), (5, 1)] {
        let mut alone = introduced();
        alone.hears_open(first);
        alone.assert_running();
        alone.hears_open(second);
        alone.assert_violation(&Violation::ChannelNumber(second));
    }
}

#[test]
fn a_number_is_not_used_again_after_its_channel_is_gone() {
    let mut alone = with_channel();
    alone.hears(&Frame::Reset {
        channel: 1,
        code: 0,
        reason: "",
    });
    alone.hears_open(1);
    alone.assert_violation(&Violation::ChannelNumber(1));
}

#[test]
fn numbers_may_be_left_out_and_may_be_the_last() {
    let mut alone = introduced();
    for number in [1, 7, (1 << 30) - 1] {
        alone.hears_open(number);
    }
    alone.assert_running();
    assert_eq!(alone.machine.slots.len(), 3);
}

#[test]
fn a_frame_for_a_channel_that_was_never_opened() {
    for number in [0, 1, 2, 7, u32::MAX] {
        for frame in [
            Frame::Data {
                channel: number,
                flags: END_OF_MESSAGE,
                payload: b"x",
            },
            Frame::Data {
                channel: number,
                flags: FINISH,
                payload: b"",
            },
            Frame::Accept {
                channel: number,
                window: FLOOR_WINDOW,
            },
            Frame::Credit {
                channel: number,
                bytes: 1,
            },
            Frame::Stop {
                channel: number,
                code: 1,
            },
            Frame::Reset {
                channel: number,
                code: 1,
                reason: "",
            },
        ] {
            let mut alone = introduced();
            alone.hears(&frame);
            assert_eq!(
                alone.violation(),
                Some(Violation::UnknownChannel(number)),
                "{frame:?}"
            );
        }
    }
}

#[test]
fn more_channels_than_were_allowed() {
    let mut alone = Alone::introduced(Config::default().max_channels(16));
    for place in 0..16 {
        alone.hears_open(2 * place + 1);
    }
    alone.assert_running();
    alone.hears_open(33);
    alone.assert_violation(&Violation::TooManyChannels(16));
}

#[test]
fn the_first_frame_must_be_a_hello_of_ours() {
    for frame in [
        Frame::Ping { nonce: 1 },
        Frame::Open {
            channel: 1,
            window: 0,
            priority: 0,
            protocol: "",
        },
        Frame::Hello(Hello {
            magic: *b"nope",
            ..HELLO
        }),
    ] {
        let mut alone = Alone::new(Config::default());
        alone.hears(&frame);
        alone.assert_violation(&Violation::NotSessionwire);
    }
    let mut alone = Alone::new(Config::default());
    alone.hears_body(b"GET / HTTP/1.1");
    alone.assert_violation(&Violation::NotSessionwire);
}

#[test]
fn a_hello_comes_once_and_offers_what_every_peer_must() {
    let mut alone = introduced();
    alone.hears(&Frame::Hello(HELLO));
    alone.assert_violation(&Violation::HelloTwice);

    let mut alone = Alone::new(Config::default());
    alone.hears(&Frame::Hello(Hello {
        max_frame: 16 * 1024 - 1,
        ..HELLO
    }));
    alone.assert_violation(&Violation::HelloLimit("max_frame"));

    let mut alone = Alone::new(Config::default());
    alone.hears(&Frame::Hello(Hello {
        max_channels: 15,
        ..HELLO
    }));
    alone.assert_violation(&Violation::HelloLimit("max_channels"));
}

#[test]
fn a_hello_may_carry_more_than_this_version_knows() {
    let mut alone = Alone::new(Config::default());
    alone.hears(&Frame::Hello(Hello {
        max_version: 9,
        capabilities: u64::MAX,
        tail: &[7; 300],
        ..HELLO
    }));
    alone.assert_running();
}

#[test]
fn ends_without_a_common_version_part_and_say_so() {
    let mut alone = Alone::new(Config::default());
    alone.hears(&Frame::Hello(Hello {
        min_version: 2,
        max_version: 3,
        ..HELLO
    }));
    let outcome = alone.machine.outcome();
    assert!(
        matches!(outcome, Some(ConnectionError::Version { min: 2, max: 3 })),
        "{outcome:?}"
    );
    alone.assert_goodbye(Code::VERSION);
}

#[test]
fn bodies_that_are_no_frames() {
    let cases: [(&[u8], FrameError); 6] = [
        (&[], FrameError::Truncated),
        (&[11], FrameError::UnknownTag(11)),
        (&[6, 1, 0], FrameError::Trailing(1)),
        (&[6, 251, 5, 0], FrameError::Number),
        (&[0, 1, 4, 0], FrameError::UnknownFlags(4)),
        (&[0, 1, 1, 9], FrameError::Truncated),
    ];
    for (body, error) in cases {
        let mut alone = introduced();
        alone.hears_body(body);
        alone.assert_violation(&Violation::Frame(error));
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_by_its_length_alone() {
    let mut input = Input::new();
    input.room()[..4].copy_from_slice(&(65 * 1024 + 1_u32).to_be_bytes());
    input.filled(4);
    let error = input
        .frames(65 * 1024, |_, _| panic!("no frame"))
        .unwrap_err();
    let mut alone = introduced();
    alone.machine.end(error.into());
    alone.assert_goodbye(Code::PROTOCOL_ERROR);
}

#[test]
fn data_beyond_the_credit() {
    let mut alone = introduced();
    alone.hears_open(1);
    alone.hears_message(1, &vec![0; FLOOR_WINDOW as usize - 32]);
    alone.assert_running();
    alone.hears_message(1, b"");
    alone.assert_violation(&Violation::Credit {
        channel: 1,
        cost: 32,
        credit: 0,
    });
}

#[test]
fn a_frame_costs_its_payload_and_32() {
    let mut alone = introduced();
    alone.hears_open(1);
    alone.hears_message(1, &vec![0; FLOOR_WINDOW as usize - 31]);
    let violation = alone.violation();
    assert!(
        matches!(violation, Some(Violation::Credit { .. })),
        "{violation:?}"
    );
}

#[test]
fn credit_beyond_the_largest_window() {
    let mut alone = with_channel();
    let most = MAX_WINDOW - 128 * 1024;
    alone.hears(&Frame::Credit {
        channel: 1,
        bytes: most,
    });
    alone.assert_running();
    alone.hears(&Frame::Credit {
        channel: 1,
        bytes: 1,
    });
    alone.assert_violation(&Violation::CreditOverflow(1));

    let mut alone = with_channel();
    alone.hears(&Frame::Credit {
        channel: 1,
        bytes: u32::MAX,
    });
    alone.assert_violation(&Violation::CreditOverflow(1));

    let mut alone = introduced();
    let window = MAX_WINDOW + 1;
    alone.hears(&Frame::Open {
        channel: 1,
        window,
        priority: 1,
        protocol: "",
    });
    alone.assert_violation(&Violation::CreditOverflow(1));

    let mut alone = introduced();
    let (_, number) = alone.opened();
    alone.hears(&Frame::Accept {
        channel: number,
        window: u32::MAX,
    });
    alone.assert_violation(&Violation::CreditOverflow(number));
}

#[test]
fn data_that_says_nothing() {
    let mut alone = with_channel();
    alone.hears_data(1, 0, b"");
    assert_out_of_order(alone, 1);
}

#[test]
fn data_after_the_finish_and_a_second_finish() {
    for (flags, payload) in [(END_OF_MESSAGE, &b"x"[..]), (FINISH, b""), (0, b"x")] {
        let mut alone = with_channel();
        alone.hears_data(1, END_OF_MESSAGE | FINISH, b"last");
        alone.assert_running();
        alone.hears_data(1, flags, payload);
        assert_out_of_order(alone, 1);
    }
}

#[test]
fn a_finish_inside_a_message() {
    for payload in [&b""[..], b"more"] {
        let mut alone = with_channel();
        alone.hears_data(1, 0, b"part");
        alone.assert_running();
        alone.hears_data(1, FINISH, payload);
        assert_out_of_order(alone, 1);
    }
}

#[test]
fn an_accept_must_answer_an_open() {
    let mut alone = introduced();
    let (_, number) = alone.opened();
    alone.says();
    alone.hears(&Frame::Accept {
        channel: number,
        window: FLOOR_WINDOW,
    });
    alone.assert_running();
    alone.hears(&Frame::Accept {
        channel: number,
        window: FLOOR_WINDOW,
    });
    assert_out_of_order(alone, number);

    let mut alone = with_channel();
    alone.hears(&Frame::Accept {
        channel: 1,
        window: FLOOR_WINDOW,
    });
    assert_out_of_order(alone, 1);

    let mut alone = introduced();
    let (_, number) = alone.opened();
    alone.says();
    alone.hears(&Frame::Accept {
        channel: number,
        window: FLOOR_WINDOW - 1,
    });
    assert_out_of_order(alone, number);
}

#[test]
fn nothing_that_comes_after_a_violation_counts() {
    let mut alone = introduced();
    alone.hears_open(2);
    alone.hears_open(1);
    assert!(alone.machine.slots.is_empty());
    alone.assert_violation(&Violation::ChannelNumber(2));
}
