//! Channels under pressure: nothing deadlocks, nobody is forgotten, memory stays bounded.
//!
//! Most of these run on the test's own thread under a clock that stands still, so that whoever is
//! not woken fails the test at once.
#![cfg(all(
    feature = "async-std",
    feature = "smol",
    feature = "tokio",
    feature = "websocket"
))]

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, join_all, join3};
use futures::{FutureExt, SinkExt};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sessionwire::mux::{RawChannel, RawReceiver, RawSender};
use sessionwire::transport::pipe;
use sessionwire::{
    Channel, ChannelError, Code, Config, Connection, ConnectionError, OpenError, Priority, Role,
};

mod support;

use support::stage::Stage;
use support::transports::{Gated, Trickle};
use support::world::{On, Wire};
use support::{KIB, MIB, assert_same, channel, pattern};

const LONG: Duration = Duration::from_secs(600);

async fn send_all(mut sender: RawSender, lengths: impl Iterator<Item = usize>) {
    for (seed, length) in lengths.enumerate() {
        sender.send(pattern(length, seed)).await.expect("to send");
    }
    sender.finish();
}

async fn expect_all(mut receiver: RawReceiver, lengths: impl Iterator<Item = usize>) {
    for (seed, length) in lengths.enumerate() {
        let heard = receiver.recv().await.expect("to receive");
        assert_same(&heard.expect("a message"), &pattern(length, seed));
    }
    assert_eq!(receiver.recv().await.expect("an end"), None);
}

/// Sends messages of these lengths from one end of a channel to the other.
async fn transfer(
    (one, other): (RawChannel, RawChannel),
    lengths: impl Iterator<Item = usize> + Clone,
) {
    let ((sender, _hears), (_sends, receiver)) = (one.split(), other.split());
    join(
        send_all(sender, lengths.clone()),
        expect_all(receiver, lengths),
    )
    .await;
}

/// Some of each way of travelling: copied, in one frame, in parts, larger than the window.
fn lengths() -> impl Iterator<Item = usize> + Clone {
    [10, 5000, 60 * KIB, 3, 200 * KIB, 0, MIB, 4 * KIB].into_iter()
}

#[test]
fn both_ends_press_through_a_narrow_pipe_and_still_hear_pings() {
    let stage = Stage::default();
    let (here, there) = stage.pair(10 * KIB, &Config::default());
    stage.run(async {
        let (one, other) = channel(&here, &there).await;
        let ((one, hears), (other, listens)) = (one.split(), other.split());
        let forth = join(send_all(one, lengths()), expect_all(listens, lengths()));
        let back = join(send_all(other, lengths()), expect_all(hears, lengths()));
        let pings = async {
            for _ in 0..50 {
                let (one, other) = join(here.ping(), there.ping()).await;
                one.expect("an answer");
                other.expect("an answer");
            }
        };
        join3(forth, back, pings).await;
    });
}

#[test]
fn both_ends_press_through_a_narrow_pipe_from_many_threads() {
    On::Tokio.run(Wire::Memory, async |world| {
        let ends = pipe(10 * KIB);
        let end = |io, role| Connection::new(io, role, Config::default());
        let (here, driver) = end(ends.0, Role::Dialer);
        driver.spawn();
        let (there, driver) = end(ends.1, Role::Acceptor);
        driver.spawn();
        let (one, other) = channel(&here, &there).await;
        let ((one, hears), (other, listens)) = (one.split(), other.split());
        let pinging = (here.clone(), there.clone());
        let pings = world.spawn(async move {
            for _ in 0..50 {
                let (one, other) = join(pinging.0.ping(), pinging.1.ping()).await;
                one.expect("an answer");
                other.expect("an answer");
            }
        });
        join(
            join(
                world.spawn(send_all(one, lengths())),
                world.spawn(expect_all(listens, lengths())),
            ),
            join(
                world.spawn(send_all(other, lengths())),
                world.spawn(expect_all(hears, lengths())),
            ),
        )
        .await;
        pings.await;
    });
}

