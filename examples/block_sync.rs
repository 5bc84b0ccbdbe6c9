//! Follows a chain of blocks that grows and rolls back, as a wallet follows its node: one table, both
//! sides, any transport.
//!
//! In one terminal, then in another:
//!
//!     cargo run --example block_sync -- serve tcp://127.0.0.1:9000 ws://127.0.0.1:9001/sync
//!     cargo run --example block_sync -- follow ws://127.0.0.1:9001/sync
//!
//! `stall URL…` instead of `serve URL…` is a server that stops answering once: the follower waits as long as the
//! table says, then goes on in a new session from where it was.
//!
//! The same over TLS, for which the server makes a certificate and prints its fingerprint:
//!
//!     cargo run --features tls --example block_sync -- serve wss://127.0.0.1:9443/sync
//!     cargo run --features tls --example block_sync -- follow wss://127.0.0.1:9443/sync FINGERPRINT
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_std::task;
use serde::{Deserialize, Serialize};
use sessionwire::session::{Client, Server};
use sessionwire::transport::TransportConfig;
use sessionwire::{Config, Listener, Router, Session, SessionError, protocol};

/// A block, and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    height: u64,
    hash: u64,
    parent: u64,
}

/// Which is the newest of these, the client's newest first, that you have?
#[derive(Serialize, Deserialize)]
struct FindIntersect(Vec<u64>);
/// This one: what follows it comes next.
#[derive(Serialize, Deserialize)]
struct IntersectFound(u64);
/// None of them.
#[derive(Serialize, Deserialize)]
struct IntersectNotFound;
/// The next block, please.
#[derive(Serialize, Deserialize)]
struct RequestNext;
/// There is none yet: wait.
#[derive(Serialize, Deserialize)]
struct AwaitReply;
/// Another block.
#[derive(Serialize, Deserialize)]
struct RollForward(Block);
/// The chain goes on from this block: later ones are void.
#[derive(Serialize, Deserialize)]
struct RollBackward(u64);
/// That is all.
#[derive(Serialize, Deserialize)]
struct Done;

protocol! {
    /// Follows the blocks of a node.
    BlockSync = "block-sync" version 1;

    /// The client decides what to ask.
    Idle: Client(mins(5), 4 * KIB) {
        0 FindIntersect => Intersect,
        1 RequestNext => Next,
        2 Done => End,
    }
    /// The server looks for a common block.
    Intersect: Server(secs(2), 64) {
        0 IntersectFound => Idle,
        1 IntersectNotFound => Idle,
    }
    /// The server has a block, goes back, or lets the client wait.
    Next: Server(secs(2), KIB) {
        0 RollForward => Idle,
        1 RollBackward => Idle,
        2 AwaitReply => MustReply,
    }
    /// The server has said that it takes longer.
    MustReply: Server(mins(10), KIB) {
        0 RollForward => Idle,
        1 RollBackward => Idle,
    }
}

const GENESIS: Block = Block {
    height: 0,
    hash: 1,
    parent: 0,
};
/// How far the follower follows.
const ENOUGH: u64 = 20;

#[async_std::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", urls @ ..] if !urls.is_empty() => serve(urls, false).await,
        ["stall", urls @ ..] if !urls.is_empty() => serve(urls, true).await,
        ["follow", url] => follow(url, &TransportConfig::default()).await,
        ["follow", url, fingerprint] => follow(url, &trust(fingerprint)?).await,
        _ => Err(
            "usage: block_sync serve URL... | block_sync stall URL... | \
             block_sync follow URL [FINGERPRINT]"
                .into(),
        ),
    }
}

