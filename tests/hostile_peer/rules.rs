//! Every rule that a peer can break has its name and its code.

use sessionwire::mux::{FrameError, Violation};
use sessionwire::{Code, Config, ConnectionError};

use super::outcome;
use super::support::KIB;
use super::support::stage::Stage;
use super::support::wire::{self, Body, END, FINISH, Hello, data, hello};

/// A name for what is broken, the frames that break it, and what it must be called.
type Case = (&'static str, Vec<Vec<u8>>, fn(&Violation) -> bool);

/// A channel that the peer may open.
const OPENED: u32 = 1;

/// Each case ends its connection, and the peer is told `code` and what it broke.
#[track_caller]
fn break_with(code: Code, cases: Vec<Case>) {
    for (what, frames, is_expected) in cases {
        let (violation, told) = answered(&[vec![hello()], frames].concat());
        assert!(is_expected(&violation), "{what}: {violation:?}");
        assert_eq!(told, code.number(), "{what}: {violation}");
    }
}

/// What a peer that says `frames` has broken, and the code that it is told.
fn answered(frames: &[Vec<u8>]) -> (Violation, u32) {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default().max_channels(16));
    peer.say(&frames.concat());
    let ConnectionError::PeerMisbehaved(violation) = outcome(&connection) else {
        panic!("{:?} is the peer's fault", outcome(&connection));
    };
    let (code, reason) = peer.goodbye().expect("a goodbye");
    assert_eq!(
        reason,
        violation.to_string(),
        "the peer is told what it broke"
    );
    (violation, code)
}

fn opened(frame: Vec<u8>) -> Vec<Vec<u8>> {
    vec![wire::open(OPENED), frame]
}

fn is_out_of_order(violation: &Violation) -> bool {
    matches!(
        violation,
        Violation::OutOfOrder {
            channel: OPENED,
            ..
        }
    )
}

fn is_unknown(violation: &Violation) -> bool {
    matches!(violation, Violation::UnknownChannel(_))
}

fn is_wrong_number(violation: &Violation) -> bool {
    matches!(violation, Violation::ChannelNumber(_))
}

#[test]
fn a_hello_offers_at_least_what_all_must() {
    for (max_frame, max_channels, what) in [
        (16 * KIB as u32 - 1, 128, "max_frame"),
        (65 * KIB as u32, 15, "max_channels"),
    ] {
        let hello = Hello {
            max_frame,
            max_channels,
            ..Hello::default()
        };
        let (violation, code) = answered(&[hello.frame()]);
        assert_eq!(violation, Violation::HelloLimit(what));
        assert_eq!(code, Code::PROTOCOL_ERROR.number());
    }
}

#[test]
fn frames_that_cannot_be_read() {
    break_with(
        Code::PROTOCOL_ERROR,
        vec![
            (
                "a frame too large",
                vec![(65 * KIB as u32 + 1).to_be_bytes().to_vec()],
                |it| {
                    matches!(
                        it,
                        Violation::FrameTooLarge {
                            length: 66_561,
                            max: 66_560
                        }
                    )
                },
            ),
            ("an empty body", vec![vec![0; 4]], |it| {
                matches!(it, Violation::Frame(_))
            }),
            (
                "a body cut inside a field",
                vec![
                    Body::new(0)
                        .number(OPENED.into())
                        .byte(END)
                        .number(9)
                        .raw(b"short")
                        .frame(),
                ],
                |it| *it == Violation::Frame(FrameError::Truncated),
            ),
            (
                "bytes after the last field",
                vec![Body::new(6).number(1).raw(b"xy").frame()],
                |it| *it == Violation::Frame(FrameError::Trailing(2)),
            ),
            (
                "a number in too many bytes",
                vec![Body::new(6).raw(&[251, 5, 0]).frame()],
                |it| *it == Violation::Frame(FrameError::Number),
            ),
            (
                "a channel number beyond 32 bits",
                vec![Body::new(3).number(1 << 33).number(1).frame()],
                |it| *it == Violation::Frame(FrameError::Number),
            ),
            ("a tag of no frame", vec![Body::new(11).frame()], |it| {
                *it == Violation::Frame(FrameError::UnknownTag(11))
            }),
            (
                "a name too long",
                vec![wire::open_with(1, 64 * KIB as u32, &[b'x'; 256])],
                |it| {
                    matches!(
                        it,
                        Violation::Frame(FrameError::TextTooLong {
                            length: 256,
                            max: 255
                        })
                    )
                },
            ),
            (
                "a name of no text",
                vec![wire::open_with(1, 64 * KIB as u32, &[0xff, 0xfe])],
                |it| *it == Violation::Frame(FrameError::NotUtf8),
            ),
            ("unknown flags", opened(data(OPENED, 4, b"x")), |it| {
                *it == Violation::Frame(FrameError::UnknownFlags(4))
            }),
        ],
    );
}