#[test]
fn neither_pipes_of_a_few_bytes_nor_any_split_loses_a_byte() {
    for capacity in [1, 2, 3, 7, 64] {
        let stage = Stage::default();
        let (here, there) = stage.pair(capacity, &Config::default());
        stage.run(async {
            let pair = channel(&here, &there).await;
            transfer(pair, [0, 1, 5000, 300].into_iter()).await;
        });
    }
}

#[test]
fn a_waiting_writer_is_woken_by_a_stop() {
    let stage = Stage::default();
    let (here, there) = stage.pair(10 * KIB, &Config::default());
    stage.run(async {
        let (mut one, other) = channel(&here, &there).await;
        let (_sender, receiver) = other.split();
        let stops = async { receiver.stop(Code::application(5)) };
        let (error, ()) = join(fill(&mut one), stops).await;
        assert!(matches!(error, ChannelError::Stopped(code) if code == Code::application(5)));
    });
}

/// Sends until that fails.
async fn fill(channel: &mut RawChannel) -> ChannelError {
    loop {
        if let Err(error) = channel.send(pattern(50 * KIB, 1)).await {
            return error.error;
        }
    }
}

#[test]
fn a_waiting_writer_is_woken_when_the_peer_drops_its_channel_or_all() {
    for (finishes, all) in [(false, false), (true, false), (false, true), (true, true)] {
        let stage = Stage::default();
        let (here, there) = stage.pair(10 * KIB, &Config::default());
        stage.run(async {
            let (mut one, mut other) = channel(&here, &there).await;
            let drops = async {
                if finishes {
                    other.finish();
                }
                drop(other);
                if all {
                    drop(there);
                }
            };
            let (error, ()) = join(fill(&mut one), drops).await;
            let expected = match &error {
                ChannelError::ResetByPeer { code, .. } => !finishes && *code == Code::CANCELLED,
                ChannelError::Stopped(code) => finishes && *code == Code::CANCELLED,
                _ => false,
            };
            assert!(expected, "finishes {finishes}, all {all}: {error}");
        });
    }
}

#[test]
fn a_waiting_writer_and_a_waiting_reader_are_woken_by_the_end_of_a_driver() {
    let stage = Stage::default();
    let (one, other) = pipe(10 * KIB);
    let (here, driver) = stage.end(one, Role::Dialer, &Config::default());
    let there = stage.running(other, Role::Acceptor, &Config::default());
    let (mut sender, mut receiver) = stage.run(async {
        let run = futures::future::select(driver, Box::pin(channel(&here, &there))).await;
        let futures::future::Either::Right(((one, _other), driver)) = run else {
            panic!("the driver ended");
        };
        // From here on nobody drives: the writer fills its buffer and waits.
        let (sender, receiver) = one.split();
        stage.spawn(async move {
            futures::future::pending::<()>().await;
            drop((driver, _other));
        });
        (sender, receiver)
    });
    let mut reads = Box::pin(receiver.recv());
    assert!(stage.run_until_stalled(reads.as_mut()).is_pending());
    let mut writes = Box::pin(async {
        loop {
            if let Err(error) = sender.send(pattern(50 * KIB, 1)).await {
                return error.error;
            }
        }
    });
    assert!(stage.run_until_stalled(writes.as_mut()).is_pending());
    here.close(Code::application(1), "enough");
    let (read, wrote) = stage.run(join(reads, writes));
    for error in [read.expect_err("the end"), wrote] {
        assert!(matches!(error, ChannelError::Connection(_)), "{error}");
    }
}

#[test]
fn a_message_larger_than_the_window_arrives_while_its_reader_waits() {
    let stage = Stage::default();
    let config = Config::default().window(64 * KIB).max_window(64 * KIB);
    let (here, there) = stage.pair(64 * KIB, &config);
    stage.run(async {
        let pair = channel(&here, &there).await;
        transfer(pair, [MIB, 1, MIB - 1, MIB].into_iter()).await;
    });
    assert_eq!(
        there.statistics().receive_borrowed,
        0,
        "what was borrowed is given back"
    );
}

