//! A web server of hyper with, on one port, an HTTP API and sessionwire over WebSocket.
//!
//! In one terminal, then in another:
//!
//!     cargo run --features tokio --example hyper_server -- 127.0.0.1:9000
//!     curl http://127.0.0.1:9000/health
//!     cargo run --example echo -- say ws://127.0.0.1:9000/wire hello there
//!
//! hyper gives the connection away once the handshake is answered, and `WsStream` takes it over. A
//! handler of axum that takes the whole request can do the same.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::convert::Infallible;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sessionwire::transport::{
    ByteStream, ConnectionInfo, TokioStream, WsConfig, WsRole, WsServer, WsStream,
};
use sessionwire::{Channel, ChannelError, Config, Connection, Role, Router};
use tokio::net::{TcpListener, TcpStream};

type Answer = Response<Full<Bytes>>;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let usage = "usage: hyper_server ADDRESS";
    let listener = TcpListener::bind(std::env::args().nth(1).ok_or(usage)?).await?;
    println!("listening on {}", listener.local_addr()?);
    let router = Arc::new(Router::new().on("echo/1", echo));
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                let router = Arc::clone(&router);
                tokio::spawn(async move {
                    if let Err(error) = serve_http(socket, router).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            // Too many open files, perhaps: it passes.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_http(socket: TcpStream, router: Arc<Router>) -> Result<(), Box<dyn Error>> {
    socket.set_nodelay(true)?;
    let service = service_fn(move |request| {
        let router = Arc::clone(&router);
        async move { Ok::<_, Infallible>(answer(request, router).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(socket), service);
    Ok(connection.with_upgrades().await?)
}

async fn answer(request: Request<Incoming>, router: Arc<Router>) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/health") => text(StatusCode::OK, "well\n"),
        (&Method::GET, "/wire") => upgrade(request, router).await,
        _ => text(StatusCode::NOT_FOUND, "nothing here\n"),
    }
}

async fn upgrade(mut request: Request<Incoming>, router: Arc<Router>) -> Answer {
    let (response, _info) = match WsServer::default()
        .answer(&request, ConnectionInfo::default())
        .await
    {
        Ok(answered) => answered,
        Err(refusal) => return refusal.to_response().map(Full::from),
    };
    tokio::spawn(async move {
        match hyper::upgrade::on(&mut request).await {
            Ok(upgraded) => {
                // What hyper has read too far is read from it first.
                let stream = TokioStream::new(TokioIo::new(upgraded));
                let config = WsConfig::default();
                serve_wire(
                    WsStream::new(stream, WsRole::Server, Bytes::new(), &config),
                    &router,
                )
                .await;
            }
            Err(error) => eprintln!("the connection was not to be had: {error}"),
        }
    });
    response.map(|()| Full::default())
}

async fn serve_wire(stream: impl ByteStream, router: &Router) {
    let (connection, driver) = Connection::new(stream, Role::Acceptor, Config::default());
    driver.spawn();
    if let Err(error) = router.serve(&connection).await {
        eprintln!("{error}");
    }
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
}

async fn echo(mut channel: Channel<String, String>) -> Result<(), ChannelError> {
    while let Some(word) = channel.recv().await? {
        channel.send(&word).await?;
    }
    channel.finish();
    Ok(())
}
