//! Who waits is woken, and what was sent arrives, when one end stops.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, join, select};
use sessionwire::transport::pipe;
use sessionwire::{ChannelError, Code, Config, ConnectionError, OpenError, Role};

use super::support::stage::Stage;
use super::support::transports::Trickle;
use super::support::wire;
use super::support::{KIB, assert_same, channel, pattern};
use super::{LONG, fill, send_all};

#[test]
fn a_waiting_writer_is_woken_by_a_stop() {
    let stage = Stage::default();
    let (here, there) = stage.pair(10 * KIB, &Config::default());
    let (one, other) = stage.run(channel(&here, &there));
    let (sender, _hears) = one.split();
    let (_sends, receiver) = other.split();
    let fills = stage.task(fill(sender));
    assert!(fills.output().is_none(), "it waits");
    receiver.stop(Code::application(5));
    stage.settle();
    let error = fills.output().expect("to be woken");
    assert!(
        matches!(error, ChannelError::Stopped(code) if code == Code::application(5)),
        "{error}"
    );
}

#[test]
fn a_waiting_writer_is_woken_when_the_peer_drops_its_channel_or_all() {
    for (finishes, all) in [(false, false), (true, false), (false, true), (true, true)] {
        let stage = Stage::default();
        let (here, there) = stage.pair(10 * KIB, &Config::default());
        let (one, mut other) = stage.run(channel(&here, &there));
        let (sender, _hears) = one.split();
        let fills = stage.task(fill(sender));
        assert!(fills.output().is_none(), "it waits");
        if finishes {
            other.finish();
        }
        drop(other);
        let _there = (!all).then_some(there);
        stage.settle();
        let error = fills.output().expect("to be woken");
        let expected = match &error {
            ChannelError::ResetByPeer { code, .. } => !finishes && *code == Code::CANCELLED,
            ChannelError::Stopped(code) => finishes && *code == Code::CANCELLED,
            _ => false,
        };
        assert!(expected, "finishes {finishes}, all {all}: {error}");
    }
}

/// Nothing can be written any more, so that nothing but the news itself can wake it.
#[test]
fn a_waiting_writer_is_woken_by_news_from_a_peer_that_reads_nothing() {
    for (news, is_expected) in [
        (
            wire::stop(2),
            (|error| matches!(error, ChannelError::Stopped(_))) as fn(&_) -> bool,
        ),
        (wire::reset(2), |error| {
            matches!(error, ChannelError::ResetByPeer { .. })
        }),
        (wire::go_away(0, 0, b""), |error| {
            matches!(error, ChannelError::Refused { .. })
        }),
        (wire::go_away(2, 1, b""), |error| {
            matches!(error, ChannelError::Connection(_))
        }),
    ] {
        let stage = Stage::default();
        let (connection, mut peer) = stage.faced(&Config::default());
        // Only going away is heeded by a channel that waits to be accepted.
        peer.say(&wire::hello());
        let opened = stage.run(connection.open_raw("test/1")).expect("a channel");
        stage.settle();
        if news[4] != 8 {
            peer.say(&wire::accept(2, 1 << 20));
        }
        let (sender, _hears) = opened.split();
        let fills = stage.task(fill(sender));
        assert!(fills.output().is_none(), "it waits");
        peer.say(&news);
        let error = fills.output().expect("to be woken");
        assert!(is_expected(&error), "{error}");
    }
}

#[test]
fn a_waiting_writer_and_a_waiting_reader_are_woken_when_the_driver_is_dropped() {
    let stage = Stage::default();
    let (one, other) = pipe(10 * KIB);
    let (here, mut driver) = stage.end(one, Role::Dialer, &Config::default());
    let there = stage.running(other, Role::Acceptor, &Config::default());
    let (one, _other) = stage.run(async {
        match select(&mut driver, pin!(channel(&here, &there))).await {
            Either::Right((channel, _)) => channel,
            Either::Left((ended, _)) => panic!("{ended:?}"),
        }
    });
    let (sender, mut receiver) = one.split();
    let reads = stage.task(async move { receiver.recv().await.expect_err("nobody drives") });
    let fills = stage.task(fill(sender));
    assert!(
        reads.output().is_none() && fills.output().is_none(),
        "both wait"
    );
    drop(driver);
    stage.settle();
    for error in [reads.output(), fills.output()] {
        let error = error.expect("to be woken");
        assert!(
            matches!(
                error,
                ChannelError::Connection(ConnectionError::DriverDropped)
            ),
            "{error}"
        );
    }
}

