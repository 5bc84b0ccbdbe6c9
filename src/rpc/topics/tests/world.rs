use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};

use crate::mux::{Config, Connection, Driver, Role, Router};
use crate::rpc::cable::{Cable, Wire};
use crate::rpc::link::ByHand;
use crate::rpc::{
    Caller, Client, Event, Fault, FaultKind, Feed, FeedLimits, Interface, Link, LinkState, Never,
    Service, ServiceLimits, SubscribeError, SubscribeOptions, Subscription, TopicLimits, Topics,
};
use crate::runtime::{Runtime, SharedRuntime, VirtualClock};

/// Numbers on topics that have numbers.
#[derive(Debug)]
pub(super) enum Numbers {}

impl Interface for Numbers {
    const NAME: &'static str = "numbers/1";
    type Request = Never;
    type Response = Never;
    type Topic = u32;
    type Item = u64;
}

/// Serves what is open, and nothing else.
#[derive(Debug, Clone)]
pub(super) struct Board(pub(super) Topics<Numbers>);

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

/// A client, a link that a test moves by hand, and the newest server on it.
pub(super) struct World {
    pub(super) clock: VirtualClock,
    pub(super) client: Option<Client<Numbers>>,
    pub(super) topics: Topics<Numbers>,
    router: Router,
    hand: ByHand,
    epoch: u64,
    drivers: Vec<AbortHandle>,
    cable: Option<Cable>,
    /// The client's end of the newest connection, and the server's.
    pub(super) ends: Option<(Connection, Connection)>,
}

impl World {
    /// A client whose link is not up, and a server with topic 1.
    pub(super) fn new(limits: FeedLimits) -> Self {
        let clock = VirtualClock::new();
        let (link, hand) = Link::by_hand(runtime(&clock));
        let mut world = Self {
            client: Some(Client::new(&link)),
            topics: Topics::with_runtime(8, limits, runtime(&clock)),
            router: Router::new(),
            hand,
            epoch: 0,
            drivers: Vec::new(),
            cable: None,
            ends: None,
            clock,
        };
        world.boot(limits);
        world
    }

    /// One that is connected.
    pub(super) fn up(limits: FeedLimits) -> Self {
        let mut world = Self::new(limits);
        world.connect();
        world
    }

    /// Another server process, with topic 1 and no memory of the one before.
    pub(super) fn boot(&mut self, limits: FeedLimits) {
        self.topics = Topics::with_runtime(8, limits, runtime(&self.clock));
        self.topics.open(&1).unwrap();
        self.serve(Board(self.topics.clone()), TopicLimits::default());
    }

    pub(super) fn serve<S: Service>(&mut self, service: S, limits: TopicLimits) {
        self.router =
            Router::new().on_service_with(service, ServiceLimits::default().topics(limits));
    }

    /// Gives the link a connection.
    pub(super) fn connect(&mut self) {
        self.connect_until(usize::MAX, usize::MAX);
    }

    /// Gives the link a connection that is cut when so many bytes went there, or so many back.
    pub(super) fn connect_until(&mut self, forth: usize, back: usize) {
        let here = self.connect_over(Cable::new(forth, back));
        self.epoch += 1;
        self.hand.set(LinkState::Up {
            epoch: self.epoch,
            connection: here,
        });
        self.clock.run_until_stalled();
    }

    /// Gives the link a connection to a server that says nothing.
    pub(super) fn connect_unserved(&mut self) {
        let router = std::mem::take(&mut self.router);
        self.router = Router::new().on_raw("numbers/1.topics", |channel| async move {
            let _channel = channel;
            std::future::pending::<Result<(), Fault>>().await
        });
        self.connect();
        self.router = router;
    }

    fn connect_over(&mut self, (cable, [one, other]): (Cable, [Wire; 2])) -> Connection {
        self.cable = Some(cable);
        let config = Config::default;
        let runtime = || runtime(&self.clock);
        let (here, driver) = Connection::with_runtime(one, Role::Dialer, config(), runtime());
        let (there, other) = Connection::with_runtime(other, Role::Acceptor, config(), runtime());
        self.drive(driver);
        self.drive(other);
        let (router, serving) = (self.router.clone(), there.clone());
        self.clock.spawn(Box::pin(async move {
            router.serve(&serving).await.ok();
        }));
        self.ends = Some((here.clone(), there));
        here
    }

