//! How long nothing comes when a server is killed, with a link that dials again by itself.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};

use super::world::{Board, Numbers, runtime};
use crate::mux::{Config, Connection, Role, Router};
use crate::rpc::{
    Attempt, Client, DialError, Dialer, Event, FeedLimits, Link, LinkConfig, SubscribeOptions,
    Subscription, Topics,
};
use crate::runtime::{Runtime, VirtualClock};
use crate::transport::pipe;

/// Dials a server that can be killed, and is there again at once.
#[derive(Clone)]
struct Server {
    clock: VirtualClock,
    router: Router,
    process: Arc<Mutex<Option<AbortHandle>>>,
}

impl Server {
    fn kill(&self) {
        let process = self.process.lock().unwrap().take();
        process.expect("it serves").abort();
        self.clock.run_until_stalled();
    }
}

impl Dialer for Server {
    async fn dial(&self, _: Attempt) -> Result<Connection, DialError> {
        let (one, other) = pipe(64 * 1024);
        let end = |stream, role| {
            let runtime = runtime(&self.clock);
            Connection::with_runtime(stream, role, Config::default(), runtime)
        };
        let (here, driver) = end(one, Role::Dialer);
        driver.spawn();
        let (there, driver) = end(other, Role::Acceptor);
        let (process, registration) = AbortHandle::new_pair();
        let serving = Abortable::new(driver, registration).map(|_| ());
        self.clock.spawn(Box::pin(serving));
        *self.process.lock().unwrap() = Some(process);
        let router = self.router.clone();
        self.clock.spawn(Box::pin(async move {
            router.serve(&there).await.ok();
        }));
        Ok(here)
    }
}

/// As evenly as drawn numbers, and the same in every run.
fn fraction() -> f64 {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
    thread_local! {
        static DRAWN: Cell<f64> = const { Cell::new(0.5) };
    }
    DRAWN.set((DRAWN.get() + GOLDEN_RATIO).fract());
    DRAWN.get()
}

/// What there is to read, up to the newest item; none is missing.
fn newest(subscription: &mut Subscription<Numbers>, last: &mut u64) {
    while let Some(Some(event)) = subscription.recv().now_or_never() {
        let Event::Item { value, .. } = event else {
            panic!("{event:?}");
        };
        assert_eq!(value, *last + 1);
        *last = value;
    }
}

/// Test 1, of the time from the kill until the next item.
#[test]
fn after_a_kill_a_subscriber_is_blind_for_the_first_pause_and_no_longer() {
    const KILLS: usize = 100;
    let clock = VirtualClock::new();
    let topics: Topics<Numbers> = Topics::with_runtime(8, FeedLimits::default(), runtime(&clock));
    topics.open(&1).unwrap();
    let server = Server {
        clock: clock.clone(),
        router: Router::new().on_service(Board(topics.clone())),
        process: Arc::default(),
    };
    let config = LinkConfig::default();
    let link = Link::drawing(server.clone(), config, runtime(&clock), fraction);
    let client: Client<Numbers> = Client::new(&link);
    clock.run_until_stalled();
    let mut subscription = {
        let options = SubscribeOptions::default().capacity(1024);
        let begun = Arc::new(Mutex::new(None));
        let output = Arc::clone(&begun);
        clock.spawn(Box::pin(async move {
            *output.lock().unwrap() = Some(client.subscribe_with(&1, options).await);
        }));
        clock.run_until_stalled();
        begun.lock().unwrap().take().expect("an answer").unwrap()
    };
    let (mut published, mut last) = (0, 0);
    let mut blind: Vec<u64> = Vec::new();
    for kill in 0..KILLS {
        // The connection is stable then, and the pauses begin anew.
        clock.advance(Duration::from_secs(10));
        let mut publish = || {
            published += 1;
            topics.publish(&1, &published).unwrap();
            clock.advance(Duration::from_millis(1));
        };
        // At another place between items each time.
        (0..kill % 7).for_each(|_| publish());
        server.kill();
        newest(&mut subscription, &mut last);
        let (before, mut milliseconds) = (last, 0);
        while last == before {
            publish();
            milliseconds += 1;
            newest(&mut subscription, &mut last);
        }
        blind.push(milliseconds);
    }
    blind.sort_unstable();
    assert!(blind[KILLS - 1] <= 251, "{blind:?}");
    let (median, late) = (blind[KILLS / 2], blind[KILLS * 99 / 100 - 1]);
    println!("blind after a kill: median {median} ms, p99 {late} ms");
}
