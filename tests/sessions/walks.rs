//! Random walks along the edges: client and server by the types, over every transport and in any
//! pieces; both must have seen the same.

use futures::future::{join, join_all};
use sessionwire::session::{Client, Edge, Server};
use sessionwire::transport::pipe;
use sessionwire::{Config, Connection, Role, Session, SessionError};

use crate::protocols::{
    Asked, Await, Backward, Done, Find, Forward, Found, Idle, Must, Next, NotFound, RequestNext,
    Sync,
};
use crate::support::stage::Stage;
use crate::support::transports::Trickle;
use crate::support::world::{On, Wire};

/// The messages of a walk from `Idle` to `End`, as places in `EDGES`: for a seed always the same.
fn walk(seed: u64) -> Vec<&'static Edge> {
    let mut random = Random(seed);
    let (mut state, mut path) = ("Idle", Vec::new());
    while state != "End" {
        let next: Vec<&Edge> = Sync::EDGES
            .iter()
            .filter(|edge| edge.from == state)
            .collect();
        let edge = next[random.below(next.len())];
        // It takes its time before it ends.
        if edge.to == "End" && path.len() < 12 {
            continue;
        }
        path.push(edge);
        state = edge.to;
    }
    path
}

/// Splitmix, from its published constants.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).expect("it is below most")
    }
}

type Trace = Vec<String>;

/// What is sent at a step: the number says where in the walk.
fn points(step: usize) -> Vec<u64> {
    (0..step as u64 % 7)
        .map(|number| number << (step % 60))
        .collect()
}

async fn client(mut session: Session<Idle<Client>>, walk: &[&Edge]) -> Result<Trace, SessionError> {
    let mut trace = Vec::new();
    let mut steps = walk.iter().enumerate();
    while let Some((step, edge)) = steps.next() {
        session = match edge.message {
            "Find" => {
                trace.push(format!("{:?}", Find(points(step))));
                let session = session.send(Find(points(step))).await?;
                steps.next();
                match session.recv().await? {
                    Asked::Found(message, next) => heard(&mut trace, &message, next),
                    Asked::NotFound(message, next) => heard(&mut trace, &message, next),
                }
            }
            "RequestNext" => {
                trace.push(format!("{RequestNext:?}"));
                let session = session.send(RequestNext).await?;
                steps.next();
                match session.recv().await? {
                    Next::Forward(message, next) => heard(&mut trace, &message, next),
                    Next::Backward(message, next) => heard(&mut trace, &message, next),
                    Next::Await(message, next) => {
                        let next = heard(&mut trace, &message, next);
                        steps.next();
                        match next.recv().await? {
                            Must::Forward(message, next) => heard(&mut trace, &message, next),
                            Must::Backward(message, next) => heard(&mut trace, &message, next),
                        }
                    }
                }
            }
            _ => {
                trace.push(format!("{Done:?}"));
                session.send(Done).await?.close();
                return Ok(trace);
            }
        };
    }
    unreachable!("a walk ends with Done")
}

fn heard<Message: std::fmt::Debug, S>(
    trace: &mut Trace,
    message: &Message,
    next: Session<S>,
) -> Session<S> {
    trace.push(format!("{message:?}"));
    next
}

async fn server(mut session: Session<Idle<Server>>, walk: &[&Edge]) -> Result<Trace, SessionError> {
    let mut trace = Vec::new();
    let mut steps = walk.iter().enumerate().skip(1);
    loop {
        let answer = |steps: &mut dyn Iterator<Item = (usize, &&Edge)>| {
            let (step, edge) = steps.next().expect("an answer");
            (step as u64, edge.message.to_owned())
        };
        session = match session.recv().await? {
            Idle::Find(message, session) => {
                let session = heard(&mut trace, &message, session);
                match answer(&mut steps) {
                    (step, message) if message == "Found" => {
                        say(&mut trace, session.send(Found(step)).await?, &Found(step))
                    }
                    _ => say(&mut trace, session.send(NotFound).await?, &NotFound),
                }
            }
            Idle::RequestNext(message, session) => {
                let session = heard(&mut trace, &message, session);
                match answer(&mut steps) {
                    (step, message) if message == "Forward" => say(
                        &mut trace,
                        session.send(Forward(step)).await?,
                        &Forward(step),
                    ),
                    (step, message) if message == "Backward" => say(
                        &mut trace,
                        session.send(Backward(step)).await?,
                        &Backward(step),
                    ),
                    _ => {
                        let session = say(&mut trace, session.send(Await).await?, &Await);
                        match answer(&mut steps) {
                            (step, message) if message == "Forward" => say(
                                &mut trace,
                                session.send(Forward(step)).await?,
                                &Forward(step),
                            ),
                            (step, _) => {
                                let message = Backward(step);
                                say(&mut trace, session.send(message.clone()).await?, &message)
                            }
                        }
                    }
                }
            }
            Idle::Done(message, session) => {
                heard(&mut trace, &message, session).close();
                return Ok(trace);
            }
        };
        steps.next();
    }
}