async fn serve(urls: &[&str], stalls: bool) -> Result<(), Box<dyn Error>> {
    let is_secure = |url: &&str| url.starts_with("wss:") || url.starts_with("tls:");
    let (transport, fingerprint) = if urls.iter().any(is_secure) {
        certified()?
    } else {
        (TransportConfig::default(), None)
    };
    let mut listener = Listener::new(Config::default(), transport);
    for url in urls {
        listener = listener.and(*url).await?;
    }
    for endpoint in listener.endpoints() {
        println!("listening on {endpoint}");
    }
    if let Some(fingerprint) = fingerprint {
        println!("certificate {fingerprint}");
    }
    let chain = Arc::new(Mutex::new(Chain::default()));
    let stalls = Arc::new(AtomicBool::new(stalls));
    let router = Router::new().on_session(BlockSync, move |session| {
        produce(session, Arc::clone(&chain), Arc::clone(&stalls))
    });
    Ok(listener.serve(&router).await?)
}

/// A server with a certificate of its own making, and the fingerprint to know it by.
#[cfg(feature = "tls")]
fn certified() -> Result<(TransportConfig, Option<String>), Box<dyn Error>> {
    use sessionwire::transport::{Identity, TlsServer};

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())?;
    let fingerprint = identity.fingerprint().to_string();
    let server = TlsServer::builder(identity).build()?;
    let transport = TransportConfig::default().tls_server(server);
    Ok((transport, Some(fingerprint)))
}

/// A client that trusts the server with that certificate and no other.
#[cfg(feature = "tls")]
fn trust(fingerprint: &str) -> Result<TransportConfig, Box<dyn Error>> {
    let client = sessionwire::transport::TlsClient::builder()
        .pin(fingerprint.parse()?)
        .build()?;
    Ok(TransportConfig::default().tls_client(client))
}

#[cfg(not(feature = "tls"))]
fn certified() -> Result<(TransportConfig, Option<String>), Box<dyn Error>> {
    Err("built without TLS: use --features tls".into())
}

#[cfg(not(feature = "tls"))]
fn trust(_: &str) -> Result<TransportConfig, Box<dyn Error>> {
    Err("built without TLS: use --features tls".into())
}

/// The server of one session.
async fn produce(
    mut session: Session<Idle<Server>>,
    chain: Arc<Mutex<Chain>>,
    stalls: Arc<AtomicBool>,
) -> Result<(), SessionError> {
    let mut at = GENESIS.hash;
    loop {
        session = match session.recv().await? {
            Idle::FindIntersect(FindIntersect(points), session) => {
                let found = points
                    .into_iter()
                    .find(|hash| look(&chain).find(*hash).is_some());
                match found {
                    Some(hash) => {
                        at = hash;
                        session.send(IntersectFound(hash)).await?
                    }
                    None => session.send(IntersectNotFound).await?,
                }
            }
            Idle::RequestNext(_, session) => {
                if look(&chain).blocks.len() > 12 && stalls.swap(false, Ordering::SeqCst) {
                    // A server that hangs. The client's deadline resets the session.
                    std::future::pending::<()>().await;
                }
                let step = look(&chain).after(at);
                match step {
                    Some(block) if block.parent == at => {
                        at = block.hash;
                        session.send(RollForward(block)).await?
                    }
                    Some(block) => {
                        at = block.hash;
                        session.send(RollBackward(at)).await?
                    }
                    None => {
                        let session = session.send(AwaitReply).await?;
                        task::sleep(Duration::from_millis(5)).await;
                        let block = look(&chain).grow_after(at);
                        let forward = block.parent == at;
                        at = block.hash;
                        if forward {
                            session.send(RollForward(block)).await?
                        } else {
                            session.send(RollBackward(at)).await?
                        }
                    }
                }
            }
            Idle::Done(_, session) => {
                session.close();
                return Ok(());
            }
        };
    }
}

