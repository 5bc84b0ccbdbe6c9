//! A peer written by hand, byte by byte, against a connection: what docs/wire.md promises to it.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use async_std::task;
use futures::executor::block_on;
use futures::future::{Either, select};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, poll};
use sessionwire::codec::varint::{put_u32, take_u32};
use sessionwire::mux::Driver;
use sessionwire::transport::{MemoryStream, pipe};
use sessionwire::{ChannelError, Config, Connection, RawChannel, Role, Router};

const HELLO: &[u8] = b"\x09swir\x01\x01\xfb\x00\x40\xfc\x00\x00\x10\x00\x10\x00\x00\x00";
const DATA: u32 = 0;
const OPEN: u32 = 1;
const ACCEPT: u32 = 2;
const CREDIT: u32 = 3;
const STOP: u32 = 4;
const RESET: u32 = 5;
const PONG: u32 = 7;
const GO_AWAY: u32 = 8;
const ALLOW: u32 = 10;
/// The first byte of a Ping.
const PING: u8 = 6;

#[test]
fn a_channel_dropped_before_it_was_sent_leaves_no_trace() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Dialer, Config::default());
        let (sender, receiver) = connection.open_raw("one").await.unwrap().split();
        drop(receiver);
        drop(sender);
        let kept = connection.open_raw("two").await.unwrap();
        task::spawn(driver);
        peer.send(HELLO).await;
        let opened = peer.until(|body| (OPEN..=RESET).contains(&tag(body))).await;
        assert_eq!(
            fields(&opened, 2),
            [OPEN, 3],
            "the first frame of a channel"
        );
        drop(kept);
    });
}

#[test]
fn channels_that_were_never_sent_do_not_use_up_what_the_peer_allows() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Dialer, Config::default());
        let mut driver = pin!(driver);
        peer.send(HELLO).await;
        for _ in 0..1000 {
            let opening = pin!(connection.open_raw("short"));
            let Poll::Ready(channel) = poll!(opening) else {
                panic!("no place is left");
            };
            drop(channel.unwrap());
            assert!(poll!(driver.as_mut()).is_pending());
        }
    });
}

#[test]
fn a_long_message_begun_before_accept_goes_on_after_it() {
    block_on(async {
        let config = Config::default().window(64 * 1024);
        let (connection, driver, mut peer) = start(Role::Acceptor, config);
        task::spawn(driver);
        peer.send(HELLO).await;
        peer.open(1, 65_536).await;
        // All of the floor: no frame can follow that would make the other end think again.
        for _ in 0..4 {
            peer.data(1, 0, 16_384 - 32).await;
        }
        let incoming = connection.accept().await.unwrap().unwrap();
        peer.settled().await;
        let _channel = incoming.accept_raw();
        peer.until(|body| tag(body) == ACCEPT).await;
        peer.until(|body| tag(body) == CREDIT).await;
    });
}

#[test]
fn a_drain_ends_well_though_the_peer_closes_at_once() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Dialer, Config::default());
        task::spawn(driver);
        let mut channel = connection.open_raw("load").await.unwrap();
        channel.finish();
        peer.send(HELLO).await;
        peer.send(&frame(&[ACCEPT, 1, 131_072])).await;
        channel.accepted().await.unwrap();
        let drained = task::spawn(async move { connection.drain(Duration::from_secs(5)).await });
        peer.until(|body| tag(body) == GO_AWAY).await;
        // Half of the window in parts, so that credit is due, the rest and the end in one go.
        let mut last = Vec::new();
        for flags in [0, 0, 0, 0, 0, 1] {
            last.extend(with_length(&data(1, flags, 16_000)));
        }
        last.extend(with_length(&data(1, 2, 0)));
        peer.stream.write_all(&last).await.unwrap();
        peer.stream.close().await.unwrap();
        drained.await.unwrap();
        assert_eq!(channel.recv().await.unwrap().unwrap().len(), 96_000);
    });
}

#[test]
fn a_drain_ends_well_with_a_frame_still_to_send() {
    block_on(async {
        // So narrow that not even Hello goes through: this end has something to send all the time.
        let (mut stream, other) = pipe(16);
        let (connection, driver) = Connection::new(other, Role::Dialer, Config::default());
        let mut channel = connection.open_raw("load").await.unwrap();
        channel.finish();
        let drained = connection.drain(Duration::from_secs(5));
        let peer = async move {
            let mut all = [
                with_length(HELLO),
                with_length(&frame(&[ACCEPT, 1, 65_536])),
            ]
            .concat();
            for flags in [0, 0, 0, 0, 0, 1] {
                all.extend(with_length(&data(1, flags, 16_000)));
            }
            all.extend(with_length(&data(1, 2, 0)));
            stream.write_all(&all).await.unwrap();
            stream.close().await.unwrap();
            stream
        };
        // The drain first, so that its GoAway goes with the first frames.
        let (drained, _stream) = futures::join!(drained, async {
            task::spawn(driver);
            peer.await
        });
        drained.unwrap();
        assert_eq!(channel.recv().await.unwrap().unwrap().len(), 96_000);
    });
}

