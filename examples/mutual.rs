//! Two nodes that are client and server of each other, by two protocols over one connection.
//!
//! In one terminal, then in another:
//!
//!     cargo run --example mutual -- listen tcp://127.0.0.1:9000 alice
//!     cargo run --example mutual -- join tcp://127.0.0.1:9000 bob
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sessionwire::session::Server;
use sessionwire::{Connection, Router, Session, SessionError, protocol};

#[derive(Serialize, Deserialize)]
struct Who;
#[derive(Serialize, Deserialize)]
struct Name(String);

protocol! {
    /// Asks for the other's name, once.
    Introduce = "introduce" version 1;

    Asking: Client(secs(10), 0) { 0 Who => Answering }
    Answering: Server(secs(10), 256) { 0 Name => End }
}

#[derive(Serialize, Deserialize)]
struct Ping(u32);
#[derive(Serialize, Deserialize)]
struct Pong(u32);
#[derive(Serialize, Deserialize)]
struct Bye;

protocol! {
    /// Asks whether the other is there, any number of times.
    KeepAlive = "keep-alive" version 1;

    Quiet: Client(mins(1), 8) { 0 Ping => Pinged, 1 Bye => End }
    Pinged: Server(secs(10), 8) { 0 Pong => Quiet }
}

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
        ["listen", url, name] => {
            let mut listener = sessionwire::listen(*url).await?;
            println!("listening on {}", listener.endpoint());
            loop {
                let connection = listener.accept().await?;
                // One visitor's trouble is not the next one's.
                if let Err(error) = live(&connection, name).await {
                    println!("{error}");
                }
            }
        }
        ["join", url, name] => {
            let connection = sessionwire::connect(*url).await?;
            live(&connection, name).await?;
            Ok(connection.drain(Duration::from_secs(5)).await?)
        }
        _ => Err("usage: mutual listen URL NAME | mutual join URL NAME".into()),
    }
}

/// What both nodes do: answer as the server of both protocols, and ask as the client of both.
async fn live(connection: &Connection, name: &str) -> Result<(), SessionError> {
    let (satisfied, is_satisfied) = async_std::channel::bounded(1);
    let own = name.to_owned();
    let router = Router::new()
        .on_session(Introduce, move |session| introduce(session, own.clone()))
        .on_session(KeepAlive, move |session| {
            answer_pings(session, satisfied.clone())
        });
    let serving = connection.clone();
    let server = async_std::task::spawn(async move { router.serve(&serving).await });

    let session = connection.open_session(Introduce).await?.send(Who).await?;
    let Answering::Name(Name(other), session) = session.recv().await?;
    session.close();
    println!("{name} meets {other}");

    let mut session = connection.open_session(KeepAlive).await?;
    for number in 1..=3 {
        let Pinged::Pong(Pong(back), quiet) = session.send(Ping(number)).await?.recv().await?;
        println!("{name} hears {back} from {other}");
        session = quiet;
    }
    session.send(Bye).await?.close();

    // The other asks in its turn: it is not left before it has what it wants.
    is_satisfied.recv().await.ok();
    println!("{name} has answered {other}");
    server.cancel().await;
    Ok(())
}

async fn introduce(session: Session<Asking<Server>>, name: String) -> Result<(), SessionError> {
    let Asking::Who(Who, session) = session.recv().await?;
    session.send(Name(name)).await?.close();
    Ok(())
}

async fn answer_pings(
    mut session: Session<Quiet<Server>>,
    satisfied: async_std::channel::Sender<()>,
) -> Result<(), SessionError> {
    loop {
        session = match session.recv().await? {
            Quiet::Ping(Ping(number), session) => session.send(Pong(number)).await?,
            Quiet::Bye(Bye, session) => {
                session.close();
                // Nobody waits for a second time.
                satisfied.try_send(()).ok();
                return Ok(());
            }
        };
    }
}
