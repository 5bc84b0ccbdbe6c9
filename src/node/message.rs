//! What peers say to each other beside the handshake, in bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::book::MOST_ADDRESSES;
use super::inventory::{ItemId, MOST_AT_ONCE};
use crate::codec::varint::{put_u32, take_u32};
use crate::codec::{self, CodecError, MaxMessageSize};

/// The protocol of the node itself: the handshake, then what nodes tell each other.
pub(super) const NODE_PROTOCOL: &str = "sessionwire.node/1";
/// The messages of the application.
pub(super) const MESSAGES_PROTOCOL: &str = "sessionwire.node.messages/1";

/// What nodes tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// Nothing follows on this connection.
    Bye,
    /// These can be asked for.
    Announce(Vec<ItemId>),
    /// These are asked for.
    Request(Vec<ItemId>),
    /// These were asked for and are not there.
    Missing(Vec<ItemId>),
    /// Where are others?
    AskAddresses,
    /// There: the answer.
    Addresses(Vec<String>),
    /// There, though nobody asked.
    PushAddresses(Vec<String>),
    /// Nothing follows on this connection, but on the other one.
    Moved,
}

impl Notice {
    pub(super) fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::new();
        match self {
            Self::Bye => put_u32(&mut buffer, 0),
            Self::Announce(items) => put_items(&mut buffer, 1, items),
            Self::Request(items) => put_items(&mut buffer, 2, items),
            Self::Missing(items) => put_items(&mut buffer, 3, items),
            Self::AskAddresses => put_u32(&mut buffer, 4),
            Self::Addresses(addresses) => put_addresses(&mut buffer, 5, addresses),
            Self::PushAddresses(addresses) => put_addresses(&mut buffer, 6, addresses),
            Self::Moved => put_u32(&mut buffer, 7),
        }
        buffer.freeze()
    }

    /// None if it is none that this version knows.
    pub(super) fn decode(mut message: &[u8]) -> Option<Self> {
        let input = &mut message;
        match take_u32(input).ok()? {
            0 => input.is_empty().then_some(Self::Bye),
            1 => Some(Self::Announce(take_items(input)?)),
            2 => Some(Self::Request(take_items(input)?)),
            3 => Some(Self::Missing(take_items(input)?)),
            4 => input.is_empty().then_some(Self::AskAddresses),
            5 => Some(Self::Addresses(take_addresses(input)?)),
            6 => Some(Self::PushAddresses(take_addresses(input)?)),
            7 => input.is_empty().then_some(Self::Moved),
            _ => None,
        }
    }
}

fn put_items(buffer: &mut BytesMut, tag: u32, items: &[ItemId]) {
    put_u32(buffer, tag);
    for item in items {
        buffer.put_slice(item.as_bytes());
    }
}

fn put_addresses(buffer: &mut BytesMut, tag: u32, addresses: &[String]) {
    put_u32(buffer, tag);
    for address in addresses {
        put_u32(buffer, u32::try_from(address.len()).unwrap_or_default());
        buffer.put_slice(address.as_bytes());
    }
}

fn take_addresses(mut input: &[u8]) -> Option<Vec<String>> {
    let mut addresses = Vec::new();
    while !input.is_empty() {
        let length = take_u32(&mut input).ok()? as usize;
        let (text, rest) = input.split_at_checked(length)?;
        addresses.push(std::str::from_utf8(text).ok()?.to_owned());
        if addresses.len() > MOST_ADDRESSES {
            return None;
        }
        input = rest;
    }
    Some(addresses)
}

fn take_items(input: &[u8]) -> Option<Vec<ItemId>> {
    let (items, rest) = input.as_chunks::<32>();
    let fits = rest.is_empty() && (1..=MOST_AT_ONCE).contains(&items.len());
    fits.then(|| items.iter().copied().map(ItemId::new).collect())
}

const MESSAGE: u32 = 0;
const ITEM: u32 = 1;
/// The most that stands before a message of the application, in bytes.
const LONGEST_HEADER: usize = 33;

/// Encodes a message of the application, or an item that was asked for.
pub(super) fn encode<T: Serialize>(
    message: &T,
    item: Option<&ItemId>,
    max: usize,
) -> Result<Bytes, CodecError> {
    let mut buffer = BytesMut::new();
    match item {
        None => put_u32(&mut buffer, MESSAGE),
        Some(item) => {
            put_u32(&mut buffer, ITEM);
            buffer.put_slice(item.as_bytes());
        }
    }
    codec::encode(message, &mut buffer, body_limit(max))?;
    Ok(buffer.freeze())
}

/// What an encoded message is the answer to, and the message's own bytes; none if it is neither kind.
pub(super) fn parse(message: &Bytes) -> Option<(Option<ItemId>, Bytes)> {
    let mut rest = message.clone();
    let mut input = message.as_ref();
    let item = match take_u32(&mut input).ok()? {
        MESSAGE => None,
        ITEM => {
            let (item, after) = input.split_first_chunk::<32>()?;
            input = after;
            Some(ItemId::new(*item))
        }
        _ => return None,
    };
    rest.advance(message.len().saturating_sub(input.len()));
    Some((item, rest))
}

