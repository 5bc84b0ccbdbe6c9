//! Two protocols on one connection, at the same time, neither waiting for the other.
//!
//! In one terminal, then in another:
//!
//!     cargo run --example many_protocols -- serve tcp://127.0.0.1:9000
//!     cargo run --example many_protocols -- use tcp://127.0.0.1:9000
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;

use futures::{SinkExt, TryStreamExt, stream};
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
        ["use", url] => use_both(url).await,
        _ => Err("usage: many_protocols serve URL | many_protocols use URL".into()),
    }
}

async fn serve(url: &str) -> Result<(), Box<dyn Error>> {
    let mut listener = sessionwire::listen(url).await?;
    println!("listening on {}", listener.endpoints()[0]);
    loop {
        let connection = listener.accept().await?;
        let router = Router::new().on("add/1", add).on("count/1", count);
        async_std::task::spawn(async move { router.serve(&connection).await });
    }
}

async fn add(mut channel: Channel<u64, (u64, u64)>) -> Result<(), ChannelError> {
    while let Some((left, right)) = channel.recv().await? {
        channel.send(&left.wrapping_add(right)).await?;
    }
    Ok(())
}

/// Sends a long answer to one question: a channel is a `Sink` and a `Stream` too.
async fn count(mut channel: Channel<u64, u64>) -> Result<(), ChannelError> {
    let most = channel.recv().await?.unwrap_or(0);
    channel
        .send_all(&mut stream::iter((1..=most).map(Ok)))
        .await?;
    channel.close().await
}

async fn use_both(url: &str) -> Result<(), Box<dyn Error>> {
    let connection = sessionwire::connect(url).await?;
    let mut counting: Channel<u64, u64> = connection.open("count/1").await?;
    let mut adding: Channel<(u64, u64), u64> = connection.open("add/1").await?;
    counting.send(&100_000).await?;
    adding.send(&(2, 3)).await?;
    println!("2 + 3 = {:?}", adding.recv().await?);
    let sum = counting.try_fold(0, async |sum, number| Ok(sum + number));
    println!("1 + 2 + ... + 100000 = {}", sum.await?);
    Ok(())
}
