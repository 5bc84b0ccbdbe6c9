//! A chat among nodes that find each other, over TCP and WebSocket at once.
//!
//! In three terminals; each knows one other, and soon all know all:
//!
//!     cargo run --example gossip -- --name ann --listen tcp://127.0.0.1:9000
//!     cargo run --example gossip -- --name bob --listen ws://127.0.0.1:9001 --peer tcp://127.0.0.1:9000
//!     cargo run --example gossip -- --name cyd --peer ws://127.0.0.1:9001 --picture
//!
//! What is typed at one is read at all. `--picture` shows who is connected to whom, as each node tells
//! all others.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_std::io::BufReadExt as _;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use sessionwire::node::book::BookConfig;
use sessionwire::node::{App, Class, Direction, NetworkId, Node, NodeConfig, PeerId, Select};
use sessionwire::transport::Endpoint;

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: gossip [--name NAME] [--listen URL]... [--peer URL]... [--picture]";

/// How often a node tells all others whom it is connected to.
const REFRESH: Duration = Duration::from_secs(2);
/// A node that has told nothing for so long is gone.
const GONE: Duration = Duration::from_secs(10);
/// The nodes that are drawn at most.
const MOST_NODES: usize = 40;
/// The messages that are remembered, so that each is printed and passed on once.
const MOST_HEARD: usize = 1024;
/// The letters of a name that are drawn, and of a line.
const LONGEST_NAME: usize = 12;
const LONGEST_LINE: usize = 1000;

/// What goes from node to node until all have it.
#[derive(Clone, Serialize, Deserialize)]
struct Gossip {
    /// No other message has it.
    id: u64,
    from: PeerId,
    name: String,
    content: Content,
}

#[derive(Clone, Serialize, Deserialize)]
enum Content {
    /// What somebody typed.
    Line(String),
    /// The peers that the node has dialed.
    Dialed(Vec<PeerId>),
}

struct Chat {
    name: String,
    shows_picture: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    heard: VecDeque<u64>,
    nodes: BTreeMap<PeerId, View>,
    drawn: String,
}

/// What a node told of itself last.
struct View {
    name: String,
    dialed: Vec<PeerId>,
    at: Instant,
}

impl App for Chat {
    type Message = Gossip;
    type Hello = ();

    fn hello(&self, _: Direction) {}

    fn class(message: &Gossip) -> Class {
        match message.content {
            Content::Line(_) => Class::Control,
            // The next one tells the same and more.
            Content::Dialed(_) => Class::Data,
        }
    }
}

#[async_std::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let network = NetworkId::new("sessionwire-gossip/1").ok_or("the name is too long")?;
    let chat = Chat {
        name: options.name,
        shows_picture: options.shows_picture,
        state: Mutex::default(),
    };
    let config = NodeConfig::default().discover(BookConfig::default());
    let node = Node::new(PeerId::random(), network, chat, config);
    for url in &options.listen {
        println!("listening on {}", node.listen(url).await?);
    }
    for peer in options.peers {
        node.keep(peer);
    }
    let relaying = async_std::task::spawn(relay(node.clone()));
    async_std::task::spawn(tell_views(node.clone()));
    let mut lines = async_std::io::BufReader::new(async_std::io::stdin()).lines();
    while let Some(line) = lines.next().await {
        tell(&node, Content::Line(line?))?;
    }
    if options.shows_picture {
        // Nobody types any more, somebody may still look.
        return relaying.await;
    }
    node.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

/// Passes on what comes, to all but who sent it, unless it has come before.
async fn relay(node: Node<Chat>) -> Result<(), Failure> {
    while let Some(received) = node.recv().await {
        let gossip = received.message;
        if node.app().hear(&gossip) {
            node.broadcast(&gossip, &Select::Except(received.from))?;
            node.app().show(gossip);
        }
    }
    Ok(())
}

/// Tells all others whom this node has dialed, again and again and when that changes.
async fn tell_views(node: Node<Chat>) -> Result<(), Failure> {
    let mut events = node.events();
    loop {
        let peers = node.peers().into_iter();
        let dialed = peers.filter(|peer| peer.direction() == Direction::Outbound);
        tell(
            &node,
            Content::Dialed(dialed.map(|peer| peer.id()).collect()),
        )?;
        if let Ok(None) = async_std::future::timeout(REFRESH, events.next()).await {
            return Ok(());
        }
    }
}

