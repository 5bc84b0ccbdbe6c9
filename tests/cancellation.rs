//! Every future may be dropped after any poll and asked for again: nothing is lost, doubled or left
//! behind.
#![cfg(all(
    feature = "async-std",
    feature = "smol",
    feature = "tls",
    feature = "tokio",
    feature = "websocket"
))]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of tests are small"
)]

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::future::{FutureExt, join, join_all, poll_fn};
use futures::stream::FuturesUnordered;
use futures::{AsyncReadExt, SinkExt, StreamExt};
use sessionwire::transport::{TransportConfig, TransportError, WsStream, pipe};
use sessionwire::{Channel, Code, Config, Listener, Router};

mod support;

use support::stage::{Stage, poll_once};
use support::world::{On, Wire, endpoint};
use support::{KIB, assert_same, channel, echo, pattern};

/// What an expression's future comes to when it is dropped after every poll and made anew: each
/// mention of the expression is another future.
macro_rules! impatiently {
    ($future:expr) => {{
        let mut polls = 0_u32;
        poll_fn(|context| {
            polls += 1;
            assert!(
                polls < 1_000_000,
                "never done when it is dropped after each poll"
            );
            let polled = pin!($future).poll(context);
            // What would have woken the future went with it.
            context.waker().wake_by_ref();
            polled
        })
        .await
    }};
}

const MESSAGES: usize = 60;

/// From what is copied to what travels in parts, enough to fill every buffer.
fn length(number: usize) -> usize {
    [10, 3 * KIB, 50 * KIB, 200 * KIB][number % 4]
}

#[test]
fn raw_messages_are_neither_lost_nor_doubled() {
    let stage = Stage::default();
    let (here, there) = stage.pair(10 * KIB, &Config::default());
    stage.run(async {
        let (mut one, mut other) = channel(&here, &there).await;
        let sends = async {
            for number in 0..MESSAGES {
                let message = pattern(length(number), number);
                impatiently!(one.send(message.clone())).expect("to send");
            }
            one.finish();
            impatiently!(SinkExt::<bytes::Bytes>::flush(&mut one)).expect("to flush");
        };
        let receives = async {
            for number in 0..MESSAGES {
                let heard = impatiently!(other.recv()).expect("to receive");
                assert_same(&heard.expect("a message"), &pattern(length(number), number));
            }
            assert_eq!(impatiently!(other.recv()).expect("an end"), None);
        };
        join(sends, receives).await;
    });
    assert_eq!(here.statistics().messages_sent, MESSAGES as u64);
}

#[test]
fn values_are_neither_lost_nor_doubled() {
    let stage = Stage::default();
    let (here, there) = stage.pair(10 * KIB, &Config::default());
    stage.run(async {
        let (one, other) = channel(&here, &there).await;
        let mut one = Channel::<Vec<u32>, ()>::from_raw(one);
        let mut other = Channel::<(), Vec<u32>>::from_raw(other);
        let value = |number: usize| vec![number as u32; length(number) / 4];
        let sends = async {
            for number in 0..MESSAGES {
                impatiently!(one.send(&value(number))).expect("to send");
            }
            one.finish();
        };
        let receives = async {
            for number in 0..MESSAGES {
                let heard = impatiently!(other.recv()).expect("to receive");
                assert!(heard == Some(value(number)), "the value {number} differs");
            }
            assert_eq!(impatiently!(other.recv()).expect("an end"), None);
        };
        join(sends, receives).await;
    });
}

#[test]
fn a_send_that_waited_for_room_has_sent_nothing() {
    let stage = Stage::default();
    let (here, there) = stage.pair(10 * KIB, &Config::default());
    stage.run(async {
        let (mut one, mut other) = channel(&here, &there).await;
        let mut sent = 0;
        while one.send(pattern(50 * KIB, 0)).now_or_never().is_some() {
            sent += 1;
            stage.settle();
        }
        for _ in 0..100 {
            assert!(one.send(pattern(50 * KIB, 1)).now_or_never().is_none());
        }
        let read = async {
            let mut heard = 0;
            while let Some(message) = other.recv().await.expect("to receive") {
                assert_same(&message, &pattern(50 * KIB, 0));
                heard += 1;
            }
            heard
        };
        one.finish();
        assert_eq!(read.await, sent);
    });
}

