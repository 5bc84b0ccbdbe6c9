//! Peers that begin wrongly, fall silent or never go.

use std::time::Duration;

use allocation_counter::measure;
use sessionwire::mux::{Timeout, Violation};
use sessionwire::transport::pipe;
use sessionwire::{Code, Config, ConnectionError, Role};

use super::floods::LITTLE;
use super::support::KIB;
use super::support::stage::{Peer, Stage};
use super::support::transports::Clogged;
use super::support::wire::{self, Heard, Hello, hello};
use super::{ended, outcome};

#[test]
fn strangers_are_called_strangers() {
    let other_magic = Hello {
        magic: *b"yamx",
        ..Hello::default()
    };
    let strangers: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        &[0; 64],
        &[0xff; 64],
        &wire::ping(1),
        &other_magic.frame(),
    ];
    for stranger in strangers {
        let stage = Stage::default();
        let (connection, mut peer) = stage.faced(&Config::default());
        peer.say(stranger);
        let (code, reason) = peer.goodbye().expect("a goodbye");
        assert_eq!(code, Code::PROTOCOL_ERROR.number());
        assert!(
            reason.contains("not a sessionwire hello"),
            "{stranger:x?}: {reason}"
        );
        assert!(
            matches!(
                outcome(&connection),
                ConnectionError::PeerMisbehaved(Violation::NotSessionwire)
            ),
            "{stranger:x?}"
        );
    }
}

#[test]
fn a_hello_must_come_in_time() {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    // A drip of bytes is no hello.
    for byte in hello().iter().take(9) {
        peer.say(&[*byte]);
        stage.advance(Duration::from_secs(1));
    }
    assert!(ended(&connection).is_none());
    stage.advance(Duration::from_secs(1));
    let (code, _) = peer.goodbye().expect("a goodbye");
    assert_eq!(code, Code::TIMED_OUT.number());
    assert!(matches!(
        outcome(&connection),
        ConnectionError::TimedOut(Timeout::Hello)
    ));
}

#[test]
fn a_peer_of_another_version_is_told_both() {
    for versions in [[2, 9], [0, 0]] {
        let stage = Stage::default();
        let (connection, mut peer) = stage.faced(&Config::default());
        let hello = Hello {
            versions,
            ..Hello::default()
        };
        peer.say(&hello.frame());
        assert_eq!(peer.goodbye().expect("a goodbye").0, Code::VERSION.number());
        let error = outcome(&connection);
        assert!(
            matches!(error, ConnectionError::Version { min, max } if [min, max] == versions),
            "{error}"
        );
    }
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_and_costs_no_memory() {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    peer.say(&hello());
    stage.settle();
    let mut channel = stage.run(connection.open_raw("test/1")).expect("a channel");
    peer.say(&wire::accept(2, 1 << 20));
    let message = bytes::Bytes::from(vec![1; 50 * KIB]);
    let taken = measure(|| {
        for _ in 0..1000 {
            let mut sends = std::pin::pin!(channel.send(message.clone()));
            if stage.run_until_stalled(sends.as_mut()).is_pending() {
                break;
            }
        }
        // It goes on to say lawful things, and reads none of the answers.
        for _ in 0..29 {
            peer.say(&wire::ping(1).repeat(10));
            stage.advance(Duration::from_secs(1));
        }
    });
    assert!(taken.bytes_max as usize <= LITTLE, "{taken:?}");
    assert!(ended(&connection).is_none());
    stage.advance(Duration::from_secs(1));
    assert!(matches!(
        outcome(&connection),
        ConnectionError::TimedOut(Timeout::Write)
    ));
}

/// An encrypted stream or a WebSocket takes bytes into a buffer of its own: not to be rid of them
/// is the same stall.
#[test]
fn a_transport_that_cannot_flush_is_given_up_too() {
    let stage = Stage::default();
    let (one, other) = pipe(64 * KIB);
    let connection = stage.running(Clogged(one), Role::Acceptor, &Config::default());
    let mut peer = stage.peer(other);
    peer.say(&hello());
    for _ in 0..29 {
        stage.advance(Duration::from_secs(1));
        peer.say(&wire::ping(1));
    }
    assert!(ended(&connection).is_none());
    stage.advance(Duration::from_secs(1));
    assert!(matches!(
        outcome(&connection),
        ConnectionError::TimedOut(Timeout::Write)
    ));
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    peer.say(&hello());
    let pings = |peer: &mut Peer| {
        let heard = peer.hear();
        heard
            .into_iter()
            .filter(|heard| matches!(heard, Heard::Ping(_)))
            .count()
    };
    assert_eq!(pings(&mut peer), 1, "one to learn the distance");
    peer.say(&wire::pong(1));
    stage.advance(Duration::from_secs(15));
    assert_eq!(pings(&mut peer), 1, "one after a silence");
    stage.advance(Duration::from_secs(29));
    assert!(ended(&connection).is_none());
    stage.advance(Duration::from_secs(1));
    assert_eq!(
        peer.goodbye().expect("a goodbye").0,
        Code::TIMED_OUT.number()
    );
    assert!(matches!(
        outcome(&connection),
        ConnectionError::TimedOut(Timeout::Silence)
    ));
}

/// After a goodbye the peer's bytes are read only so long, however many there are.
#[test]
fn a_peer_that_never_closes_is_left_in_the_end() {
    let stage = Stage::default();
    let (one, other) = pipe(64 * KIB);
    let (connection, driver) = stage.end(one, Role::Acceptor, &Config::default());
    let mut peer = stage.peer(other);
    driver.spawn();
    peer.say(&hello());
    connection.close(Code::application(1), "bye");
    assert_eq!(
        peer.goodbye(),
        Some((Code::application(1).number(), "bye".to_owned()))
    );
    for _ in 0..5 {
        assert!(peer.say(&wire::ping(1).repeat(100_000)), "still read");
        stage.advance(Duration::from_secs(1));
    }
    assert!(!peer.say(&wire::ping(1)), "the transport is gone");
}

#[test]
fn a_goodbye_reads_as_the_peer_meant_it() {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    peer.say(&[hello(), wire::go_away(0, 300, b"so long")].concat());
    let error = outcome(&connection);
    assert!(
        matches!(&error, ConnectionError::ClosedByPeer { code, reason }
            if *code == Code::application(44) && &**reason == "so long"),
        "{error}"
    );
    assert_eq!(peer.goodbye(), None, "nobody answers a goodbye");
}

/// A drain names the last channel that was seen: later ones are safe to open elsewhere.
#[test]
fn channels_that_a_draining_peer_never_saw_are_refused_as_retryable() {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    peer.say(&hello());
    let mut seen = stage.run(connection.open_raw("test/1")).expect("a channel");
    let mut unseen = stage.run(connection.open_raw("test/1")).expect("a channel");
    peer.say(&wire::go_away(2, 0, b""));
    let error = stage.run(unseen.recv()).expect_err("never seen");
    assert!(error.is_retryable(), "{error}");
    let mut waits = std::pin::pin!(seen.recv());
    assert!(stage.run_until_stalled(waits.as_mut()).is_pending());
}
