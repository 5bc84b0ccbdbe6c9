//! Ten faults that a well-known library of session types has over one connection: none is here.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join, join_all, select};
use sessionwire::session::{Client, Server};
use sessionwire::{Code, Config, Connection, Router, Session, SessionError, protocol};

use crate::protocols::once::{Answering, Asking, Double};
use crate::protocols::stream::Blocks;
use crate::protocols::{
    Asked, Await, Backward, Done, Find, Found, Idle, Must, Next, RequestNext, Sync,
};
use crate::support::stage::Stage;
use crate::support::world::{On, Wire};
use crate::support::{KIB, MIB};

type Opened = (Session<Idle<Client>>, Session<Idle<Server>>);

async fn opened(here: &Connection, there: &Connection) -> Opened {
    let client = here.open_session(Sync).await.expect("a session");
    let incoming = there.accept().await.expect("alive").expect("a session");
    (
        client,
        incoming.accept_session(Sync).expect("the same table"),
    )
}

async fn double(session: Session<Asking<Server>>) -> Result<(), SessionError> {
    let Asking::Number(number, session) = session.recv().await?;
    session.send(number * 2).await?.close();
    Ok(())
}

async fn ask(connection: &Connection, number: u64) -> Result<u64, SessionError> {
    let session = connection.open_session(Double).await?.send(number).await?;
    let Answering::Number(answer, session) = session.recv().await?;
    session.close();
    Ok(answer)
}

#[test]
fn one_queues_are_bounded() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let client = stage.run(here.open_session(Blocks)).expect("a session");
    let incoming = stage
        .run(there.accept())
        .expect("alive")
        .expect("a session");
    let mut server = incoming.accept_session(Blocks).expect("the same table");
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let streams = stage.task(async move {
        for _ in 0..1000 {
            server = server.send(vec![1; 64 * KIB]).await?;
            counted.fetch_add(64 * KIB, Ordering::SeqCst);
        }
        Ok::<(), SessionError>(())
    });
    assert!(streams.output().is_none(), "nobody reads");
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < MIB, "{sent} bytes are somewhere");
    drop(client);
}

#[test]
fn two_dropping_does_not_panic() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    // As a timeout, a select, an abort of the task and an early return do it.
    assert!(server.recv().now_or_never().is_none());
    drop(client);
    let (client, server) = stage.run(opened(&here, &there));
    let either = select(Box::pin(server.recv()), Box::pin(async {}));
    drop(stage.run(either));
    drop(client);
    let early = |session: Session<Idle<Server>>| async move {
        "no number".parse::<u8>().map(|_| ())?;
        session.recv().await.map(drop)?;
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    let (client, server) = stage.run(opened(&here, &there));
    assert!(stage.run(early(server)).is_err());
    drop(client);
    let unwinds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (_client, _server) = stage.run(opened(&here, &there));
        panic!("on purpose");
    }));
    let reason = unwinds.expect_err("it panicked");
    assert_eq!(reason.downcast_ref(), Some(&"on purpose"), "once");
    assert!(stage.run(here.ping()).is_ok());
}

#[test]
fn three_every_answer_of_a_choice_arrives_as_itself() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    let both = async {
        let client = client.send(RequestNext).await?;
        let Idle::RequestNext(_, server) = server.recv().await? else {
            panic!("it asked for the next");
        };
        let server = server.send(Backward(1)).await?;
        let Next::Backward(Backward(1), client) = client.recv().await? else {
            panic!("a direct answer, not the first of the choice");
        };
        let client = client.send(RequestNext).await?;
        let Idle::RequestNext(_, server) = server.recv().await? else {
            panic!("it asked for the next");
        };
        let _server = server.send(Await).await?.send(Backward(2)).await?;
        let Next::Await(_, client) = client.recv().await? else {
            panic!("it awaits");
        };
        let Must::Backward(Backward(2), _) = client.recv().await? else {
            panic!("then it goes back");
        };
        Ok::<(), SessionError>(())
    };
    stage.run(both).expect("the whole conversation");
}

#[test]
fn four_an_abort_reaches_the_peer_and_opens_nothing_anew() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let opened_here = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened_here);
    let handler = move |session: Session<Idle<Server>>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let Idle::Find(_, session) = session.recv().await? else {
                panic!("it asks for a point");
            };
            Err::<(), _>(session.abort("bad points"))
        }
    };
    let router = Router::new().on_session(Sync, handler);
    stage.spawn(async move {
        let _ = router.serve(&there).await;
    });
    // Two messages, the second of which arrives after the abort.
    let name = <Sync as sessionwire::session::Protocol>::TABLE.wire_name();
    let mut raw = stage.run(here.open_raw(name)).expect("a channel");
    stage.run(async {
        for message in [&[0, 0][..], &[1]] {
            let message = bytes::Bytes::copy_from_slice(message);
            // The second may find the channel gone already.
            let _ = raw.send(message).await;
        }
    });
    let told = stage.run(raw.recv()).expect_err("the abort");
    assert!(told.to_string().contains("bad points"), "{told}");
    stage.settle();
    assert_eq!(
        opened_here.load(Ordering::SeqCst),
        1,
        "one session was opened"
    );
}

