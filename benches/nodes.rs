//! What nodes cost: a message to 1,000 peers beside a fan-out by hand, an idle peer, a dial.
//!
//! `cargo bench --bench nodes --features tokio`

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use sessionwire::node::{App, Direction, NetworkId, Node, NodeConfig, PeerId, Select};
use sessionwire::runtime::{SharedRuntime, Tokio};
use sessionwire::transport::pipe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

struct Bytes;

#[derive(Serialize, Deserialize)]
struct Kilobyte(#[serde(with = "serde_bytes")] Vec<u8>);

impl App for Bytes {
    type Message = Kilobyte;
    type Hello = ();
    fn hello(&self, _: Direction) {}
}

const PEERS: usize = 1_000;
const ROUNDS: usize = 21;

#[derive(Clone, Copy, Debug)]
enum Over {
    Memory,
    Tcp,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for over in [Over::Memory, Over::Tcp] {
            broadcasts(over).await;
        }
        by_hand().await;
        dials().await;
    });
}

fn node() -> Node<Bytes> {
    let network = NetworkId::new("bench").expect("a short name");
    let config = NodeConfig::default()
        .inbound(PEERS)
        .per_address(PEERS)
        .pending(PEERS);
    let runtime: SharedRuntime = Arc::new(Tokio::current().expect("to be inside of tokio"));
    Node::with_runtime(PeerId::random(), network, Bytes, config, runtime)
}

/// A node with so many peers, all in this process.
async fn star(over: Over) -> (Node<Bytes>, Vec<Node<Bytes>>) {
    let middle = node();
    let endpoint = middle.listen("tcp://127.0.0.1:0").await.expect("to listen");
    let mut others = Vec::new();
    for _ in 0..PEERS {
        let other = node();
        match over {
            Over::Tcp => other.dial(&endpoint, None).await.expect("a peer"),
            Over::Memory => {
                let (here, there) = pipe(64 * 1024);
                middle.accept_over(there);
                other.dial_over(here, None).await.expect("a peer")
            }
        };
        others.push(other);
    }
    while middle.peers().len() < PEERS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (middle, others)
}

async fn broadcasts(over: Over) {
    let before = resident();
    let (middle, others) = star(over).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held = resident().saturating_sub(before) / PEERS;
    let message = Kilobyte(vec![7; 1024]);
    let (mut calls, mut lasts) = (Vec::new(), Vec::new());
    let mut allocations = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut report = None;
        let counted = allocation_counter::measure(|| {
            report = middle.broadcast(&message, &Select::All).ok();
        });
        calls.push(start.elapsed());
        allocations = counted.count_total;
        assert_eq!(report.expect("to encode").queued, PEERS);
        join_all(others.iter().map(Node::recv)).await;
        lasts.push(start.elapsed());
    }
    println!("1 KiB to {PEERS} peers over {over:?}, both ends in this process, median of {ROUNDS}");
    println!(
        "  the call {:>10.2?}, {allocations} allocations",
        median(calls)
    );
    println!("  until the last has it {:>10.2?}", median(lasts));
    // Later ones take what the first have given back.
    if matches!(over, Over::Memory) {
        println!("  memory of an idle peer, both ends {held} bytes resident");
    }
    drop((middle, others));
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// What a program does without nodes: a bounded channel and a task for each socket.
async fn by_hand() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("to listen");
    let address = listener.local_addr().expect("an address");
    let (mut senders, mut readers) = (Vec::new(), Vec::new());
    let (arrived, mut arrivals) = mpsc::channel::<()>(PEERS);
    for _ in 0..PEERS {
        let mut client = tokio::net::TcpStream::connect(address)
            .await
            .expect("to connect");
        let (mut server, _) = listener.accept().await.expect("to accept");
        client.set_nodelay(true).expect("a socket");
        server.set_nodelay(true).expect("a socket");
        let (sender, mut receiver) = mpsc::channel::<bytes::Bytes>(256);
        tokio::spawn(async move {
            while let Some(message) = receiver.recv().await {
                server.write_u32(1024).await.expect("to write");
                server.write_all(&message).await.expect("to write");
            }
        });
        let arrived = arrived.clone();
        readers.push(tokio::spawn(async move {
            let mut buffer = vec![0; 1024];
            while client.read_u32().await.is_ok() {
                client.read_exact(&mut buffer).await.expect("to read");
                arrived.send(()).await.expect("a listener");
            }
        }));
        senders.push(sender);
    }
    let (mut calls, mut lasts) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let message = bytes::Bytes::from(vec![7; 1024]);
        for sender in &senders {
            sender.try_send(message.clone()).expect("room");
        }
        calls.push(start.elapsed());
        for _ in 0..PEERS {
            arrivals.recv().await.expect("an arrival");
        }
        lasts.push(start.elapsed());
    }
    println!("the same by hand: a tokio channel, a task and a TCP socket for each");
    println!("  the calls {:>10.2?}", median(calls));
    println!("  until the last has it {:>10.2?}", median(lasts));
}

async fn dials() {
    for over in [Over::Memory, Over::Tcp] {
        let start = Instant::now();
        let (middle, others) = star(over).await;
        let time = start.elapsed();
        let rate = f64::from(u32::try_from(PEERS).unwrap_or_default()) / time.as_secs_f64();
        println!(
            "dials with the whole handshake over {over:?}, one after another: {rate:.0} a second"
        );
        drop((middle, others));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The memory that this process has, in bytes; none where that cannot be told.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.unwrap_or(0_usize) * 1024
}
