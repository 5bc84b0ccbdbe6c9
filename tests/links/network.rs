//! The proxy does what it is told.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::proxy::{Direction, Fault, Proxy};
use crate::support::{KIB, MIB, pattern, watched};

struct Network {
    proxy: Proxy,
    listener: TcpListener,
}

impl Network {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("to listen");
        Self {
            proxy: Proxy::before(&endpoint(&listener)),
            listener,
        }
    }

    /// A client and the server's end of its connection.
    async fn connected(&self) -> (TcpStream, TcpStream) {
        let client = self.client().await;
        let (server, _) = self.listener.accept().await.expect("to accept");
        (client, server)
    }

    async fn client(&self) -> TcpStream {
        self.dial().await.expect("to connect")
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let address = self.proxy.endpoint().strip_prefix("tcp://");
        TcpStream::connect(address.expect("an address")).await
    }
}

fn endpoint(listener: &TcpListener) -> String {
    format!("tcp://{}", listener.local_addr().expect("an address"))
}

async fn carries(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.expect("to write");
    let mut heard = vec![0; bytes.len()];
    to.read_exact(&mut heard).await.expect("to read");
    assert!(heard == bytes, "other bytes came than went");
}

#[tokio::test]
async fn it_carries_bytes_both_ways_and_counts_them() {
    watched(async {
        let network = Network::new().await;
        let (mut client, mut server) = network.connected().await;
        carries(&mut client, &mut server, &pattern(100 * KIB, 1)).await;
        carries(&mut server, &mut client, b"answer").await;
        let enough = |counts: &crate::support::proxy::Counts| {
            counts.to_server == 100 * KIB as u64 && counts.to_client == 6
        };
        let counts = network.proxy.until(enough).await;
        assert_eq!((counts.accepted, counts.open), (1, 1));
        drop(client);
        assert_eq!(server.read(&mut [0; 1]).await.expect("an end"), 0);
        drop(server);
        network.proxy.until(|counts| counts.open == 0).await;
    })
    .await;
}

#[tokio::test]
async fn it_carries_what_sessionwire_speaks_over_tcp_and_websocket() {
    for endpoint in ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/wire"] {
        watched(async {
            let mut listener = sessionwire::listen(endpoint).await.expect("to listen");
            let proxy = Proxy::before(&listener.endpoint().to_string());
            let dial = sessionwire::connect(proxy.endpoint());
            let (here, there) = futures::future::join(dial, listener.accept()).await;
            let (here, _there) = (here.expect("to connect"), there.expect("to accept"));
            here.ping().await.expect("an answer");
            assert!(proxy.counts().to_server > 0, "it went another way");
        })
        .await;
    }
}

#[tokio::test]
async fn a_black_hole_takes_nothing_in_its_direction_and_gives_it_back() {
    watched(async {
        let network = Network::new().await;
        let (mut client, mut server) = network.connected().await;
        network.proxy.set(Fault::Blackhole(Direction::ToServer));
        client.write_all(b"lost?").await.expect("to write");
        for _ in 0..100 {
            carries(&mut server, &mut client, b"the other way goes").await;
        }
        assert_eq!(network.proxy.counts().to_server, 0);
        network.proxy.set(Fault::Pass);
        let mut heard = [0; 5];
        server.read_exact(&mut heard).await.expect("to read");
        assert_eq!(&heard, b"lost?");
    })
    .await;
}

