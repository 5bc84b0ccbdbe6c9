//! A server that says everything back, and a client that makes it do so, over any transport.
//!
//! In one terminal, then in another:
//!
//!     cargo run --example echo -- serve ws://127.0.0.1:9000/wire
//!     cargo run --example echo -- say ws://127.0.0.1:9000/wire hello there
//!
//! `tcp://127.0.0.1:9000` and `unix:///tmp/echo.sock` do just as well, if both ends say so.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sessionwire::{Channel, ChannelError, Router};

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
        ["serve", url] => serve(url).await,
        ["say", url, words @ ..] if !words.is_empty() => say(url, words).await,
        _ => Err("usage: echo serve URL | echo say URL WORD...".into()),
    }
}

async fn serve(url: &str) -> Result<(), Box<dyn Error>> {
    let mut listener = sessionwire::listen(url).await?;
    println!("listening on {}", listener.endpoints()[0]);
    let router = Arc::new(Router::new().on("echo/1", echo));
    loop {
        let connection = listener.accept().await?;
        let router = Arc::clone(&router);
        async_std::task::spawn(async move { router.serve(&connection).await });
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
