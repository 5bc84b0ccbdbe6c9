//! What each step does, in order and out of it.

use std::pin::pin;
use std::time::Duration;

use futures::future::{FutureExt, join};
use sessionwire::session::{Client, End, Server};
use sessionwire::{Channel, Code, Config, Connection, Session, SessionError};

use crate::protocols::once::{Answering, Asking, Double};
use crate::protocols::stream::{Blocks, Deciding, Streaming};
use crate::protocols::{
    Asked, Await, Backward, Done, Find, Forward, Found, Idle, Must, Next, NotFound, RequestNext,
    Sync,
};
use crate::support::KIB;
use crate::support::stage::Stage;

type Opened = (Session<Idle<Client>>, Session<Idle<Server>>);

/// A session of `Sync` that `here` opens.
async fn opened(here: &Connection, there: &Connection) -> Opened {
    let client = here.open_session(Sync).await.expect("a session");
    let incoming = there.accept().await.expect("a living connection");
    let server = incoming.expect("a session").accept_session(Sync);
    (client, server.expect("the same table"))
}

#[test]
fn a_whole_conversation_goes_from_the_first_state_to_the_end() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let client = async {
        let session = here.open_session(Sync).await?;
        let session = session.send(Find(vec![9, 5])).await?;
        let Asked::Found(Found(5), session) = session.recv().await? else {
            panic!("5 is there");
        };
        let session = session.send(RequestNext).await?;
        let Next::Await(_, session) = session.recv().await? else {
            panic!("there is nothing more");
        };
        let Must::Forward(Forward(6), session) = session.recv().await? else {
            panic!("6 comes next");
        };
        session.send(Done).await?.close();
        Ok::<(), sessionwire::Error>(())
    };
    let server = async {
        let incoming = there.accept().await.expect("alive").expect("a session");
        let session = incoming.accept_session(Sync).expect("the same table");
        let Idle::Find(Find(points), session) = session.recv().await? else {
            panic!("it asks for a point");
        };
        assert_eq!(points, [9, 5]);
        let session = session.send(Found(5)).await?;
        let Idle::RequestNext(_, session) = session.recv().await? else {
            panic!("it asks for the next");
        };
        let session = session.send(Await).await?.send(Forward(6)).await?;
        let Idle::Done(_, session) = session.recv().await? else {
            panic!("it has enough");
        };
        session.close();
        Ok::<(), SessionError>(())
    };
    let (client, server) = stage.run(join(client, server));
    client.expect("the client's end");
    server.expect("the server's end");
    stage.settle();
    for end in [&here, &there] {
        assert_eq!(end.statistics().open_channels, 0);
        assert_eq!(end.statistics().frames_sent.reset, 0, "closed, not reset");
    }
}

#[test]
fn a_state_may_keep_the_turn_and_the_server_may_begin() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let client = async {
        let mut session: Session<Streaming<Client>> = here.open_session(Blocks).await?;
        let mut blocks = Vec::new();
        for _ in 0..2 {
            session = loop {
                match session.recv().await? {
                    Streaming::Block(block, next) => {
                        blocks.push(block.len());
                        session = next;
                    }
                    Streaming::Batch(count, next) if count < 8 => break next.send(()).await?,
                    Streaming::Batch(_, next) => {
                        next.send(true).await?.close();
                        return Ok(blocks);
                    }
                }
            };
        }
        Ok::<_, sessionwire::Error>(blocks)
    };
    let server = async {
        let incoming = there.accept().await.expect("alive").expect("a session");
        let mut session = incoming.accept_session(Blocks).expect("the same table");
        for batch in [4, 8] {
            for size in 0..4 {
                session = session.send(vec![7; size * 100_000]).await?;
            }
            match session.send(batch).await?.recv().await? {
                Deciding::More((), next) => session = next,
                Deciding::Enough(enough, next) => {
                    assert!(enough);
                    next.close();
                    return Ok(());
                }
            }
        }
        Ok::<(), SessionError>(())
    };
    let (blocks, server) = stage.run(join(client, server));
    let sizes = [0, 100_000, 200_000, 300_000];
    assert_eq!(blocks.expect("all blocks"), [sizes, sizes].concat());
    server.expect("the server's end");
}