#[tokio::test]
async fn a_black_hole_fills_the_send_buffer() {
    watched(async {
        let network = Network::new().await;
        let (client, mut server) = network.connected().await;
        network.proxy.set(Fault::Blackhole(Direction::Both));
        let all = pattern(64 * MIB, 1);
        let mut sent = 0;
        // Nobody reads it: the system takes what it has room for, and no more.
        let full = loop {
            client.writable().await.expect("a socket");
            match client.try_write(&all[sent..]) {
                Ok(count) => sent += count,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(full, ErrorKind::WouldBlock);
        network.proxy.set(Fault::Pass);
        let mut heard = vec![0; sent];
        server.read_exact(&mut heard).await.expect("to read");
        assert!(heard == all[..sent], "other bytes came than went");
    })
    .await;
}

#[tokio::test]
async fn a_reset_ends_connections_that_are_and_that_come() {
    watched(async {
        let network = Network::new().await;
        let (mut client, mut server) = network.connected().await;
        carries(&mut client, &mut server, b"up").await;
        network.proxy.set(Fault::Reset);
        for end in [&mut client, &mut server] {
            let error = end.read(&mut [0; 1]).await.expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        // The reset may be here before the program knows that it is connected.
        let late = async { network.dial().await?.read(&mut [0; 1]).await };
        let error = late.await.expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        network.proxy.until(|counts| counts.open == 0).await;
        assert_eq!(network.proxy.counts().accepted, 2);
    })
    .await;
}

#[tokio::test]
async fn a_half_closed_direction_has_ended_and_the_other_has_not() {
    watched(async {
        let network = Network::new().await;
        let (mut client, mut server) = network.connected().await;
        carries(&mut client, &mut server, b"up").await;
        network.proxy.set(Fault::HalfClose(Direction::ToServer));
        assert_eq!(server.read(&mut [0; 1]).await.expect("an end"), 0);
        client.write_all(b"swallowed").await.expect("to write");
        carries(&mut server, &mut client, b"the other way goes").await;
        assert_eq!(network.proxy.counts().to_server, 2);
    })
    .await;
}

#[tokio::test]
async fn a_delay_holds_every_piece() {
    watched(async {
        let network = Network::new().await;
        let (mut client, mut server) = network.connected().await;
        let delay = Duration::from_millis(20);
        network.proxy.set(Fault::Delay(delay));
        for _ in 0..3 {
            let start = Instant::now();
            carries(&mut client, &mut server, b"late").await;
            assert!(start.elapsed() >= delay, "it came at once");
        }
    })
    .await;
}

#[tokio::test]
async fn a_cut_lets_exactly_so_many_bytes_through() {
    for bytes in [0, 1, 7, 20 * KIB] {
        watched(async {
            let network = Network::new().await;
            let (mut client, mut server) = network.connected().await;
            carries(&mut client, &mut server, b"before").await;
            let cut = Fault::CutAfter(bytes, Direction::ToServer);
            network.proxy.set(cut);
            let all = pattern(30 * KIB, 1);
            // The proxy reads all of it, and loses what is too much.
            client.write_all(&all).await.expect("to write");
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await.expect("an end");
            assert!(heard == all[..bytes], "{} of {bytes} came", heard.len());
            assert_eq!(client.read(&mut [0; 1]).await.expect("an end"), 0);
        })
        .await;
    }
}

#[tokio::test]
async fn a_cut_holds_for_connections_that_come() {
    watched(async {
        let network = Network::new().await;
        network.proxy.set(Fault::CutAfter(2, Direction::ToClient));
        for _ in 0..2 {
            let (mut client, mut server) = network.connected().await;
            server.write_all(b"four").await.expect("to write");
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.expect("an end");
            assert_eq!(heard, b"fo");
        }
    })
    .await;
}

#[tokio::test]
async fn a_split_carries_a_byte_at_a_time() {
    watched(async {
        let network = Network::new().await;
        let (mut client, mut server) = network.connected().await;
        network.proxy.set(Fault::Split(1));
        carries(&mut client, &mut server, &pattern(1000, 1)).await;
        let carried = network.proxy.until(|counts| counts.to_server == 1000);
        assert_eq!(carried.await.writes, 1000);
    })
    .await;
}

#[tokio::test]
async fn connections_that_come_go_where_the_server_has_moved() {
    watched(async {
        let network = Network::new().await;
        let (mut client, mut server) = network.connected().await;
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("to listen");
        network.proxy.move_to(&endpoint(&elsewhere));
        let mut late = network.client().await;
        let (mut there, _) = elsewhere.accept().await.expect("to accept");
        carries(&mut late, &mut there, b"new").await;
        carries(&mut client, &mut server, b"old").await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_when_no_server_is_there() {
    watched(async {
        let mut network = Network::new().await;
        // Its address is free from here on.
        network.listener = TcpListener::bind("127.0.0.1:0").await.expect("to listen");
        let mut client = network.client().await;
        assert_eq!(client.read(&mut [0; 1]).await.expect("an end"), 0);
        network.proxy.until(|counts| counts.open == 0).await;
    })
    .await;
}
