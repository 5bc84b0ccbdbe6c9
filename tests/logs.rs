//! What the log says to those who look for one client of many, or for the end of one connection.

#![cfg(all(feature = "tokio", feature = "websocket"))]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessionwire::transport::Endpoint;
use sessionwire::{Code, RawChannel, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;

/// For what comes at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// All that is logged by this process, as the format of `tracing_subscriber` writes it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("to be the only one");
        log
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("a log").clone()).expect("text");
        let lines = text.lines().filter(|line| line.contains(with));
        lines.map(str::to_owned).collect()
    }

    /// Waits for a line with such words.
    async fn line(&self, with: &str) -> String {
        let come = async {
            loop {
                if let Some(line) = self.lines(with).pop() {
                    return line;
                }
                tokio::task::yield_now().await;
            }
        };
        let Ok(line) = timeout(PATIENCE, come).await else {
            panic!("no line with {with:?} in\n{}", self.lines("").join("\n"));
        };
        line
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn fail(_: RawChannel) -> Result<(), &'static str> {
    tracing::warn!("out of paper");
    Err("no printer")
}

#[tokio::test]
async fn every_line_names_the_peer_and_the_end_of_a_connection_is_one_line() {
    let log = Log::listen();
    let listener = sessionwire::listen("tcp://127.0.0.1:0").await;
    let listener = listener.expect("a port").and("ws://127.0.0.1:0/wire").await;
    let mut listener = listener.expect("a port");
    let endpoints = listener.endpoints().to_vec();
    let router = Router::new().on_raw("print/1", fail);
    tokio::spawn(async move { listener.serve(&router).await });

    let connection = sessionwire::connect(&endpoints[0]).await.expect("a server");
    let here = connection.info().local.clone().expect("an address");
    let within = format!("connection{{peer={here}}}: ");
    let _printed = connection.open_raw("print/1").await.expect("a channel");
    for words in ["out of paper", "a handler failed error=no printer"] {
        let line = log.line(words).await;
        assert!(line.contains(&within), "{line}");
    }
    let refused = connection.open_raw("paint/1").await.expect("a channel");
    let line = log.line("a channel is refused").await;
    assert!(line.contains(&within), "{line}");
    drop(refused);

    connection.close(Code::application(9), "the paper is out");
    connection.closed().await;
    let ended = format!("{within}sessionwire::mux::shared: a connection ended");
    let line = log.line(&ended).await;
    assert!(line.contains("the paper is out"), "{line}");
    let all = log.lines(&within);
    assert_eq!(all.len(), 4, "{all:#?}");

    let web = connect_by_hand(&endpoints[0]).await;
    let ended = format!("connection{{peer={web}}}: sessionwire::mux::shared: a connection ended");
    let line = log.line(&ended).await;
    assert!(line.contains("not a sessionwire hello"), "{line}");

    let tcp = connect_by_hand(&endpoints[1]).await;
    let line = log.line(&format!("a handshake failed peer={tcp} ")).await;
    assert!(line.contains("error="), "{line}");

    let token = format!("{}?token=secret", endpoints[1]);
    let connection = sessionwire::connect(&*token).await.expect("a server");
    connection.close(Code::NONE, "");
    log.line(&format!(
        "peer={}}}: sessionwire::mux::shared: a connection ended",
        endpoints[1]
    ))
    .await;
    assert_eq!(log.lines("secret"), [""; 0]);
}

/// Says what belongs to no protocol, and waits for the end; answers where it did that.
async fn connect_by_hand(endpoint: &Endpoint) -> String {
    let address = (
        endpoint.host().expect("a host"),
        endpoint.port().expect("a port"),
    );
    let mut stream = TcpStream::connect(address).await.expect("a server");
    stream
        .write_all(b"GARBAGE\r\n\r\n")
        .await
        .expect("a stream");
    // It may be reset.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    format!("tcp://{}", stream.local_addr().expect("an address"))
}
