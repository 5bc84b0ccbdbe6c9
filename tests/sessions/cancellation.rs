//! Each await point given up in turn: the other side sees a reset, the neighbours go on, nothing is left.

use std::pin::pin;
use std::task::Poll;

use futures::pending;
use sessionwire::session::{Client, Server};
use sessionwire::{Code, Config, Connection, Session, SessionError};

use crate::protocols::{
    Asked, Await, Done, Find, Forward, Found, Idle, Must, Next, RequestNext, Sync,
};
use crate::support::KIB;
use crate::support::stage::{Stage, poll_once};

async fn follow(session: Session<Idle<Client>>) -> Result<(), SessionError> {
    let session = session.send(Find(vec![3])).await?;
    pending!();
    let Asked::Found(_, session) = session.recv().await? else {
        panic!("3 is there");
    };
    pending!();
    let mut session = session.send(RequestNext).await?;
    session.ready().await?;
    pending!();
    let Next::Await(_, session) = session.recv().await? else {
        panic!("the server awaits");
    };
    pending!();
    let Must::Forward(_, session) = session.recv().await? else {
        panic!("a block follows");
    };
    let session = session.send(Done).await?;
    pending!();
    session.close();
    Ok(())
}

async fn produce(mut session: Session<Idle<Server>>) -> Result<(), SessionError> {
    loop {
        let heard = session.recv().await?;
        pending!();
        session = match heard {
            Idle::Find(Find(points), next) => next.send(Found(points[0])).await?,
            Idle::RequestNext(_, next) => {
                let next = next.send(Await).await?;
                pending!();
                next.send(Forward(4)).await?
            }
            Idle::Done(_, next) => {
                next.close();
                return Ok(());
            }
        };
        pending!();
    }
}

type Ended = Result<(), SessionError>;

/// Polls two futures in turns, all else running in between, one of them so many times before it is
/// dropped; answers what became of both.
fn meet(
    stage: &Stage,
    polls: usize,
    given_up: impl Future<Output = Ended>,
    other: impl Future<Output = Ended>,
) -> (Option<Ended>, Option<Ended>) {
    let mut given_up = Some(Box::pin(given_up));
    let mut other = Box::pin(other);
    let (mut its_end, mut others_end) = (None, None);
    for poll in 0..100 {
        if poll == polls {
            given_up = None;
            stage.settle();
        }
        if let Some(future) = &mut given_up
            && let Poll::Ready(ended) = poll_once(future.as_mut())
        {
            its_end = Some(ended);
            given_up = None;
        }
        stage.settle();
        if others_end.is_none()
            && let Poll::Ready(ended) = poll_once(other.as_mut())
        {
            others_end = Some(ended);
        }
        stage.settle();
    }
    (its_end, others_end)
}

/// A session, and a neighbour of it that is in the middle of something.
struct Scene {
    stage: Stage,
    ends: (Connection, Connection),
    neighbour: (Session<Asked<Client>>, Session<Asked<Server>>),
}

impl Scene {
    fn new() -> (Self, Session<Idle<Client>>, Session<Idle<Server>>) {
        let stage = Stage::default();
        // So narrow that a step takes several polls.
        let (here, there) = stage.pair(5, &Config::default());
        let open = || {
            stage.run(async {
                let client = here.open_session(Sync).await.expect("a session");
                let incoming = there.accept().await.expect("alive").expect("a session");
                (
                    client,
                    incoming.accept_session(Sync).expect("the same table"),
                )
            })
        };
        let (client, server) = open();
        let neighbour = open();
        let neighbour = stage.run(async {
            let client = neighbour.0.send(Find(vec![8])).await.expect("sent");
            let Idle::Find(_, server) = neighbour.1.recv().await.expect("a question") else {
                panic!("it asks for a point");
            };
            (client, server)
        });
        let ends = (here, there);
        (
            Self {
                stage,
                ends,
                neighbour,
            },
            client,
            server,
        )
    }

    /// The neighbour finishes what it began, and nothing else is left.
    fn check(self) {
        let Self {
            stage,
            ends: (here, there),
            neighbour: (client, server),
        } = self;
        let both = async {
            let server = server.send(Found(8)).await?;
            let Asked::Found(Found(8), client) = client.recv().await? else {
                panic!("8 is there");
            };
            client.send(Done).await?.close();
            let Idle::Done(_, server) = server.recv().await? else {
                panic!("it is done");
            };
            server.close();
            Ok::<(), SessionError>(())
        };
        stage.run(both).expect("the neighbour goes on");
        stage.settle();
        for end in [here, there] {
            let statistics = end.statistics();
            assert_eq!(statistics.open_channels, 0);
            assert_eq!(statistics.send_queued, 0);
            assert_eq!(statistics.receive_borrowed, 0);
        }
    }
}

/// Gives up one after 0, 1, 2, … polls until it comes to its end.
fn give_up_at_any_moment(
    meet: impl Fn(&Stage, usize, Session<Idle<Client>>, Session<Idle<Server>>) -> [Option<Ended>; 2],
) {
    let mut at_the_end = 0;
    for polls in 0.. {
        let (scene, client, server) = Scene::new();
        let [given_up, other] = meet(&scene.stage, polls, client, server);
        let other = other.unwrap_or_else(|| panic!("not told after {polls} polls"));
        scene.check();
        match (given_up, other) {
            (Some(given_up), other) => {
                given_up.expect("the whole conversation");
                other.expect("the whole conversation");
                assert!(polls > 8 && at_the_end <= 2, "{polls} moments");
                return;
            }
            (None, Err(SessionError::Reset { code, .. })) => assert_eq!(code, Code::CANCELLED),
            // What was dropped was at its end, and its last message had arrived.
            (None, Ok(())) => at_the_end += 1,
            (None, other) => panic!("after {polls} polls: {other:?}"),
        }
    }
}

#[test]
fn a_client_given_up_at_any_moment_resets_its_session_alone() {
    give_up_at_any_moment(|stage, polls, client, server| {
        let (given_up, other) = meet(stage, polls, follow(client), produce(server));
        [given_up, other]
    });
}

#[test]
fn a_server_given_up_at_any_moment_resets_its_session_alone() {
    give_up_at_any_moment(|stage, polls, client, server| {
        let (given_up, other) = meet(stage, polls, produce(server), follow(client));
        [given_up, other]
    });
}

#[test]
fn opening_given_up_opens_nothing() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default().max_channels(16));
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(stage.run(here.open_session(Sync)).expect("a place"));
    }
    for _ in 0..10 {
        let opening = pin!(here.open_session(Sync));
        assert!(stage.run_until_stalled(opening).is_pending());
    }
    assert_eq!(here.statistics().frames_sent.open, 16);
    drop((open, there));
}