#[test]
fn what_was_opened_before_a_drain_goes_before_its_goodbye() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Dialer, Config::default());
        let mut channel = connection.open_raw("report").await.unwrap();
        channel.send("all is well".into()).await.unwrap();
        channel.finish();
        let mut drained = pin!(connection.drain(Duration::from_secs(5)));
        assert!(poll!(drained.as_mut()).is_pending());
        task::spawn(driver);
        peer.send(HELLO).await;
        let first = peer
            .until(|body| tag(body) == OPEN || tag(body) == GO_AWAY)
            .await;
        assert_eq!(tag(&first), OPEN);
    });
}

#[test]
fn pings_in_a_row_are_no_abuse() {
    block_on(async {
        let (here, _there) = Connection::pair();
        for _ in 0..1000 {
            here.ping().await.unwrap();
        }
    });
}

#[test]
fn frames_that_no_honest_peer_sends_end_the_connection() {
    let too_large = (1 << 30) + 1;
    let open = |number, window| {
        let mut body = frame(&[OPEN, number, window]);
        body.extend(b"\x01\x01x");
        body
    };
    let credit_1 = frame(&[CREDIT, 1, 1 << 30]);
    for (what, bodies, code) in [
        ("a second hello", vec![HELLO.to_vec()], 7),
        ("data for channel 0", vec![data(0, 1, 1)], 7),
        ("a finish of channel 0", vec![data(0, 2, 0)], 7),
        ("credit for a channel never opened", vec![credit_1], 7),
        (
            "a stop for a channel never opened",
            vec![frame(&[STOP, 2, 0])],
            7,
        ),
        ("a channel of the other end", vec![open(2, 65_536)], 7),
        ("a channel again", vec![open(3, 65_536), open(3, 65_536)], 7),
        ("a lower channel", vec![open(3, 65_536), open(1, 65_536)], 7),
        (
            "a channel beyond the last",
            vec![open(too_large, 65_536)],
            7,
        ),
        ("a window below the least", vec![open(1, 65_535)], 7),
        ("a window above the most", vec![open(1, too_large)], 8),
        (
            "data without anything",
            vec![open(1, 65_536), data(1, 0, 0)],
            7,
        ),
        (
            "data after the finish",
            vec![open(1, 65_536), data(1, 2, 0), data(1, 1, 1)],
            7,
        ),
        (
            "a second finish",
            vec![open(1, 65_536), data(1, 2, 0), data(1, 2, 0)],
            7,
        ),
        (
            "a finish inside a message",
            vec![open(1, 65_536), data(1, 2, 1)],
            7,
        ),
        (
            "an accept of its own channel",
            vec![open(1, 65_536), frame(&[ACCEPT, 1, 65_536])],
            7,
        ),
        (
            "data beyond the credit",
            vec![open(1, 65_536), data(1, 1, 65_505)],
            8,
        ),
        (
            "credit beyond the most",
            vec![open(1, 1 << 30), frame(&[CREDIT, 1, 1])],
            8,
        ),
        ("an unknown tag", vec![vec![11, 0]], 7),
        ("an empty body", vec![vec![]], 7),
    ] {
        let (code_sent, _) = block_on(ending_of(Role::Acceptor, &bodies));
        assert_eq!(code_sent, code, "{what}");
    }
}

#[test]
fn frames_for_channels_that_are_over_are_ignored() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Acceptor, Config::default());
        task::spawn(driver);
        peer.send(HELLO).await;
        peer.open(5, 65_536).await;
        let incoming = connection.accept().await.unwrap().unwrap();
        incoming.refuse(sessionwire::Code::REFUSED, "");
        peer.until(|body| tag(body) == RESET).await;
        for late in [
            data(5, 1, 60_000),
            data(5, 2, 0),
            frame(&[CREDIT, 5, 100]),
            frame(&[STOP, 5, 0]),
            // Numbers that were skipped count as over.
            data(1, 1, 1),
            frame(&[STOP, 3, 0]),
        ] {
            peer.send(&late).await;
        }
        peer.settled().await;
    });
}