#[test]
fn opens_and_accepts_leave_one_channel_each() {
    const PLACES: usize = 16;
    let stage = Stage::default();
    let config = Config::default().max_channels(PLACES);
    let (here, there) = stage.pair(64 * KIB, &config);
    stage.run(async {
        let mut all = Vec::new();
        for _ in 0..PLACES {
            let open = async { impatiently!(here.open_raw("test/1")).expect("a channel") };
            let accept = async { impatiently!(there.accept()).expect("a living connection") };
            let (one, other) = join(open, accept).await;
            all.push((one, other.expect("a channel").accept_raw()));
        }
        // No place is left: whoever gives up waiting takes none.
        for _ in 0..10 {
            assert!(here.open_raw("test/1").now_or_never().is_none());
            stage.settle();
        }
        all.pop();
        let open = async { impatiently!(here.open_raw("test/1")).expect("a place") };
        let accept = async { impatiently!(there.accept()).expect("a living connection") };
        let (one, other) = join(open, accept).await;
        all.push((one, other.expect("a channel").accept_raw()));
        assert_eq!(here.statistics().open_channels, PLACES);
        assert_eq!(here.statistics().frames_sent.open, PLACES as u64 + 1);
        assert_eq!(there.statistics().open_channels, PLACES);
        assert!(there.accept().now_or_never().is_none(), "none was doubled");
    });
    stage.settle();
    assert_eq!(here.statistics().open_channels, 0, "all are dropped");
    assert_eq!(there.statistics().open_channels, 0);
}

#[test]
fn waiting_to_be_accepted_can_be_given_up() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let one = here.open_raw("test/1").await.expect("a channel");
        for _ in 0..10 {
            assert!(one.accepted().now_or_never().is_none());
            stage.settle();
        }
        let incoming = there
            .accept()
            .await
            .expect("a living connection")
            .expect("it");
        let _other = incoming.accept_raw();
        impatiently!(one.accepted()).expect("to be accepted");
    });
}

#[test]
fn pings_given_up_share_one_and_leave_the_next_intact() {
    let stage = Stage::default();
    let (here, _there) = stage.pair(64 * KIB, &Config::default());
    stage.settle();
    let before = here.statistics().frames_sent.ping;
    for _ in 0..1000 {
        assert!(here.ping().now_or_never().is_none());
    }
    stage.run(here.ping()).expect("an answer");
    let pings = here.statistics().frames_sent.ping - before;
    assert!(pings <= 2, "{pings} pings for one answer");
}

#[test]
fn a_drain_goes_on_when_nobody_waits_for_it() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    stage.run(async {
        let (mut one, mut other) = channel(&here, &there).await;
        for _ in 0..3 {
            assert!(poll_once(pin!(here.drain(Duration::from_secs(9)))).is_pending());
        }
        one.finish();
        other.finish();
        assert!(impatiently!(here.closed()).is_clean());
        assert!(impatiently!(there.closed()).is_clean());
        impatiently!(here.drain(Duration::from_secs(9))).expect("it is over already");
    });
}

#[test]
fn a_router_that_is_given_up_and_taken_up_serves_every_channel() {
    On::AsyncStd.run(Wire::Tcp, async |world| {
        let (here, there) = world.connected().await;
        let router = Router::new().on_raw("echo/1", echo);
        let serve = world.spawn(async move { impatiently!(router.serve(&there)) });
        join_all((0..30).map(async |seed| {
            let mut channel = here.open_raw("echo/1").await.expect("a channel");
            channel.send(pattern(9000, seed)).await.expect("to send");
            assert_eq!(
                channel.recv().await.expect("to receive"),
                Some(pattern(9000, seed))
            );
        }))
        .await;
        here.close(Code::NONE, "");
        serve.await.expect("a gentle end");
    });
}

