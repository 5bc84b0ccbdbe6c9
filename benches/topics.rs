//! One publisher, a thousand subscribers on a hundred connections: items per second, how often each is
//! encoded, how long it takes until a thousand subscriptions flow again after a lost connection, what
//! one slow subscriber costs ninety-nine others, and how long a subscriber is blind when its server is
//! killed.
//!
//! `cargo bench --bench topics`, or one part of it: `-- spread`, `reconnect`, `slow`, `blind`

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_std::task;
use futures::future::join_all;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sessionwire::rpc::{
    Caller, Client, Event, Fault, Feed, FeedLimits, Interface, Lag, Link, LinkConfig, Never,
    Service, SubscribeOptions, Subscription, Topics,
};
use sessionwire::transport::{Listener, TransportConfig};
use sessionwire::{Code, Config, Connection, Role, Router};

static ENCODED: AtomicU64 = AtomicU64::new(0);

/// An item of 64 bytes that counts how often it is encoded.
struct Price(u64);

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        [self.0 | 1 << 63; 7].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [number, ..] = <[u64; 7]>::deserialize(deserializer)?;
        Ok(Self(number & !(1 << 63)))
    }
}

enum Prices {}

impl Interface for Prices {
    const NAME: &'static str = "prices/1";
    type Request = Never;
    type Response = Never;
    type Topic = u32;
    type Item = Price;
}

#[derive(Clone)]
struct Market(Topics<Prices>);

impl Service for Market {
    type Interface = Prices;

    async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
        match request {}
    }

    async fn follow(&self, _: Caller, topic: u32) -> Result<Feed<Price>, Fault> {
        self.0.get(&topic).ok_or_else(|| Fault::refused("unknown"))
    }
}

const CONNECTIONS: usize = 100;
const SUBSCRIBERS: usize = 1000;
const ITEMS: u64 = 2000;
const ROUNDS: usize = 5;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let parts = ["spread", "reconnect", "slow", "blind"];
    let is_any = chosen.iter().any(|part| parts.contains(&part.as_str()));
    let is_chosen = |part: &str| !is_any || chosen.iter().any(|chosen| chosen == part);
    task::block_on(async {
        if is_chosen("spread") {
            spread(true).await;
            spread(false).await;
        }
        if is_chosen("reconnect") {
            reconnect().await;
        }
        if is_chosen("slow") {
            slow().await;
        }
        if is_chosen("blind") {
            blind(Duration::from_millis(250)).await;
            blind(Duration::from_millis(1)).await;
        }
    });
}

/// Publishes to all subscribers, and waits until all have everything.
async fn spread(is_shared: bool) {
    let topics = Topics::with_limits(8, FeedLimits::default().items(65_536));
    let feed = topics.open(&1).expect("a feed");
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::<Prices>::new(&Link::over(served(&topics).await)));
    }
    let options = SubscribeOptions::default()
        .capacity(65_536)
        .shared(is_shared);
    let mut subscriptions = Vec::new();
    for number in 0..SUBSCRIBERS {
        let client = &clients[number % CONNECTIONS];
        let begun = client.subscribe_with(&1, options.clone()).await;
        subscriptions.push(begun.expect("a subscription"));
    }
    let mut best = f64::INFINITY;
    ENCODED.store(0, Ordering::Relaxed);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let reading = subscriptions.drain(..).map(|mut subscription| {
            task::spawn(async move {
                read(&mut subscription, ITEMS).await;
                subscription
            })
        });
        let reading: Vec<_> = reading.collect();
        for item in 0..ITEMS {
            feed.publish(&Price(item)).expect("a feed");
            if item % 64 == 0 {
                task::yield_now().await;
            }
        }
        subscriptions = join_all(reading).await;
        best = best.min(start.elapsed().as_secs_f64());
    }
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    let (items, encoded) = (
        ITEMS as f64,
        ENCODED.load(Ordering::Relaxed) as f64 / (ITEMS as f64 * ROUNDS as f64),
    );
    let (published, delivered) = (items / best, items * 1000.0 / best / 1e6);
    let shared = if is_shared { "shared" } else { "not shared" };
    println!(
        "{SUBSCRIBERS} subscribers on {CONNECTIONS} connections over TCP, {shared}, items of 63 bytes:"
    );
    println!(
        "  {published:.0} items/s published, {delivered:.2} million/s delivered, {encoded:.2} encodings each"
    );
}