#[test]
fn a_stop_is_answered_with_a_finish_even_before_accept() {
    block_on(async {
        let (_connection, driver, mut peer) = start(Role::Acceptor, Config::default());
        task::spawn(driver);
        peer.send(HELLO).await;
        peer.open(1, 65_536).await;
        peer.send(&frame(&[STOP, 1, 1])).await;
        let answer = peer.until(|body| tag(body) == DATA).await;
        assert_eq!(answer, data(1, 2, 0));
    });
}

#[test]
fn places_are_allowed_again_one_for_each_channel_that_ended() {
    block_on(async {
        let config = Config::default().max_channels(16);
        let (connection, driver, mut peer) = start(Role::Acceptor, config);
        task::spawn(driver);
        peer.send(HELLO).await;
        for number in (1..=31).step_by(2) {
            peer.open(number, 65_536).await;
        }
        for _ in 0..16 {
            let incoming = connection.accept().await.unwrap().unwrap();
            incoming.refuse(sessionwire::Code::REFUSED, "");
        }
        // 16 have ended, so 16 more may be open at once, whatever becomes of them.
        let mut allowed = 16;
        while allowed < 32 {
            let body = peer.until(|body| tag(body) == ALLOW).await;
            let now = fields(&body, 2)[1];
            assert!(allowed < now && now <= 32, "{allowed} {now}");
            for place in allowed..now {
                peer.open(2 * place + 1, 65_536).await;
            }
            allowed = now;
        }
        peer.settled().await;
    });
}

#[test]
fn the_walk_through_of_the_document_is_what_happens() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Acceptor, Config::default());
        task::spawn(driver);
        let router = Router::new().on_raw("echo/1", echo);
        let serving = task::spawn(async move { router.serve(&connection).await });
        for (name, frame) in walk_through() {
            let (of_server, body) = (name.starts_with("walk-server-"), frame[4..].to_vec());
            if of_server {
                // The document leaves out all pings but the first.
                let is_later_ping = |body: &Vec<u8>| body[0] == PING && body[1] > 1;
                let mut next = peer.next().await;
                while next.as_ref().is_some_and(is_later_ping) {
                    next = peer.next().await;
                }
                assert_eq!(next, Some(body), "{name}");
            } else {
                peer.stream.write_all(&frame).await.unwrap();
            }
        }
        peer.stream.close().await.unwrap();
        assert_eq!(peer.next().await, None);
        serving.await.unwrap();
    });
}

#[test]
fn a_channel_that_wants_no_answer_is_over_without_accept() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Acceptor, Config::default());
        task::spawn(driver);
        peer.send(HELLO).await;
        peer.open(1, 65_536).await;
        for body in [data(1, 1, 5), data(1, 2, 0), frame(&[STOP, 1, 0])] {
            peer.send(&body).await;
        }
        let answer = peer.until(|body| tag(body) == DATA).await;
        assert_eq!(answer, data(1, 2, 0));
        let mut channel = connection.accept().await.unwrap().unwrap().accept_raw();
        assert_eq!(
            channel.recv().await.unwrap().as_deref(),
            Some(&b"xxxxx"[..])
        );
        assert_eq!(channel.recv().await.unwrap(), None);
        drop(channel);
        peer.settled().await;
    });
}

#[test]
fn a_stop_that_meets_the_finish_is_no_abuse() {
    block_on(async {
        let config = Config::default().max_channels(1024);
        let (connection, driver, mut peer) = start(Role::Acceptor, config);
        task::spawn(driver);
        peer.send(HELLO).await;
        let mut channels = Vec::new();
        for number in (1..1000).step_by(2) {
            peer.open(number, 65_536).await;
            let mut channel = connection.accept().await.unwrap().unwrap().accept_raw();
            channel.finish();
            channels.push(channel);
            peer.until(|body| tag(body) == DATA).await;
            peer.send(&frame(&[STOP, number, 0])).await;
        }
        peer.settled().await;
    });
}

#[test]
fn nobody_waits_for_an_accept_that_does_not_come() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Dialer, Config::default());
        task::spawn(driver);
        peer.send(HELLO).await;
        let (mut sender, receiver) = connection.open_raw("load").await.unwrap().split();
        sender.finish();
        drop(receiver);
        peer.until(|body| tag(body) == STOP).await;
        peer.send(&data(1, 2, 0)).await;
        let accepted = async_std::future::timeout(Duration::from_secs(5), sender.accepted());
        accepted.await.expect("waits").unwrap();
    });
}