#[test]
fn a_sender_dropped_without_finish_resets_and_keeps_what_came_before_readable() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let (one, mut other) = channel(&here, &there).await;
        let (mut sender, mut receiver) = one.split();
        sender.send("before".into()).await.expect("to send");
        sender.flush().await.expect("to flush");
        there.ping().await.expect("an answer");
        drop(sender);
        let heard = other.recv().await.expect("to receive");
        assert_eq!(heard.as_deref(), Some(&b"before"[..]));
        let error = other.recv().await.expect_err("it is reset");
        assert!(
            matches!(&error, ChannelError::ResetByPeer { code, .. } if *code == Code::CANCELLED),
            "{error}"
        );
        let error = receiver.recv().await.expect_err("both ways");
        assert!(matches!(error, ChannelError::ResetHere { .. }), "{error}");
    });
}

#[test]
fn an_open_that_waits_for_a_place_learns_of_a_drain() {
    for peer_drains in [false, true] {
        let stage = Stage::default();
        let config = Config::default().max_channels(16);
        let (here, there) = stage.pair(64 * KIB, &config);
        stage.run(async {
            let mut open = Vec::new();
            for _ in 0..16 {
                open.push(channel(&here, &there).await);
            }
            let mut waits = Box::pin(here.open_raw("test/1"));
            assert!(stage.run_until_stalled(waits.as_mut()).is_pending());
            let drains = if peer_drains { &there } else { &here };
            assert!(drains.drain(LONG).now_or_never().is_none());
            let error = waits.await.expect_err("it drains");
            assert!(matches!(error, OpenError::Draining), "{error}");
        });
    }
}

/// The peer, with nothing left to do, goes as soon as it has sent its last byte: long before that
/// was read here, where credit for what was read is still being sent.
#[test]
fn the_last_messages_outlive_the_peer_that_sent_them() {
    let stage = Stage::default();
    let (one, other) = pipe(512 * KIB);
    let here = stage.running(Trickle::new(one), Role::Dialer, &Config::default());
    let there = stage.running(other, Role::Acceptor, &Config::default());
    let lengths = std::iter::repeat_n(10 * KIB, 50);
    let (mut one, other) = stage.run(channel(&here, &there));
    one.finish();
    assert!(here.drain(LONG).now_or_never().is_none());
    let (sender, receiver) = other.split();
    stage.spawn(send_all(sender, lengths.clone()));
    stage.spawn(async move {
        for (seed, length) in lengths.enumerate() {
            let heard = one.recv().await.expect("to receive");
            assert_same(&heard.expect("a message"), &pattern(length, seed));
        }
        assert_eq!(one.recv().await.expect("an end"), None);
    });
    stage.run(async {
        let (here, there) = join(here.closed(), there.closed()).await;
        assert!(here.is_clean() && there.is_clean(), "{here}, {there}");
    });
    drop(receiver);
}

#[test]
fn times_without_end_are_no_panic() {
    let stage = Stage::default();
    let never = Duration::MAX;
    let config = Config::default()
        .hello_timeout(never)
        .ping_interval(never)
        .idle_timeout(never)
        .write_timeout(never)
        .close_timeout(never);
    let (here, there) = stage.pair(64 * KIB, &config);
    stage.run(async {
        let (one, other) = channel(&here, &there).await;
        let (one, _hears) = one.split();
        let mut stuffs = Box::pin(fill(one));
        assert!(stage.run_until_stalled(stuffs.as_mut()).is_pending());
        let mut drains = Box::pin(here.drain(never));
        assert!(stage.run_until_stalled(drains.as_mut()).is_pending());
        drop(other);
        assert!(matches!(stuffs.await, ChannelError::ResetByPeer { .. }));
        drains.await.expect("a gentle end");
        assert!(matches!(
            there.closed().await,
            ConnectionError::ClosedByPeer { .. }
        ));
    });
}

#[test]
fn a_connection_is_closed_once_its_goodbye_has_left_and_the_transport_is_closed() {
    let stage = Stage::default();
    let (connection, mut peer) = stage.faced(&Config::default());
    assert!(peer.say(&wire::hello()));
    let closes = stage.task({
        let connection = connection.clone();
        async move { connection.closed().await }
    });
    connection.close(Code::application(9), "bye");
    stage.settle();
    assert!(closes.output().is_none(), "the peer has not answered");
    assert_eq!(
        peer.goodbye(),
        Some((Code::application(9).number(), "bye".to_owned()))
    );
    stage.advance(Duration::from_secs(5));
    let error = closes.output().expect("to be closed");
    assert!(
        matches!(error, ConnectionError::ClosedHere { .. }),
        "{error}"
    );
}
