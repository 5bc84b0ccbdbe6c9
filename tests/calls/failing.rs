use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_listener::Event;
use futures::channel::oneshot;
use futures::future::{FutureExt, join, join_all};
use sessionwire::rpc::{
    CallError, CallOptions, Caller, Client, Delivery, Fault as Refusal, Interface, Link,
    LinkConfig, Loss, Never, Service,
};
use sessionwire::{Config, Listener, Router};
use tokio::runtime::Runtime;

use crate::support::proxy::{Direction, Fault, Proxy};
use crate::support::world::{Wire, endpoint, trusting};

/// Counts how often each number was asked.
enum Counting {}

impl Interface for Counting {
    const NAME: &'static str = "counting/1";
    type Request = u64;
    type Response = u64;
    type Topic = Never;
    type Item = Never;
}

#[derive(Debug, Clone, Default)]
struct Counts {
    runs: Arc<Mutex<BTreeMap<u64, usize>>>,
    released: Arc<Event>,
    asked: Arc<Event>,
}

/// Numbers from here on are answered when the test says so.
const WAITS: u64 = 1 << 32;

impl Service for Counts {
    type Interface = Counting;

    async fn call(&self, _: Caller, number: u64) -> Result<u64, Refusal> {
        let released = self.released.listen();
        *self
            .runs
            .lock()
            .expect("no panic")
            .entry(number)
            .or_default() += 1;
        self.asked.notify(usize::MAX);
        if number >= WAITS {
            released.await;
        }
        Ok(number * 2)
    }
}

impl Counts {
    fn runs(&self, number: u64) -> usize {
        let runs = self.runs.lock().expect("no panic");
        runs.get(&number).copied().unwrap_or_default()
    }

    async fn until_asked(&self, number: u64) {
        loop {
            let asked = self.asked.listen();
            if self.runs(number) > 0 {
                return;
            }
            asked.await;
        }
    }
}