#[test]
fn credit_is_kept_to() {
    break_with(
        Code::FLOW_CONTROL,
        vec![
            (
                "more data than credit",
                opened(data(OPENED, 0, &vec![0; 60 * KIB]).repeat(2)),
                |it| {
                    matches!(
                        it,
                        Violation::Credit {
                            channel: OPENED,
                            ..
                        }
                    )
                },
            ),
            (
                "more credit than fits",
                opened(wire::credit(OPENED, 1 << 30)),
                |it| *it == Violation::CreditOverflow(OPENED),
            ),
            (
                "a first window that does not fit",
                vec![wire::open_with(1, (1 << 30) + 1, b"test/1")],
                |it| *it == Violation::CreditOverflow(1),
            ),
        ],
    );
}

#[test]
fn channels_have_their_numbers() {
    break_with(
        Code::PROTOCOL_ERROR,
        vec![
            (
                "a channel of the wrong side",
                vec![wire::open(2)],
                is_wrong_number,
            ),
            ("the channel 0", vec![wire::open(0)], is_wrong_number),
            (
                "a channel opened twice",
                vec![wire::open(OPENED), wire::open(OPENED)],
                is_wrong_number,
            ),
            (
                "a channel lower than the last",
                vec![wire::open(5), wire::open(3)],
                is_wrong_number,
            ),
            (
                "more channels than allowed",
                (0..17).map(|count| wire::open(1 + 2 * count)).collect(),
                |it| *it == Violation::TooManyChannels(16),
            ),
            (
                "data on a channel never opened",
                vec![data(1, END, b"x")],
                is_unknown,
            ),
            ("data on channel 0", vec![data(0, END, b"x")], is_unknown),
            (
                "credit for a channel never opened",
                vec![wire::credit(2, 1)],
                is_unknown,
            ),
            ("a stop for channel 0", vec![wire::stop(0)], is_unknown),
            (
                "a reset of a channel never opened",
                vec![wire::reset(7)],
                is_unknown,
            ),
            (
                "an accept of a channel never opened",
                vec![wire::accept(4, 1 << 17)],
                is_unknown,
            ),
        ],
    );
}

#[test]
fn frames_have_their_order() {
    break_with(
        Code::PROTOCOL_ERROR,
        vec![
            ("a second hello", vec![hello()], |it| {
                *it == Violation::HelloTwice
            }),
            (
                "an accept of its own channel",
                opened(wire::accept(OPENED, 1 << 17)),
                is_out_of_order,
            ),
            (
                "data that says nothing",
                opened(data(OPENED, 0, b"")),
                is_out_of_order,
            ),
            (
                "data after the last",
                vec![
                    wire::open(OPENED),
                    data(OPENED, FINISH, b""),
                    data(OPENED, END, b"x"),
                ],
                is_out_of_order,
            ),
            (
                "a second finish",
                vec![wire::open(OPENED), data(OPENED, FINISH, b"").repeat(2)],
                is_out_of_order,
            ),
            (
                "a finish inside a message",
                vec![
                    wire::open(OPENED),
                    data(OPENED, 0, b"half"),
                    data(OPENED, FINISH, b""),
                ],
                is_out_of_order,
            ),
        ],
    );
}

#[test]
fn an_accept_must_be_waited_for_and_wide_enough() {
    for (accepts, what) in [
        (
            vec![wire::accept(2, 1 << 16), wire::accept(2, 1 << 16)],
            "not waiting",
        ),
        (vec![wire::accept(2, 1000)], "below the least"),
    ] {
        let stage = Stage::default();
        let (connection, mut peer) = stage.faced(&Config::default());
        peer.say(&hello());
        let _channel = stage.run(connection.open_raw("test/1")).expect("a channel");
        peer.say(&accepts.concat());
        let (code, reason) = peer.goodbye().expect("a goodbye");
        assert_eq!(code, Code::PROTOCOL_ERROR.number());
        assert!(reason.contains(what), "{reason}");
    }
}
