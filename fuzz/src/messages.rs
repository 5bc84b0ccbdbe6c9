use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use sessionwire::node::{App, Direction, NetworkId, Node, NodeConfig, PeerId};
use sessionwire::rpc::{
    CallOptions, Caller, Client, Delivery, Event, Fault, Feed, Interface, Link, Service, Topics,
};
use sessionwire::runtime::{Runtime, SharedRuntime, VirtualClock};
use sessionwire::transport::{MemoryStream, pipe};
use sessionwire::{Config, Connection, Role, Router};

/// Longer than any deadline in here.
const LONG: Duration = Duration::from_secs(120);

/// What a peer may say on the channels of calls, of topics and of nodes.
///
/// The first byte says on which, and whether it is the client or the service that goes wrong; the rest are
/// messages, each behind a byte with its length. Whatever they are, an honest use of the same kind must be
/// answered, at once or by its deadline, and nothing may be left running in the end.
pub fn channel_messages(data: &[u8]) {
    let Some((&stage, rest)) = data.split_first() else {
        return;
    };
    let clock = VirtualClock::new();
    let messages = messages(rest);
    match stage % 6 {
        0 => hostile_client(&clock, "numbers/1.calls", messages),
        1 => hostile_client(&clock, "numbers/1.topics", messages),
        2 => hostile_service(&clock, false, messages),
        3 => hostile_service(&clock, true, messages),
        4 => hostile_node(&clock, "sessionwire.node/1", messages),
        _ => hostile_node(&clock, "sessionwire.node.messages/1", messages),
    }
    clock.advance(LONG);
    assert_eq!(clock.run_until_stalled(), 0, "tasks are left");
}

fn messages(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((&length, rest)) = data.split_first() {
        let (message, rest) = rest.split_at(rest.len().min(usize::from(length)));
        messages.push(message.to_vec());
        data = rest;
    }
    messages
}

enum Numbers {}

impl Interface for Numbers {
    const NAME: &'static str = "numbers/1";
    type Request = u64;
    type Response = u64;
    type Topic = u64;
    type Item = u64;
}

struct Doubling(Topics<Numbers>);

impl Service for Doubling {
    type Interface = Numbers;

    async fn call(&self, _: Caller, number: u64) -> Result<u64, Fault> {
        if number == 13 {
            std::future::pending::<()>().await;
        }
        Ok(number.wrapping_mul(2))
    }

    async fn follow(&self, _: Caller, topic: u64) -> Result<Feed<u64>, Fault> {
        self.0.get(&topic).ok_or_else(|| Fault::refused("none"))
    }
}

fn runtime(clock: &VirtualClock) -> SharedRuntime {
    Arc::new(clock.clone())
}

fn start(clock: &VirtualClock, stream: MemoryStream, role: Role) -> Connection {
    let (connection, driver) =
        Connection::with_runtime(stream, role, Config::default(), runtime(clock));
    driver.spawn();
    connection
}

fn pair(clock: &VirtualClock) -> (Connection, Connection) {
    let (one, other) = pipe(64 * 1024);
    let here = start(clock, one, Role::Dialer);
    (here, start(clock, other, Role::Acceptor))
}

/// Runs a future to its end, in virtual time if it takes some.
fn finish<T: Send + 'static>(
    clock: &VirtualClock,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    let (sender, receiver) = futures::channel::oneshot::channel();
    clock.spawn(Box::pin(async move {
        let _nobody_waits = sender.send(future.await);
    }));
    clock.run_until_stalled();
    let mut receiver: BoxFuture<'_, _> = receiver.boxed();
    if let Some(output) = receiver.as_mut().now_or_never() {
        return output.expect("the task runs");
    }
    clock.advance(LONG);
    let output = receiver.now_or_never().expect("it ends by its deadline");
    output.expect("the task runs")
}

/// Says all messages on a channel, reads what comes, and lets go of it.
async fn say(connection: Connection, protocol: &'static str, messages: Vec<Vec<u8>>) {
    let Ok(channel) = connection.open_raw(protocol).await else {
        return;
    };
    let (mut sender, mut receiver) = channel.split();
    for message in messages {
        if sender.send(message.into()).await.is_err() {
            break;
        }
    }
    while let Some(Ok(Some(_))) = receiver.recv().now_or_never() {}
}

fn hostile_client(clock: &VirtualClock, protocol: &'static str, messages: Vec<Vec<u8>>) {
    let (here, there) = pair(clock);
    let topics = Topics::with_runtime(4, Default::default(), runtime(clock));
    topics.open(&7).expect("room for a topic");
    let router = Router::new().on_service(Doubling(topics.clone()));
    clock.spawn(Box::pin(async move {
        let _ended = router.serve(&there).await;
    }));
    finish(clock, say(here.clone(), protocol, messages));
    let honest = Client::<Numbers>::new(&Link::over(here));
    finish(clock, async move {
        assert_eq!(honest.call(&21).await.expect("an answer"), 42);
        let mut followed = honest.subscribe(&7).await.expect("a subscription");
        topics.publish(&7, &5).expect("room for an item");
        let event = followed.recv().await;
        assert!(
            matches!(event, Some(Event::Item { value: 5, .. })),
            "{event:?}"
        );
    });
}

fn hostile_service(clock: &VirtualClock, on_topics: bool, messages: Vec<Vec<u8>>) {
    let (here, there) = pair(clock);
    clock.spawn(Box::pin(async move {
        while let Ok(Some(incoming)) = there.accept().await {
            let mut channel = incoming.accept_raw();
            for message in &messages {
                if channel.send(message.clone().into()).await.is_err() {
                    break;
                }
            }
            while let Ok(Some(_)) = channel.recv().await {}
        }
    }));
    let client = Client::<Numbers>::new(&Link::over(here));
    let options = CallOptions::default().deadline(Duration::from_secs(5));
    finish(clock, async move {
        if on_topics {
            if let Ok(mut followed) = client.subscribe(&7).await {
                for _ in 0..300 {
                    let Some(Some(_event)) = followed.recv().now_or_never() else {
                        break;
                    };
                }
            }
        } else {
            for delivery in [
                Delivery::AtMostOnce,
                Delivery::AtLeastOnce,
                Delivery::Idempotent(1),
            ] {
                let _outcome = client.call_with(&21, options.delivery(delivery)).await;
            }
        }
    });
}

struct Idle;

impl App for Idle {
    type Message = u64;
    type Hello = u64;

    fn hello(&self, _: Direction) -> u64 {
        1
    }
}

fn hostile_node(clock: &VirtualClock, protocol: &'static str, messages: Vec<Vec<u8>>) {
    let network = NetworkId::new("fuzz").expect("a short name");
    let node = |byte| {
        let id = PeerId::new([byte; 32]);
        Node::with_runtime(
            id,
            network.clone(),
            Idle,
            NodeConfig::default(),
            runtime(clock),
        )
    };
    let (one, honest) = (node(1), node(2));
    let (here, there) = pipe(64 * 1024);
    assert!(one.accept_over(here));
    let hostile = start(clock, there, Role::Dialer);
    finish(clock, say(hostile, protocol, messages));

    let (here, there) = pipe(64 * 1024);
    assert!(one.accept_over(here));
    let greeted = one.clone();
    finish(clock, async move {
        let peer = honest.dial_over(there, None).await.expect("a peer");
        assert_eq!(peer.id(), greeted.id());
        honest
            .send(&greeted.id(), &9)
            .await
            .expect("room for a message");
        while greeted.recv().await.expect("the node runs").message != 9 {}
    });
}