#[test]
fn a_deadline_ends_the_session_and_the_peer_is_told() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    let heard = stage.task(async { server.recv().await.map(|_| ()) });
    stage.advance(Duration::from_millis(59_999));
    assert!(heard.output().is_none(), "the deadline is 60 s");
    stage.advance(Duration::from_millis(1));
    let error = heard.output().expect("its time is up").expect_err("late");
    assert!(
        matches!(error, SessionError::TimedOut { state: "Idle", limit } if limit.as_secs() == 60),
        "{error}"
    );
    stage.settle();
    let error = stage.run(client.send(RequestNext)).expect_err("it is over");
    assert!(
        matches!(&error, SessionError::Reset { code: Code::TIMED_OUT, reason } if reason.contains("Idle")),
        "{error}"
    );
}

#[test]
fn the_time_of_one_state_does_not_count_for_the_next() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (mut client, mut server) = stage.run(opened(&here, &there));
    for round in 0..20 {
        let asking = stage.task(async move {
            let next = client.send(Find(vec![round])).await?;
            match next.recv().await? {
                Asked::NotFound(_, session) => Ok(session),
                Asked::Found(..) => panic!("nothing is there"),
            }
        });
        stage.advance(Duration::from_secs(9));
        let answered = stage.run(async {
            let Idle::Find(_, session) = server.recv().await? else {
                panic!("it asks for a point");
            };
            session.send(NotFound).await
        });
        server = answered.expect("9 s are no 10");
        stage.settle();
        let output = asking.output().expect("answered");
        client = output
            .map_err(|error: SessionError| error)
            .expect("in time");
        // The server's wait in `Idle` begins when it waits.
        stage.advance(Duration::from_secs(50));
    }
}

#[test]
fn a_wait_may_be_shorter_than_the_state_allows_but_not_longer() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    for (within, passes) in [(1, 1), (3600, 60)] {
        let (_client, server) = stage.run(opened(&here, &there));
        let within = Duration::from_secs(within);
        let heard = stage.task(async move { server.recv_within(within).await.map(|_| ()) });
        stage.advance(Duration::from_millis(passes * 1000 - 1));
        assert!(heard.output().is_none());
        stage.advance(Duration::from_millis(1));
        let error = heard.output().expect("its time is up").expect_err("late");
        assert!(matches!(error, SessionError::TimedOut { .. }), "{error}");
    }
}

#[test]
fn waiting_to_be_ready_can_be_given_up_any_number_of_times() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, mut server) = stage.run(opened(&here, &there));
    for _ in 0..100 {
        assert!(server.ready().now_or_never().is_none());
        stage.settle();
    }
    let _client = stage.run(client.send(RequestNext)).expect("sent");
    stage.run(server.ready()).expect("a message is there");
    stage.run(server.ready()).expect("and stays there");
    let heard = server.recv().now_or_never().expect("at once");
    assert!(matches!(heard, Ok(Idle::RequestNext(..))));
}

#[test]
fn waiting_to_be_ready_in_turns_does_not_move_the_deadline() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (_client, mut server) = stage.run(opened(&here, &there));
    for _ in 0..59 {
        assert!(stage.run_until_stalled(pin!(server.ready())).is_pending());
        stage.advance(Duration::from_secs(1));
    }
    assert!(stage.run_until_stalled(pin!(server.ready())).is_pending());
    stage.advance(Duration::from_secs(1));
    let late = stage.run(server.ready()).expect_err("60 s have passed");
    assert!(matches!(late, SessionError::TimedOut { .. }), "{late}");
    let late = stage.run(server.recv()).expect_err("and it stays late");
    assert!(matches!(late, SessionError::TimedOut { .. }), "{late}");
}

