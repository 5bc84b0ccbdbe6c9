//! What a node that stops leaves behind of its addresses.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessionwire::node::book::{BookConfig, FileStore, SaveError, SnapshotError, Store};
use sessionwire::node::{Node, NodeConfig};
use sessionwire::transport::Endpoint;

use super::stage::{Running, SECOND, Stage, Talk, id};

fn node(stage: &Stage, store: Arc<dyn Store>) -> Node<Talk> {
    let book = BookConfig::default().save_interval(SECOND);
    let config = NodeConfig::default().discover(book).store(store);
    stage.node_with(1, Talk::default(), config)
}

fn endpoint(number: u8) -> Endpoint {
    let text = format!("tcp://192.0.2.{number}:9000");
    text.parse().expect("an endpoint")
}

fn stop(stage: &Stage, node: &Node<Talk>, drain: Duration) -> Running<Result<(), SaveError>> {
    let node = node.clone();
    stage.task(async move { node.shutdown(drain).await })
}

/// What a task comes to that waits for a thread, in real time.
fn output<T>(stage: &Stage, task: &Running<T>) -> T {
    loop {
        stage.clock.run_until_stalled();
        if let Some(output) = task.output() {
            return output;
        }
        std::thread::yield_now();
    }
}

/// A store whose saves go on until the test says how they end.
#[derive(Debug)]
struct Slow {
    begun: Sender<usize>,
    endings: Mutex<Receiver<io::Result<()>>>,
    saved: Mutex<Vec<usize>>,
}

impl Store for Slow {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn save(&self, snapshot: &[u8]) -> io::Result<()> {
        self.begun.send(snapshot.len()).expect("the test");
        let ending = self.endings.lock().expect("no panic").recv();
        let ending = ending.expect("a panic on purpose, when the test says nothing");
        self.saved.lock().expect("no panic").push(snapshot.len());
        ending
    }

    fn set_aside(&self, _: &SnapshotError) -> io::Result<()> {
        Ok(())
    }
}

fn slow() -> (Arc<Slow>, Receiver<usize>, Sender<io::Result<()>>) {
    let ((begun, begins), (end, endings)) = (channel(), channel());
    let store = Slow {
        begun,
        endings: Mutex::new(endings),
        saved: Mutex::default(),
    };
    (Arc::new(store), begins, end)
}

#[test]
fn what_a_node_knew_is_saved_when_its_shutdown_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let book = folder.path().join("peers.book");
    let store = || Arc::new(FileStore::new(&book));
    for number in 1..=5 {
        let stage = Stage::default();
        let node = node(&stage, store());
        assert_eq!(node.addresses(), usize::from(number - 1));
        assert!(node.keep(endpoint(number)));
        let stopped = stop(&stage, &node, Duration::ZERO);
        output(&stage, &stopped).expect("to be saved");
        assert!(book.exists());
        let next = folder.path().join("peers.book.next");
        assert!(!next.exists(), "nothing goes on");
    }
}

#[test]
fn the_last_save_waits_for_the_one_before_it() {
    let stage = Stage::default();
    let (store, begins, end) = slow();
    let node = node(&stage, store.clone());
    node.keep(endpoint(1));
    stage.advance(2 * SECOND);
    let first = begins.recv().expect("a save");
    node.keep(endpoint(2));
    let stopped = stop(&stage, &node, SECOND);
    assert!(stopped.output().is_none() && begins.try_recv().is_err());
    end.send(Ok(())).expect("to end");
    while store.saved.lock().expect("no panic").is_empty() {
        std::thread::yield_now();
    }
    let last = loop {
        stage.clock.run_until_stalled();
        if let Ok(begun) = begins.try_recv() {
            break begun;
        }
        std::thread::yield_now();
    };
    assert!(stopped.output().is_none(), "it is not saved yet");
    end.send(Ok(())).expect("to end");
    output(&stage, &stopped).expect("to be saved");
    assert!(first < last);
    assert_eq!(*store.saved.lock().expect("no panic"), [first, last]);
}

#[test]
fn a_store_that_fails_is_told_and_one_that_is_slow_is_left_after_five_seconds() {
    let stage = Stage::default();
    let (store, _begins, end) = slow();
    let first = node(&stage, store);
    let stopped = stop(&stage, &first, SECOND);
    end.send(Err(io::Error::other("a full disk")))
        .expect("to end");
    let error = output(&stage, &stopped).expect_err("not saved");
    assert!(error.to_string().contains("a full disk"), "{error}");

    let (store, begins, end) = slow();
    let second = node(&stage, store);
    let stopped = stop(&stage, &second, SECOND);
    begins.recv().expect("a save");
    stage.advance(Duration::from_millis(4999));
    assert!(stopped.output().is_none());
    stage.advance(Duration::from_millis(1));
    let error = stopped.output().expect("an end").expect_err("too slow");
    assert!(matches!(error, SaveError::TimedOut { .. }), "{error}");
    drop(end);

    // It panics, for nobody tells it how to end.
    let (store, ..) = slow();
    let third = node(&stage, store);
    let stopped = stop(&stage, &third, SECOND);
    let error = output(&stage, &stopped).expect_err("not saved");
    assert!(matches!(error, SaveError::Store(_)), "{error}");
}

#[test]
fn a_node_without_a_store_has_nothing_to_wait_for() {
    let stage = Stage::default();
    let stopped = stop(&stage, &stage.node(1), SECOND);
    stopped.output().expect("at once").expect("nothing to save");
    let finds = NodeConfig::default().discover(BookConfig::default());
    let node = stage.node_with(1, Talk::default(), finds);
    let stopped = stop(&stage, &node, SECOND);
    stopped.output().expect("at once").expect("nothing to save");
    assert_eq!(node.id(), id(1));
}
