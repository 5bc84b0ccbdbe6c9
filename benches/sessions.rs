//! What a session costs beside a plain channel: nanoseconds for a request and its answer, allocations
//! of both ends for one, and whole sessions per second.
//!
//! `cargo bench --bench sessions`

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::join;
use serde::{Deserialize, Serialize};
use sessionwire::session::{Client, Limits, Server};
use sessionwire::{Channel, Connection, Error, Router, Session, SessionError, protocol};

#[derive(Serialize, Deserialize)]
struct Ask(u64, #[serde(with = "serde_bytes")] Vec<u8>);
#[derive(Serialize, Deserialize)]
struct Answer(u64, #[serde(with = "serde_bytes")] Vec<u8>);
#[derive(Serialize, Deserialize)]
struct Done;

protocol! {
    Asking = "asking" version 1;
    Idle: Client(secs(60), 64 * KIB) { 0 Ask => Asked, 1 Done => End }
    Asked: Server(secs(10), 64 * KIB) { 0 Answer => Idle }
}

/// What a request or an answer carries besides its number, in bytes.
const PAYLOAD: usize = 64;
const ROUNDS: usize = 31;
const STEPS: u32 = 2_000;

fn main() -> Result<(), Error> {
    let mut pair = block_on(Pair::new())?;
    let (mut ratios, mut best) = (Vec::new(), [f64::INFINITY; 2]);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        block_on(pair.by_session(STEPS))?;
        let by_session = nanoseconds(start, STEPS);
        let start = Instant::now();
        block_on(pair.by_channel(STEPS))?;
        let by_channel = nanoseconds(start, STEPS);
        ratios.push(by_session / by_channel);
        best = [best[0].min(by_session), best[1].min(by_channel)];
    }
    ratios.sort_by(f64::total_cmp);
    let [by_session, by_channel] = best;
    println!("a request and its answer of {PAYLOAD} bytes, over memory, one thread");
    println!("  session {by_session:>8.0} ns, plain channel {by_channel:>8.0} ns");
    let median = ratios[ROUNDS / 2];
    println!("  median ratio of {ROUNDS} rounds {median:.3} (at most 1.15)");

    let by_session = allocations(|| block_on(pair.by_session(STEPS)).expect("an answer"));
    let by_channel = allocations(|| block_on(pair.by_channel(STEPS)).expect("an answer"));
    println!("  allocations of both ends: session {by_session:.2}, plain channel {by_channel:.2}");

    println!("sessions opened, used for one request and answer, closed, over memory");
    for at_once in [1, 64] {
        let per_second = block_on(open_and_close(at_once))?;
        println!("  {at_once:>2} at once {per_second:>10.0} a second");
    }
    Ok(())
}

/// A session and a plain channel of one connection, both ends of each.
struct Pair {
    asking: Option<Session<Idle<Client>>>,
    answering: Option<Session<Idle<Server>>>,
    plain: (Channel<Ask, Answer>, Channel<Answer, Ask>),
    _ends: (Connection, Connection),
}

impl Pair {
    async fn new() -> Result<Self, Error> {
        let (here, there) = Connection::pair();
        let asking = here.open_session(Asking).await?;
        let answering = there.accept().await?.expect("a session");
        let answering = answering.accept_session(Asking)?;
        let one: Channel<Ask, Answer> = here.open("plain").await?;
        let other = there.accept().await?.expect("a channel").accept();
        Ok(Self {
            asking: Some(asking),
            answering: Some(answering),
            plain: (one, other),
            _ends: (here, there),
        })
    }

    async fn by_session(&mut self, steps: u32) -> Result<(), Error> {
        let asking = self.asking.take().expect("a session is given back");
        let answering = self.answering.take().expect("a session is given back");
        let (asked, answered) = join(ask(asking, steps), answer(answering, steps)).await;
        self.asking = Some(asked?);
        self.answering = Some(answered?);
        Ok(())
    }

    async fn by_channel(&mut self, steps: u32) -> Result<(), Error> {
        let (one, other) = &mut self.plain;
        let (asked, answered) = join(ask_plainly(one, steps), answer_plainly(other, steps)).await;
        asked.and(answered)
    }
}

fn nanoseconds(since: Instant, steps: u32) -> f64 {
    since.elapsed().as_secs_f64() * 1e9 / f64::from(steps)
}

/// Allocations for one request and answer, those of other threads not counted.
fn allocations(act: impl FnOnce()) -> f64 {
    let counted = allocation_counter::measure(act);
    u32::try_from(counted.count_total).map_or(f64::NAN, f64::from) / f64::from(STEPS)
}

fn payload() -> Vec<u8> {
    vec![7; PAYLOAD]
}

async fn ask(
    mut session: Session<Idle<Client>>,
    steps: u32,
) -> Result<Session<Idle<Client>>, SessionError> {
    for step in 0..u64::from(steps) {
        let Asked::Answer(Answer(number, _), next) =
            session.send(Ask(step, payload())).await?.recv().await?;
        assert_eq!(number, step);
        session = next;
    }
    Ok(session)
}

async fn answer(
    mut session: Session<Idle<Server>>,
    steps: u32,
) -> Result<Session<Idle<Server>>, SessionError> {
    for _ in 0..steps {
        let Idle::Ask(Ask(number, payload), next) = session.recv().await? else {
            panic!("it only asks");
        };
        session = next.send(Answer(number, payload)).await?;
    }
    Ok(session)
}

async fn ask_plainly(channel: &mut Channel<Ask, Answer>, steps: u32) -> Result<(), Error> {
    for step in 0..u64::from(steps) {
        channel.send(&Ask(step, payload())).await?;
        let Answer(number, _) = channel.recv().await?.expect("an answer");
        assert_eq!(number, step);
    }
    Ok(())
}

async fn answer_plainly(channel: &mut Channel<Answer, Ask>, steps: u32) -> Result<(), Error> {
    for _ in 0..steps {
        let Ask(number, payload) = channel.recv().await?.expect("a request");
        channel.send(&Answer(number, payload)).await?;
    }
    Ok(())
}

async fn serve(mut session: Session<Idle<Server>>) -> Result<(), SessionError> {
    loop {
        session = match session.recv().await? {
            Idle::Ask(Ask(number, payload), next) => next.send(Answer(number, payload)).await?,
            Idle::Done(Done, next) => {
                next.close();
                return Ok(());
            }
        }
    }
}

async fn open_and_close(at_once: usize) -> Result<f64, Error> {
    let (connection, there) = Connection::pair();
    let router = Router::new().on_session_with(Asking, Limits::default().sessions(256), serve);
    async_std::task::spawn(async move { router.serve(&there).await });
    let start = Instant::now();
    let until = start + Duration::from_millis(500);
    let connection = &connection;
    let work = (0..at_once).map(|_| async move {
        let mut count = 0.0;
        while Instant::now() < until {
            let session = connection.open_session(Asking).await?;
            let session = session.send(Ask(1, payload())).await?;
            let Asked::Answer(_, session) = session.recv().await?;
            session.send(Done).await?.close();
            count += 1.0;
        }
        Ok::<f64, Error>(count)
    });
    let counts = futures::future::try_join_all(work).await?;
    Ok(counts.iter().sum::<f64>() / start.elapsed().as_secs_f64())
}