#[test]
fn there_is_no_goodbye_to_a_fatal_one() {
    block_on(async {
        let (connection, driver, mut peer) = start(Role::Acceptor, Config::default());
        task::spawn(driver);
        peer.send(HELLO).await;
        peer.send(b"\x08\x00\x07\x00").await;
        while let Some(body) = peer.next().await {
            assert_ne!(tag(&body), GO_AWAY);
        }
        assert!(!connection.closed().await.is_clean());
    });
}

async fn echo(mut channel: RawChannel) -> Result<(), ChannelError> {
    while let Some(message) = channel.recv().await? {
        channel
            .send(message)
            .await
            .map_err(|refused| refused.error)?;
    }
    channel.finish();
    Ok(())
}

/// The names and the bytes of the frames of the document's minimal client and its server.
fn walk_through() -> Vec<(&'static str, Vec<u8>)> {
    let lines = include_str!("../docs/wire.md").lines();
    lines
        .filter(|line| line.starts_with("walk-"))
        .map(|line| {
            let (name, rest) = line.split_once(" = ").expect("as in the document");
            let hex = rest
                .split(" : ")
                .next()
                .expect("as in the document")
                .replace(' ', "");
            let byte =
                |place| u8::from_str_radix(&hex[place..place + 2], 16).expect("as in the document");
            (name, (0..hex.len()).step_by(2).map(byte).collect())
        })
        .collect()
}

/// The code and `last_channel` of the `GoAway` that these frames after Hello are answered with.
async fn ending_of(role: Role, bodies: &[Vec<u8>]) -> (u32, u32) {
    let (connection, driver, mut peer) = start(role, Config::default());
    task::spawn(driver);
    peer.send(HELLO).await;
    for body in bodies {
        peer.send(body).await;
    }
    let body = peer.until(|body| tag(body) == GO_AWAY).await;
    drop(connection);
    let fields = fields(&body, 3);
    (fields[2], fields[1])
}

/// The other end of a connection, without any code of it.
struct Peer {
    stream: MemoryStream,
}

fn start(role: Role, config: Config) -> (Connection, Driver, Peer) {
    let (stream, other) = pipe(1024 * 1024);
    let (connection, driver) = Connection::new(other, role, config);
    (connection, driver, Peer { stream })
}

impl Peer {
    async fn send(&mut self, body: &[u8]) {
        // An end that has said goodbye need not read any more.
        drop(self.stream.write_all(&with_length(body)).await);
    }

    async fn open(&mut self, number: u32, window: u32) {
        let mut body = frame(&[OPEN, number, window]);
        body.extend(b"\x01\x01x");
        self.send(&body).await;
    }

    async fn data(&mut self, number: u32, flags: u8, length: usize) {
        self.send(&data(number, flags, length)).await;
    }

    /// The next frame's body, none at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).await.ok()?;
        let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
        self.stream
            .read_exact(&mut body)
            .await
            .expect("a whole frame");
        Some(body)
    }

    /// The first frame that is `wanted`.
    async fn until(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let searching = async {
            loop {
                let body = self.next().await.expect("no such frame before the end");
                if wanted(&body) {
                    return body;
                }
                assert_ne!(tag(&body), GO_AWAY, "{:?}", String::from_utf8_lossy(&body));
            }
        };
        let waiting = pin!(task::sleep(Duration::from_secs(5)));
        match select(pin!(searching), waiting).await {
            Either::Left((body, _)) => body,
            Either::Right(_) => panic!("no such frame in time"),
        }
    }

    /// Waits until the other end has seen all that was sent, and lives.
    async fn settled(&mut self) {
        let ping = b"\x06\xfb\xe8\x03";
        self.send(ping).await;
        self.until(|body| tag(body) == PONG).await;
    }
}

fn frame(numbers: &[u32]) -> Vec<u8> {
    let mut body = Vec::new();
    for &number in numbers {
        put_u32(&mut body, number);
    }
    body
}

fn data(number: u32, flags: u8, length: usize) -> Vec<u8> {
    let mut body = frame(&[DATA, number]);
    body.push(flags);
    put_u32(&mut body, u32::try_from(length).expect("a number"));
    body.resize(body.len() + length, b'x');
    body
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a number").to_be_bytes();
    [&length, body].concat()
}

fn tag(body: &[u8]) -> u32 {
    fields(body, 1)[0]
}

fn fields(mut body: &[u8], count: usize) -> Vec<u32> {
    (0..count)
        .map(|_| take_u32(&mut body).expect("a number"))
        .collect()
}
