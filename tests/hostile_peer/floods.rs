//! Peers that send a million of something.

use std::time::Duration;

use allocation_counter::measure;
use futures::FutureExt;
use sessionwire::transport::pipe;
use sessionwire::{ChannelError, Code, Config, Connection, ConnectionError, Role};

use super::ended;
use super::support::stage::{Peer, Stage};
use super::support::wire::{self, END, FINISH, Heard, data, hello};
use super::support::{KIB, MIB};

const MILLION: usize = 1_000_000;

/// The pipe's own buffers of 64 KiB each way, doubled while they grow, and the connection's.
pub(crate) const LITTLE: usize = 512 * KIB;

/// A connection under a flood: what it costs at most, how it ended, what the peer was told.
fn flood(frame: &[u8], times: usize, prepare: impl FnOnce(&Connection, &mut Peer)) -> Flooded {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    peer.say(&hello());
    prepare(&connection, &mut peer);
    // Many at once, as a flood comes, and built before anything is counted.
    let many = frame.repeat(1000);
    let taken = measure(|| {
        for _ in 0..times / 1000 {
            peer.say(&many);
        }
    });
    Flooded {
        peak: taken.bytes_max as usize,
        goodbye: peer.goodbye(),
        violation: ended(&connection),
    }
}

#[derive(Debug)]
struct Flooded {
    peak: usize,
    goodbye: Option<(u32, String)>,
    violation: Option<ConnectionError>,
}

impl Flooded {
    /// Ended with `code`, at no more than `most` bytes.
    #[track_caller]
    fn is_ended_by(&self, code: Code, most: usize) {
        let told = self.goodbye.as_ref().map(|(code, _)| *code);
        assert_eq!(told, Some(code.number()), "{self:?}");
        assert!(self.violation.is_some(), "{self:?}");
        assert!(self.peak <= most, "{self:?}");
    }
}

#[test]
fn floods_without_use_are_ended_by_calm() {
    let opened = |connection: &Connection, peer: &mut Peer| {
        peer.say(&wire::open(1));
        // Held by the application as long as the connection lives.
        let incoming = connection.accept().now_or_never().expect("a channel");
        std::mem::forget(
            incoming
                .expect("a living connection")
                .expect("it")
                .accept_raw(),
        );
    };
    let gone = |connection: &Connection, peer: &mut Peer| {
        peer.say(&wire::open(1));
        peer.say(&wire::reset(1));
        assert_eq!(connection.statistics().open_channels, 0);
    };
    let nothing = |_: &Connection, _: &mut Peer| {};
    flood(&wire::ping(7), MILLION, nothing).is_ended_by(Code::CALM, LITTLE);
    flood(&wire::pong(7), MILLION, nothing).is_ended_by(Code::CALM, LITTLE);
    flood(&wire::allow(1), MILLION, nothing).is_ended_by(Code::CALM, LITTLE);
    flood(&wire::allow(128), MILLION, nothing).is_ended_by(Code::CALM, LITTLE);
    flood(&wire::stop(1), MILLION, opened).is_ended_by(Code::CALM, LITTLE);
    flood(&wire::credit(1, 0), MILLION, opened).is_ended_by(Code::CALM, LITTLE);
    flood(&wire::credit(1, 1), MILLION, gone).is_ended_by(Code::CALM, LITTLE);
    flood(&wire::reset(1), MILLION, gone).is_ended_by(Code::CALM, LITTLE);
    flood(&data(1, END, b"x"), MILLION, gone).is_ended_by(Code::CALM, LITTLE);
    flood(&data(1, END, b""), MILLION, gone).is_ended_by(Code::CALM, LITTLE);
}

#[test]
fn floods_of_data_are_ended_by_flow_control() {
    let unread = |_: &Connection, peer: &mut Peer| assert!(peer.say(&wire::open(1)));
    // What a message of one byte takes beside its byte is part of its cost.
    flood(&data(1, END, b"x"), MILLION, unread).is_ended_by(Code::FLOW_CONTROL, LITTLE);
    flood(&data(1, END, b""), MILLION, unread).is_ended_by(Code::FLOW_CONTROL, LITTLE);
    flood(&data(1, 0, b"x"), MILLION, unread).is_ended_by(Code::FLOW_CONTROL, LITTLE);
    flood(&data(1, END, &[1; 1000]), MILLION, unread).is_ended_by(Code::FLOW_CONTROL, LITTLE);
}

#[test]
fn a_flood_of_channels_opened_and_reset_is_ended_by_calm() {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    peer.say(&hello());
    let opened_and_reset = |number| [wire::open(number), wire::reset(number)].concat();
    // A few at a time, within what this end allows.
    let mut numbers = (0..MILLION as u32).map(|count| 1 + 2 * count);
    let few: Vec<Vec<u8>> = (0..100)
        .map(|_| {
            numbers
                .by_ref()
                .take(10)
                .flat_map(opened_and_reset)
                .collect()
        })
        .collect();
    let many: Vec<u8> = numbers.flat_map(opened_and_reset).collect();
    let taken = measure(|| {
        for few in &few {
            peer.say(few);
        }
        peer.say(&many);
    });
    assert!(taken.bytes_max as usize <= LITTLE, "{taken:?}");
    let (code, reason) = peer.goodbye().expect("a goodbye");
    assert_eq!(code, Code::CALM.number(), "{reason}");
    assert!(connection.statistics().peak_channels <= 128);
}