/// How large a message's own encoding may be, when the whole may have `max` bytes.
pub(super) fn body_limit(max: usize) -> MaxMessageSize {
    MaxMessageSize::new(max.saturating_sub(LONGEST_HEADER).max(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::codec::vectors::{Example, examples, hex};

    #[test]
    fn the_notices_of_the_document_decode_and_encode() {
        let mut tags = BTreeSet::new();
        for Example {
            name,
            bytes,
            meaning,
        } in examples("notice-vectors")
        {
            let notice = Notice::decode(&bytes).expect(name);
            assert_eq!(describe(&notice), meaning, "{name}");
            assert_eq!(notice.encode(), bytes, "{name}");
            tags.insert(bytes[0]);
        }
        assert_eq!(tags, (0..=7).collect(), "an example of each notice");
    }

    #[test]
    fn the_messages_of_the_document_decode_and_encode() {
        let mut tags = BTreeSet::new();
        for Example {
            name,
            bytes,
            meaning,
        } in examples("node-message-vectors")
        {
            let (item, body) = parse(&bytes.clone().into()).expect(name);
            let body_text = hex(&body);
            let text = match item {
                None => format!("Message body={body_text}"),
                Some(item) => format!("Item item={} body={body_text}", hex(item.as_bytes())),
            };
            assert_eq!(text, meaning, "{name}");
            // A unit has no bytes, a text those of the document.
            let limit = body_limit(1000);
            let encoded = match codec::decode::<String>(&body, limit) {
                Ok(text) => encode(&text, item.as_ref(), 1000),
                Err(_) => encode(&(), item.as_ref(), 1000),
            };
            assert_eq!(encoded.expect(name), bytes, "{name}");
            tags.insert(bytes[0]);
        }
        assert_eq!(tags, (0..=1).collect(), "an example of each message");
    }

    #[test]
    fn the_invalid_examples_of_the_document_are_refused() {
        for Example { name, bytes, .. } in examples("invalid-notice-vectors") {
            assert_eq!(Notice::decode(&bytes), None, "{name}");
        }
        for Example { name, bytes, .. } in examples("invalid-node-message-vectors") {
            assert_eq!(parse(&bytes.into()), None, "{name}");
        }
    }

    /// A notice in the words of the document.
    fn describe(notice: &Notice) -> String {
        match notice {
            Notice::Bye => "Bye".to_owned(),
            Notice::Announce(items) => format!("Announce items={}", items_text(items)),
            Notice::Request(items) => format!("Request items={}", items_text(items)),
            Notice::Missing(items) => format!("Missing items={}", items_text(items)),
            Notice::AskAddresses => "AskAddresses".to_owned(),
            Notice::Addresses(some) => format!("Addresses addresses={}", listed(some)),
            Notice::PushAddresses(some) => format!("PushAddresses addresses={}", listed(some)),
            Notice::Moved => "Moved".to_owned(),
        }
    }

    fn items_text(items: &[ItemId]) -> String {
        let texts: Vec<String> = items.iter().map(|item| hex(item.as_bytes())).collect();
        match texts.as_slice() {
            [first, second, ..] if first == second => format!("{first}×{}", texts.len()),
            _ => listed(&texts),
        }
    }

    fn listed(texts: &[String]) -> String {
        if texts.is_empty() {
            return "-".to_owned();
        }
        texts.join(",")
    }

    #[test]
    fn what_was_said_is_heard() {
        let items = vec![ItemId::new([1; 32]), ItemId::new([2; 32])];
        for notice in [
            Notice::Bye,
            Notice::Announce(items.clone()),
            Notice::Request(items.clone()),
            Notice::Missing(items),
            Notice::AskAddresses,
            Notice::Addresses(vec!["tcp://a:1".to_owned(), "é".repeat(200)]),
            Notice::PushAddresses(Vec::new()),
            Notice::Moved,
        ] {
            assert_eq!(Notice::decode(&notice.encode()), Some(notice));
        }
    }

    #[test]
    fn addresses_are_250_at_most() {
        let most = Notice::Addresses(vec!["a".to_owned(); MOST_ADDRESSES]).encode();
        assert!(Notice::decode(&most).is_some());
        let over = Notice::Addresses(vec!["a".to_owned(); MOST_ADDRESSES + 1]).encode();
        assert!(Notice::decode(&over).is_none());
    }

    #[test]
    fn items_are_whole_and_500_at_most() {
        let most = Notice::Announce(vec![ItemId::new([1; 32]); MOST_AT_ONCE]).encode();
        assert!(Notice::decode(&most).is_some());
        assert!(Notice::decode(&most[..most.len() - 1]).is_none());
        let over = Notice::Announce(vec![ItemId::new([1; 32]); MOST_AT_ONCE + 1]).encode();
        assert!(Notice::decode(&over).is_none());
        for wrong in [&[][..], &[0, 0], &[1], &[2], &[7, 0], &[8]] {
            assert_eq!(Notice::decode(wrong), None);
        }
    }

    #[test]
    fn a_message_says_what_it_answers() {
        let item = ItemId::new([3; 32]);
        for item in [None, Some(item)] {
            let bytes = encode(&"hello", item.as_ref(), 1000).unwrap();
            let (heard, rest) = parse(&bytes).unwrap();
            assert_eq!(heard, item);
            let text: String = codec::decode(&rest, body_limit(1000)).unwrap();
            assert_eq!(text, "hello");
        }
        assert!(parse(&Bytes::from_static(&[1, 2])).is_none());
        assert!(parse(&Bytes::from_static(&[2])).is_none());
    }
}
