//! The same over TCP and over WebSocket: test 29.

use sessionwire::rpc::{Event, FeedLimits, GapReason, SubscribeOptions};

use crate::stage::{Server, client, read_to, reset};
use crate::support::proxy::{Counts, Direction, Fault, Proxy};
use crate::support::watched;

const WIRES: [&str; 2] = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/wire"];

fn roomy() -> SubscribeOptions {
    SubscribeOptions::default().capacity(65_536)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_reset_lose_double_and_reorder_nothing() {
    for wire in WIRES {
        watched(async {
            let server = Server::listen(wire, FeedLimits::default().items(65_536)).await;
            let proxy = Proxy::before(&server.endpoint);
            let client = client(proxy.endpoint());
            let mut subscription = client.subscribe_with(&1, roomy()).await.expect("to follow");
            let id = subscription.id();
            let (mut published, mut next) = (0, 1);
            let publish = |published: &mut u64, count| {
                server.publish(*published + 1..=*published + count);
                *published += count;
            };
            for kill in 0..20 {
                publish(&mut published, 200);
                // Some of them came before the connection is lost, and some did not.
                read_to(&mut subscription, &mut next, published - 150 + kill).await;
                reset(&proxy).await;
                publish(&mut published, 50);
            }
            read_to(&mut subscription, &mut next, published).await;
            assert_eq!(published, 5000);
            assert_eq!(subscription.id(), id);
        })
        .await;
    }
}

/// Both ends talk until the cut has come, wherever it is to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_that_is_cut_anywhere_is_taken_up_again() {
    for wire in WIRES {
        for direction in [Direction::ToServer, Direction::ToClient] {
            for bytes in (0..600).step_by(13) {
                watched(cut_and_take_up(wire, bytes, direction)).await;
            }
        }
    }
}

async fn cut_and_take_up(wire: &str, bytes: usize, direction: Direction) {
    let server = Server::listen(wire, FeedLimits::default()).await;
    server.publish(1..=3);
    let begin = server.topics.get(&1).expect("topic 1").cursor();
    server.publish(4..=9);
    let proxy = Proxy::before(&server.endpoint);
    proxy.set(Fault::CutAfter(bytes, direction));
    let client = client(proxy.endpoint());
    let is_cut = |counts: &Counts| counts.accepted > 1;
    let (mut next, mut published) = (4, 9);
    let talking = async {
        let subscribing = client.subscribe_with(&1, roomy().after(begin));
        let mut subscription = subscribing.await.expect("to follow");
        while !is_cut(&proxy.counts()) {
            // The client has more to say too.
            let other = client.subscribe_with(&1, roomy().shared(false));
            drop(other.await.expect("to follow"));
            published += 1;
            server.publish([published]);
            read_to(&mut subscription, &mut next, published).await;
        }
        subscription
    };
    let healing = async {
        let counts = proxy.until(is_cut).await;
        proxy.set(Fault::Pass);
        let carried = match direction {
            Direction::ToServer => counts.to_server,
            _ => counts.to_client,
        };
        assert!(carried >= bytes as u64, "cut after {bytes}: {counts:?}");
    };
    let (mut subscription, ()) = tokio::join!(talking, healing);
    server.publish(published + 1..=published + 3);
    read_to(&mut subscription, &mut next, published + 3).await;
    // The server may learn later than the client of the connection that is gone.
    while server.followers() != 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_arrive_through_a_network_that_carries_single_bytes() {
    for wire in WIRES {
        watched(async {
            let server = Server::listen(wire, FeedLimits::default()).await;
            let proxy = Proxy::before(&server.endpoint);
            proxy.set(Fault::Split(1));
            let client = client(proxy.endpoint());
            let mut subscription = client.subscribe_with(&1, roomy()).await.expect("to follow");
            server.publish(1..=100);
            read_to(&mut subscription, &mut 1, 100).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_said_once() {
    for wire in WIRES {
        watched(async {
            let old = Server::listen(wire, FeedLimits::default()).await;
            let new = Server::listen(wire, FeedLimits::default()).await;
            let proxy = Proxy::before(&old.endpoint);
            let client = client(proxy.endpoint());
            let mut subscription = client.subscribe(&1).await.expect("to follow");
            old.publish(1..=5);
            read_to(&mut subscription, &mut 1, 5).await;
            new.publish(6..=7);
            proxy.move_to(&new.endpoint);
            reset(&proxy).await;
            let event = subscription.recv().await.expect("a gap");
            let Event::Gap { missed: None, why } = event else {
                panic!("{event:?}");
            };
            assert_eq!(why, GapReason::Restarted);
            new.publish(8..=9);
            reset(&proxy).await;
            new.publish(10..=11);
            read_to(&mut subscription, &mut 6, 11).await;
        })
        .await;
    }
}

/// A server that listens on two wires has one feed for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_serves_subscribers_on_tcp_and_on_websocket() {
    watched(async {
        let server = Server::listen(WIRES[0], FeedLimits::default()).await;
        let mut listener = sessionwire::listen(WIRES[1]).await.expect("to listen");
        let endpoint = listener.endpoint().to_string();
        let board = crate::stage::Board(server.topics.clone());
        let router = sessionwire::Router::new().on_service(board);
        tokio::spawn(async move {
            let connection = listener.accept().await.expect("to accept");
            router.serve(&connection).await
        });
        let mut subscriptions = Vec::new();
        for endpoint in [&server.endpoint, &endpoint] {
            let client = client(endpoint);
            subscriptions.push(client.subscribe(&1).await.expect("to follow"));
        }
        server.publish(1..=20);
        for subscription in &mut subscriptions {
            read_to(subscription, &mut 1, 20).await;
        }
        assert_eq!(server.followers(), 2);
    })
    .await;
}

/// Test 27, of subscriptions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_goes_with_the_last_of_client_and_subscriptions() {
    for wire in WIRES {
        watched(async {
            let mut server = Server::listen(wire, FeedLimits::default()).await;
            let client = client(&server.endpoint);
            let mut subscription = client.subscribe(&1).await.expect("to follow");
            drop(client);
            server.publish(1..=5);
            read_to(&mut subscription, &mut 1, 5).await;
            drop(subscription);
            let connection = server.connections.recv().await.expect("a connection");
            assert!(connection.closed().await.is_clean());
            while server.followers() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