#[test]
fn an_unread_channel_holds_up_none_of_a_hundred_others() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        here.ping().await.expect("an answer");
        let (mut stuck, _unread) = channel(&here, &there).await;
        let mut stuffs = Box::pin(fill(&mut stuck));
        assert!(stage.run_until_stalled(stuffs.as_mut()).is_pending());
        let mut pairs = Vec::new();
        for _ in 0..100 {
            pairs.push(channel(&here, &there).await);
        }
        let lengths = [200 * KIB, 5, 300 * KIB].into_iter();
        join_all(
            pairs
                .into_iter()
                .map(|pair| transfer(pair, lengths.clone())),
        )
        .await;
        assert!(stuffs.now_or_never().is_none());
    });
}

/// What a large message needs beside the window is given back when it was read, though its channel
/// stays open.
#[test]
fn large_messages_on_many_idle_channels_leave_memory_for_the_next() {
    let stage = Stage::default();
    // 4 MiB are shared beside the windows: enough for four large messages at once.
    let config = Config::default().max_channels(16).receive_memory(8 * MIB);
    let (one, other) = pipe(10 * KIB);
    let here = stage.running(one, Role::Dialer, &config);
    let there = stage.running(Trickle::new(other), Role::Acceptor, &config);
    stage.run(async {
        let mut idle = Vec::new();
        for length in [
            70 * KIB,
            150 * KIB,
            300 * KIB,
            MIB,
            80 * KIB,
            MIB,
            90 * KIB,
            MIB,
        ] {
            let (mut one, mut other) = channel(&here, &there).await;
            let sent = pattern(length, 1);
            let (_, heard) = join(one.send(sent.clone()), other.recv()).await;
            assert_same(&heard.expect("to receive").expect("it"), &sent);
            idle.push((one, other));
        }
    });
}

/// Windows may grow into the memory that large messages need, but not take all of it.
#[test]
fn a_large_message_arrives_beside_channels_whose_windows_grew() {
    let stage = Stage::default();
    // 4 MiB are shared beside the first windows.
    let config = Config::default().max_channels(16).receive_memory(8 * MIB);
    let (one, other) = pipe(256 * KIB);
    let (one, gate) = Gated::new(one);
    let here = stage.running(one, Role::Dialer, &config);
    let there = stage.running(other, Role::Acceptor, &config);
    // The first round trip takes a second, after which time stands still: windows grow as fast as
    // they may.
    stage.advance(Duration::from_secs(1));
    gate.open();
    stage.run(async {
        let mut busy = Vec::new();
        for _ in 0..2 {
            let (mut one, mut other) = channel(&there, &here).await;
            let sends = async {
                for seed in 0..200 {
                    one.send(pattern(64 * KIB, seed)).await.expect("to send");
                }
            };
            let reads = async {
                for _ in 0..200 {
                    other.recv().await.expect("to receive");
                }
            };
            join(sends, reads).await;
            busy.push((one, other));
        }
        let borrowed = here.statistics().receive_borrowed;
        assert!(borrowed >= 2 * MIB, "the windows have grown by {borrowed}");
        let pair = channel(&there, &here).await;
        transfer(pair, [MIB, MIB].into_iter()).await;
    });
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

/// A number that only travels when it is even.
#[derive(Debug, PartialEq)]
struct Even(u32);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 {
            return Err(serde::ser::Error::custom("odd numbers stay here"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if number % 2 == 1 {
            return Err(serde::de::Error::custom("an odd number"));
        }
        Ok(Self(number))
    }
}

#[test]
fn a_value_that_cannot_be_encoded_or_decoded_fails_alone() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let (one, other) = channel(&here, &there).await;
        let mut evens = Channel::<Even, u32>::from_raw(one);
        let mut numbers = Channel::<u32, Even>::from_raw(other);
        for number in 0..6 {
            let sent = evens.send(&Even(number)).await;
            assert_eq!(sent.is_err(), number % 2 == 1, "{number}: {sent:?}");
            if let Err(error) = sent {
                assert!(
                    error.to_string().contains("odd numbers stay here"),
                    "{error}"
                );
            }
        }
        for number in [0, 2, 4] {
            assert_eq!(
                numbers.recv().await.expect("to receive"),
                Some(Even(number))
            );
        }
        let mut numbers_to_evens = numbers;
        let mut plain = evens;
        for number in 0..6 {
            numbers_to_evens.send(&number).await.expect("to send");
        }
        for number in 0..6 {
            assert_eq!(plain.recv().await.expect("to receive"), Some(number));
        }
        let (one, other) = channel(&here, &there).await;
        let mut numbers = Channel::<u32, u32>::from_raw(one);
        let mut evens = Channel::<u32, Even>::from_raw(other);
        for number in 0..6 {
            numbers.send(&number).await.expect("to send");
        }
        numbers.finish();
        for number in 0..6 {
            match evens.recv().await {
                Ok(heard) => assert_eq!(heard, Some(Even(number))),
                Err(error) => {
                    assert!(
                        number % 2 == 1 && matches!(error, ChannelError::Codec(_)),
                        "{error}"
                    );
                }
            }
        }
        assert_eq!(evens.recv().await.expect("an end"), None);
    });
}

