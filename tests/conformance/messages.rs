//! What is sent arrives: whole, once, in order, on its own channel.

use futures::future::{join, join_all, try_join};
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use sessionwire::mux::{RawChannel, RawReceiver, RawSender};
use sessionwire::{Channel, ChannelError, Priority};

use crate::support::world::World;
use crate::support::{KIB, MIB, assert_same, channel, echo, pattern};

/// Around everything that changes how a message travels: nothing, the size that is still copied,
/// one frame, the largest message.
const SIZES: [usize; 9] = [
    0,
    1,
    4 * KIB,
    4 * KIB + 1,
    64 * KIB,
    64 * KIB + 1,
    MIB - 1000,
    MIB - 1,
    MIB,
];

pub(crate) async fn messages_of_every_size_come_back(world: World) {
    let (here, there) = world.connected().await;
    let (asking, answering) = channel(&here, &there).await;
    let echo = world.spawn(echo(answering));
    let (mut sender, mut receiver) = asking.split();
    let send = async {
        for (seed, length) in SIZES.into_iter().enumerate() {
            sender.send(pattern(length, seed)).await.expect("to send");
        }
        sender.finish();
    };
    let receive = async {
        for (seed, length) in SIZES.into_iter().enumerate() {
            let heard = receiver.recv().await.expect("to receive");
            assert_same(&heard.expect("an answer"), &pattern(length, seed));
        }
        assert_eq!(receiver.recv().await.expect("an end"), None);
    };
    join(send, receive).await;
    echo.await.expect("to echo");
}

/// Far more than all buffers on the way hold.
const PRESSING: usize = 48;

async fn press(mut sender: RawSender, seed: usize) {
    for number in 0..PRESSING {
        let message = pattern(40 * KIB + number, seed + number);
        sender.send(message).await.expect("to send");
    }
    sender.finish();
    // Dropping it now loses nothing.
}

async fn expect_all(mut receiver: RawReceiver, seed: usize) {
    for number in 0..PRESSING {
        let heard = receiver.recv().await.expect("to receive");
        let heard = heard.expect("a message");
        assert_same(&heard, &pattern(40 * KIB + number, seed + number));
    }
    assert_eq!(receiver.recv().await.expect("an end"), None);
}

pub(crate) async fn both_directions_press_at_once(world: World) {
    let (here, there) = world.connected().await;
    let (one, other) = channel(&here, &there).await;
    let ((one, hears), (other, listens)) = (one.split(), other.split());
    let writers = join(world.spawn(press(one, 1)), world.spawn(press(other, 2)));
    let readers = join(expect_all(hears, 2), expect_all(listens, 1));
    let pings = async {
        for _ in 0..10 {
            join(here.ping(), there.ping()).await.0.expect("an answer");
        }
    };
    join(readers, pings).await;
    writers.await;
}

pub(crate) async fn a_hundred_channels_talk_at_once(world: World) {
    let (here, there) = world.connected().await;
    let answering = world.clone();
    let answers = world.spawn(async move {
        for _ in 0..100 {
            let incoming = there.accept().await.expect("a living connection");
            let channel = incoming.expect("a channel").accept_raw();
            drop(answering.spawn(async { echo(channel).await.expect("to echo") }));
        }
        there
    });
    let mut channels = Vec::new();
    for _ in 0..100 {
        channels.push(here.open_raw("echo/1").await.expect("a channel"));
    }
    assert_eq!(here.statistics().open_channels, 100);
    let talks = channels
        .into_iter()
        .enumerate()
        .map(async |(number, mut channel)| {
            for turn in 0..5 {
                let message = pattern((number * 997 + turn * 5000) % 30_000, number);
                channel.send(message.clone()).await.expect("to send");
                let heard = channel.recv().await.expect("to receive");
                assert_same(&heard.expect("an answer"), &message);
            }
            channel.finish();
            assert_eq!(channel.recv().await.expect("an end"), None);
        });
    join_all(talks).await;
    answers.await;
}