fn tell(node: &Node<Chat>, content: Content) -> Result<(), Failure> {
    let gossip = Gossip {
        id: rand::random(),
        from: node.id(),
        name: node.app().name.clone(),
        content,
    };
    node.app().hear(&gossip);
    node.broadcast(&gossip, &Select::All)?;
    if let Content::Dialed(_) = gossip.content {
        node.app().show(gossip);
    }
    Ok(())
}

impl Chat {
    /// Whether it is heard for the first time.
    fn hear(&self, gossip: &Gossip) -> bool {
        let mut state = self.state();
        let is_new = !state.heard.contains(&gossip.id);
        if is_new {
            state.heard.push_back(gossip.id);
            if state.heard.len() > MOST_HEARD {
                state.heard.pop_front();
            }
        }
        is_new
    }

    fn show(&self, gossip: Gossip) {
        let name = printable(&gossip.name, LONGEST_NAME);
        match gossip.content {
            Content::Line(text) if !self.shows_picture => {
                println!("{name}: {}", printable(&text, LONGEST_LINE));
            }
            Content::Line(_) => {}
            Content::Dialed(dialed) => {
                let at = Instant::now();
                let mut state = self.state();
                state.nodes.retain(|_, view| view.at.elapsed() < GONE);
                if state.nodes.len() < MOST_NODES || state.nodes.contains_key(&gossip.from) {
                    state.nodes.insert(gossip.from, View { name, dialed, at });
                }
                if self.shows_picture {
                    state.draw();
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Draws who is connected to whom, if that has changed.
    fn draw(&mut self) {
        let picture = self.picture();
        if picture == self.drawn {
            return;
        }
        if std::io::stdout().is_terminal() {
            print!("\x1b[2J\x1b[H");
        }
        println!("{picture}");
        self.drawn = picture;
    }

    /// A row and a column for each node: `->` where the row's node has dialed the column's, and
    /// `<-` where it was dialed. Of two that say so of each other, as they dialed at once, the one
    /// with the smaller id has its way.
    fn picture(&self) -> String {
        let mut nodes: Vec<(&PeerId, &View)> = self.nodes.iter().collect();
        nodes.sort_by_key(|(_, view)| &view.name);
        let widest = nodes.iter().map(|(_, view)| view.name.chars().count());
        let width = widest.max().unwrap_or(0).max(2) + 1;
        let (mut picture, mut connections) = (" ".repeat(width), 0);
        for (_, view) in &nodes {
            // Writing to a String does not fail.
            let _ = write!(picture, "{:<width$}", view.name);
        }
        for (row, view) in &nodes {
            let _ = write!(picture, "\n{:<width$}", view.name);
            for (column, other) in &nodes {
                let there = view.dialed.contains(column);
                let back = other.dialed.contains(row);
                let mark = match () {
                    () if row == column => "·",
                    () if there && (!back || row < column) => "->",
                    () if back => "<-",
                    () => "",
                };
                connections += usize::from(mark == "->");
                let _ = write!(picture, "{mark:<width$}");
            }
        }
        let _ = write!(
            picture,
            "\n{} nodes, {connections} connections",
            nodes.len()
        );
        picture
    }
}

/// The beginning of what somebody wrote, without what a terminal takes for commands.
fn printable(text: &str, letters: usize) -> String {
    let text = text.chars().filter(|letter| !letter.is_control());
    text.take(letters).collect()
}

struct Options {
    name: String,
    listen: Vec<String>,
    peers: Vec<Endpoint>,
    shows_picture: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            name: "somebody".to_owned(),
            listen: Vec::new(),
            peers: Vec::new(),
            shows_picture: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            match argument.as_str() {
                "--name" => options.name = value()?,
                "--listen" => options.listen.push(value()?),
                "--peer" => options.peers.push(value()?.parse()?),
                "--picture" => options.shows_picture = true,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}