fn say<Message: std::fmt::Debug, S>(
    trace: &mut Trace,
    next: Session<S>,
    message: &Message,
) -> Session<S> {
    trace.push(format!("{message:?}"));
    next
}

/// The names of a walk's messages.
fn names(walk: &[&Edge]) -> Vec<&'static str> {
    walk.iter().map(|edge| edge.message).collect()
}

/// Walks one after another, each a session.
async fn walk_all(here: &Connection, there: &Connection, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let path = walk(seed);
        let opened = here.open_session(Sync).await.expect("a session");
        let incoming = there.accept().await.expect("alive").expect("a session");
        let accepted = incoming.accept_session(Sync).expect("the same table");
        let (asked, answered) = join(client(opened, &path), server(accepted, &path)).await;
        let (asked, answered) = (asked.expect("a walk"), answered.expect("a walk"));
        assert_eq!(asked, answered, "seed {seed}");
        let words = |trace: &Trace| -> Vec<String> {
            let word = |line: &String| line.split('(').next().unwrap_or_default().to_owned();
            trace.iter().map(word).collect()
        };
        assert_eq!(words(&asked), names(&path), "seed {seed}");
    }
}

#[test]
fn walks_use_every_edge() {
    for edge in Sync::EDGES {
        let used = (0..100).any(|seed| walk(seed).contains(&edge));
        assert!(used, "{edge:?}");
    }
}

#[test]
fn both_ends_see_the_same_over_every_transport() {
    let plain = [Wire::Memory, Wire::Tcp, Wire::Unix, Wire::WebSocket];
    let secure = [Wire::Tls, Wire::WebSocketOverTls];
    let wires = plain.iter().chain(&secure);
    for wire in wires.take(if cfg!(feature = "tls") { 6 } else { 4 }) {
        On::AsyncStd.run(*wire, async |world| {
            let (here, there) = world.connected().await;
            walk_all(&here, &there, 0..30).await;
            walk_all(&there, &here, 30..60).await;
        });
    }
    On::Tokio.run(Wire::Tcp, async |world| {
        let (here, there) = world.connected().await;
        walk_all(&here, &there, 60..90).await;
    });
}

#[test]
fn both_ends_see_the_same_however_the_bytes_are_cut() {
    for capacity in [1, 2, 3, 7, 64] {
        let stage = Stage::default();
        let (here, there) = stage.pair(capacity, &Config::default());
        stage.run(walk_all(&here, &there, 0..10));
    }
    let stage = Stage::default();
    let (one, other) = pipe(4096);
    let here = stage.running(Trickle::new(one), Role::Dialer, &Config::default());
    let there = stage.running(Trickle::new(other), Role::Acceptor, &Config::default());
    stage.run(walk_all(&here, &there, 10..30));
}

#[test]
fn walks_side_by_side_do_not_disturb_each_other() {
    On::AsyncStd.run(Wire::Tcp, async |world| {
        let (here, there) = world.connected().await;
        // Each session is another walk: the server knows which, as they are accepted in order.
        let paths: Vec<_> = (100..200).map(walk).collect();
        let mut opened = Vec::new();
        for _ in &paths {
            opened.push(here.open_session(Sync).await.expect("a session"));
        }
        let clients = join_all(
            opened
                .into_iter()
                .zip(&paths)
                .map(|(session, path)| client(session, path)),
        );
        let servers = async {
            let mut accepted = Vec::new();
            for _ in &paths {
                let incoming = there.accept().await.expect("alive").expect("a session");
                accepted.push(incoming.accept_session(Sync).expect("the same table"));
            }
            // Last ones first: the order across channels is nobody's business.
            let both = accepted.into_iter().zip(&paths).rev();
            join_all(both.map(|(session, path)| server(session, path))).await
        };
        let (asked, mut answered) = join(clients, servers).await;
        answered.reverse();
        for (asked, answered) in asked.into_iter().zip(answered) {
            assert_eq!(asked.expect("a walk"), answered.expect("a walk"));
        }
    });
}
