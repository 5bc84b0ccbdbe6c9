//! How sessions begin, and who is refused.

use futures::future::{join, join_all};
use sessionwire::session::{Fault, Limits, Protocol as _, Server};
use sessionwire::{
    Channel, ChannelError, Code, Config, Connection, ConnectionError, Router, Session, SessionError,
};

use crate::protocols::once::{Answering, Asking, Double};
use crate::protocols::{Forward, Idle, Next, RequestNext, Sync};
use crate::support::KIB;
use crate::support::stage::Stage;

/// The same name with another table each.
mod others {
    pub(super) mod version {
        use sessionwire::protocol;
        protocol! {
            pub(crate) Double = "double" version 2;
            Asking: Client(secs(10), 16) { 7 Number: u64 => Answering }
            Answering: Server(secs(10), 16) { 7 Number: u64 => End }
        }
    }
    pub(super) mod tag {
        use sessionwire::protocol;
        protocol! {
            pub(crate) Double = "double" version 1;
            Asking: Client(secs(10), 16) { 8 Number: u64 => Answering }
            Answering: Server(secs(10), 16) { 7 Number: u64 => End }
        }
    }
    pub(super) mod turn {
        use sessionwire::protocol;
        protocol! {
            pub(crate) Double = "double" version 1;
            Asking: Client(secs(10), 16) { 7 Number: u64 => Answering }
            Answering: Client(secs(10), 16) { 7 Number: u64 => End }
        }
    }
    pub(super) mod next {
        use sessionwire::protocol;
        protocol! {
            pub(crate) Double = "double" version 1;
            Asking: Client(secs(10), 16) { 7 Number: u64 => Answering }
            Answering: Server(secs(10), 16) { 7 Number: u64 => End, 8 Again: () => Asking }
        }
    }
    pub(super) mod limits {
        use sessionwire::protocol;
        protocol! {
            pub(crate) Double = "double" version 1;
            Asking: Client(secs(99), 99) { 7 Number: u64 => Answering }
            Answering: Server(secs(99), 99) { 7 Number: u64 => End }
        }
    }
}

async fn double(session: Session<Asking<Server>>) -> Result<(), SessionError> {
    let Asking::Number(number, session) = session.recv().await?;
    session.send(number.wrapping_mul(2)).await?.close();
    Ok(())
}

async fn ask(connection: &Connection, number: u64) -> Result<u64, SessionError> {
    let session = connection.open_session(Double).await?.send(number).await?;
    let Answering::Number(answer, session) = session.recv().await?;
    session.close();
    Ok(answer)
}

fn served(stage: &Stage, router: Router) -> (Connection, Connection) {
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let serving = there.clone();
    stage.spawn(async move {
        // Its end is what the test looks at.
        let _ = router.serve(&serving).await;
    });
    (here, there)
}

#[test]
fn a_router_serves_several_protocols_and_plain_channels_side_by_side() {
    let stage = Stage::default();
    let next = |session: Session<Idle<Server>>| async move {
        let Idle::RequestNext(_, session) = session.recv().await? else {
            return Err(session_is_odd());
        };
        session.send(Forward(1)).await.map(drop)
    };
    let plain = |mut channel: Channel<u64, u64>| async move {
        while let Some(number) = channel.recv().await? {
            channel.send(&number).await?;
        }
        Ok::<(), ChannelError>(())
    };
    let router = Router::new()
        .on_session(Double, double)
        .on_session(Sync, next);
    let (here, _there) = served(&stage, router.on("plain/1", plain));
    let asked = stage.run(join_all((0..20).map(|number| ask(&here, number))));
    let answers: Result<Vec<u64>, _> = asked.into_iter().collect();
    assert_eq!(
        answers.expect("all answers"),
        (0..20).map(|number| 2 * number).collect::<Vec<_>>()
    );
    let both = async {
        let session = here.open_session(Sync).await?.send(RequestNext).await?;
        let Next::Forward(Forward(1), _) = session.recv().await? else {
            panic!("1 comes next");
        };
        let mut channel: Channel<u64, u64> = here.open("plain/1").await?;
        channel.send(&5).await?;
        Ok::<_, sessionwire::Error>(channel.recv().await?)
    };
    assert_eq!(stage.run(both).expect("both go"), Some(5));
}

fn session_is_odd() -> SessionError {
    SessionError::Finished { state: "Idle" }
}