/// Messages of one byte are lawful when there is credit, and cost the reader nothing that stays.
#[test]
fn a_reader_keeps_up_with_a_million_tiny_messages() {
    const TINY: u64 = 1_000_000;
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    peer.say(&[hello(), wire::open(1)].concat());
    let incoming = stage.run(connection.accept()).expect("a living connection");
    let mut channel = incoming.expect("a channel").accept_raw();
    let (counted, count) = std::sync::mpsc::channel();
    stage.spawn(async move {
        let mut count = 0;
        while let Some(message) = channel.recv().await.expect("to receive") {
            count += message.len() as u64;
        }
        counted.send(count).expect("to be heard");
    });
    let many = data(1, END, b"x").repeat(1000);
    let taken = measure(|| {
        let (mut left, mut credit) = (TINY, 64 * KIB as u64);
        while left > 0 {
            while credit >= 33 * 1000 && left > 0 {
                assert!(peer.say(&many));
                credit -= 33 * 1000;
                left -= 1000;
            }
            for heard in peer.hear() {
                match heard {
                    Heard::Accept { window, .. } => credit += window - 64 * KIB as u64,
                    Heard::Credit { bytes, .. } => credit += bytes,
                    _ => {}
                }
            }
        }
        peer.say(&data(1, FINISH, b""));
    });
    assert_eq!(count.try_recv(), Ok(TINY));
    assert!(taken.bytes_max as usize <= LITTLE, "{taken:?}");
}

#[test]
fn a_message_that_never_ends_resets_its_channel_at_the_limit() {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    peer.say(&[hello(), wire::open(1)].concat());
    let incoming = stage.run(connection.accept()).expect("a living connection");
    let mut channel = incoming.expect("a channel").accept_raw();
    let part = data(1, 0, &[7; 1000]);
    let mut reset = None;
    let taken = measure(|| {
        let mut credit = 64 * KIB as u64;
        for _ in 0..2000 {
            if credit >= 1032 {
                peer.say(&part);
                credit -= 1032;
            }
            for heard in peer.hear() {
                match heard {
                    Heard::Accept { window, .. } => credit += window - 64 * KIB as u64,
                    Heard::Credit { bytes, .. } => credit += bytes,
                    Heard::Reset { code, .. } => reset = Some(code),
                    _ => {}
                }
            }
        }
    });
    assert_eq!(reset, Some(u64::from(Code::TOO_LARGE.number())));
    assert!(taken.bytes_max as usize <= 3 * MIB + LITTLE, "{taken:?}");
    assert!(ended(&connection).is_none(), "only the channel ends");
    let error = stage.run(channel.recv()).expect_err("it is reset");
    assert!(
        matches!(&error, ChannelError::ResetHere { code, .. } if *code == Code::TOO_LARGE),
        "{error}"
    );
}

#[test]
fn a_claimed_length_reserves_nothing() {
    let stage = Stage::default();
    let config = Config::default().max_frame_size(16 * MIB);
    let (_connection, mut peer) = stage.faced(&config);
    peer.say(&hello());
    let claim = (16 * MIB as u32).to_be_bytes();
    let taken = measure(|| {
        assert!(peer.say(&claim));
        stage.advance(Duration::from_secs(5));
    });
    assert!(taken.bytes_max <= 16 * KIB as u64, "{taken:?}");
}

/// Unread messages may keep the buffers alive that they came in, but not buffers many times larger.
#[test]
fn unread_messages_keep_little_more_alive_than_they_are() {
    const READ: u32 = 4;
    const UNREAD: u32 = 90;
    let stage = Stage::default();
    let (one, other) = pipe(MIB);
    let connection = stage.running(one, Role::Acceptor, &Config::default());
    let mut peer = stage.peer(other);
    let number = |count| 1 + 2 * count;
    let opens = (0..READ + UNREAD).flat_map(|count| wire::open(number(count)));
    peer.say(&[hello(), opens.collect()].concat());
    let accept = || {
        stage
            .run(connection.accept())
            .expect("a living connection")
            .expect("it")
    };
    for _ in 0..READ {
        let mut channel = accept().accept_raw();
        stage.spawn(async move { while let Ok(Some(_)) = channel.recv().await {} });
    }
    let unread: Vec<_> = (0..UNREAD).map(|_| accept().accept_raw()).collect();
    peer.hear();
    // Every message that stays is hidden among larger ones that are read at once.
    let large = |count| data(number(count), END, &vec![1; 66_000]);
    let beside = [large(0), large(1), large(2), large(3)];
    let kept: Vec<_> = (READ..READ + UNREAD)
        .map(|count| {
            [
                &beside.concat()[..],
                &data(number(count), END, &[2; 16 * KIB]),
            ]
            .concat()
        })
        .collect();
    let taken = measure(|| {
        for _ in 0..3 {
            for kept in &kept {
                assert!(peer.say(kept), "in credit");
                peer.hear();
            }
        }
    });
    assert!(ended(&connection).is_none());
    let useful = 3 * UNREAD as usize * 16 * KIB;
    let most = 4 * useful + 2 * MIB;
    let held = taken.bytes_current;
    assert!(
        held as usize <= most,
        "{held} bytes are held for {useful}, {most} were allowed"
    );
    drop(unread);
}