#[test]
fn a_message_too_large_for_either_end_is_refused_before_it_is_sent() {
    for (mine, theirs) in [(100 * KIB, MIB), (MIB, 100 * KIB)] {
        let stage = Stage::default();
        let (one, other) = pipe(64 * KIB);
        let config = |max| Config::default().max_message_size(max);
        let here = stage.running(one, Role::Dialer, &config(mine));
        let there = stage.running(other, Role::Acceptor, &config(theirs));
        stage.run(async {
            let (mut one, mut other) = channel(&here, &there).await;
            let message = pattern(100 * KIB + 1, 1);
            let error = one.send(message.clone()).await.expect_err("too large");
            assert!(
                matches!(error.error, ChannelError::TooLarge { length, max }
                    if length == 100 * KIB + 1 && max == 100 * KIB),
                "{error:?}"
            );
            assert_eq!(error.message, message, "it comes back");
            // A value and a sink say the same.
            let mut typed = Channel::<Vec<u8>, ()>::from_raw(one);
            let value = vec![1; 100 * KIB];
            let error = typed.send(&value).await.expect_err("too large");
            assert!(matches!(error, ChannelError::TooLarge { .. }), "{error}");
            let error = SinkExt::send(&mut typed, value)
                .await
                .expect_err("too large");
            assert!(matches!(error, ChannelError::TooLarge { .. }), "{error}");
            // The channel goes on, up to the limit itself.
            let value = vec![1; 100 * KIB - 5];
            typed.send(&value).await.expect("to send");
            assert_eq!(
                other.recv().await.expect("to receive").expect("it").len(),
                100 * KIB
            );
        });
    }
}

#[test]
fn a_message_sent_before_the_peer_told_its_limit_resets_only_its_channel() {
    let stage = Stage::default();
    let (one, other) = pipe(64 * KIB);
    let small = Config::default().max_message_size(10 * KIB);
    let here = stage.running(one, Role::Dialer, &Config::default());
    let there = stage.running(other, Role::Acceptor, &small);
    stage.run(async {
        let mut early = here.open_raw("test/1").await.expect("a channel");
        early.send(pattern(20 * KIB, 1)).await.expect("nothing is known yet");
        let mut late = there.accept().await.expect("a living connection").expect("it").accept_raw();
        let error = early.recv().await.expect_err("too large");
        assert!(
            matches!(&error, ChannelError::Refused { code, .. } | ChannelError::ResetByPeer { code, .. }
                if *code == Code::TOO_LARGE),
            "{error}"
        );
        let error = late.recv().await.expect_err("too large");
        assert!(matches!(error, ChannelError::ResetHere { .. }), "{error}");
        channel(&here, &there).await;
    });
}

#[test]
fn a_failed_send_gives_the_message_back() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let message = pattern(10 * KIB, 5);
    let ways: [fn(&Connection, &mut RawChannel); 2] = [
        |_, channel| channel.finish(),
        |connection, _| connection.close(Code::NONE, ""),
    ];
    for fails in ways {
        stage.run(async {
            let (mut one, _other) = channel(&here, &there).await;
            fails(&here, &mut one);
            let error = one.send(message.clone()).await.expect_err("it cannot go");
            assert_eq!(error.message, message);
        });
    }
}