pub(crate) async fn either_side_opens(world: World) {
    let (here, there) = world.connected().await;
    for (opens, accepts) in [(&here, &there), (&there, &here)] {
        let (mut asking, mut answering) = channel(opens, accepts).await;
        asking.send("question".into()).await.expect("to send");
        let heard = answering.recv().await.expect("to receive");
        assert_eq!(heard.as_deref(), Some(&b"question"[..]));
        answering.send("answer".into()).await.expect("to send");
        let heard = asking.recv().await.expect("to receive");
        assert_eq!(heard.as_deref(), Some(&b"answer"[..]));
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Say {
    Nothing,
    Words { to: String, words: Vec<String> },
    Numbers(u8, i64, f64, Option<Box<Self>>),
}

pub(crate) async fn values_have_types(world: World) {
    let (here, there) = world.connected().await;
    let mut talking: Channel<Say, String> = here.open("say/1").await.expect("a channel");
    let accepted = there.accept().await.expect("a living connection");
    let mut listening: Channel<String, Say> = accepted.expect("a channel").accept();
    let large = vec!["word".repeat(5000); 9];
    let words = Say::Words {
        to: "you".to_owned(),
        words: large,
    };
    let numbers = Say::Numbers(7, i64::MIN, 0.5, Some(Box::new(Say::Nothing)));
    for said in [Say::Nothing, words, numbers] {
        talking.send(&said).await.expect("to send");
        let heard = listening.recv().await.expect("to receive");
        assert_eq!(heard.as_ref(), Some(&said));
        listening
            .send(&format!("{heard:?}"))
            .await
            .expect("to send");
        let answer = talking.recv().await.expect("to receive");
        assert_eq!(answer, Some(format!("{:?}", Some(said))));
    }
}

pub(crate) async fn a_sink_forwards_and_a_stream_collects(world: World) {
    let (here, there) = world.connected().await;
    let (one, other) = channel(&here, &there).await;
    let (sender, receiver) = Channel::<u64, u64>::from_raw(one).split();
    let (raw_sender, raw_receiver) = other.split();
    // Typed values there and, as they are, raw messages back.
    let back = raw_receiver.forward(raw_sender);
    let numbers = (0..20_000_u64).map(|number| number * number * number);
    let forth = stream::iter(numbers.clone()).map(Ok).forward(sender);
    let collect = receiver.try_collect::<Vec<u64>>();
    let (heard, ((), ())) = try_join(collect, try_join(forth, back))
        .await
        .expect("no error");
    assert_eq!(heard, numbers.collect::<Vec<_>>());

    let (mut one, mut other) = channel(&here, &there).await;
    let mut some = stream::iter(["a", "b", "c"]).map(|text| Ok(text.into()));
    one.send_all(&mut some).await.expect("to send");
    SinkExt::<bytes::Bytes>::close(&mut one)
        .await
        .expect("to close");
    let heard: Vec<_> = other.by_ref().try_collect().await.expect("to receive");
    assert_eq!(heard, ["a", "b", "c"]);
    let error = one.send("d".into()).await.expect_err("it is closed").error;
    assert!(matches!(error, ChannelError::Finished), "{error}");
}

pub(crate) async fn channels_of_every_priority_arrive(world: World) {
    let (here, there) = world.connected().await;
    let priorities = [Priority::Bulk, Priority::Normal, Priority::High];
    let mut channels: Vec<(RawChannel, RawChannel)> = Vec::new();
    for priority in priorities {
        let opened = here
            .open_raw_with("test/1", priority)
            .await
            .expect("a channel");
        let accepted = there.accept().await.expect("a living connection");
        channels.push((opened, accepted.expect("a channel").accept_raw()));
    }
    let transfers = channels
        .into_iter()
        .enumerate()
        .map(|(seed, (one, other))| {
            let ((one, hears), (other, listens)) = (one.split(), other.split());
            let forth = join(press(one, seed), expect_all(listens, seed));
            let back = join(press(other, seed + 3), expect_all(hears, seed + 3));
            join(forth, back)
        });
    join_all(transfers).await;
}