#[test]
fn an_abort_reaches_the_peer_with_its_reason() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    let error = server.abort("past the tip");
    assert!(
        matches!(
            &error,
            SessionError::Aborted {
                code: Code::ABORTED,
                ..
            }
        ),
        "{error}"
    );
    stage.settle();
    let asked = stage.run(client.send(RequestNext));
    let error = asked.expect_err("a send reports the peer's last word");
    assert!(
        matches!(&error, SessionError::Reset { code: Code::ABORTED, reason } if &**reason == "past the tip"),
        "{error}"
    );

    let (client, server) = stage.run(opened(&here, &there));
    let code = Code::application(7);
    let client = stage.run(client.send(RequestNext)).expect("sent");
    drop(server.abort_with(code, "no more"));
    let error = stage.run(client.recv()).expect_err("so does a wait");
    assert!(
        matches!(&error, SessionError::Reset { code: known, reason } if *known == code && &**reason == "no more"),
        "{error}"
    );
}

#[test]
fn what_came_before_the_abort_is_received_first() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    let client = stage.run(client.send(RequestNext)).expect("sent");
    stage.settle();
    let server = stage.run(server.recv()).expect("the request");
    let Idle::RequestNext(_, server) = server else {
        panic!("it asked for the next");
    };
    let server = stage.run(server.send(Await)).expect("sent");
    stage.settle();
    drop(server.abort("enough"));
    stage.settle();
    let Next::Await(_, client) = stage.run(client.recv()).expect("the last message") else {
        panic!("the server awaits");
    };
    let error = stage.run(client.recv()).expect_err("then the abort");
    assert!(matches!(error, SessionError::Reset { .. }), "{error}");
}

#[test]
fn a_session_dropped_in_any_state_is_reset() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    drop(server);
    let error = stage.run(async { client.send(RequestNext).await?.recv().await });
    assert_reset(&error.expect_err("dropped at the start"));

    let (client, server) = stage.run(opened(&here, &there));
    let client = stage.run(client.send(Done)).expect("sent");
    stage.settle();
    let Idle::Done(_, server) = stage.run(server.recv()).expect("the end") else {
        panic!("it is done");
    };
    drop::<Session<End<Server>>>(server);
    client.close();
    stage.settle();
    assert_eq!(there.statistics().frames_sent.reset, 2);
    assert_eq!(there.statistics().open_channels, 0);
    assert_eq!(here.statistics().open_channels, 0);
}

