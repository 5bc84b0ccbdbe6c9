//! A peer that breaks the order: its session ends, with an error that says what came, and no other.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join;
use sessionwire::session::{Protocol as _, Server};
use sessionwire::{ChannelError, Code, Config, Connection, RawChannel, Session, SessionError};

use crate::protocols::{Done, Forward, Idle, Next, RequestNext, Sync};
use crate::support::KIB;
use crate::support::stage::Stage;

/// A client without types, and its server.
async fn opened(here: &Connection, there: &Connection) -> (RawChannel, Session<Idle<Server>>) {
    let name = Sync::TABLE.wire_name();
    let client = here.open_raw(name).await.expect("a channel");
    let incoming = there.accept().await.expect("alive").expect("a session");
    (
        client,
        incoming.accept_session(Sync).expect("the same table"),
    )
}

/// What a server in `Idle` makes of a message, and what the client is told.
fn sent(message: &[u8]) -> (SessionError, Code, String) {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let neighbour = stage.run(here.open_session(Sync)).expect("a session");
    let incoming = stage
        .run(there.accept())
        .expect("alive")
        .expect("a session");
    let its_server = incoming.accept_session(Sync).expect("the same table");

    let (mut client, server) = stage.run(opened(&here, &there));
    let message = Bytes::copy_from_slice(message);
    stage
        .run(client.send(message))
        .expect("a raw channel sends anything");
    let error = stage
        .run(server.recv())
        .expect_err("it is no message of the state");
    let told = stage.run(client.recv()).expect_err("the session is over");
    let ChannelError::ResetByPeer { code, reason } = told else {
        panic!("{told}");
    };

    let both = async {
        let neighbour = neighbour.send(RequestNext).await?;
        let Idle::RequestNext(_, its_server) = its_server.recv().await? else {
            panic!("it asked for the next");
        };
        let _its_server = its_server.send(Forward(1)).await?;
        neighbour.recv().await
    };
    let heard = stage.run(both).expect("the neighbour goes on");
    assert!(matches!(heard, Next::Forward(Forward(1), _)));
    (error, code, reason.to_string())
}

#[test]
fn a_message_of_another_state_ends_the_session_with_its_tag() {
    let (error, code, reason) = sent(&[3, 1]);
    assert!(
        matches!(
            error,
            SessionError::Unexpected {
                state: "Idle",
                tag: 3
            }
        ),
        "{error}"
    );
    assert_eq!(code, Code::UNEXPECTED);
    assert!(
        reason.contains("tag 3") && reason.contains("Idle"),
        "{reason}"
    );
}

#[test]
fn an_empty_message_has_no_tag() {
    let (error, code, _) = sent(&[]);
    assert!(
        matches!(error, SessionError::Untagged { state: "Idle" }),
        "{error}"
    );
    assert_eq!(code, Code::UNEXPECTED);
}

#[test]
fn a_message_one_byte_too_large_ends_the_session_with_its_tag() {
    // 1,021 points and the three bytes of their number are the 1,024 bytes that are allowed.
    let mut message = vec![0, 0xfb, 0xfe, 0x03];
    message.extend([1; 1022]);
    let (error, code, _) = sent(&message);
    assert!(
        matches!(
            error,
            SessionError::TooLarge {
                state: "Idle",
                tag: 0,
                length: 1025,
                max: 1024
            }
        ),
        "{error}"
    );
    assert_eq!(code, Code::TOO_LARGE);
}

#[test]
fn a_message_that_cannot_be_decoded_ends_the_session_with_its_tag() {
    // Points that are not there; bytes left over; a length of 16 EiB.
    let hostile = [0, 0xfd, 255, 255, 255, 255, 255, 255, 255, 255];
    for message in [&[0, 3, 1][..], &[2, 0], &hostile] {
        let (error, code, _) = sent(message);
        assert!(
            matches!(&error, SessionError::Undecodable { state: "Idle", tag, .. } if *tag == message[0]),
            "{error}"
        );
        assert_eq!(code, Code::UNDECODABLE);
    }
}

#[test]
fn a_message_above_the_connections_limit_ends_the_session_alone() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default().max_message_size(2 * KIB));
    let (mut client, server) = stage.run(opened(&here, &there));
    let refused = stage.run(client.send(vec![0; 2 * KIB + 1].into()));
    assert!(matches!(
        refused.expect_err("too large").error,
        ChannelError::TooLarge { .. }
    ));
    drop(client);
    let error = stage.run(server.recv()).expect_err("the client is gone");
    assert!(matches!(error, SessionError::Reset { .. }), "{error}");
    assert!(stage.run(here.ping()).is_ok());
}

#[test]
fn finishing_before_the_end_is_an_error() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (mut client, server) = stage.run(opened(&here, &there));
    client.finish();
    let error = stage.run(server.recv()).expect_err("Idle is not the end");
    assert!(
        matches!(error, SessionError::Finished { state: "Idle" }),
        "{error}"
    );
    let told = stage
        .run(client.recv())
        .expect_err("and so the session is reset");
    assert!(
        matches!(
            told,
            ChannelError::ResetByPeer {
                code: Code::UNEXPECTED,
                ..
            }
        ),
        "{told}"
    );
}

#[test]
fn what_follows_the_end_is_dropped() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (mut client, server) = stage.run(opened(&here, &there));
    for message in [&[2][..], &[1], &[1]] {
        let message = Bytes::copy_from_slice(message);
        stage
            .run(client.send(message))
            .expect("a raw channel sends anything");
    }
    let Idle::Done(Done, server) = stage.run(server.recv()).expect("the end") else {
        panic!("it is done");
    };
    server.close();
    assert_eq!(stage.run(client.recv()).expect("a finish"), None);
    drop(client);
    stage.settle();
    assert_eq!(there.statistics().open_channels, 0);
}

#[test]
fn a_connection_that_ends_ends_its_sessions() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    let waits = stage.task(async { server.recv().await.map(|_| ()) });
    here.close(Code::application(3), "going home");
    stage.settle();
    let error = waits
        .output()
        .expect("it is told")
        .expect_err("all is over");
    let SessionError::Connection(error) = error else {
        panic!("{error}");
    };
    assert!(error.to_string().contains("going home"), "{error}");
    drop(client);
}

#[test]
fn a_peer_that_makes_no_room_is_given_up_at_the_deadline() {
    use crate::protocols::stream::Blocks;
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let name = Blocks::TABLE.wire_name();
    let both = join(here.open_raw(name), there.accept());
    let (client, incoming) = stage.run(both);
    let incoming = incoming.expect("alive").expect("a session");
    let mut server = incoming.accept_session(Blocks).expect("the same table");
    let streams = stage.task(async move {
        for sent in 0_u32.. {
            match server.send(vec![7; 100 * KIB]).await {
                Ok(next) => server = next,
                Err(error) => return (sent, error),
            }
        }
        unreachable!("no channel holds that much");
    });
    stage.advance(Duration::from_millis(4_999));
    assert!(streams.output().is_none(), "the deadline is 5 s");
    stage.advance(Duration::from_millis(1));
    let (sent, error) = streams.output().expect("its time is up");
    assert!((1..10).contains(&sent), "{sent} blocks fit");
    assert!(
        matches!(
            error,
            SessionError::TimedOut {
                state: "Streaming",
                ..
            }
        ),
        "{error}"
    );
    drop(client);
}