/// A server of a runtime of its own.
struct Server {
    endpoint: String,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    async fn start(wire: Wire, counts: &Counts) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (asked, service) = (endpoint(wire), counts.clone());
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(async move {
            let listener = Listener::new(Config::default(), trusting());
            let listener = listener.and(&asked).await.expect("to listen");
            tell.send(listener.endpoint().to_string()).expect("a test");
            let router = Router::new().on_service(service);
            let (stopped, time) = (stopped.map(|_| ()), Duration::from_secs(30));
            let served = listener.serve_until(&router, stopped, time);
            served.await.expect("to accept");
        });
        Self {
            endpoint: told.await.expect("a listener"),
            runtime: Some(runtime),
            stop: Some(stop),
        }
    }

    /// Lets what is asked be answered, and then no more.
    fn drain(&mut self) {
        self.stop = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn client(proxy: &Proxy) -> Client<Counting> {
    let config = LinkConfig::default()
        .backoff_base(Duration::from_millis(1))
        .backoff_cap(Duration::from_millis(20));
    Client::new(&Link::to(proxy.endpoint(), config).expect("an endpoint"))
}

fn patient(delivery: Delivery) -> CallOptions {
    CallOptions::default()
        .deadline(Duration::from_secs(40))
        .delivery(delivery)
}

pub(crate) async fn calls_are_answered_a_byte_at_a_time(wire: Wire) {
    let counts = Counts::default();
    let server = Server::start(wire, &counts).await;
    let proxy = Proxy::before(&server.endpoint);
    proxy.set(Fault::Split(1));
    let client = client(&proxy);
    let answers = join_all((0..50).map(|number| {
        let client = client.clone();
        async move { client.call(&number).await }
    }));
    for (number, answer) in (0..).zip(answers.await) {
        assert_eq!(answer.expect("an answer"), number * 2);
    }
}

/// Makes calls while the network is cut after more and more bytes; answers what came of them.
async fn through_cuts(
    wire: Wire,
    counts: &Counts,
    delivery: impl Fn(u64) -> Delivery,
) -> Vec<Result<u64, CallError>> {
    const ROUNDS: u64 = 20;
    const CALLS: u64 = 5;
    let server = Server::start(wire, counts).await;
    let proxy = Proxy::before(&server.endpoint);
    let client = client(&proxy);
    client.call(&1_000_000).await.expect("an answer");
    let mut outcomes = Vec::new();
    for round in 0..ROUNDS {
        let direction = match round % 2 {
            0 => Direction::ToServer,
            _ => Direction::ToClient,
        };
        let bytes = usize::try_from(round * 7 + 1).expect("a small number");
        proxy.set(Fault::CutAfter(bytes, direction));
        let accepted = proxy.counts().accepted;
        let numbers = round * CALLS..(round + 1) * CALLS;
        let calls = join_all(numbers.map(|number| {
            let (client, options) = (client.clone(), patient(delivery(number)));
            async move { client.call_with(&number, options).await }
        }));
        // The network is mended when it was seen to fail.
        let mend = async {
            proxy.until(|counts| counts.accepted > accepted).await;
            proxy.set(Fault::Pass);
        };
        let mut mend = std::pin::pin!(mend.fuse());
        let mut calls = std::pin::pin!(calls.fuse());
        let made = loop {
            futures::select! {
                () = mend => {}
                made = calls => break made,
            }
        };
        proxy.set(Fault::Pass);
        outcomes.extend(made);
    }
    outcomes
}

pub(crate) async fn idempotent_calls_are_run_once_however_often_the_network_fails(wire: Wire) {
    let counts = Counts::default();
    let outcomes = through_cuts(wire, &counts, |number| Delivery::Idempotent(number.into()));
    for (number, outcome) in (0..).zip(outcomes.await) {
        assert_eq!(outcome.expect("an answer"), number * 2);
        assert_eq!(counts.runs(number), 1, "of {number}");
    }
}

pub(crate) async fn other_calls_are_run_as_often_as_they_say(wire: Wire) {
    let counts = Counts::default();
    let outcomes = through_cuts(wire, &counts, |number| match number % 2 {
        0 => Delivery::AtMostOnce,
        _ => Delivery::AtLeastOnce,
    });
    for (number, outcome) in (0..).zip(outcomes.await) {
        let runs = counts.runs(number);
        match (number % 2, outcome) {
            (0, Ok(answer)) => assert_eq!((answer, runs), (number * 2, 1)),
            (0, Err(CallError::Unknown(_))) => assert!(runs <= 1),
            (1, Ok(answer)) => assert!(answer == number * 2 && runs >= 1),
            (_, outcome) => panic!("{number}: {outcome:?} after {runs} runs"),
        }
    }
}

pub(crate) async fn a_service_that_moves_runs_no_idempotent_call_again(wire: Wire) {
    let counts = Counts::default();
    let server = Server::start(wire, &counts).await;
    let other = Server::start(wire, &counts).await;
    let proxy = Proxy::before(&server.endpoint);
    let client = client(&proxy);
    let options = patient(Delivery::Idempotent(1));
    let call = client.call_with(&WAITS, options);
    let leave = async {
        counts.until_asked(WAITS).await;
        proxy.move_to(&other.endpoint);
        drop(server);
    };
    let (outcome, ()) = join(call, leave).await;
    assert!(
        matches!(outcome, Err(CallError::Unknown(Loss::Restarted))),
        "{outcome:?}"
    );
    assert_eq!(counts.runs(WAITS), 1);
    assert_eq!(client.call(&1).await.expect("an answer"), 2);
}

pub(crate) async fn what_a_server_that_drains_has_holds_nothing_up(wire: Wire) {
    let (old, new) = (Counts::default(), Counts::default());
    let mut server = Server::start(wire, &old).await;
    let other = Server::start(wire, &new).await;
    let proxy = Proxy::before(&server.endpoint);
    let client = client(&proxy);
    let slow = client.call_with(&WAITS, patient(Delivery::AtMostOnce));
    let others = async {
        old.until_asked(WAITS).await;
        proxy.move_to(&other.endpoint);
        server.drain();
        for number in 0..20 {
            let answer = client.call(&number).await;
            assert_eq!(answer.expect("an answer"), number * 2);
        }
        assert_eq!(
            new.runs(19),
            1,
            "the last was not asked of the first server"
        );
        old.released.notify(usize::MAX);
    };
    let (outcome, ()) = join(slow, others).await;
    assert_eq!(outcome.expect("an answer"), WAITS * 2);
    assert_eq!((old.runs(WAITS), new.runs(WAITS)), (1, 0));
}

pub(crate) async fn a_deadline_passes_in_the_dark(wire: Wire) {
    let counts = Counts::default();
    let server = Server::start(wire, &counts).await;
    let proxy = Proxy::before(&server.endpoint);
    let client = client(&proxy);
    client.call(&1).await.expect("an answer");
    proxy.set(Fault::Blackhole(Direction::Both));
    let options = CallOptions::default().deadline(Duration::from_millis(50));
    let outcome = client.call_with(&2, options).await;
    assert!(
        matches!(outcome, Err(CallError::DeadlinePassed { .. })),
        "{outcome:?}"
    );
    proxy.set(Fault::Pass);
    assert_eq!(client.call(&3).await.expect("an answer"), 6);
}