/// Whoever gives up connecting at any moment leaves the listener as it was.
async fn connecting_and_accepting(wire: Wire) {
    let mut listener = sessionwire::listen(&endpoint(wire))
        .await
        .expect("to listen");
    let address = listener.endpoints()[0].to_string();
    for _ in 0..20 {
        assert!(
            listener.accept().now_or_never().is_none(),
            "nobody has come"
        );
    }
    for polls in 1..6 {
        let given_up = async {
            let mut connect = Box::pin(sessionwire::connect(&address));
            for _ in 0..polls {
                if poll_once(connect.as_mut()).is_ready() {
                    break;
                }
                async_std::task::yield_now().await;
            }
        };
        given_up.await;
        // Those that got through before they gave up come first, and have ended.
        let connect = async { sessionwire::connect(&address).await.expect("to connect") };
        let accept = async {
            loop {
                let server = impatiently!(listener.accept()).expect("to accept");
                let ping = server.ping().await;
                if ping.is_ok() {
                    break server;
                }
            }
        };
        let (client, server) = join(connect, accept).await;
        join(client.ping(), server.ping())
            .await
            .0
            .expect("an answer");
    }
}

#[test]
fn connecting_and_accepting_can_be_given_up_at_any_moment() {
    for wire in [Wire::Memory, Wire::Tcp, Wire::Unix, Wire::WebSocket] {
        On::AsyncStd.run(wire, |_| connecting_and_accepting(wire));
        On::Tokio.run(wire, |_| connecting_and_accepting(wire));
    }
}

#[test]
fn an_accept_given_up_after_each_poll_loses_no_client() {
    On::AsyncStd.run(Wire::WebSocket, async |_| {
        let listener = Listener::new(Config::default(), TransportConfig::default());
        let listener = listener
            .and(&endpoint(Wire::WebSocket))
            .await
            .expect("to listen");
        let mut listener = listener.and(&endpoint(Wire::Tcp)).await.expect("to listen");
        let addresses: Vec<_> = listener
            .endpoints()
            .iter()
            .map(ToString::to_string)
            .collect();
        let clients = join_all((0..10).map(async |number| {
            let client = sessionwire::connect(&addresses[number % 2]).await;
            let client = client.expect("to connect");
            client.ping().await.expect("an answer");
            client
        }));
        let accepts = async {
            let mut servers = Vec::new();
            for _ in 0..10 {
                servers.push(impatiently!(listener.accept()).expect("to accept"));
            }
            servers
        };
        let (clients, servers) = join(clients, accepts).await;
        assert_eq!((clients.len(), servers.len()), (10, 10));
    });
}

#[test]
fn a_websocket_handshake_given_up_closes_its_stream() {
    async_std::task::block_on(support::watched(async {
        let config = TransportConfig::default();
        let endpoint = "ws://127.0.0.1/wire".parse().expect("an endpoint");
        let (one, mut other) = pipe(64 * KIB);
        assert!(poll_once(pin!(WsStream::connect(one, &endpoint, &config))).is_pending());
        let mut request = String::new();
        other
            .read_to_string(&mut request)
            .await
            .expect("to read to the end");
        assert!(request.starts_with("GET /wire "), "{request}");

        let (mut one, other) = pipe(64 * KIB);
        assert!(poll_once(pin!(WsStream::accept(other, "/wire", &config))).is_pending());
        assert_eq!(one.read(&mut [0]).await.expect("an end"), 0);
    }));
}

#[test]
fn a_handshake_given_up_frees_its_place() {
    async_std::task::block_on(support::watched(async {
        let config = TransportConfig::default().max_pending_handshakes(2);
        let endpoint = endpoint(Wire::WebSocket).parse().expect("an endpoint");
        let listener = sessionwire::transport::Listener::bind(&endpoint, &config).await;
        let mut listener = listener.expect("to listen");
        let port = listener.endpoint().port().expect("a port");
        let silent = || std::net::TcpStream::connect(("127.0.0.1", port)).expect("to connect");
        let _silent = [silent(), silent(), silent(), silent()];
        // It polls only what has been woken.
        let mut older = FuturesUnordered::new();
        older.push(listener.accept().await.expect("a client").handshake());
        assert!(poll_once(pin!(older.next())).is_pending());
        let given_up = listener.accept().await.expect("another").handshake();
        assert!(poll_once(pin!(given_up)).is_pending());
        let _next = listener.accept().await.expect("the next");
        assert!(poll_once(pin!(older.next())).is_pending(), "none gave way");
        let _newest = listener.accept().await.expect("the newest");
        let Poll::Ready(Some(gave_way)) = poll_once(pin!(older.next())) else {
            panic!("the oldest is told");
        };
        let error = gave_way.expect_err("it gave way");
        assert!(
            matches!(error, TransportError::HandshakeDisplaced { most: 2 }),
            "{error}"
        );
    }));
}
