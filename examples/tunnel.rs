//! A local TCP port that leads to a remote address, as by `ssh -L`: byte streams through channels.
//!
//! In one terminal on the far side, then in two on the near side:
//!
//!     cargo run --example tunnel -- exit ws://127.0.0.1:9000/wire example.org:80
//!     cargo run --example tunnel -- enter 127.0.0.1:8080 ws://127.0.0.1:9000/wire
//!     curl -H 'Host: example.org' http://127.0.0.1:8080/
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;

use async_std::net::{TcpListener, TcpStream};
use futures::io::{AsyncReadExt, AsyncWriteExt, copy};
use sessionwire::{RawChannel, Router};

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
        ["exit", url, target] => exit(url, target.to_string().leak()).await,
        ["enter", port, url] => enter(port, url).await,
        _ => Err("usage: tunnel exit URL TARGET | tunnel enter LOCAL URL".into()),
    }
}

async fn exit(url: &str, target: &'static str) -> Result<(), Box<dyn Error>> {
    let mut listener = sessionwire::listen(url).await?;
    println!("listening on {}", listener.endpoints()[0]);
    loop {
        let connection = listener.accept().await?;
        let router = Router::new().on_raw("tunnel/1", move |channel| async move {
            join(TcpStream::connect(target).await?, channel).await
        });
        async_std::task::spawn(async move { router.serve(&connection).await });
    }
}

async fn enter(local: &str, url: &str) -> Result<(), Box<dyn Error>> {
    let connection = sessionwire::connect(url).await?;
    let listener = TcpListener::bind(local).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        async_std::task::spawn(join(socket, connection.open_raw("tunnel/1").await?));
    }
}

/// Copies both ways until both have ended; the end of each goes on to the other side.
async fn join(socket: TcpStream, channel: RawChannel) -> std::io::Result<()> {
    let (from_channel, mut to_channel) = channel.into_stream().split();
    let out = async {
        copy(&socket, &mut to_channel).await?;
        to_channel.close().await
    };
    let back = async {
        copy(from_channel, &mut &socket).await?;
        socket.shutdown(std::net::Shutdown::Write)
    };
    futures::try_join!(out, back).map(|_| ())
}
