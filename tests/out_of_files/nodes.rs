//! A node keeps its peers, waits, and goes on when there are files again.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Watchdog, watched};
use crate::{MOST_FILES, run_with_few_files};
use sessionwire::node::book::BookConfig;
use sessionwire::node::{
    App, DialError, Direction, NetworkId, Node, NodeConfig, NodeEvent, PeerId, Select,
};
use sessionwire::runtime::AsyncStd;
use sessionwire::transport::Endpoint;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Says numbers.
struct Numbers;

impl App for Numbers {
    type Message = u64;
    type Hello = ();
    fn hello(&self, _: Direction) {}
}

fn node(config: NodeConfig) -> Node<Numbers> {
    let network = NetworkId::new("files/1").expect("a short name");
    let (id, runtime) = (PeerId::random(), Arc::new(AsyncStd));
    Node::with_runtime(id, network, Numbers, config, runtime)
}

#[test]
fn a_node_that_may_open_no_file_keeps_its_peers_and_waits_and_goes_on_when_it_may() {
    run_with_few_files("nodes::few_files", &[]);
}

#[test]
#[ignore = "a process of its own, which the test above starts with few files"]
fn few_files() {
    let _watchdog = Watchdog::default();
    async_std::task::block_on(watched(Box::pin(without_files())));
}

async fn without_files() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).expect("the only one");
    let brief = Duration::from_millis(50);
    let book = BookConfig::default().redial(brief, Duration::from_secs(1));
    let middle = node(NodeConfig::default().discover(book));
    let at = middle.listen("tcp://127.0.0.1:0").await.expect("to listen");
    let mut events = middle.events();
    let friend = node(NodeConfig::default());
    friend.dial(&at, None).await.expect("a peer");
    assert!(matches!(events.next().await, Some(NodeEvent::Snapshot(_))));
    assert!(matches!(events.next().await, Some(NodeEvent::Up(peer)) if peer.id() == friend.id()));
    talk(&middle, &friend).await;
    let found = node(NodeConfig::default());
    let there = found.listen("tcp://127.0.0.1:0").await.expect("to listen");
    let late = node(NodeConfig::default());

    // The last file but one is the socket of who comes late, and the last one its other end.
    let mut files = all_files();
    drop(files.pop());
    let authority = at.to_string().replace("tcp://", "");
    let coming = TcpStream::connect(authority).expect("the system accepts");
    let error = File::open("/dev/null").expect_err("no file is left");
    assert_eq!(error.raw_os_error(), Some(24));

    let dialed = middle.dial(&there, None).await.expect_err("no socket");
    assert!(matches!(dialed, DialError::Transport(_)), "{dialed:?}");
    assert!(dialed.to_string().contains("os error 24"), "{dialed}");
    middle.keep(there);
    while log.accepts(&at).len() < 6 || log.dials() < 2 {
        talk(&middle, &friend).await;
    }
    let accepts = log.accepts(&at);
    let pauses: u64 = [5, 10, 20, 40, 80].iter().sum();
    let took = accepts[5].duration_since(accepts[0]);
    assert!(took >= Duration::from_millis(pauses), "{took:?}");
    assert!(log.dials() < 50, "{} dials", log.dials());
    assert_eq!(middle.peers().len(), 1);

    drop(files);
    let coming = async_std::net::TcpStream::from(coming);
    late.dial_over(coming, Some(middle.id()))
        .await
        .expect("a peer");
    let mut up = BTreeSet::new();
    while up.len() < 2 {
        match events.next().await {
            Some(NodeEvent::Up(peer)) => up.insert(peer.id()),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(up, BTreeSet::from([late.id(), found.id()]));
    for other in [&friend, &late, &found] {
        talk(&middle, other).await;
    }
}

/// All that the process may still open.
fn all_files() -> Vec<File> {
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
        assert!(files.len() < MOST_FILES, "the limit is not there");
    }
    files
}

/// A message there and one back.
async fn talk(one: &Node<Numbers>, other: &Node<Numbers>) {
    for (from, to) in [(one, other), (other, one)] {
        let sent = from.broadcast(&7, &Select::Ids(vec![to.id()]));
        assert_eq!(sent.expect("to encode").queued, 1);
        let received = to.recv().await.expect("the node runs");
        assert_eq!((received.from, received.message), (from.id(), 7));
    }
}

/// Where and when nothing could be accepted, and how often the book's dials came to nothing.
#[derive(Clone, Default)]
struct Log {
    accepts: Arc<Mutex<Vec<(String, Instant)>>>,
    dials: Arc<Mutex<usize>>,
}

impl Log {
    fn accepts(&self, at: &Endpoint) -> Vec<Instant> {
        let accepts = self.accepts.lock().expect("no panic");
        let there = accepts.iter().filter(|(there, _)| *there == at.to_string());
        there.map(|(_, when)| *when).collect()
    }

    fn dials(&self) -> usize {
        *self.dials.lock().expect("no panic")
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("sessionwire::")
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        match text.message.as_str() {
            "cannot accept, trying again" => {
                let accept = (text.endpoint, Instant::now());
                self.accepts.lock().expect("no panic").push(accept);
            }
            "an address was dialed in vain" => *self.dials.lock().expect("no panic") += 1,
            _ => {}
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The words of an event.
#[derive(Default)]
struct Text {
    message: String,
    endpoint: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "endpoint" => self.endpoint = format!("{value:?}"),
            _ => {}
        }
    }
}
