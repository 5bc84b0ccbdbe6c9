//! What nodes cost, over memory and over TCP on the loopback.
//!
//! `cargo bench --bench nodes --features tokio`
//!
//! - **the call**: the time that `broadcast` takes, of 1 KiB to 1,000 peers, and what it allocates.
//! - **until the last has it**: from the call until all peers have received it, in the same process. Beside
//!   it the same by hand: a channel of tokio, a task and a TCP socket for each, no handshake, no limits.
//! - **dials**: whole handshakes a second, of the transport, the connection and the nodes, one after another.
//! - **an idle peer**: what one end takes up, resident, in a process of its own whose 1,000 peers
//!   are in another process (over memory in the same one, half of both).

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(clippy::cast_precision_loss, reason = "the figures are small")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use sessionwire::node::{App, Direction, NetworkId, Node, NodeConfig, PeerId, Select};
use sessionwire::runtime::{SharedRuntime, Tokio};
use sessionwire::transport::{Endpoint, pipe};
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Memory,
    Tcp,
}

/// What was measured of one way to reach all.
struct Column {
    call: Duration,
    allocations: Option<u64>,
    last: Duration,
    dials: Option<f64>,
    idle: Option<usize>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runtime.block_on(async {
        match arguments[..] {
            // The processes that this program starts of itself.
            ["idle", "Memory"] => println!("{}", idle(Over::Memory).await),
            ["idle", "Tcp"] => println!("{}", idle(Over::Tcp).await),
            ["peers", endpoint] => be_peers(endpoint).await,
            _ => print(&[
                column(Over::Memory).await,
                column(Over::Tcp).await,
                by_hand().await,
            ]),
        }
    });
}

fn print(columns: &[Column; 3]) {
    let row = |what: &str, value: fn(&Column) -> Option<String>| {
        let values = columns.each_ref().map(value);
        let [memory, tcp, hand] = values.map(|value| value.unwrap_or_else(|| "-".to_owned()));
        println!("  {what:<34}{memory:>12}{tcp:>12}{hand:>14}");
    };
    let of = format!("1 KiB to {PEERS} peers, median of {ROUNDS}");
    println!(
        "{of:<36}{:>12}{:>12}{:>14}",
        "memory", "TCP", "by hand, TCP"
    );
    row("the call", |column| Some(milliseconds(column.call)));
    row("allocations of it", |column| {
        column.allocations.map(|count| count.to_string())
    });
    row("until the last has it", |column| {
        Some(milliseconds(column.last))
    });
    row("dials a second, one after another", |column| {
        column.dials.map(|rate| format!("{rate:.0}"))
    });
    row("an idle peer, one end", |column| {
        column
            .idle
            .map(|bytes| format!("{:.1} KiB", bytes as f64 / 1024.0))
    });
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

async fn column(over: Over) -> Column {
    let start = Instant::now();
    let (middle, others) = star(over).await;
    let dials = PEERS as f64 / start.elapsed().as_secs_f64();
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
    Column {
        call: median(calls),
        allocations: Some(allocations),
        last: median(lasts),
        dials: Some(dials),
        idle: Some(idle_elsewhere(over)),
    }
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
    until_all_are_there(&middle).await;
    (middle, others)
}

async fn until_all_are_there(middle: &Node<Bytes>) {
    while middle.peers().len() < PEERS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The memory of an idle peer, measured in a process in which nothing else has been.
fn idle_elsewhere(over: Over) -> usize {
    let program = std::env::current_exe().expect("this program");
    let measured = Command::new(program)
        .args(["idle", &format!("{over:?}")])
        .stderr(Stdio::inherit())
        .output()
        .expect("to start");
    let text = String::from_utf8(measured.stdout).unwrap_or_default();
    text.trim().parse().expect("a number")
}

/// The memory that one end of an idle peer takes up here.
async fn idle(over: Over) -> usize {
    let ends = match over {
        Over::Memory => 2,
        Over::Tcp => 1,
    };
    let before = resident();
    let (middle, others, peers) = match over {
        Over::Memory => {
            let (middle, others) = star(over).await;
            (middle, others, None)
        }
        Over::Tcp => {
            let middle = node();
            let endpoint = middle.listen("tcp://127.0.0.1:0").await.expect("to listen");
            let peers = start_peers(&endpoint);
            until_all_are_there(&middle).await;
            (middle, Vec::new(), Some(peers))
        }
    };
    // Buffers of the handshake are given back after a while.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held = resident().saturating_sub(before);
    drop((middle, others));
    if let Some(mut peers) = peers {
        drop(peers.stdin.take());
        peers.wait().expect("to end");
    }
    held / PEERS / ends
}

fn start_peers(endpoint: &Endpoint) -> std::process::Child {
    let program = std::env::current_exe().expect("this program");
    let mut peers = Command::new(program)
        .args(["peers", &endpoint.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("to start");
    let mut line = String::new();
    let output = peers.stdout.take().expect("its output");
    BufReader::new(output)
        .read_line(&mut line)
        .expect("that it is ready");
    peers
}

/// So many nodes that dial another process, until it has no more use for them.
async fn be_peers(endpoint: &str) {
    let mut nodes = Vec::new();
    for _ in 0..PEERS {
        let other = node();
        other.dial(endpoint, None).await.expect("a peer");
        nodes.push(other);
    }
    println!("ready");
    // It ends when the other process closes its input, or is gone.
    let _ = tokio::io::stdin().read_u8().await;
}

/// What a program does without nodes: a bounded channel and a task for each socket.
async fn by_hand() -> Column {
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
    Column {
        call: median(calls),
        allocations: None,
        last: median(lasts),
        dials: None,
        idle: None,
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
