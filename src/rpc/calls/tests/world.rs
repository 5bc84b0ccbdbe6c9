use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use event_listener::Event;
use futures_io::{AsyncRead, AsyncWrite};
use serde::{Deserialize, Serialize};

use crate::mux::{Config, Connection, ConnectionError, Role, Router};
use crate::rpc::cable::Cable;
use crate::rpc::link::{ByHand, DialError, LinkState};
use crate::rpc::{
    CallLimits, Caller, Client, ClientConfig, Fault, Interface, Link, LinkError, Never, Service,
    ServiceLimits,
};
use crate::runtime::{Runtime, VirtualClock};

/// What the tests ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Is answered at once.
    Echo(u64),
    /// Is answered when the test says so.
    Wait(u64),
    /// The same, of a request of some size.
    Hold(u64, Vec<u8>),
    /// Is answered after so many milliseconds.
    Take(u64, u64),
    Panic,
    PanicLater,
    Refuse(String),
    /// Is answered with so many bytes.
    Long(usize),
    Bytes(Vec<u8>),
}

/// What it wants to be asked.
pub(super) enum Asking {}

impl Interface for Asking {
    const NAME: &'static str = "asking/1";
    type Request = Ask;
    type Response = Vec<u8>;
    type Topic = Never;
    type Item = Never;
}

/// What happened at the service, over all connections.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// How often a number was begun, finished, and dropped before its end.
    pub(super) begun: Mutex<BTreeMap<u64, usize>>,
    pub(super) order: Mutex<Vec<u64>>,
    pub(super) dropped: Mutex<Vec<u64>>,
    pub(super) deadlines: Mutex<Vec<Duration>>,
    is_released: AtomicBool,
    released: Event,
}

impl Log {
    pub(super) fn runs(&self, number: u64) -> usize {
        let begun = self.begun.lock().unwrap();
        begun.get(&number).copied().unwrap_or_default()
    }

    pub(super) fn dropped(&self) -> Vec<u64> {
        self.dropped.lock().unwrap().clone()
    }

    fn begin(&self, number: u64) {
        *self.begun.lock().unwrap().entry(number).or_default() += 1;
        self.order.lock().unwrap().push(number);
    }

    /// Lets all that wait, and will, be answered.
    pub(super) fn release(&self) {
        self.is_released.store(true, Ordering::SeqCst);
        self.released.notify(usize::MAX);
    }
}

pub(super) struct Answering(Arc<Log>, VirtualClock);

/// Notes that a handler was dropped before its end.
struct Watch<'l>(&'l Log, Option<u64>);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.dropped.lock().unwrap().extend(self.1);
    }
}

impl Service for Answering {
    type Interface = Asking;

    async fn call(&self, caller: Caller, ask: Ask) -> Result<Vec<u8>, Fault> {
        let Self(log, clock) = self;
        let left = caller.deadline().saturating_duration_since(clock.now());
        log.deadlines.lock().unwrap().push(left);
        match ask {
            Ask::Echo(number) => {
                log.begin(number);
                Ok(number.to_le_bytes().to_vec())
            }
            Ask::Wait(number) | Ask::Hold(number, _) => {
                log.begin(number);
                let mut watch = Watch(log, Some(number));
                while !log.is_released.load(Ordering::SeqCst) {
                    let released = log.released.listen();
                    if !log.is_released.load(Ordering::SeqCst) {
                        released.await;
                    }
                }
                watch.1 = None;
                Ok(number.to_le_bytes().to_vec())
            }
            Ask::Take(number, milliseconds) => {
                log.begin(number);
                let end = clock.now() + Duration::from_millis(milliseconds);
                clock.sleep_until(end).await;
                Ok(number.to_le_bytes().to_vec())
            }
            Ask::Panic => panic!("as the test wants"),
            Ask::PanicLater => {
                std::future::poll_fn(yield_once(false)).await;
                panic!("as the test wants")
            }
            Ask::Refuse(reason) => Err(Fault::refused(reason)),
            Ask::Long(length) => Ok(vec![7; length]),
            Ask::Bytes(bytes) => Ok(bytes),
        }
    }
}