async fn read(subscription: &mut Subscription<Prices>, count: u64) {
    for number in 0..count {
        match subscription.recv().await {
            Some(Event::Item { value, .. }) => assert_eq!(value.0, number),
            other => panic!("{:?}", other.map(|_| "no item")),
        }
    }
}

/// A connection over TCP whose other end serves the topics.
async fn served(topics: &Topics<Prices>) -> Connection {
    let mut listener = sessionwire::listen("tcp://127.0.0.1:0")
        .await
        .expect("to listen");
    let dial = sessionwire::connect(listener.endpoint().clone());
    let (here, there) = futures::future::join(dial, listener.accept()).await;
    let there = there.expect("to accept");
    let router = Router::new().on_service(Market(topics.clone()));
    task::spawn(async move { router.serve(&there).await });
    here.expect("to connect")
}

/// Loses the connection of a thousand subscriptions, and waits until an item that was published
/// meanwhile has come on each.
async fn reconnect() {
    let topics = Topics::with_limits(SUBSCRIBERS, FeedLimits::default());
    let mut listener = sessionwire::listen("tcp://127.0.0.1:0")
        .await
        .expect("to listen");
    let config = LinkConfig::default().backoff_base(Duration::from_millis(1));
    let link = Link::to(listener.endpoint().clone(), config).expect("an endpoint");
    let client: Client<Prices> = Client::new(&link);
    let router = Router::new().on_service(Market(topics.clone()));
    let (accepted, connections) = async_std::channel::unbounded();
    task::spawn(async move {
        while let Ok(connection) = listener.accept().await {
            accepted.send(connection.clone()).await.ok();
            let router = router.clone();
            task::spawn(async move { router.serve(&connection).await });
        }
    });
    let mut subscriptions = Vec::new();
    for number in 0..u32::try_from(SUBSCRIBERS).expect("a small number") {
        let feed = topics.open(&number).expect("a feed");
        let subscription = client.subscribe(&number).await.expect("a subscription");
        subscriptions.push((feed, subscription));
    }
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let connection = connections.recv().await.expect("a connection");
        connection.close(Code::SHUTDOWN, "for the measurement");
        for (feed, _) in &subscriptions {
            feed.publish(&Price(0)).expect("a feed");
        }
        for (_, subscription) in &mut subscriptions {
            read(subscription, 1).await;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{SUBSCRIBERS} subscriptions of one client to as many topics, over TCP:");
    println!(
        "  {:.1} ms from the loss of the connection until an item came on each",
        best * 1e3
    );
}

/// A hundred subscribers on ten connections, without and with a slow one among them, in turn: how late
/// the others have a thousand items a second.
async fn slow() {
    const POLICIES: [Option<Lag>; 4] = [
        None,
        Some(Lag::DropOldest),
        Some(Lag::Disconnect),
        Some(Lag::BackPressure),
    ];
    const TURNS: usize = 61;
    let mut measured: [Vec<(Duration, Duration)>; 4] = Default::default();
    for _ in 0..TURNS {
        for (policy, measured) in POLICIES.into_iter().zip(&mut measured) {
            let mut late = others_of(policy).await;
            measured.push((percentile(&mut late, 99), percentile(&mut late, 50)));
        }
    }
    println!(
        "99 subscribers on 10 connections over TCP at 1000 items/s, and one that reads 1 item/s:"
    );
    for (policy, mut measured) in POLICIES.into_iter().zip(measured) {
        measured.sort_unstable();
        // Other work on the machine makes turns worse, and none better.
        let ((best, p50), (middle, _)) = (measured[0], measured[TURNS / 2]);
        let policy = policy.map_or_else(|| "none slow".to_owned(), |policy| format!("{policy:?}"));
        println!(
            "  {policy:<12} p50 {p50:.0?}, p99 {best:.0?} in the best of {TURNS} turns, {middle:.0?} in the median"
        );
    }
}

/// How late 99 subscribers had what was published, beside a slow one with that policy, or a hundredth
/// that is like them.
async fn others_of(policy: Option<Lag>) -> Vec<Duration> {
    const PUBLISHED: u64 = 200;
    let topics = Topics::new();
    let feed = topics.open(&1).expect("a feed");
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::<Prices>::new(&Link::over(served(&topics).await)));
    }
    let own = SubscribeOptions::default().shared(false);
    let (mut reading, mut slow) = (Vec::new(), None);
    for number in 0..100 {
        let is_slow = number == 0 && policy.is_some();
        let lag = policy.filter(|_| is_slow).unwrap_or_default();
        let options = own
            .clone()
            .lag(lag)
            .capacity(if is_slow { 64 } else { 4096 });
        let client = &clients[number % clients.len()];
        let begun = client.subscribe_with(&1, options).await;
        let mut subscription = begun.expect("a subscription");
        let read = async move {
            let mut late = Vec::new();
            while let Some(event) = subscription.recv().await {
                match event {
                    Event::Item { value, .. } => late.push(since(value.0)),
                    Event::End(_) => break,
                    _ => assert!(is_slow, "one that is not slow misses nothing"),
                }
                if is_slow {
                    task::sleep(Duration::from_secs(1)).await;
                }
            }
            late
        };
        let task = task::spawn(read);
        if is_slow {
            slow = Some(task);
        } else {
            reading.push(task);
        }
    }
    publish(&feed, PUBLISHED).await;
    feed.close(None);
    let late = join_all(reading).await;
    if let Some(slow) = slow {
        slow.cancel().await;
    }
    assert!(late.iter().all(|late| late.len() as u64 == PUBLISHED));
    late.into_iter().flatten().collect()
}

