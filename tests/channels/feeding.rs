//! What is fed gathers, arrives in order with what is sent, and is never forgotten.

use bytes::Bytes;
use futures::{FutureExt, Sink, SinkExt};
use sessionwire::transport::pipe;
use sessionwire::{Channel, ChannelError, Code, Config, Role};

use super::support::stage::Stage;
use super::support::{KIB, MIB, assert_same, channel, pattern};

/// What is held back until a flush.
const GATHERED: usize = 16 * KIB;

#[test]
fn what_is_fed_waits_for_a_flush_and_no_more_than_16_kib_of_it() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (mut one, mut other) = stage.run(channel(&here, &there));
    stage.run(one.feed(Bytes::from_static(b"first"))).unwrap();
    stage.settle();
    assert!(other.recv().now_or_never().is_none(), "it has not left");
    stage.run(one.flush()).unwrap();
    stage.settle();
    let first = stage.run(other.recv()).unwrap();
    assert_eq!(first.as_deref(), Some(&b"first"[..]));

    let count = GATHERED / KIB;
    for seed in 0..=count {
        stage.run(one.feed(pattern(KIB, seed))).unwrap();
    }
    stage.settle();
    for seed in 0..count {
        let message = other
            .recv()
            .now_or_never()
            .expect("16 KiB leave by themselves");
        assert_same(&message.unwrap().unwrap(), &pattern(KIB, seed));
    }
    assert!(other.recv().now_or_never().is_none(), "one more waits");
}

#[test]
fn what_is_fed_and_sent_arrives_in_order() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (one, other) = stage.run(channel(&here, &there));
    let (mut sender, _hears) = one.split();
    let (_answers, mut receiver) = other.split();
    let lengths = [
        0,
        1,
        250,
        251,
        4 * KIB,
        4 * KIB + 1,
        70 * KIB,
        3,
        65_535,
        250,
        7,
    ];
    let reading = stage.task(async move {
        for seed in 0..300 {
            let message = receiver.recv().await.unwrap().expect("a message");
            assert_same(&message, &pattern(lengths[seed % lengths.len()], seed));
        }
        assert_eq!(receiver.recv().await.unwrap(), None);
    });
    stage.run(async move {
        for seed in 0..300 {
            let message = pattern(lengths[seed % lengths.len()], seed);
            match seed % 7 {
                0 | 3 => sender.send(message).await.unwrap(),
                _ => sender.feed(message).await.unwrap(),
            }
        }
        sender.finish();
        sender.flush().await.unwrap();
    });
    stage.settle();
    reading.output().expect("to be done");
}

#[test]
fn values_of_all_lengths_are_fed_and_arrive() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (one, other) = stage.run(channel(&here, &there));
    let (mut one, mut other): (Channel<String, ()>, Channel<(), String>) =
        (Channel::from_raw(one), Channel::from_raw(other));
    let lengths = [
        0,
        249,
        250,
        251,
        4093,
        4094,
        4096,
        100 * KIB,
        100 * KIB,
        1,
        300,
        2,
    ];
    let reading = stage.task(async move {
        let mut heard = Vec::new();
        while let Some(value) = other.recv().await.unwrap() {
            heard.push(value.len());
        }
        heard
    });
    let sent: Vec<usize> = lengths.into_iter().cycle().take(200).collect();
    let sends = sent.clone();
    stage.run(async move {
        for length in sends {
            one.feed(&"x".repeat(length)).await.unwrap();
        }
        one.finish();
        one.flush().await.unwrap();
    });
    stage.settle();
    assert_eq!(reading.output().expect("to be done"), sent);
}

#[test]
fn a_question_that_was_only_fed_is_sent_before_its_answer_is_waited_for() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (mut asks, mut answers) = stage.run(channel(&here, &there));
    let answering = stage.task(async move {
        while let Some(message) = answers.recv().await.unwrap() {
            answers.feed(message).await.unwrap();
        }
    });
    stage.run(async {
        asks.feed(Bytes::from_static(b"question")).await.unwrap();
        let answer = asks.recv().await.unwrap();
        assert_eq!(answer.as_deref(), Some(&b"question"[..]));
        asks.finish();
    });
    stage.settle();
    assert!(answering.output().is_some());
}

#[test]
fn a_message_too_long_for_the_peer_is_refused_when_it_is_fed() {
    let stage = Stage::default();
    let (one, other) = pipe(64 * KIB);
    let here = stage.running(one, Role::Dialer, &Config::default());
    let small = Config::default().max_message_size(100);
    let there = stage.running(other, Role::Acceptor, &small);
    let (mut one, mut other) = stage.run(channel(&here, &there));
    stage.run(one.feed(pattern(100, 1))).unwrap();
    let refused = stage.run(one.feed(pattern(101, 2))).unwrap_err();
    assert!(
        matches!(
            refused.error,
            ChannelError::TooLarge {
                length: 101,
                max: 100
            }
        ),
        "{refused:?}"
    );
    assert_same(&refused.message, &pattern(101, 2));
    stage.run(one.flush()).unwrap();
    stage.settle();
    let heard = stage.run(other.recv()).unwrap().expect("a message");
    assert_same(&heard, &pattern(100, 1));
}

#[test]
fn a_flush_tells_what_became_of_the_channel() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (mut one, other) = stage.run(channel(&here, &there));
    stage.run(one.feed(Bytes::from_static(b"lost"))).unwrap();
    other.reset(Code::application(3), "enough");
    stage.settle();
    let error = stage.run(one.flush()).unwrap_err();
    assert!(matches!(error, ChannelError::ResetByPeer { .. }), "{error}");
}

/// Another channel takes the last of the connection's send memory between asking and sending.
#[test]
fn what_found_room_is_sent_even_if_the_room_is_gone_by_then() {
    let stage = Stage::default();
    let config = Config::default().send_memory(64 * KIB);
    let (here, there) = stage.pair(KIB, &config);
    let (mut one, mut other) = stage.run(channel(&here, &there));
    let (mut greedy, _unread) = stage.run(channel(&here, &there));
    stage
        .run(std::future::poll_fn(|context| {
            std::pin::Pin::new(&mut one).poll_ready(context)
        }))
        .unwrap();
    while greedy.send(pattern(8 * KIB, 0)).now_or_never().is_some() {}
    std::pin::Pin::new(&mut one)
        .start_send(pattern(8 * KIB, 1))
        .unwrap();
    one.finish();
    let reading = stage.task(async move {
        let message = other.recv().await.unwrap().expect("a message");
        assert_same(&message, &pattern(8 * KIB, 1));
    });
    stage.settle();
    reading.output().expect("to have arrived");
}

#[test]
fn a_sink_feeds_and_flushes() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let (mut one, mut other) = stage.run(channel(&here, &there));
    let messages = [pattern(10, 1), pattern(MIB / 2, 2), pattern(20, 3)];
    let sent = messages.clone();
    let sends = stage.task(async move {
        let mut items = futures::stream::iter(sent.map(Ok));
        one.send_all(&mut items).await.unwrap();
        SinkExt::close(&mut one).await.unwrap();
        one
    });
    stage.run(async move {
        for message in messages {
            assert_same(&other.recv().await.unwrap().unwrap(), &message);
        }
        assert_eq!(other.recv().await.unwrap(), None);
    });
    stage.settle();
    assert!(sends.output().is_some());
}
