//! Nodes under a clock that stands still, and networks between them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sessionwire::node::{
    App, Class, DialError, Direction, Introduction, ItemId, NetworkId, Node, NodeConfig, NodeEvent,
    Peer, PeerId, Rejection, Report,
};
use sessionwire::runtime::{Runtime, VirtualClock};
use sessionwire::transport::{ByteStream, Endpoint, MemoryStream, pipe};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const NETWORK: &str = "test/1";

/// What the nodes of these tests say: a number, and whether it may be dropped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Say {
    Data(u64),
    Control(u64),
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// Tells its name, and does not like some names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Talk {
    pub(crate) name: String,
    pub(crate) dislikes: Option<String>,
    pub(crate) panics_at: Option<String>,
    /// What it has.
    pub(crate) items: Arc<Mutex<BTreeMap<ItemId, Say>>>,
}

impl App for Talk {
    type Message = Say;
    type Hello = String;

    fn hello(&self, _: Direction) -> String {
        self.name.clone()
    }

    fn admit(&self, introduction: &Introduction<String>) -> Result<(), Rejection> {
        let name = Some(&introduction.hello);
        assert!(name != self.panics_at.as_ref(), "a panic on purpose");
        if name == self.dislikes.as_ref() {
            return Err(Rejection::application(7, "not you"));
        }
        Ok(())
    }

    fn item(&self, id: &ItemId) -> Option<Say> {
        self.items.lock().expect("no panic").get(id).cloned()
    }

    fn class(message: &Say) -> Class {
        match message {
            Say::Control(_) => Class::Control,
            _ => Class::Data,
        }
    }
}

pub(crate) fn id(number: u8) -> PeerId {
    PeerId::new([number; 32])
}

pub(crate) fn network() -> NetworkId {
    NetworkId::new(NETWORK).expect("a short name")
}

/// Nodes in virtual time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage {
    pub(crate) clock: VirtualClock,
    _watchdog: Arc<super::support::Watchdog>,
}

impl Stage {
    pub(crate) fn node(&self, number: u8) -> Node<Talk> {
        self.node_with(number, Talk::default(), NodeConfig::default())
    }

    pub(crate) fn node_with(&self, number: u8, app: Talk, config: NodeConfig) -> Node<Talk> {
        let runtime = Arc::new(self.clock.clone());
        Node::with_runtime(id(number), network(), app, config, runtime)
    }

    /// Runs a task; what it answers is there when it is done.
    pub(crate) fn task<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        let output = Arc::new(Mutex::new(None));
        let place = Arc::clone(&output);
        self.clock.spawn(Box::pin(async move {
            let result = task.await;
            *place.lock().expect("no panic") = Some(result);
        }));
        self.clock.run_until_stalled();
        Running(output)
    }

    /// Runs a task that takes no time.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.task(task).output().expect("not to wait")
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// What one node's dial of another comes to, at once.
    pub(crate) fn dial(
        &self,
        one: &Node<Talk>,
        other: &Node<Talk>,
    ) -> Result<Peer<Talk>, DialError> {
        let (here, there) = pipe(64 * 1024);
        assert!(other.accept_over(there));
        let one = one.clone();
        self.run(async move { one.dial_over(here, None).await })
    }

    /// Dials over a stream.
    pub(crate) fn dial_over(
        &self,
        node: &Node<Talk>,
        stream: impl ByteStream,
    ) -> Running<Result<Peer<Talk>, DialError>> {
        let node = node.clone();
        self.task(async move { node.dial_over(stream, None).await })
    }

    /// Makes a node listen.
    pub(crate) fn listen(&self, node: &Node<Talk>, at: &Endpoint) {
        let (node, at) = (node.clone(), at.clone());
        self.run(async move { node.listen(at).await })
            .expect("to listen");
    }

    /// Makes them peers.
    pub(crate) fn connect(&self, one: &Node<Talk>, other: &Node<Talk>) -> Peer<Talk> {
        self.dial(one, other).expect("a peer")
    }

    /// Two ends between which bytes take their time, each piece another; and what can go wrong.
    pub(crate) fn cable(
        &self,
        random: &mut SmallRng,
        most: u64,
    ) -> (MemoryStream, MemoryStream, Cable) {
        let (here, near) = pipe(4096);
        let (far, there) = pipe(4096);
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        let cable = Cable::default();
        self.carry(near_in, far_out, random, most, &cable);
        self.carry(far_in, near_out, random, most, &cable);
        (here, there, cable)
    }

    fn carry(
        &self,
        mut from: impl AsyncRead + Unpin + Send + 'static,
        mut to: impl AsyncWrite + Unpin + Send + 'static,
        random: &mut SmallRng,
        most: u64,
        cable: &Cable,
    ) {
        let mut random = SmallRng::seed_from_u64(random.random());
        let (clock, cable) = (self.clock.clone(), cable.clone());
        self.clock.spawn(Box::pin(async move {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                let delay = Duration::from_millis(random.random_range(0..=most));
                clock.sleep_until(clock.now() + delay).await;
                if cable.cut.load(Ordering::SeqCst) {
                    return;
                }
                if cable.stalls.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let swallows = cable.swallows.load(Ordering::SeqCst);
                if !swallows && to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            // The other side may have gone already.
            let _ = to.close().await;
        }));
    }
}

/// What goes over it can be made to vanish, or to wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cable {
    swallows: Arc<AtomicBool>,
    stalls: Arc<AtomicBool>,
    cut: Arc<AtomicBool>,
}

impl Cable {
    /// From now on bytes vanish, and nobody is told.
    pub(crate) fn swallow(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }

    /// It ends with the next bytes that go over it.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// From now on bytes are not taken.
    pub(crate) fn stall(&self) {
        self.stalls.store(true, Ordering::SeqCst);
    }
}

/// A task that may still wait.
#[derive(Debug)]
pub(crate) struct Running<T>(Arc<Mutex<Option<T>>>);

impl<T> Running<T> {
    pub(crate) fn output(&self) -> Option<T> {
        self.0.lock().expect("no panic").take()
    }
}

/// What a node has received, without waiting.
pub(crate) fn received(node: &Node<Talk>) -> Vec<(PeerId, Say)> {
    let mut all = Vec::new();
    while let Poll::Ready(Some(received)) = poll_once(node.recv()) {
        all.push((received.from, received.message));
    }
    all
}

/// The events there are, as text.
pub(crate) fn told(events: &mut sessionwire::node::Events<Talk>) -> Vec<String> {
    let mut all = Vec::new();
    while let Poll::Ready(Some(event)) = poll_once(events.next()) {
        all.push(text(&event));
    }
    all
}

pub(crate) fn text(event: &NodeEvent<Talk>) -> String {
    let number = |id: &PeerId| id.as_bytes()[0];
    match event {
        NodeEvent::Snapshot(peers) => {
            let ids: Vec<u8> = peers.iter().map(|peer| number(&peer.id())).collect();
            format!("peers {ids:?}")
        }
        NodeEvent::Up(peer) => format!("up {}", number(&peer.id())),
        NodeEvent::Down(id) => format!("down {}", number(id)),
        NodeEvent::Lagged(missed) => format!("lagged {missed}"),
    }
}

/// What a broadcast came to.
pub(crate) fn report(queued: usize, shed: usize, skipped: usize) -> Report {
    let mut report = Report::default();
    (report.queued, report.shed, report.skipped) = (queued, shed, skipped);
    report
}

pub(crate) fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
