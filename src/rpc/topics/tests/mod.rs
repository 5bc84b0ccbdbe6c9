//! Whole subscriptions over connections in memory, in virtual time.

mod blind;
mod ending;
mod lagging;
mod peer;
mod resuming;
mod rules;
mod sharing;
mod spreading;
mod walks;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use super::doorbell::Doorbell;
use super::feed::{Feed, FeedLimits};

/// How often a task is woken when something is published that it follows `followers` times.
fn wakes_of_a_publish(followers: u64) -> usize {
    #[derive(Default)]
    struct Counting(AtomicUsize);
    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let feed: Feed<u64> = Feed::with_limits(FeedLimits::default());
    let bell = Arc::new(Doorbell::default());
    let mut following = Vec::new();
    for id in 0..followers {
        let (mut follower, _) = feed.source().follow(None);
        follower.read(&mut None, &bell, id, &mut Vec::new());
        following.push(follower);
    }
    let count = Arc::new(Counting::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut ids = std::collections::VecDeque::new();
    assert!(!bell.answer(&mut Context::from_waker(&waker), &mut ids));
    for item in 0..5 {
        feed.publish(&item).unwrap();
    }
    assert!(bell.answer(&mut Context::from_waker(&waker), &mut ids));
    assert_eq!(ids.len() as u64, followers);
    count.0.load(Ordering::Relaxed)
}