#[test]
fn five_no_first_message_is_lost_in_sessions_back_to_back() {
    On::Tokio.run(Wire::Tcp, async |world| {
        let (here, there) = world.connected().await;
        let router = Router::new().on_session(Double, double);
        let _serving = world.spawn(async move { router.serve(&there).await });
        let here = &here;
        let work = (0..4_u64).map(|task| async move {
            for number in 0..800 {
                let number = task * 1000 + number;
                let answer = ask(here, number).await.expect("no request vanishes");
                assert_eq!(answer, number * 2);
            }
        });
        join_all(work).await;
    });
}

#[test]
fn six_the_end_of_an_old_session_leaves_a_new_one_alone() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (old_client, old_server) = stage.run(opened(&here, &there));
    let (client, server) = stage.run(opened(&here, &there));
    drop(old_server);
    stage.settle();
    drop(old_client);
    stage.settle();
    let both = async {
        let client = client.send(Find(vec![1])).await?;
        let Idle::Find(_, server) = server.recv().await? else {
            panic!("it asks for a point");
        };
        let _server = server.send(Found(1)).await?;
        client.recv().await
    };
    assert!(matches!(stage.run(both), Ok(Asked::Found(Found(1), _))));
}

#[test]
fn seven_one_sessions_error_is_nobody_elses() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let handler = |session: Session<Idle<Server>>| async move { session.recv().await.map(drop) };
    let router = Router::new()
        .on_session(Sync, handler)
        .on_session(Double, double);
    stage.spawn(async move {
        let _ = router.serve(&there).await;
    });
    // One is late, one disconnects.
    let late = stage.run(here.open_session(Sync)).expect("a session");
    let gone = stage.run(here.open_session(Sync)).expect("a session");
    drop(gone);
    stage.advance(Duration::from_secs(61));
    let late = stage.run(late.send(Done)).expect_err("its time was up");
    assert!(
        matches!(
            late,
            SessionError::Reset {
                code: Code::TIMED_OUT,
                ..
            }
        ),
        "{late}"
    );
    assert_eq!(stage.run(ask(&here, 4)).expect("the others go on"), 8);
}

#[test]
fn eight_both_ends_open_many_of_one_protocol_on_one_connection() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    for end in [here.clone(), there.clone()] {
        let router = Router::new().on_session(Double, double);
        stage.spawn(async move {
            let _ = router.serve(&end).await;
        });
    }
    let asked = |end| join_all((0..50).map(move |number| ask(end, number)));
    let (ours, theirs) = stage.run(join(asked(&here), asked(&there)));
    for (number, answer) in (0..50).chain(0..50).zip(ours.into_iter().chain(theirs)) {
        assert_eq!(answer.expect("an answer"), number * 2);
    }
}

#[test]
fn nine_every_wait_and_every_size_has_a_limit_and_the_peer_is_told_at_once() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    for row in <Sync as sessionwire::session::Protocol>::TABLE.states {
        assert!(row.deadline < Duration::MAX && row.max_size < MIB);
    }
    // What cannot be decoded is not only logged: the peer need not wait for its deadline.
    let name = <Sync as sessionwire::session::Protocol>::TABLE.wire_name();
    let mut raw = stage.run(here.open_raw(name)).expect("a channel");
    let incoming = stage
        .run(there.accept())
        .expect("alive")
        .expect("a session");
    let server = incoming.accept_session(Sync).expect("the same table");
    stage
        .run(raw.send(bytes::Bytes::from_static(&[0, 250, 1])))
        .expect("sent");
    let error = stage.run(server.recv()).expect_err("no points");
    assert!(
        matches!(error, SessionError::Undecodable { tag: 0, .. }),
        "{error}"
    );
    assert!(
        stage.run(raw.recv()).is_err(),
        "told without any time passing"
    );
}

#[test]
fn ten_messages_are_plain_types_that_need_not_be_sync() {
    protocol! {
        Cells = "cells" version 1;
        Idle: Client(secs(1), 64) { 0 Count: Cell<u32> => End }
    }
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let client = stage.run(here.open_session(Cells)).expect("a session");
    stage
        .run(is_send(client.send(Cell::new(7))))
        .expect("sent")
        .close();
    let incoming = stage
        .run(there.accept())
        .expect("alive")
        .expect("a session");
    let server = incoming.accept_session(Cells).expect("the same table");
    let Idle::Count(count, server) = stage.run(is_send(server.recv())).expect("it");
    server.close();
    assert_eq!(count.get(), 7);
}