/// Kills the server's end of a connection a hundred times, while a thousand items a second are
/// published, and measures until the next of them is there.
async fn blind(backoff_base: Duration) {
    const KILLS: usize = 100;
    let topics = Topics::with_limits(8, FeedLimits::default().items(65_536));
    let feed = topics.open(&1).expect("a feed");
    let endpoint = "tcp://127.0.0.1:0".parse().expect("an endpoint");
    let listening = Listener::bind(&endpoint, &TransportConfig::default()).await;
    let mut listener = listening.expect("to listen");
    let config = LinkConfig::default()
        .backoff_base(backoff_base)
        .stable_after(Duration::ZERO);
    let link = Link::to(listener.endpoint().clone(), config).expect("an endpoint");
    let router = Router::new().on_service(Market(topics.clone()));
    let (accepted, drivers) = async_std::channel::unbounded();
    task::spawn(async move {
        while let Ok(incoming) = listener.accept().await {
            let stream = incoming.handshake().await.expect("no handshake").stream;
            let (connection, driver) = Connection::new(stream, Role::Acceptor, Config::default());
            accepted.send(task::spawn(driver)).await.ok();
            let router = router.clone();
            task::spawn(async move { router.serve(&connection).await });
        }
    });
    let client: Client<Prices> = Client::new(&link);
    let options = SubscribeOptions::default().capacity(65_536);
    let begun = client.subscribe_with(&1, options).await;
    let mut subscription = begun.expect("a subscription");
    let publishing = task::spawn(async move { publish(&feed, u64::MAX).await });
    let mut dark = Vec::new();
    for _ in 0..KILLS {
        let driver = drivers.recv().await.expect("a connection");
        // Something came on it.
        next_from(&mut subscription, now()).await;
        let killed = now();
        driver.cancel().await;
        next_from(&mut subscription, killed).await;
        dark.push(since(killed));
    }
    publishing.cancel().await;
    println!(
        "{KILLS} kills of the server at 1000 items/s over TCP, first pause at most {backoff_base:?}:"
    );
    let (p50, p99) = (percentile(&mut dark, 50), percentile(&mut dark, 99));
    println!("  until the next item: median {p50:.1?}, p99 {p99:.1?}");
}

/// Waits for an item that was published at that time or later; none is missing before it.
async fn next_from(subscription: &mut Subscription<Prices>, time: u64) {
    loop {
        match subscription.recv().await {
            Some(Event::Item { value, .. }) if value.0 >= time => return,
            Some(Event::Item { .. }) => {}
            other => panic!("{:?}", other.map(|_| "no item")),
        }
    }
}

/// Publishes a thousand items a second, which say when they were published.
async fn publish(feed: &Feed<Price>, items: u64) {
    let mut due = Instant::now();
    for _ in 0..items {
        due += Duration::from_millis(1);
        task::sleep(due.saturating_duration_since(Instant::now())).await;
        feed.publish(&Price(now())).expect("a feed");
    }
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// In nanoseconds.
fn now() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn since(time: u64) -> Duration {
    Duration::from_nanos(now().saturating_sub(time))
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
