//! One TCP port for sessionwire over plain TCP and over WebSocket, told apart by the first byte.
//!
//! In one terminal, then in another:
//!
//!     cargo run --example one_port -- 127.0.0.1:9000
//!     cargo run --example echo -- say tcp://127.0.0.1:9000 hello there
//!     cargo run --example echo -- say ws://127.0.0.1:9000/wire hello there
//!
//! The first frame of sessionwire is a short one, so its length, four bytes, begins with a 0. An HTTP
//! request begins with a letter.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_std::net::{TcpListener, TcpStream};
use async_std::{future, task};
use sessionwire::transport::{BoxedStream, TransportConfig, WsStream};
use sessionwire::{Channel, ChannelError, Config, Connection, Role, Router};

#[async_std::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: one_port ADDRESS")?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let router = Arc::new(Router::new().on("echo/1", echo));
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                let router = Arc::clone(&router);
                task::spawn(async move {
                    if let Err(error) = serve(socket, &router).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            // Too many open files, perhaps: it passes.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                task::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, router: &Router) -> Result<(), Box<dyn Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    let config = TransportConfig::default();
    let mut first = [0];
    // The byte stays where it is, for whoever reads the stream then.
    let peek = socket.peek(&mut first);
    if future::timeout(config.handshake_timeout, peek).await?? == 0 {
        return Ok(());
    }
    let stream: BoxedStream = match first {
        [0] => Box::new(socket),
        _ => Box::new(WsStream::accept(socket, "/wire", &config).await?),
    };
    let (connection, driver) = Connection::new(stream, Role::Acceptor, Config::default());
    driver.spawn();
    Ok(router.serve(&connection).await?)
}

async fn echo(mut channel: Channel<String, String>) -> Result<(), ChannelError> {
    while let Some(word) = channel.recv().await? {
        channel.send(&word).await?;
    }
    channel.finish();
    Ok(())
}