    fn drive(&mut self, driver: Driver) {
        let (handle, registration) = AbortHandle::new_pair();
        self.drivers.push(handle);
        let abortable = Abortable::new(driver, registration);
        self.clock.spawn(Box::pin(abortable.map(|_| ())));
    }

    /// Cuts the connection as a killed process does, and tells the link.
    pub(super) fn kill(&mut self) {
        self.drivers.drain(..).for_each(|driver| driver.abort());
        (self.ends, self.cable) = (None, None);
        self.clock.run_until_stalled();
        self.hand.set(LinkState::Waiting {
            attempt: 1,
            until: self.clock.now(),
            target: None,
            why: None,
        });
        self.clock.run_until_stalled();
    }

    /// Whether the newest connection is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cable.as_ref().is_some_and(Cable::is_cut)
    }

    /// Drains the connection, from this end or from the other.
    pub(super) fn drain(&self, here: bool) -> Output<Result<(), crate::mux::ConnectionError>> {
        let (one, other) = self.ends.as_ref().expect("a connection");
        let drained = if here { one } else { other }.clone();
        self.spawn(async move { drained.drain(Duration::from_secs(30)).await })
    }

    pub(super) fn down(&mut self, error: crate::rpc::LinkError) {
        self.hand.set(LinkState::Down(error));
        self.clock.run_until_stalled();
    }

    pub(super) fn client(&self) -> Client<Numbers> {
        self.client.clone().expect("the client to be there")
    }

    pub(super) fn publish(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.topics.publish(&1, &number).unwrap();
        }
    }

    pub(super) fn feed(&self) -> Feed<u64> {
        self.topics.get(&1).expect("topic 1 to be open")
    }

    /// Subscribes to topic 1.
    pub(super) fn subscribe(&self, options: SubscribeOptions) -> Subscription<Numbers> {
        let begun = self.begin(options);
        begun.take(&self.clock).expect("to be accepted")
    }

    /// Begins to subscribe to topic 1.
    pub(super) fn begin(&self, options: SubscribeOptions) -> Begun {
        let client = self.client();
        Begun(self.spawn(async move { client.subscribe_with(&1, options).await }))
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Output<T> {
        let slot = Arc::new(Mutex::new(None));
        let output = Arc::clone(&slot);
        self.clock.spawn(Box::pin(async move {
            *output.lock().unwrap() = Some(future.await);
        }));
        self.clock.run_until_stalled();
        Output(slot)
    }

    pub(super) fn run(&self) {
        self.clock.run_until_stalled();
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

pub(super) fn runtime(clock: &VirtualClock) -> SharedRuntime {
    Arc::new(clock.clone())
}

/// What a task comes to.
pub(super) struct Output<T>(Arc<Mutex<Option<T>>>);

impl<T> Output<T> {
    pub(super) fn get(&self) -> Option<T> {
        self.0.lock().unwrap().take()
    }
}

pub(super) struct Begun(Output<Result<Subscription<Numbers>, SubscribeError>>);

impl Begun {
    pub(super) fn get(&self) -> Option<Result<Subscription<Numbers>, SubscribeError>> {
        self.0.get()
    }

    fn take(&self, clock: &VirtualClock) -> Result<Subscription<Numbers>, SubscribeError> {
        clock.run_until_stalled();
        self.get().expect("an answer")
    }
}

/// What is there to read: numbers as they are, all else by what it says.
pub(super) fn read(subscription: &mut Subscription<Numbers>) -> Vec<String> {
    std::iter::from_fn(|| read_one(subscription)).collect()
}

pub(super) fn read_one(subscription: &mut Subscription<Numbers>) -> Option<String> {
    let event = subscription.recv().now_or_never()??;
    Some(match event {
        Event::Item { value, .. } => value.to_string(),
        Event::Gap { missed, why } => format!("{missed:?} {why:?}"),
        Event::End(reason) => reason.to_string(),
        other => format!("{other:?}"),
    })
}

pub(super) fn texts(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| number.to_string())
        .collect()
}
