//! A web server of axum with, on one port, an HTTP API and sessionwire over axum's own WebSocket.
//!
//! In one terminal, then in another:
//!
//!     cargo run --features tokio --example axum_server -- 127.0.0.1:9000
//!     curl http://127.0.0.1:9000/health
//!     cargo run --example echo -- say ws://127.0.0.1:9000/wire hello there
//!
//! It also serves the page of `examples/browser`, if the directory with it is named behind the address.
//!
//! axum answers the handshake, so its limits and checks are axum's, and the page's origin is for this
//! program to check: any page may have a browser open a WebSocket to here.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::{SinkExt, StreamExt, future};
use sessionwire::transport::{ByteStream, MessageStream, OriginPolicy};
use sessionwire::{Channel, ChannelError, Config, Connection, Role, Router};
use tokio::net::TcpListener;

/// A sessionwire peer sends no larger message.
const MAX_MESSAGE: usize = 128 * 1024;

/// Of the page: where it is, its file, and what that is.
const FILES: [(&str, &str, &str); 3] = [
    ("/", "index.html", "text/html"),
    ("/echo.js", "echo.js", "text/javascript"),
    ("/echo_bg.wasm", "echo_bg.wasm", "application/wasm"),
];

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .ok_or("usage: axum_server ADDRESS [DIRECTORY]")?;
    let directory = arguments.next().map(PathBuf::from);
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let router = Arc::new(Router::new().on("echo/1", echo));
    let mut app = axum::Router::new()
        .route("/health", get(async || "well\n"))
        .route("/wire", get(wire))
        .with_state(router);
    for (path, file, kind) in FILES {
        let file = directory.as_ref().map(|directory| directory.join(file));
        app = app.route(path, get(async move || served(file, kind).await));
    }
    Ok(axum::serve(listener, app).await?)
}

async fn served(file: Option<PathBuf>, kind: &'static str) -> Response {
    let content = match file {
        Some(file) => tokio::fs::read(file).await.ok(),
        None => None,
    };
    match content {
        Some(content) => ([(CONTENT_TYPE, kind)], content).into_response(),
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}

async fn wire(
    State(router): State<Arc<Router>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !OriginPolicy::SameHost.allows(&headers) {
        return (StatusCode::FORBIDDEN, "a page of another host").into_response();
    }
    upgrade
        .max_message_size(MAX_MESSAGE)
        .on_upgrade(async move |socket| {
            let stream = byte_stream(socket);
            let (connection, driver) = Connection::new(stream, Role::Acceptor, Config::default());
            driver.spawn();
            if let Err(error) = router.serve(&connection).await {
                eprintln!("{error}");
            }
        })
}

fn byte_stream(socket: WebSocket) -> impl ByteStream {
    let (outgoing, incoming) = socket.split();
    let incoming = incoming.map(|received| match received.map_err(io::Error::other)? {
        Message::Binary(data) => Ok(data),
        Message::Text(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")),
        // axum answers pings, and ends the stream after a Close.
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(Bytes::new()),
    });
    let outgoing = outgoing.with(|data| future::ready(Ok::<_, axum::Error>(Message::Binary(data))));
    MessageStream::new(incoming, outgoing)
}

async fn echo(mut channel: Channel<String, String>) -> Result<(), ChannelError> {
    while let Some(word) = channel.recv().await? {
        channel.send(&word).await?;
    }
    channel.finish();
    Ok(())
}
