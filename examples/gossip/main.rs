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
//!
//! `--help` tells how to run one in the background.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

mod options;
mod picture;

use std::collections::VecDeque;
use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_std::io::BufReadExt as _;
use async_std::task;
use futures::StreamExt as _;
use futures::channel::oneshot;
use futures::future::{Either, pending, select};
use serde::{Deserialize, Serialize};
use sessionwire::node::book::BookConfig;
use sessionwire::node::{
    App, Class, DialError, Direction, HandshakeError, NetworkId, Node, NodeConfig, PeerId, Reason,
    Select,
};
use sessionwire::transport::Endpoint;

use options::{Answer, Options};
use picture::Picture;

type Failure = Box<dyn Error + Send + Sync>;

/// How often a node tells all others whom it is connected to.
const REFRESH: Duration = Duration::from_secs(2);
/// The messages that are remembered, so that each is printed and passed on once.
const MOST_HEARD: usize = 1024;
/// The letters of a name that are drawn, and of a line.
const LONGEST_NAME: usize = 12;
const LONGEST_LINE: usize = 1000;
/// The pauses between two dials of a peer that does not answer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

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
    picture: Picture,
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
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(answer @ Answer::Help) => {
            // Who has read enough of it may close the output.
            let _ = writeln!(std::io::stdout(), "{answer}");
            return ExitCode::SUCCESS;
        }
        Err(answer) => {
            eprintln!("{answer}");
            return ExitCode::from(2);
        }
    };
    let Err(error) = run(options).await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("gossip: {error}");
    ExitCode::FAILURE
}

async fn run(options: Options) -> Result<(), Failure> {
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
        task::spawn(introduce(node.clone(), peer));
    }
    task::spawn(relay(node.clone()));
    task::spawn(tell_views(node.clone()));
    let typing = pin!(tell_lines(&node));
    let typed = match select(typing, pin!(interrupted())).await {
        Either::Left((typed, _)) => typed,
        Either::Right(_) => Ok(()),
    };
    node.shutdown(Duration::from_secs(5)).await?;
    typed
}

/// Tells all others what is typed, until that ends at a terminal: elsewhere it may end at once, and
/// the node is to go on.
async fn tell_lines(node: &Node<Chat>) -> Result<(), Failure> {
    let mut lines = async_std::io::BufReader::new(async_std::io::stdin()).lines();
    while let Some(line) = lines.next().await {
        tell(node, Content::Line(line?))?;
    }
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    pending().await
}

/// Resolves when the program is asked to end: by Ctrl-C, or by `kill`.
async fn interrupted() {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let asked = runtime.and_then(|runtime| runtime.block_on(signal()));
        if let Err(error) = &asked {
            eprintln!("Ctrl-C will end it without a goodbye: {error}");
        }
        sender.send(asked)
    });
    if !matches!(receiver.await, Ok(Ok(()))) {
        pending::<()>().await;
    }
}

#[cfg(unix)]
async fn signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    match select(pin!(terminate.recv()), pin!(tokio::signal::ctrl_c())).await {
        Either::Left(_) => Ok(()),
        Either::Right((asked, _)) => asked,
    }
}

#[cfg(not(unix))]
async fn signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Dials a peer whenever it is not there, and says what is wrong when that is something else than before.
async fn introduce(node: Node<Chat>, at: Endpoint) {
    let (mut said, mut pause) = (None, SHORTEST_PAUSE);
    loop {
        match node.dial(&at, None).await {
            Ok(peer) => {
                say_change(&at, &mut said, None);
                node.keep(at.clone());
                while peer.is_connected() {
                    task::sleep(REFRESH).await;
                }
                pause = SHORTEST_PAUSE;
            }
            Err(DialError::Stopped) => return,
            Err(error) if is_there(&error) => say_change(&at, &mut said, None),
            Err(error) => say_change(&at, &mut said, Some(error.to_string())),
        }
        task::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Whether the peer is connected already, as it has dialed first.
fn is_there(error: &DialError) -> bool {
    match error {
        DialError::Handshake(HandshakeError::Rejected(rejection)) => {
            *rejection.reason() == Reason::Duplicate
        }
        _ => false,
    }
}

fn say_change(at: &Endpoint, said: &mut Option<String>, wrong: Option<String>) {
    if *said == wrong {
        return;
    }
    match &wrong {
        Some(error) => eprintln!("no peer at {at}: {error}"),
        None => eprintln!("the peer at {at} has answered"),
    }
    *said = wrong;
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
                let picture = &mut self.state().picture;
                picture.told(gossip.from, name, dialed);
                if self.shows_picture {
                    picture.draw();
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of what somebody wrote, without what a terminal takes for commands.
fn printable(text: &str, letters: usize) -> String {
    let text = text.chars().filter(|letter| !letter.is_control());
    text.take(letters).collect()
}
