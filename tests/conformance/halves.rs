//! The two directions of a channel end on their own, and are used on their own.

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{Future, join, poll_fn};
use futures::{AsyncReadExt, AsyncWriteExt, io};
use sessionwire::{ChannelError, Code};

use crate::support::world::World;
use crate::support::{KIB, MIB, assert_same, channel, pattern};

pub(crate) async fn finishing_one_way_leaves_the_other(world: World) {
    let (here, there) = world.connected().await;
    for opener_finishes in [true, false] {
        let (one, other) = channel(&here, &there).await;
        let (mut one, mut other) = if opener_finishes {
            (one, other)
        } else {
            (other, one)
        };
        one.send("last".into()).await.expect("to send");
        one.finish();
        let error = one.send("more".into()).await.expect_err("it is finished");
        assert!(matches!(error.error, ChannelError::Finished), "{error}");
        let heard = other.recv().await.expect("to receive");
        assert_eq!(heard.as_deref(), Some(&b"last"[..]));
        assert_eq!(other.recv().await.expect("an end"), None);
        assert_eq!(other.recv().await.expect("the end again"), None);
        for seed in 0..20 {
            other.send(pattern(50 * KIB, seed)).await.expect("to send");
            let heard = one.recv().await.expect("to receive");
            assert_same(&heard.expect("a message"), &pattern(50 * KIB, seed));
        }
        other.finish();
        assert_eq!(one.recv().await.expect("an end"), None);
    }
}

const CODE: Code = Code::application(7);

fn is_reset_by_peer(error: &ChannelError) -> bool {
    matches!(error, ChannelError::ResetByPeer { code, reason }
        if *code == CODE && &**reason == "enough of this")
}

pub(crate) async fn a_reset_carries_its_code_and_reason(world: World) {
    let (here, there) = world.connected().await;
    for opener_resets in [true, false] {
        let (one, other) = channel(&here, &there).await;
        let (one, mut other) = if opener_resets {
            (one, other)
        } else {
            (other, one)
        };
        let (sender, mut receiver) = one.split();
        sender.reset(CODE, "enough of this");
        let error = other.recv().await.expect_err("it is reset");
        assert!(is_reset_by_peer(&error), "{error}");
        assert!(error.to_string().contains("enough of this"), "{error}");
        let error = other.send("more".into()).await.expect_err("it is reset");
        assert!(is_reset_by_peer(&error.error), "{error}");
        assert_eq!(error.message, "more", "the message comes back");
        let error = receiver.recv().await.expect_err("it is reset");
        assert!(
            matches!(&error, ChannelError::ResetHere { code, .. } if *code == CODE),
            "{error}"
        );
    }
}

pub(crate) async fn a_dropped_sender_is_a_reset(world: World) {
    let (here, there) = world.connected().await;
    let (mut one, mut other) = channel(&here, &there).await;
    one.send("read me first".into()).await.expect("to send");
    let heard = other.recv().await.expect("to receive");
    assert_eq!(heard.as_deref(), Some(&b"read me first"[..]));
    drop(one);
    let error = other.recv().await.expect_err("it is reset");
    assert!(
        matches!(&error, ChannelError::ResetByPeer { code, .. } if *code == Code::CANCELLED),
        "{error}"
    );
}

pub(crate) async fn a_stop_fails_the_sender_and_only_it(world: World) {
    let (here, there) = world.connected().await;
    let (mut one, other) = channel(&here, &there).await;
    let (mut sender, receiver) = other.split();
    let (stopping, stopped) = oneshot::channel();
    let stops = world.spawn(async move {
        stopped.await.expect("a word");
        receiver.stop(CODE);
    });
    // The sender finds out while it waits for room, or at its next message.
    let mut stopping = Some(stopping);
    let error = loop {
        let message = pattern(64 * KIB, 1);
        if let Err(error) = one.send(message.clone()).await {
            assert_eq!(error.message, message);
            break error.error;
        }
        if let Some(stopping) = stopping.take() {
            stopping.send(()).expect("to be heard");
        }
    };
    stops.await;
    assert!(
        matches!(error, ChannelError::Stopped(code) if code == CODE),
        "{error}"
    );
    sender.send("still here".into()).await.expect("to send");
    let heard = one.recv().await.expect("to receive");
    assert_eq!(heard.as_deref(), Some(&b"still here"[..]));
}

/// Says when `future` has to wait for the first time.
async fn telling<T>(future: impl Future<Output = T>, waits: oneshot::Sender<()>) -> T {
    let mut waits = Some(waits);
    let mut future = std::pin::pin!(future);
    poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending()
            && let Some(waits) = waits.take()
        {
            let _ = waits.send(());
        }
        polled
    })
    .await
}

pub(crate) async fn halves_on_two_tasks_are_each_woken(world: World) {
    let (here, there) = world.connected().await;
    let (one, mut other) = channel(&here, &there).await;
    let (mut sender, mut receiver) = one.split();
    let ((reads, reader_waits), (writes, writer_waits)) = (oneshot::channel(), oneshot::channel());
    let reading = world.spawn(telling(async move { receiver.recv().await }, reads));
    let write = async move {
        for seed in 0..40 {
            sender.send(pattern(64 * KIB, seed)).await.expect("to send");
        }
        sender.finish();
    };
    let writing = world.spawn(telling(write, writes));
    reader_waits.await.expect("the reader to wait");
    writer_waits.await.expect("the writer to wait");
    other.send("wake".into()).await.expect("to send");
    let heard = reading.await.expect("to receive");
    assert_eq!(heard.as_deref(), Some(&b"wake"[..]));
    for seed in 0..40 {
        let heard = other.recv().await.expect("to receive");
        assert_same(&heard.expect("a message"), &pattern(64 * KIB, seed));
    }
    assert_eq!(other.recv().await.expect("an end"), None);
    writing.await;
}

pub(crate) async fn bytes_flow_through_a_channel_as_a_stream(world: World) {
    let (here, there) = world.connected().await;
    let (one, other) = channel(&here, &there).await;
    let mut other = other.into_stream();
    let sent: Bytes = pattern(10 * MIB, 3);
    let (copied, mut stream) = {
        let (source, mut stream) = (sent.clone(), one.into_stream());
        let copy = world.spawn(async move {
            let copied = io::copy(&source[..], &mut stream).await.expect("to copy");
            stream.close().await.expect("to close");
            (copied, stream)
        });
        let mut heard = Vec::new();
        let (copied, read) = join(copy, other.read_to_end(&mut heard)).await;
        read.expect("to read to the end");
        assert_same(&heard, &sent);
        copied
    };
    assert_eq!(copied, sent.len() as u64);
    assert_eq!(other.read(&mut [0]).await.expect("the end again"), 0);
    // The way back goes on after the close, also in reads smaller than a write.
    other.write_all(b"thank you").await.expect("to write");
    other.close().await.expect("to close");
    let mut thanks = String::new();
    let mut first = [0; 5];
    stream.read_exact(&mut first).await.expect("to read");
    stream.read_to_string(&mut thanks).await.expect("to read");
    assert_eq!((&first, &*thanks), (b"thank", " you"));
    let error = stream.write(b"more").await.expect_err("it is closed");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
