use std::time::Duration;

use sessionwire::rpc::{
    Caller, Client, Event, Fault, FaultKind, Feed, FeedLimits, Interface, Link, LinkConfig, Never,
    Service, Subscription, Topics,
};
use sessionwire::{Connection, Router};
use tokio::sync::mpsc;

use crate::support::proxy::{Fault as Broken, Proxy};

/// Numbers on topics that have numbers.
#[derive(Debug)]
pub(crate) enum Numbers {}

impl Interface for Numbers {
    const NAME: &'static str = "numbers/1";
    type Request = Never;
    type Response = Never;
    type Topic = u32;
    type Item = u64;
}

#[derive(Clone)]
pub(crate) struct Board(pub(crate) Topics<Numbers>);

impl Service for Board {
    type Interface = Numbers;

    async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
        match request {}
    }

    async fn follow(&self, _: Caller, topic: u32) -> Result<Feed<u64>, Fault> {
        let feed = self.0.get(&topic);
        feed.ok_or_else(|| Fault::new(FaultKind::UnknownTopic, topic.to_string()))
    }
}

/// A server process, as far as its clients can tell.
pub(crate) struct Server {
    pub(crate) topics: Topics<Numbers>,
    pub(crate) endpoint: String,
    /// Its ends of the connections, in the order in which they were accepted.
    pub(crate) connections: mpsc::UnboundedReceiver<Connection>,
}

impl Server {
    /// Listens, with topic 1 open.
    pub(crate) async fn listen(endpoint: &str, limits: FeedLimits) -> Self {
        let topics = Topics::with_limits(8, limits);
        topics.open(&1).expect("a place for a topic");
        let mut listener = sessionwire::listen(endpoint).await.expect("to listen");
        let endpoint = listener.endpoint().to_string();
        let router = Router::new().on_service(Board(topics.clone()));
        let (accepted, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(connection) = listener.accept().await {
                accepted.send(connection.clone()).ok();
                let router = router.clone();
                tokio::spawn(async move { router.serve(&connection).await });
            }
        });
        Self {
            topics,
            endpoint,
            connections,
        }
    }

    pub(crate) fn publish(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.topics.publish(&1, &number).expect("a feed");
        }
    }

    pub(crate) fn followers(&self) -> usize {
        self.topics.get(&1).expect("topic 1").followers()
    }
}

/// A client that is impatient, for the sake of the test.
pub(crate) fn client(endpoint: &str) -> Client<Numbers> {
    let config = LinkConfig::default()
        .backoff_base(Duration::from_millis(1))
        .backoff_cap(Duration::from_millis(20));
    Client::new(&Link::to(endpoint, config).expect("an endpoint"))
}

/// Resets all connections there are.
pub(crate) async fn reset(proxy: &Proxy) {
    proxy.set(Broken::Reset);
    proxy.until(|counts| counts.open == 0).await;
    proxy.set(Broken::Pass);
}

/// Reads items, which must come without holes, up to the number `last`.
pub(crate) async fn read_to(subscription: &mut Subscription<Numbers>, next: &mut u64, last: u64) {
    while *next <= last {
        match subscription.recv().await {
            Some(Event::Item { value, .. }) => {
                assert_eq!(value, *next, "nothing is lost, doubled or reordered");
                *next += 1;
            }
            other => panic!("{other:?} before {next}"),
        }
    }
}