async fn follow(url: &str, transport: &TransportConfig) -> Result<(), Box<dyn Error>> {
    let connection = sessionwire::connect_with(url, Config::default(), transport).await?;
    let mut chain = vec![GENESIS];
    loop {
        let session = connection.open_session(BlockSync).await?;
        match consume(session, &mut chain).await {
            Ok(()) => break,
            Err(error @ SessionError::TimedOut { .. }) => println!("{error}: again"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(connection.drain(Duration::from_secs(1)).await?)
}

/// The client of one session: follows from where `chain` ends.
async fn consume(
    session: Session<Idle<Client>>,
    chain: &mut Vec<Block>,
) -> Result<(), SessionError> {
    let newest_first = chain.iter().rev().map(|block| block.hash).collect();
    let session = session.send(FindIntersect(newest_first)).await?;
    let mut session = match session.recv().await? {
        Intersect::IntersectFound(IntersectFound(hash), session) => {
            cut(chain, hash);
            session
        }
        Intersect::IntersectNotFound(_, session) => return Err(session.abort("another genesis")),
    };
    while chain.len() as u64 <= ENOUGH {
        session = match session.send(RequestNext).await?.recv().await? {
            Next::RollForward(RollForward(block), session) => append(chain, block, session)?,
            Next::RollBackward(RollBackward(hash), session) => back(chain, hash, session),
            Next::AwaitReply(_, session) => match session.recv().await? {
                MustReply::RollForward(RollForward(block), session) => {
                    append(chain, block, session)?
                }
                MustReply::RollBackward(RollBackward(hash), session) => back(chain, hash, session),
            },
        };
    }
    println!("followed to {}", chain.len() - 1);
    session.send(Done).await?.close();
    Ok(())
}

fn append(
    chain: &mut Vec<Block>,
    block: Block,
    session: Session<Idle<Client>>,
) -> Result<Session<Idle<Client>>, SessionError> {
    if chain.last().is_none_or(|tip| tip.hash != block.parent) {
        return Err(session.abort("a block that does not connect"));
    }
    println!("forward to {}", block.height);
    chain.push(block);
    Ok(session)
}

fn back(
    chain: &mut Vec<Block>,
    hash: u64,
    session: Session<Idle<Client>>,
) -> Session<Idle<Client>> {
    cut(chain, hash);
    println!("back to {}", chain.len() - 1);
    session
}

/// Forgets what follows a block.
fn cut(chain: &mut Vec<Block>, hash: u64) {
    let end = chain.iter().position(|block| block.hash == hash);
    chain.truncate(end.map_or(1, |place| place + 1));
}

fn look(chain: &Mutex<Chain>) -> std::sync::MutexGuard<'_, Chain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A chain that grows when someone waits for it, and changes its mind at heights 7 and 15.
struct Chain {
    blocks: Vec<Block>,
    /// Blocks that are no longer part of it, newest last.
    void: Vec<Block>,
    forks: Vec<u64>,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            blocks: vec![GENESIS],
            void: Vec::new(),
            forks: vec![15, 7],
        }
    }
}

impl Chain {
    fn find(&self, hash: u64) -> Option<&Block> {
        self.blocks.iter().find(|block| block.hash == hash)
    }

    /// What a reader at `hash` is told: the next block, or the one that it has to go back to.
    fn after(&self, hash: u64) -> Option<Block> {
        let mut at = hash;
        while self.find(at).is_none() {
            at = self
                .void
                .iter()
                .find(|block| block.hash == at)
                .map_or(GENESIS.hash, |block| block.parent);
        }
        let height = self.find(at)?.height;
        let place = if at == hash { height + 1 } else { height };
        self.blocks
            .iter()
            .find(|block| block.height == place)
            .copied()
    }

    /// The same, once there is something to tell.
    fn grow_after(&mut self, hash: u64) -> Block {
        loop {
            if let Some(block) = self.after(hash) {
                return block;
            }
            self.grow();
        }
    }

    fn grow(&mut self) {
        let tip = self.blocks.last().copied().unwrap_or(GENESIS);
        let mut parent = tip;
        if self.forks.last() == Some(&tip.height) {
            self.forks.pop();
            let kept = self.blocks.len().saturating_sub(3);
            self.void.extend(self.blocks.drain(kept..));
            parent = self.blocks.last().copied().unwrap_or(GENESIS);
        }
        let count = (self.blocks.len() + self.void.len()) as u64;
        self.blocks.push(Block {
            height: parent.height + 1,
            hash: (count + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            parent: parent.hash,
        });
    }
}
