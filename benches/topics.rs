//! One publisher, a thousand subscribers on a hundred connections: items per second, how often each is
//! encoded, and how long it takes until a thousand subscriptions flow again after a lost connection.
//!
//! `cargo bench --bench topics`

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_std::task;
use futures::future::join_all;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sessionwire::rpc::{
    Caller, Client, Event, Fault, Feed, FeedLimits, Interface, Link, LinkConfig, Never, Service,
    SubscribeOptions, Subscription, Topics,
};
use sessionwire::{Code, Connection, Router};

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
    task::block_on(async {
        for is_shared in [true, false] {
            spread(is_shared).await;
        }
        reconnect().await;
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
