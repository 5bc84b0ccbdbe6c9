//! How much is held, and whose turn it is.

use std::sync::mpsc;

use futures::future::{join, join_all};
use sessionwire::mux::RawChannel;
use sessionwire::transport::pipe;
use sessionwire::{Config, Priority, Role};

use super::support::stage::Stage;
use super::support::transports::Trickle;
use super::support::{KIB, MIB, channel};
use super::{expect_all, fill, send_all};

#[test]
fn memory_of_a_slow_reader_is_bounded_at_both_ends() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let (one, _unread) = channel(&here, &there).await;
        let (one, _hears) = one.split();
        let mut stuffs = Box::pin(fill(one));
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

/// What waits for the peer's credit keeps to its own channel's buffer, and leaves the memory for
/// sending to the others.
#[test]
fn channels_that_nobody_reads_keep_to_their_own_buffers() {
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
        assert!((MIB..=20 * 306 * KIB).contains(&queued), "{queued}");
        let mut last = channel(&here, &there).await;
        last.0.send("after all".into()).await.expect("room");
        assert!(last.1.recv().await.expect("to receive").is_some());
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