fn yield_once(mut yielded: bool) -> impl FnMut(&mut Context<'_>) -> Poll<()> {
    move |context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A client, its link, and a service that it reaches when the test connects them.
pub(super) struct World {
    pub(super) clock: VirtualClock,
    pub(super) log: Arc<Log>,
    pub(super) link: Link,
    pub(super) client: Client<Asking>,
    hand: ByHand,
    router: Router,
    limits: ServiceLimits,
    epoch: u64,
    cable: Option<Cable>,
    pub(super) ends: Option<(Connection, Connection)>,
    pub(super) config: Config,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(&ClientConfig::default(), CallLimits::default())
    }

    pub(super) fn with(config: &ClientConfig, limits: CallLimits) -> Self {
        let clock = VirtualClock::new();
        let log = Arc::new(Log::default());
        let (link, hand) = Link::by_hand(Arc::new(clock.clone()));
        let limits = ServiceLimits::default().calls(limits);
        let mut world = Self {
            client: Client::with_config(&link, config),
            router: Router::new(),
            clock,
            log,
            link,
            hand,
            limits,
            epoch: 0,
            cable: None,
            ends: None,
            config: Config::default(),
        };
        world.restart_service();
        world
    }

    /// The service forgets everything, as if its process had been started anew.
    pub(super) fn restart_service(&mut self) {
        self.router = self.another_service();
    }

    /// Another process of the service.
    pub(super) fn another_service(&self) -> Router {
        let service = Answering(self.log.clone(), self.clock.clone());
        Router::new().on_service_with(service, self.limits)
    }

    /// A new connection, served.
    pub(super) fn connect(&mut self) {
        self.connect_until(usize::MAX, usize::MAX);
    }

    /// A new connection that is cut when so many bytes went there, or so many back.
    pub(super) fn connect_until(&mut self, forth: usize, back: usize) {
        let router = self.router.clone();
        self.connect_with(forth, back, Some(router));
    }

    /// A new connection to a peer that serves nothing.
    pub(super) fn connect_to_nothing(&mut self) {
        self.connect_to(Router::new());
    }

    /// A new connection to a peer that serves what the router does.
    pub(super) fn connect_to(&mut self, router: Router) {
        self.connect_with(usize::MAX, usize::MAX, Some(router));
    }

    /// A new connection to a peer that the test plays.
    pub(super) fn connect_to_nobody(&mut self) {
        self.connect_with(usize::MAX, usize::MAX, None);
    }

    pub(super) fn connect_with(&mut self, forth: usize, back: usize, router: Option<Router>) {
        let (cable, [one, other]) = Cable::new(forth, back);
        self.cable = Some(cable);
        let here = self.end(one, Role::Dialer);
        let there = self.end(other, Role::Acceptor);
        if let Some(router) = router {
            let served = there.clone();
            self.clock.spawn(Box::pin(async move {
                let _ = router.serve(&served).await;
            }));
        }
        self.ends = Some((here.clone(), there));
        self.up(here);
    }

    fn up(&mut self, connection: Connection) {
        self.epoch += 1;
        self.hand.set(LinkState::Up {
            epoch: self.epoch,
            connection,
        });
        self.settle();
    }

    pub(super) fn end(
        &self,
        wire: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        role: Role,
    ) -> Connection {
        let runtime = Arc::new(self.clock.clone());
        let (end, driver) = Connection::with_runtime(wire, role, self.config.clone(), runtime);
        driver.spawn();
        end
    }

    /// Cuts the present connection.
    pub(super) fn cut(&mut self) {
        if let Some(cable) = self.cable.take() {
            cable.cut();
        }
        self.ends = None;
        self.hand.set(LinkState::CONNECTING);
        self.settle();
    }

    /// The present connection, to be cut when the test wants.
    pub(super) fn cable(&mut self) -> Cable {
        self.cable.take().expect("a connection")
    }

    /// Has the service's end of the present connection drained.
    pub(super) fn drain(&self) -> Running<Result<(), ConnectionError>> {
        let (_, there) = self.ends.clone().unwrap();
        self.spawn(async move { there.drain(Duration::from_secs(20)).await })
    }

    /// Whether the present connection is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cable.as_ref().is_some_and(Cable::is_cut)
    }

    /// There is no connection, and the last attempt failed of that.
    pub(super) fn fail(&self, why: DialError) {
        self.hand.set(LinkState::Waiting {
            attempt: 2,
            until: self.clock.now(),
            target: None,
            why: Some(why.into()),
        });
        self.settle();
    }

    pub(super) fn down(&self, error: LinkError) {
        self.hand.set(LinkState::Down(error));
        self.settle();
    }

    pub(super) fn settle(&self) -> usize {
        self.clock.run_until_stalled()
    }

    pub(super) fn advance(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
    }

    /// Runs a future in a task.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        let output = Arc::new(Mutex::new(None));
        let (slot, flag) = (output.clone(), Arc::new(Dropped::default()));
        let dropped = flag.clone();
        let mut future: Option<Pin<Box<dyn Future<Output = T> + Send>>> = Some(Box::pin(future));
        self.clock
            .spawn(Box::pin(std::future::poll_fn(move |context| {
                *dropped.waker.lock().unwrap() = Some(context.waker().clone());
                if dropped.is_set.load(Ordering::SeqCst) {
                    future = None;
                }
                let Some(running) = &mut future else {
                    return Poll::Ready(());
                };
                running.as_mut().poll(context).map(|value| {
                    *slot.lock().unwrap() = Some(value);
                })
            })));
        self.settle();
        Running { output, flag }
    }

    pub(super) fn ask(&self, ask: Ask) -> Running<Result<Vec<u8>, crate::rpc::CallError>> {
        self.ask_with(ask, crate::rpc::CallOptions::default())
    }

    pub(super) fn ask_with(
        &self,
        ask: Ask,
        options: crate::rpc::CallOptions,
    ) -> Running<Result<Vec<u8>, crate::rpc::CallError>> {
        let client = self.client.clone();
        self.spawn(async move { client.call_with(&ask, options).await })
    }

    /// Runs a future to its end; fails when nothing moves any more before.
    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            let flag = Arc::new(Flag::default());
            let waker = Waker::from(flag.clone());
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            self.settle();
            assert!(flag.0.load(Ordering::SeqCst), "stalls");
        }
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A task of the test.
pub(super) struct Running<T> {
    output: Arc<Mutex<Option<T>>>,
    flag: Arc<Dropped>,
}

#[derive(Default)]
struct Dropped {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl<T> Running<T> {
    /// What came out, once.
    pub(super) fn output(&self) -> Option<T> {
        self.output.lock().unwrap().take()
    }

    /// Drops the future as soon as tasks run.
    pub(super) fn drop_future(&self) {
        self.flag.is_set.store(true, Ordering::SeqCst);
        if let Some(waker) = self.flag.waker.lock().unwrap().take() {
            waker.wake();
        }
    }
}
