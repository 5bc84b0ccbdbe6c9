//! A node that says what the test wants, in bytes written by hand.

use bytes::{BufMut, Bytes};
use sessionwire::codec::varint::{put_u32, put_u64};
use sessionwire::mux::{Config, Connection, RawChannel, Role};
use sessionwire::node::{Node, PeerId};
use sessionwire::transport::pipe;

use super::stage::{NETWORK, Stage, Talk, poll_once};

/// One end of a connection to a node, on which nothing is said by itself.
#[derive(Debug)]
pub(crate) struct Impostor {
    pub(crate) connection: Connection,
    pub(crate) node: RawChannel,
    pub(crate) messages: RawChannel,
    stage: Stage,
}

impl Impostor {
    /// Opens the channels of a node, and says nothing.
    pub(crate) fn mute(stage: &Stage, to: &Node<Talk>) -> Self {
        let (here, there) = pipe(64 * 1024);
        assert!(to.accept_over(there));
        let runtime = std::sync::Arc::new(stage.clock.clone());
        let (connection, driver) =
            Connection::with_runtime(here, Role::Dialer, Config::default(), runtime);
        driver.spawn();
        let opening = connection.clone();
        let (node, messages) = stage.run(async move {
            let node = opening.open_raw("sessionwire.node/1").await;
            let messages = opening.open_raw("sessionwire.node.messages/1").await;
            (node.expect("a channel"), messages.expect("a channel"))
        });
        Self {
            connection,
            node,
            messages,
            stage: stage.clone(),
        }
    }

    /// Does all that makes it a peer.
    pub(crate) fn peer(stage: &Stage, to: &Node<Talk>, id: PeerId) -> Self {
        let mut impostor = Self::mute(stage, to);
        impostor.say(hello(id, &[]));
        assert_eq!(impostor.hear().expect("a hello")[0], 0);
        impostor.say(vec![2]);
        assert!(to.peer(&id).is_some(), "it is a peer");
        impostor
    }

    /// Says something on the node's channel.
    pub(crate) fn say(&mut self, message: impl Into<Bytes>) {
        let sent = poll_once(self.node.send(message.into()));
        assert!(sent.is_ready(), "there is room");
        self.stage.clock.run_until_stalled();
    }

    /// Says something on the channel of messages.
    pub(crate) fn send(&mut self, message: impl Into<Bytes>) {
        let sent = poll_once(self.messages.send(message.into()));
        assert!(sent.is_ready(), "there is room");
        self.stage.clock.run_until_stalled();
    }

    /// What the node said, if anything.
    pub(crate) fn hear(&mut self) -> Option<Bytes> {
        self.stage.clock.run_until_stalled();
        match poll_once(self.node.recv()) {
            std::task::Poll::Ready(Ok(message)) => message,
            _ => None,
        }
    }

    /// Why the connection ended, if it has.
    pub(crate) fn ended(&self) -> Option<String> {
        self.stage.clock.run_until_stalled();
        match poll_once(self.connection.closed()) {
            std::task::Poll::Ready(error) => Some(error.to_string()),
            std::task::Poll::Pending => None,
        }
    }
}

/// A Hello, whose application says the empty string and then `rest`.
pub(crate) fn hello(id: PeerId, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![0, NETWORK.len() as u8];
    message.extend(NETWORK.as_bytes());
    message.extend(id.as_bytes());
    // The run, the nonce, the versions, the capabilities, no endpoints.
    put_u64(&mut message, 77);
    put_u64(&mut message, 88);
    put_u32(&mut message, 1);
    put_u32(&mut message, 1);
    put_u64(&mut message, 0);
    put_u32(&mut message, 0);
    message.put_u8(0);
    message.extend(rest);
    message
}