#[test]
fn memory_of_a_slow_reader_is_bounded_at_both_ends() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let (mut one, _unread) = channel(&here, &there).await;
        let mut stuffs = Box::pin(fill(&mut one));
        assert!(stage.run_until_stalled(stuffs.as_mut()).is_pending());
        let (sends, receives) = (here.statistics(), there.statistics());
        // One message more than the send buffer; what came is the first window and no more.
        assert!(
            (256 * KIB..=306 * KIB).contains(&sends.send_queued),
            "{sends:?}"
        );
        assert!(
            receives.bytes_received <= (130 * KIB) as u64,
            "{receives:?}"
        );
        assert!(sends.blocked_by_send_buffer >= 1);
        assert_eq!(receives.receive_borrowed, 0, "{receives:?}");
    });
}

#[test]
fn all_channels_together_keep_to_the_memory_for_sending() {
    let stage = Stage::default();
    let config = Config::default().send_memory(MIB);
    let (here, there) = stage.pair(64 * KIB, &config);
    stage.run(async {
        here.ping().await.expect("an answer");
        let mut pairs = Vec::new();
        for _ in 0..20 {
            pairs.push(channel(&here, &there).await);
        }
        let (ones, others): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let lengths = || std::iter::repeat_n(50 * KIB, 20);
        let (ones, hears): (Vec<_>, Vec<_>) = ones.into_iter().map(RawChannel::split).unzip();
        let (sends, others): (Vec<_>, Vec<_>) = others.into_iter().map(RawChannel::split).unzip();
        let _idle = (hears, sends);
        let mut sends = Box::pin(join_all(
            ones.into_iter().map(|one| send_all(one, lengths())),
        ));
        assert!(stage.run_until_stalled(sends.as_mut()).is_pending());
        let queued = here.statistics().send_queued;
        assert!((MIB..=MIB + 50 * KIB).contains(&queued), "{queued}");
        let reads = others.into_iter().map(|other| expect_all(other, lengths()));
        join(sends, join_all(reads)).await;
        assert_eq!(here.statistics().send_queued, 0);
    });
}

/// The pipe is what all three wait for: their readers keep up.
#[test]
fn priorities_share_a_narrow_pipe_by_their_weights() {
    let stage = Stage::default();
    let (one, other) = pipe(10 * KIB);
    // Wide windows, so that nobody waits for credit.
    let config = Config::default().window(MIB);
    let here = stage.running(one, Role::Dialer, &config);
    let there = stage.running(Trickle::new(other), Role::Acceptor, &config);
    let (arrived, order) = mpsc::channel();
    let priorities = [Priority::Bulk, Priority::Normal, Priority::High];
    let mut senders = Vec::new();
    for (place, priority) in priorities.into_iter().enumerate() {
        let (one, mut other) = stage.run(async {
            let one = here.open_raw_with("test/1", priority).await;
            let other = there.accept().await.expect("a living connection");
            (
                one.expect("a channel"),
                other.expect("a channel").accept_raw(),
            )
        });
        let arrived = arrived.clone();
        stage.spawn(async move {
            while let Some(message) = other.recv().await.expect("to receive") {
                assert_eq!(message.len(), 4 * KIB);
                arrived.send(place).expect("to be counted");
            }
        });
        senders.push(one.split());
    }
    for (sender, hears) in senders {
        stage.spawn(async move {
            send_all(sender, std::iter::repeat_n(4 * KIB, 2000)).await;
            drop(hears);
        });
    }
    stage.settle();
    let mut counts = [0_u32; 3];
    for place in order.try_iter().take(2000) {
        counts[place] += 1;
    }
    let [bulk, normal, high] = counts.map(f64::from);
    assert!((3.0..5.0).contains(&(high / normal)), "{counts:?}");
    assert!((3.0..5.0).contains(&(normal / bulk)), "{counts:?}");
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
        let (mut one, other) = channel(&here, &there).await;
        let mut stuffs = Box::pin(fill(&mut one));
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
fn an_empty_message_is_a_message() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let (mut one, mut other) = channel(&here, &there).await;
        for _ in 0..3 {
            one.send(Bytes::new()).await.expect("to send");
        }
        one.finish();
        for _ in 0..3 {
            assert_eq!(other.recv().await.expect("to receive"), Some(Bytes::new()));
        }
        assert_eq!(other.recv().await.expect("an end"), None);
    });
}
