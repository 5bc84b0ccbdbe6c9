//! Channels over a stream that this crate knows nothing of: the `WsStream` of another crate.
//!
//! In one terminal the server of the `echo` example, then this client in another:
//!
//!     cargo run --example echo -- serve ws://127.0.0.1:9000/wire
//!     cargo run --example bring_your_own_stream -- ws://127.0.0.1:9000/wire hello there
//!
//! Any `AsyncRead + AsyncWrite + Unpin + Send` will do: a serial port, the pipes of a child process,
//! a TLS stream. On the accepting side it is the same with `Role::Acceptor`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use async_tungstenite_029::async_std::connect_async;
use sessionwire::{Channel, Config, Connection, Role};
use ws_stream_tungstenite::WsStream;

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
    let [url, words @ ..] = &arguments[..] else {
        return Err("usage: bring_your_own_stream URL WORD...".into());
    };
    let (socket, _) = connect_async(url.as_str()).await?;
    let stream = WsStream::new(socket);

    let (connection, driver) = Connection::new(stream, Role::Dialer, Config::default());
    driver.spawn();

    let mut channel: Channel<String, String> = connection.open("echo/1").await?;
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
