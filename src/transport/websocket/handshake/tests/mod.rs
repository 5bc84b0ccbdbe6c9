//! One end is the code under test, the other writes and reads bytes by hand.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use futures::{AsyncReadExt, AsyncWriteExt, future};

use super::*;
use crate::runtime::{SharedRuntime, VirtualClock};
use crate::transport::{MemoryStream, pipe};

mod client;
mod refusals;
mod server;
mod time;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// More than any head and answer, so that nobody waits for room.
const ROOM: usize = 64 * 1024;

fn deadline(clock: &VirtualClock) -> Deadline {
    let runtime: SharedRuntime = Arc::new(clock.clone());
    Deadline::new(runtime, Duration::from_secs(10))
}

/// The example request of RFC 6455, with these headers too.
fn request(more: &str) -> String {
    let headers = format!(
        "Host: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}"
    );
    format!("GET /chat HTTP/1.1\r\n{headers}\r\n")
}

type Accepted = Result<(WsStream<MemoryStream>, ConnectionInfo), TransportError>;

/// What comes of a client that sends these bytes, and all that it hears until the server closes, or
/// until the end of a head that lets it in.
fn ask(config: &TransportConfig, said: &[u8]) -> (Accepted, String) {
    let (here, mut raw) = pipe(ROOM);
    let clock = VirtualClock::new();
    let deadline = deadline(&clock);
    let info = ConnectionInfo::default();
    let client = async move {
        raw.write_all(said).await.unwrap();
        read_answer(&mut raw).await
    };
    block_on(future::join(
        accept(here, "/chat", info, config, &deadline),
        client,
    ))
}

async fn read_answer(raw: &mut MemoryStream) -> String {
    let mut heard = Vec::new();
    let mut byte = [0];
    while raw.read(&mut byte).await.unwrap() > 0 {
        heard.push(byte[0]);
        if heard.starts_with(b"HTTP/1.1 101") && heard.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8(heard).unwrap()
}

/// The status and the text of a refusal.
fn refusal(config: &TransportConfig, said: &str) -> (u16, String) {
    let (accepted, heard) = ask(config, said.as_bytes());
    let status = heard.split(' ').nth(1).unwrap().parse().unwrap();
    match accepted.unwrap_err() {
        TransportError::Rejected { status: told, .. } => assert_eq!(told, status),
        TransportError::WrongPath { .. } => assert_eq!(status, 404),
        other => panic!("{other}"),
    }
    let (_head, text) = heard.split_once("\r\n\r\n").unwrap();
    (status, text.to_owned())
}

fn welcome(config: &TransportConfig, said: &str) -> (ConnectionInfo, String) {
    let (accepted, heard) = ask(config, said.as_bytes());
    (accepted.unwrap().1, heard)
}