fn assert_reset(error: &SessionError) {
    assert!(
        matches!(
            error,
            SessionError::Reset {
                code: Code::CANCELLED,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_question_that_was_given_up_resets_the_session_alone() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    let (other, neighbour) = stage.run(opened(&here, &there));
    let client = stage.run(client.send(RequestNext)).expect("sent");
    assert!(client.recv().now_or_never().is_none(), "and dropped");
    stage.settle();
    let Idle::RequestNext(_, server) = stage.run(server.recv()).expect("the request") else {
        panic!("it asked for the next");
    };
    assert_reset(
        &stage
            .run(server.send(Backward(1)))
            .expect_err("nobody is there"),
    );
    let both = async {
        let other = other.send(Find(vec![1])).await.expect("sent");
        let Idle::Find(_, neighbour) = neighbour.recv().await.expect("a question") else {
            panic!("it asks for a point");
        };
        let _neighbour = neighbour.send(Found(1)).await.expect("sent");
        other.recv().await.expect("an answer")
    };
    assert!(matches!(stage.run(both), Asked::Found(Found(1), _)));
}

#[test]
fn a_message_larger_than_its_state_allows_is_not_sent() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    // 1,022 numbers of a byte and their count of 3 bytes: one byte too many.
    let error = stage
        .run(client.send(Find(vec![1; 1022])))
        .expect_err("too large");
    assert!(
        matches!(error, SessionError::TooLargeToSend { state: "Idle", tag: 0, length, max: 1024 } if length > 1024),
        "{error}"
    );
    let error = stage.run(server.recv()).expect_err("the session is over");
    assert!(
        matches!(
            error,
            SessionError::Reset {
                code: Code::ABORTED,
                ..
            }
        ),
        "{error}"
    );

    let (client, server) = stage.run(opened(&here, &there));
    let _client = stage
        .run(client.send(Find(vec![1; 1021])))
        .expect("1,024 bytes");
    let heard = stage.run(server.recv()).expect("1,024 bytes are allowed");
    assert!(matches!(heard, Idle::Find(Find(points), _) if points.len() == 1021));
}

#[test]
fn a_payload_may_be_of_any_type() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let both = async {
        let client = here.open_session(Double).await.expect("a session");
        let client = client.send(21).await.expect("sent");
        let incoming = there.accept().await.expect("alive").expect("a session");
        let server = incoming.accept_session(Double).expect("the same table");
        let Asking::Number(number, server) = server.recv().await.expect("a number");
        server.send(number * 2).await.expect("sent").close();
        let Answering::Number(number, client) = client.recv().await.expect("an answer");
        client.close();
        number
    };
    assert_eq!(stage.run(both), 42);
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<Session<Idle<Client>>>() <= 32);
    assert_eq!(size_of::<Session<Idle<Client>>>(), size_of::<usize>());
    assert!(size_of::<SessionError>() <= 64);
}

#[test]
fn a_step_allocates_no_more_than_a_plain_channel_does() {
    const STEPS: u64 = 200;
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (client, server) = stage.run(opened(&here, &there));
    let (mut client, mut server) = (Some(client), Some(server));
    let mut by_session = || {
        let both = async {
            let asking = client.take().expect("it").send(Find(vec![])).await?;
            let Idle::Find(_, server) = server.take().expect("it").recv().await? else {
                panic!("it asks for a point");
            };
            let answered = server.send(NotFound).await?;
            let Asked::NotFound(_, asked) = asking.recv().await? else {
                panic!("it is not found");
            };
            Ok::<_, SessionError>((asked, answered))
        };
        let (asked, answered) = stage.run(both).expect("an answer");
        (client, server) = (Some(asked), Some(answered));
    };
    let mut one: Channel<(u8, Find), (u8, NotFound)> = stage.run(here.open("plain")).expect("it");
    let incoming = stage.run(there.accept()).expect("alive").expect("it");
    let mut other: Channel<(u8, NotFound), (u8, Find)> = incoming.accept();
    let mut by_channel = || {
        let both = async {
            one.send(&(0, Find(vec![]))).await?;
            other.recv().await?;
            other.send(&(1, NotFound)).await?;
            one.recv().await
        };
        stage.run(both).expect("an answer");
    };
    let count = |act: &mut dyn FnMut()| {
        // Once without counting, for what is allocated once.
        act();
        let counted = allocation_counter::measure(|| (0..STEPS).for_each(|_| act()));
        counted.count_total
    };
    let (session, channel) = (count(&mut by_session), count(&mut by_channel));
    assert!(session <= channel, "{session} and {channel} allocations");
}

#[test]
fn the_table_can_be_looked_at() {
    let edge = Sync::EDGES.first().expect("an edge");
    assert_eq!(
        (edge.from, edge.tag, edge.message, edge.to),
        ("Idle", 0, "Find", "Asked")
    );
    assert_eq!(Sync::EDGES.len(), 10);
    assert_eq!(
        Double::mermaid(),
        "stateDiagram-v2\n    [*] --> Asking\n    Asking --> Answering: Client Number\n    \
         Answering --> End: Server Number\n    End --> [*]\n"
    );
}