#[test]
fn either_end_opens() {
    let stage = Stage::default();
    let (here, there) = served(&stage, Router::new().on_session(Double, double));
    let router = Router::new().on_session(Double, double);
    let serving = here.clone();
    stage.spawn(async move {
        let _ = router.serve(&serving).await;
    });
    let both = stage.run(join(ask(&here, 4), ask(&there, 5)));
    assert_eq!(
        (both.0.expect("an answer"), both.1.expect("an answer")),
        (8, 10)
    );
}

#[test]
fn another_table_of_the_same_name_is_refused_with_both_fingerprints() {
    let stage = Stage::default();
    let (here, _there) = served(&stage, Router::new().on_session(Double, double));
    let mut reasons = Vec::new();
    let own = format!("{:016x}", Double::TABLE.fingerprint);
    for theirs in [
        others::version::Double::TABLE,
        others::tag::Double::TABLE,
        others::turn::Double::TABLE,
        others::next::Double::TABLE,
    ] {
        assert_ne!(theirs.fingerprint, Double::TABLE.fingerprint);
        let mut channel = stage
            .run(here.open_raw(theirs.wire_name()))
            .expect("a channel");
        let error = stage.run(channel.recv()).expect_err("refused");
        let ChannelError::Refused {
            code: Code::OTHER_TABLE,
            reason,
        } = error
        else {
            panic!("{error}");
        };
        let theirs = format!("{:016x}", theirs.fingerprint);
        assert!(
            reason.contains(&own) && reason.contains(&theirs),
            "{reason}"
        );
        reasons.push(reason);
    }
    assert_eq!(reasons.len(), 4);
    assert!(
        ask(&here, 1).now(&stage).is_ok(),
        "the same table is served further"
    );
}

/// Runs a future on a stage.
trait Now: Future + Sized {
    fn now(self, stage: &Stage) -> Self::Output {
        stage.run(self)
    }
}
impl<F: Future> Now for F {}

