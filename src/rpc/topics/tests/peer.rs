use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;

use super::world::World;
use crate::codec::{self, MaxMessageSize};
use crate::mux::{ChannelError, RawChannel};
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::wire::{Credit, FromClient, FromServer};

/// A client that says what a test wants.
pub(super) struct Peer<'world> {
    world: &'world World,
    pub(super) channel: RawChannel,
}

impl<'world> Peer<'world> {
    pub(super) fn new(world: &'world World) -> Self {
        let (here, _) = world.ends.as_ref().expect("a connection");
        let opening = here.open_raw("numbers/1.topics").now_or_never();
        let channel = opening.expect("a place").expect("a channel");
        Self { world, channel }
    }

    pub(super) fn say(&mut self, message: &FromClient) {
        let mut encoded = BytesMut::new();
        message.encode(&mut encoded);
        self.say_bytes(encoded.freeze());
    }

    pub(super) fn say_bytes(&mut self, message: Bytes) {
        self.world.run();
        let sent = self.channel.send(message).now_or_never();
        sent.expect("room").expect("a living channel");
        self.world.run();
    }

    pub(super) fn subscribe(&mut self, id: u64, topic: u32, credit: Option<u64>) {
        self.say(&subscribe(id, topic, None, credit));
    }

    /// What came.
    pub(super) fn heard(&mut self) -> Vec<FromServer> {
        std::iter::from_fn(|| {
            let message = self.channel.recv().now_or_never()?;
            let message = message.expect("a living channel").expect("a message");
            Some(FromServer::decode(&message).expect("a message of a server"))
        })
        .collect()
    }

    /// What came, without words that do not matter.
    pub(super) fn heard_briefly(&mut self) -> Vec<String> {
        let brief = |message| match message {
            FromServer::Accepted { id, cursor, .. } => {
                format!("{id} accepted behind {}", cursor.sequence())
            }
            FromServer::Refused { id, fault } => format!("{id} refused: {:?}", fault.kind()),
            FromServer::Item { id, sequence, .. } => format!("{id} item {sequence}"),
            FromServer::Gap { id, cursor, why } => format!("{id} {why:?} {}", cursor.sequence()),
            FromServer::Ended { id, fault } => format!("{id} ended: {fault:?}"),
            FromServer::Unsubscribed { id } => format!("{id} unsubscribed"),
        };
        self.heard().into_iter().map(brief).collect()
    }

    pub(super) fn error(&mut self) -> ChannelError {
        let received = self.channel.recv().now_or_never().expect("an answer");
        received.expect_err("the channel was reset")
    }
}

pub(super) fn subscribe(
    id: u64,
    topic: u32,
    after: Option<Cursor>,
    credit: Option<u64>,
) -> FromClient {
    let mut encoded = BytesMut::new();
    codec::encode(&topic, &mut encoded, MaxMessageSize::default()).unwrap();
    FromClient::Subscribe {
        id,
        after,
        credit: credit.map(items),
        topic: encoded.freeze(),
    }
}

pub(super) fn credit(id: u64, count: u64) -> FromClient {
    let credit = items(count);
    FromClient::Credit { id, credit }
}

/// Credit for so many items of any size.
pub(super) fn items(items: u64) -> Credit {
    let bytes = u64::MAX;
    Credit { items, bytes }
}
