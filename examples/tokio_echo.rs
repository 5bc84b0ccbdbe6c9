//! The `echo` example inside of tokio: its tasks, its timers, its sockets.
//!
//! In one terminal, then in another:
//!
//!     cargo run --features tokio --example tokio_echo -- serve tcp://127.0.0.1:9000
//!     cargo run --features tokio --example tokio_echo -- say tcp://127.0.0.1:9000 hello there
//!
//! The runtime is chosen where `connect` and `listen` are called. A program that wants tokio alone
//! depends on sessionwire with `default-features = false, features = ["tokio", "websocket"]`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sessionwire::{Channel, ChannelError, Router};

#[tokio::main]
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
        ["serve", url] => serve(url).await,
        ["say", url, words @ ..] if !words.is_empty() => say(url, words).await,
        _ => Err("usage: tokio_echo serve URL | tokio_echo say URL WORD...".into()),
    }
}

async fn serve(url: &str) -> Result<(), Box<dyn Error>> {
    let mut listener = sessionwire::listen(url).await?;
    println!("listening on {}", listener.endpoints()[0]);
    let router = Arc::new(Router::new().on("echo/1", echo));
    loop {
        let connection = listener.accept().await?;
        let router = Arc::clone(&router);
        tokio::spawn(async move { router.serve(&connection).await });
    }
}

async fn echo(mut channel: Channel<String, String>) -> Result<(), ChannelError> {
    while let Some(word) = channel.recv().await? {
        channel.send(&word).await?;
    }
    channel.finish();
    Ok(())
}

async fn say(url: &str, words: &[&str]) -> Result<(), Box<dyn Error>> {
    let connection = sessionwire::connect(url).await?;
    let mut channel: Channel<&str, String> = connection.open("echo/1").await?;
    for word in words {
        channel.send(word).await?;
    }
    channel.finish();
    while let Some(word) = channel.recv().await? {
        println!("{word}");
    }
    drop(channel);
    Ok(connection.drain(Duration::from_secs(1)).await?)
}