#[test]
fn a_client_with_another_table_gets_a_typed_refusal() {
    let stage = Stage::default();
    let (here, _there) = served(&stage, Router::new().on_session(Double, double));
    let error = stage.run(async {
        let session = here
            .open_session(others::version::Double)
            .await
            .expect("asked");
        let session = session.send(4).await.expect("sent before the refusal");
        session.recv().await.expect_err("refused")
    });
    assert!(
        matches!(
            error,
            SessionError::Refused {
                code: Code::OTHER_TABLE,
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.is_retryable());
}

#[test]
fn deadlines_and_sizes_are_each_ends_own() {
    let limits = others::limits::Double::TABLE;
    assert_eq!(limits.fingerprint, Double::TABLE.fingerprint);
    assert_eq!(limits.wire_name(), Double::TABLE.wire_name());
}

#[test]
fn a_plain_channel_does_not_get_a_session_nor_a_session_a_plain_channel() {
    let stage = Stage::default();
    let plain = |mut channel: Channel<u64, u64>| async move {
        channel.recv().await?;
        Ok::<(), ChannelError>(())
    };
    let router = Router::new().on_session(Double, double).on("sync", plain);
    let (here, _there) = served(&stage, router);
    let mut channel: Channel<u64, u64> = stage.run(here.open("double")).expect("a channel");
    let error = stage.run(channel.recv()).expect_err("refused");
    assert!(
        matches!(&error, ChannelError::Refused { code: Code::UNKNOWN_PROTOCOL, reason } if reason.contains("sessions")),
        "{error}"
    );
    let session = stage.run(here.open_session(Sync)).expect("asked");
    let error = stage.run(session.send(RequestNext)).expect_err("refused");
    assert!(
        matches!(&error, SessionError::Refused { code: Code::UNKNOWN_PROTOCOL, reason } if reason.contains("sync#")),
        "{error}"
    );
}

#[test]
fn accepting_by_hand_refuses_the_same() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let cases = [
        (others::tag::Double::TABLE.wire_name(), Code::OTHER_TABLE),
        ("double", Code::UNKNOWN_PROTOCOL),
        (Sync::TABLE.wire_name(), Code::UNKNOWN_PROTOCOL),
    ];
    for (opened, expected) in cases {
        let mut channel = stage.run(here.open_raw(opened)).expect("a channel");
        let incoming = stage.run(there.accept()).expect("alive").expect("it");
        let error = incoming
            .accept_session(Double)
            .expect_err("another protocol");
        assert!(
            matches!(&error, SessionError::Aborted { code, .. } if *code == expected),
            "{error}"
        );
        let told = stage.run(channel.recv()).expect_err("refused");
        assert!(
            matches!(&told, ChannelError::Refused { code, .. } if *code == expected),
            "{told}"
        );
    }
}

#[test]
fn one_session_above_the_limit_is_refused_until_another_has_ended() {
    const MOST: usize = 3;
    let stage = Stage::default();
    let limits = Limits::default().sessions(MOST);
    let router = Router::new().on_session_with(Double, limits, double);
    let (here, _there) = served(
        &stage,
        router.on_session(
            Sync,
            |session| async move { session.recv().await.map(drop) },
        ),
    );
    let mut open = Vec::new();
    for _ in 0..MOST {
        open.push(stage.run(here.open_session(Double)).expect("a session"));
    }
    stage.settle();
    let error = ask(&here, 1).now(&stage).expect_err("one too many");
    assert!(
        matches!(
            error,
            SessionError::Refused {
                code: Code::REFUSED,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.is_retryable());
    // Another protocol has places of its own, and so has another connection.
    let other = stage.run(async { here.open_session(Sync).await?.send(RequestNext).await });
    assert!(other.is_ok());
    // However a session ends, its place is free then.
    drop(open.pop());
    stage.settle();
    assert_eq!(ask(&here, 2).now(&stage).expect("a place"), 4);
    assert_eq!(ask(&here, 3).now(&stage).expect("the place again"), 6);
}

#[test]
fn what_a_peer_may_queue_in_a_session_is_limited() {
    for (queued, most) in [(64 * KIB, 64 * KIB), (100 * KIB, 100 * KIB), (0, 64 * KIB)] {
        let stage = Stage::default();
        let limits = Limits::default().queued_bytes(queued);
        // A handler that never reads.
        let handler = |session: Session<Idle<Server>>| async move {
            std::future::pending::<()>().await;
            drop(session);
            Ok::<(), SessionError>(())
        };
        let router = Router::new().on_session_with(Sync, limits, handler);
        let (here, _there) = served(&stage, router);
        let name = Sync::TABLE.wire_name();
        let mut channel = stage.run(here.open_raw(name)).expect("a channel");
        stage.run(channel.accepted()).expect("to be accepted");
        let sends = stage.task(async move {
            loop {
                if let Err(error) = channel.send(vec![0; 1000 - 32].into()).await {
                    return error;
                }
            }
        });
        assert!(sends.output().is_none());
        let frames = here.statistics().frames_sent.data;
        let sent = usize::try_from(frames).expect("a few") * 1000;
        assert!(sent <= most && sent + 1000 > most, "{sent} of {most} went");
    }
}

#[test]
fn a_handlers_error_stays_in_its_session() {
    let stage = Stage::default();
    let fails = |session: Session<Asking<Server>>| async move {
        let Asking::Number(_, _session) = session.recv().await?;
        Err(Fault::from(std::io::Error::other("no arithmetic today")))
    };
    let router = Router::new().on_session(Double, fails);
    let (here, _there) = served(&stage, router);
    let error = ask(&here, 1).now(&stage).expect_err("the handler failed");
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
    assert!(stage.run(here.ping()).is_ok(), "the connection goes on");
}

#[test]
fn a_handlers_fault_may_end_the_connection() {
    let stage = Stage::default();
    let code = Code::application(9);
    let fails = move |session: Session<Asking<Server>>| async move {
        let Asking::Number(_, _session) = session.recv().await?;
        let error = std::io::Error::other("a forged number");
        Err(Fault::from(error).ending_connection(code))
    };
    let router = Router::new().on_session(Double, fails);
    let (here, _there) = served(&stage, router);
    let _ = ask(&here, 1).now(&stage).expect_err("the handler failed");
    let error = stage.run(here.closed());
    assert!(
        matches!(&error, ConnectionError::ClosedByPeer { code: known, reason }
            if *known == code && &**reason == "a forged number"),
        "{error}"
    );
}

#[test]
fn opening_on_a_connection_that_is_over_says_so() {
    let stage = Stage::default();
    let (here, _there) = served(&stage, Router::new());
    here.close(Code::NONE, "");
    stage.settle();
    let error = ask(&here, 1).now(&stage).expect_err("it is over");
    assert!(matches!(error, SessionError::Connection(_)), "{error}");
}
