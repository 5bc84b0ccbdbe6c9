//! What a connection says and counts of itself.

use futures::future::join_all;
use sessionwire::{ChannelError, Code, Config, Router};

use crate::support::world::World;
use crate::support::{KIB, channel, echo, pattern};

pub(crate) async fn an_unknown_protocol_is_refused_by_name(world: World) {
    let (here, there) = world.connected().await;
    let router = Router::new().on_raw("echo/1", echo);
    let served = world.spawn(async move { router.serve(&there).await });
    let mut known = here.open_raw("echo/1").await.expect("a channel");
    let mut unknown = here.open_raw("no-echo/7").await.expect("a channel");
    let error = unknown.accepted().await.expect_err("nobody speaks it");
    assert!(
        matches!(&error, ChannelError::Refused { code, .. } if *code == Code::UNKNOWN_PROTOCOL),
        "{error}"
    );
    let text = unknown
        .recv()
        .await
        .expect_err("nobody speaks it")
        .to_string();
    assert!(
        text.contains("unknown protocol") && text.contains("no-echo/7"),
        "{text}"
    );
    known.accepted().await.expect("to be accepted");
    known.send("hello".into()).await.expect("to send");
    let heard = known.recv().await.expect("to receive");
    assert_eq!(heard.as_deref(), Some(&b"hello"[..]));
    here.close(Code::NONE, "");
    served.await.expect("the router to end well");
}

pub(crate) async fn a_refusal_carries_its_reason(world: World) {
    let (here, there) = world.connected().await;
    let refused = here.open_raw("members-only/1").await.expect("a channel");
    let incoming = there
        .accept()
        .await
        .expect("a living connection")
        .expect("a channel");
    assert_eq!(incoming.protocol(), "members-only/1");
    incoming.refuse(Code::application(3), "not you");
    let error = refused.accepted().await.expect_err("to be refused");
    assert!(
        matches!(&error, ChannelError::Refused { code, reason }
            if code.as_application() == Some(3) && &**reason == "not you"),
        "{error}"
    );
    assert!(!error.is_retryable());

    let ignored = here.open_raw("members-only/1").await.expect("a channel");
    drop(there.accept().await.expect("a living connection"));
    let error = ignored.accepted().await.expect_err("to be refused");
    assert!(error.is_retryable(), "{error}");
}

pub(crate) async fn a_ping_is_answered(world: World) {
    const PINGS_BY_ITSELF: usize = 8;
    let (here, there) = world.connected().await;
    let times = join_all([here.ping(), here.ping(), there.ping(), here.ping()]).await;
    assert!(times.iter().all(Result::is_ok), "{times:?}");
    // A new connection pings by itself too: behind those, what was measured last stays the last.
    for _ in 0..PINGS_BY_ITSELF {
        here.ping().await.expect("an answer");
    }
    let last = here.ping().await.expect("an answer");
    let round_trip = here.statistics().round_trip.expect("a measurement");
    assert_eq!(round_trip.last, last);
    assert!(round_trip.min <= last);
}

pub(crate) async fn statistics_of_both_ends_agree(world: World) {
    const MESSAGES: usize = 30;
    let (here, there) = world.connected().await;
    let (mut one, other) = channel(&here, &there).await;
    let echo = world.spawn(echo(other));
    for seed in 0..MESSAGES {
        one.send(pattern(10 * KIB, seed)).await.expect("to send");
        one.recv().await.expect("to receive").expect("an answer");
    }
    let beside = channel(&here, &there).await;
    assert_eq!(here.statistics().open_channels, 2);
    drop(beside);
    one.finish();
    assert_eq!(one.recv().await.expect("an end"), None);
    echo.await.expect("to echo");
    drop(one);
    // Whatever was sent before a ping has come when its answer has.
    here.ping().await.expect("an answer");
    there.ping().await.expect("an answer");
    let (mine, theirs) = (here.statistics(), there.statistics());
    for (sends, receives) in [(&mine, &theirs), (&theirs, &mine)] {
        assert_eq!(sends.messages_sent, MESSAGES as u64);
        assert_eq!(receives.messages_received, MESSAGES as u64);
        let (sent, received) = (sends.frames_sent, receives.frames_received);
        assert_eq!((sent.data, sent.open), (received.data, received.open));
        assert_eq!(
            (sent.accept, sent.credit),
            (received.accept, received.credit)
        );
        assert_eq!((sent.reset, sent.stop), (received.reset, received.stop));
        assert!(receives.bytes_received >= (MESSAGES * 10 * KIB) as u64);
        assert!(sends.bytes_sent >= (MESSAGES * 10 * KIB) as u64);
        assert!(
            sends.writes >= MESSAGES as u64,
            "every answer waits for its question"
        );
        assert_eq!((sends.open_channels, sends.peak_channels), (0, 2));
        assert_eq!((sends.send_queued, sends.receive_borrowed), (0, 0));
        assert_eq!(sends.refused, 0);
    }
    assert_eq!((mine.frames_sent.open, theirs.frames_sent.accept), (2, 2));
}

pub(crate) async fn more_channels_than_places_wait_their_turn(world: World) {
    const PLACES: usize = 16;
    let config = Config::default().max_channels(PLACES);
    let (here, there) = world.connected_with(config).await;
    let router = Router::new().on_raw("echo/1", echo);
    let watched = there.clone();
    drop(world.spawn(async move { router.serve(&there).await }));
    let talks = (0..5 * PLACES).map(async |seed| {
        let mut channel = here.open_raw("echo/1").await.expect("a place in the end");
        channel.send(pattern(100, seed)).await.expect("to send");
        let heard = channel.recv().await.expect("to receive");
        assert_eq!(heard, Some(pattern(100, seed)));
        channel.finish();
        assert_eq!(channel.recv().await.expect("an end"), None);
    });
    join_all(talks).await;
    for connection in [&here, &watched] {
        let statistics = connection.statistics();
        assert!(statistics.peak_channels <= PLACES, "{statistics:?}");
        assert_eq!(statistics.refused, 0);
    }
}
