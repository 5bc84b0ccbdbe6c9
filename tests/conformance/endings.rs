//! How connections end, and what each end is told.

use std::io::ErrorKind;
use std::time::Duration;

use futures::future::{FutureExt, join};
use sessionwire::mux::Timeout;
use sessionwire::{ChannelError, Code, ConnectionError, OpenError};

use crate::support::world::World;
use crate::support::{KIB, assert_same, channel, pattern};

/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);

fn is_a_drain_cut(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::TimedOut(Timeout::Drain))
}

pub(crate) async fn a_drain_lets_finished_channels_complete(world: World) {
    let (here, there, drivers) = world.overseen().await;
    let (mut one, mut other) = channel(&here, &there).await;
    let sends = world.spawn(async move {
        for seed in 0..20 {
            other.send(pattern(60 * KIB, seed)).await.expect("to send");
        }
        other.finish();
    });
    one.finish();
    let receive = async {
        for seed in 0..20 {
            let heard = one.recv().await.expect("to receive");
            assert_same(&heard.expect("a message"), &pattern(60 * KIB, seed));
        }
        assert_eq!(one.recv().await.expect("an end"), None);
    };
    let (drained, ()) = join(here.drain(LONG), receive).await;
    drained.expect("a gentle end");
    sends.await;
    let [here, there] = drivers;
    here.await.expect("a gentle end");
    there.await.expect("a gentle end");
}

pub(crate) async fn a_drain_cuts_what_is_still_open(world: World) {
    let (here, there, drivers) = world.overseen().await;
    let (mut one, mut other) = channel(&here, &there).await;
    let error = here.drain(Duration::ZERO).await.expect_err("a cut");
    assert!(is_a_drain_cut(&error), "{error}");
    let error = one.recv().await.expect_err("a cut");
    assert!(
        matches!(&error, ChannelError::Connection(error) if is_a_drain_cut(error)),
        "{error}"
    );
    let error = other.recv().await.expect_err("a cut");
    assert!(
        matches!(&error, ChannelError::Connection(ConnectionError::ClosedByPeer { code, .. })
            if *code == Code::TIMED_OUT),
        "{error}"
    );
    for driver in drivers {
        driver.await.expect_err("a cut");
    }
}

pub(crate) async fn nobody_opens_while_draining(world: World) {
    let (here, there) = world.connected().await;
    let (mut one, mut other) = channel(&here, &there).await;
    assert!(
        here.drain(LONG).now_or_never().is_none(),
        "a channel is open"
    );
    let error = here.open_raw("test/1").await.expect_err("it drains");
    assert!(matches!(error, OpenError::Draining), "{error}");
    // A message behind the news, so that they have come.
    one.send("after the news".into()).await.expect("to send");
    other.recv().await.expect("to receive");
    let error = there.open_raw("test/1").await.expect_err("it drains");
    assert!(matches!(error, OpenError::Draining), "{error}");
    one.finish();
    other.finish();
    let (one, other) = join(here.closed(), there.closed()).await;
    assert!(one.is_clean() && other.is_clean(), "{one}, {other}");
    assert!(there.accept().await.expect("a gentle end").is_none());
}

pub(crate) async fn a_goodbye_reaches_the_peer(world: World) {
    let (here, there, drivers) = world.overseen().await;
    let (mut one, mut other) = channel(&here, &there).await;
    // Much is on its way in both directions, and must not bury the goodbye.
    for seed in 0..4 {
        one.send(pattern(60 * KIB, seed)).await.expect("to send");
        other.send(pattern(60 * KIB, seed)).await.expect("to send");
    }
    here.close(Code::application(9), "lunch");
    let error = there.closed().await;
    assert!(
        matches!(&error, ConnectionError::ClosedByPeer { code, reason }
            if *code == Code::application(9) && &**reason == "lunch"),
        "{error}"
    );
    let error = here.closed().await;
    assert!(
        matches!(&error, ConnectionError::ClosedHere { .. }),
        "{error}"
    );
    let error = there.accept().await.expect_err("it is closed");
    assert!(error.to_string().contains("lunch"), "{error}");
    let error = there.open_raw("test/1").await.expect_err("it is closed");
    assert!(matches!(error, OpenError::Connection(_)), "{error}");
    let error = there.ping().await.expect_err("it is closed");
    assert!(
        matches!(error, ConnectionError::ClosedByPeer { .. }),
        "{error}"
    );
    let error = loop {
        // What came before the goodbye can still be read.
        match other.recv().await {
            Ok(message) => assert_eq!(message.expect("no end").len(), 60 * KIB),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ChannelError::Connection(_)), "{error}");
    for driver in drivers {
        driver.await.expect_err("the code was not NONE");
    }
}

pub(crate) async fn dropping_everything_ends_both_ends_well(world: World) {
    let (here, there, drivers) = world.overseen().await;
    let (one, other) = channel(&here, &there).await;
    drop((here.clone(), one, here, there, other));
    for driver in drivers {
        driver.await.expect("an end that both wanted");
    }
}

pub(crate) async fn what_was_finished_arrives_though_everything_was_dropped(world: World) {
    let (here, there, drivers) = world.overseen().await;
    let (mut one, mut other) = channel(&here, &there).await;
    one.send(pattern(200 * KIB, 1)).await.expect("to send");
    one.finish();
    other.finish();
    drop((one, here, there));
    // The receiver of the dropped channel reads no more, its sender still arrives.
    let heard = other.recv().await.expect("to receive");
    assert_same(&heard.expect("a message"), &pattern(200 * KIB, 1));
    assert_eq!(other.recv().await.expect("an end"), None);
    drop(other);
    for driver in drivers {
        driver.await.expect("an end that both wanted");
    }
}

/// The bytes stop without a goodbye; how exactly depends on the wire.
fn is_cut(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Io(error) if matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            // What ws_stream_tungstenite says of a write after the end.
            | ErrorKind::NotConnected
    ))
}

pub(crate) async fn a_dropped_driver_is_reported_at_both_ends(world: World) {
    let ((here, driver), (there, other_driver)) = world.ends(sessionwire::Config::default()).await;
    let outcome = world.spawn(other_driver);
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let runs = world.spawn(async { drop(futures::future::select(driver, stopped).await) });
    let (mut one, mut other) = channel(&here, &there).await;
    stop.send(()).expect("to be heard");
    runs.await;
    let error = here.closed().await;
    assert!(matches!(error, ConnectionError::DriverDropped), "{error}");
    let error = one
        .send("lost".into())
        .await
        .expect_err("nobody sends")
        .error;
    assert!(
        matches!(
            error,
            ChannelError::Connection(ConnectionError::DriverDropped)
        ),
        "{error}"
    );
    for error in [
        here.ping().await.expect_err("nobody asks"),
        here.accept().await.map(drop).expect_err("nobody reads"),
    ] {
        assert!(matches!(error, ConnectionError::DriverDropped), "{error}");
    }
    let error = other.recv().await.expect_err("the peer is gone");
    assert!(
        matches!(&error, ChannelError::Connection(error) if is_cut(error)),
        "{error:?}"
    );
    let error = outcome.await.expect_err("the peer is gone");
    assert!(is_cut(&error), "{error:?}");
    assert!(is_cut(&there.closed().await));
}
