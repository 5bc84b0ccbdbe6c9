use std::time::Duration;

use sessionwire::rpc::{
    Caller, Client, Event, Fault, Feed, FeedLimits, Interface, Link, LinkConfig, LinkState,
    Service, Subscription, Topics,
};
use sessionwire::transport::TransportConfig;
use sessionwire::{Config, Connection, Listener, Router};
use tokio::sync::mpsc;

/// Says bytes back, and has one topic of numbers.
pub(crate) enum Talk {}

impl Interface for Talk {
    const NAME: &'static str = "talk/1";
    type Request = Vec<u8>;
    type Response = Vec<u8>;
    type Topic = ();
    type Item = u64;
}

#[derive(Clone)]
struct Talker(Topics<Talk>);

impl Service for Talker {
    type Interface = Talk;

    async fn call(&self, _: Caller, request: Vec<u8>) -> Result<Vec<u8>, Fault> {
        Ok(request)
    }

    async fn follow(&self, _: Caller, (): ()) -> Result<Feed<u64>, Fault> {
        Ok(self.0.get(&()).expect("its topic"))
    }
}

pub(crate) struct Server {
    pub(crate) topics: Topics<Talk>,
    pub(crate) endpoint: String,
    /// Its ends of the connections, in the order in which they were accepted.
    pub(crate) connections: mpsc::UnboundedReceiver<Connection>,
}

impl Server {
    pub(crate) async fn listen(endpoint: &str, transport: TransportConfig) -> Self {
        let topics = Topics::with_limits(1, FeedLimits::default());
        topics.open(&()).expect("a place for a topic");
        let listener = Listener::new(Config::default(), transport);
        let mut listener = listener.and(endpoint).await.expect("to listen");
        let endpoint = listener.endpoint().to_string();
        let router = Router::new().on_service(Talker(topics.clone()));
        let (accepted, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                // What a proxy opens to see whether it is alive is none.
                let Ok(connection) = listener.accept().await else {
                    continue;
                };
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

    pub(crate) fn publish(&self, number: u64) {
        self.topics.publish(&(), &number).expect("a feed");
    }
}

/// A link that is impatient, for the sake of the test.
pub(crate) fn link(endpoint: &str, transport: TransportConfig) -> Link {
    let config = LinkConfig::default()
        .backoff_base(Duration::from_millis(1))
        .backoff_cap(Duration::from_millis(50))
        .transport(transport);
    Link::to(endpoint, config).expect("an endpoint")
}

/// Whether all that can be done over a connection is done over this one.
pub(crate) async fn everything_passes(client: &Client<Talk>, server: &Server) {
    for size in [0, 1, 125, 126, 70_000, 1_000_000] {
        let request: Vec<u8> = (0..size).map(|index: u32| index.to_be_bytes()[3]).collect();
        let answer = client.call(&request).await.expect("an answer");
        assert!(answer == request, "other bytes came than went");
    }
    let mut numbers = client.subscribe(&()).await.expect("a subscription");
    for number in 0..100 {
        server.publish(number);
        assert_eq!(next(&mut numbers).await, number);
    }
}

/// A proxy that begins anew ends what it had: each number comes once nevertheless.
pub(crate) async fn goes_on(link: &Link, server: &Server, mut anew: impl FnMut()) {
    let client: Client<Talk> = Client::new(link);
    let mut numbers = client.subscribe(&()).await.expect("a subscription");
    let mut published = 0..;
    for connections in 2..=4 {
        anew();
        loop {
            let number = published.next().expect("a number");
            server.publish(number);
            let came = next(&mut numbers).await;
            assert_eq!(came, number, "none is lost, doubled or reordered");
            if matches!(link.state(), LinkState::Up { epoch, .. } if epoch >= connections) {
                break;
            }
        }
    }
}

/// Why a link has no connection yet, which goes on trying.
pub(crate) async fn waits_for(link: &Link) -> String {
    let mut watch = link.watch();
    loop {
        match watch.changed().await {
            LinkState::Waiting { why: Some(why), .. } => return why.to_string(),
            LinkState::Connecting { .. } | LinkState::Waiting { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn next(subscription: &mut Subscription<Talk>) -> u64 {
    match subscription.recv().await {
        Some(Event::Item { value, .. }) => value,
        other => panic!("no number: {other:?}"),
    }
}
