//! Many bytes, little room.

use futures::FutureExt;
use futures::future::{join, join_all, join3};
use sessionwire::transport::pipe;
use sessionwire::{Config, Connection, Role};

use super::support::stage::Stage;
use super::support::transports::Trickle;
use super::support::world::{On, Wire};
use super::support::{KIB, MIB, assert_same, channel, pattern};
use super::{expect_all, fill, send_all, transfer};

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
        let (stuck, _unread) = channel(&here, &there).await;
        let (stuck, _hears) = stuck.split();
        let mut stuffs = Box::pin(fill(stuck));
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

/// The first message after one that came is written at once, as its answer; what follows gathers.
#[test]
fn many_messages_after_an_answer_leave_in_few_writes() {
    let stage = Stage::default();
    let (here, there) = stage.pair(256 * KIB, &Config::default());
    stage.run(async {
        let (mut one, mut other) = channel(&here, &there).await;
        other.send("a question".into()).await.expect("to ask");
        one.recv().await.expect("to receive").expect("it");
        let before = here.statistics().writes;
        one.send("the answer".into()).await.expect("to answer");
        assert_eq!(here.statistics().writes, before + 1);
        for _ in 0..100 {
            one.send("more".into()).await.expect("to go on");
        }
        for _ in 0..101 {
            other.recv().await.expect("to receive").expect("it");
        }
        let writes = here.statistics().writes - before;
        assert!(writes < 10, "{writes} writes for 101 messages");
    });
}
