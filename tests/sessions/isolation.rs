//! A thousand sessions on one connection, one in a hundred of which misbehaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use sessionwire::session::{Limits, Protocol as _, Server};
use sessionwire::{ChannelError, Code, Config, Connection, Router, Session, SessionError};

use crate::protocols::{Done, Find, Forward, Found, Idle, Next, NotFound, RequestNext, Sync};
use crate::support::KIB;
use crate::support::stage::Stage;

const SESSIONS: usize = 1000;

async fn produce(mut session: Session<Idle<Server>>) -> Result<(), SessionError> {
    let mut at = 0;
    loop {
        session = match session.recv().await? {
            Idle::Find(Find(points), next) => match points.first() {
                Some(point) => {
                    at = *point;
                    next.send(Found(at)).await?
                }
                None => next.send(NotFound).await?,
            },
            Idle::RequestNext(_, next) => {
                at += 1;
                next.send(Forward(at)).await?
            }
            Idle::Done(_, next) => {
                next.close();
                return Ok(());
            }
        };
    }
}

async fn behave(connection: &Connection, from: u64) -> Result<u64, SessionError> {
    let session = connection.open_session(Sync).await?;
    let session = session.send(Find(vec![from])).await?;
    let crate::protocols::Asked::Found(Found(mut at), mut session) = session.recv().await? else {
        panic!("every point is there");
    };
    for _ in 0..5 {
        let Next::Forward(Forward(next), idle) = session.send(RequestNext).await?.recv().await?
        else {
            panic!("there is always a next");
        };
        assert_eq!(next, at + 1);
        (at, session) = (next, idle);
    }
    session.send(Done).await?.close();
    Ok(at)
}

/// What is wrong with the session of that number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Message,
    Oversized,
    Silent,
    Dropped,
    Aborted,
}

const KINDS: [Wrong; 5] = [
    Wrong::Message,
    Wrong::Oversized,
    Wrong::Silent,
    Wrong::Dropped,
    Wrong::Aborted,
];

/// Answers what the server said of it.
async fn misbehave(connection: &Connection, wrong: Wrong) -> Option<Code> {
    let name = Sync::TABLE.wire_name();
    let mut channel = connection.open_raw(name).await.expect("a channel");
    let message = match wrong {
        Wrong::Message => Bytes::from_static(&[99]),
        Wrong::Oversized => vec![0; 100 * KIB].into(),
        Wrong::Silent => Bytes::from_static(&[1]),
        Wrong::Dropped => return None,
        Wrong::Aborted => {
            channel.reset(Code::ABORTED, "changed my mind");
            return None;
        }
    };
    channel
        .send(message)
        .await
        .expect("a raw channel sends anything");
    loop {
        match channel.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a fault is no clean end"),
            Err(ChannelError::ResetByPeer { code, .. }) => return Some(code),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn all_others_finish_with_their_results() {
    let stage = Stage::default();
    let config = Config::default()
        .max_channels(SESSIONS)
        .accept_backlog(SESSIONS);
    let (here, there) = stage.pair(64 * KIB, &config);
    let failed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failed);
    let handler = move |session| {
        let failed = Arc::clone(&counted);
        async move {
            let produced = produce(session).await;
            failed.fetch_add(usize::from(produced.is_err()), Ordering::SeqCst);
            produced
        }
    };
    let router = Router::new();
    let router = router.on_session_with(Sync, Limits::default().sessions(SESSIONS), handler);
    let serving = there.clone();
    stage.spawn(async move {
        let _ = router.serve(&serving).await;
    });

    let connection = here.clone();
    let wrong: Vec<_> = (0..SESSIONS / 100)
        .map(|number| {
            let (connection, kind) = (connection.clone(), KINDS[number % KINDS.len()]);
            (
                kind,
                stage.task(async move { misbehave(&connection, kind).await }),
            )
        })
        .collect();
    let results = stage.run(join_all(
        (0..SESSIONS - wrong.len()).map(|from| behave(&here, from as u64 * 10)),
    ));
    for (from, result) in results.into_iter().enumerate() {
        assert_eq!(result.expect("a whole session"), from as u64 * 10 + 5);
    }
    // The silent ones are given up by then.
    stage.advance(Duration::from_secs(61));
    for (kind, ended) in &wrong {
        let told = ended.output().expect("it is over");
        let expected = match kind {
            Wrong::Message => Some(Code::UNEXPECTED),
            Wrong::Oversized => Some(Code::TOO_LARGE),
            Wrong::Silent => Some(Code::TIMED_OUT),
            Wrong::Dropped | Wrong::Aborted => None,
        };
        assert_eq!(told, expected, "{kind:?}");
    }
    stage.settle();
    // Those dropped or aborted at once may never have reached a handler.
    let failed = failed.load(Ordering::SeqCst);
    assert!((6..=10).contains(&failed), "{failed} handlers failed");
    assert_eq!(here.statistics().open_channels, 0);
    assert_eq!(there.statistics().open_channels, 0);
    assert!(stage.run(here.ping()).is_ok(), "the connection goes on");
}
