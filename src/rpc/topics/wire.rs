//! What goes over a channel of topics. Each message is a tag, its header as canonical integers, and
//! then, to the message's end, what only the user's types can read.

use bytes::{BufMut, Bytes, BytesMut};

use super::cursor::Cursor;
use super::event::GapReason;
use crate::codec::varint::{put_u64, take_u64};
use crate::codec::{MaxMessageSize, VarintError};
use crate::rpc::fault::{Fault, FaultError};

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FromClient {
    Subscribe {
        /// Picked by the client, higher than all that it has used on the channel.
        id: u64,
        /// Where to begin; with the next item to come if there is none.
        after: Option<Cursor>,
        /// So much may come; all, if there is none.
        credit: Option<Credit>,
        topic: Bytes,
    },
    Credit {
        id: u64,
        credit: Credit,
    },
    Unsubscribe {
        id: u64,
    },
}

/// So many items, and so many bytes of their bodies; the last of them may be larger than what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Credit {
    pub(super) items: u64,
    pub(super) bytes: u64,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FromServer {
    Accepted {
        id: u64,
        /// What comes first is behind it.
        cursor: Cursor,
        /// The newest item that there is.
        newest: u64,
    },
    Refused {
        id: u64,
        fault: Fault,
    },
    Item {
        id: u64,
        sequence: u64,
        body: Bytes,
    },
    /// There is nothing more up to `cursor`.
    Gap {
        id: u64,
        cursor: Cursor,
        why: GapReason,
    },
    Ended {
        id: u64,
        fault: Option<Fault>,
    },
    Unsubscribed {
        id: u64,
    },
}

/// Why a message is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error(transparent)]
    Integer(#[from] VarintError),
    #[error(transparent)]
    Fault(#[from] FaultError),
    #[error("a message with the unknown tag {0}")]
    Tag(u64),
    #[error("the value {0} is not allowed there")]
    Value(u64),
    #[error("bytes behind the end of a message")]
    TrailingBytes,
}

/// In bytes of encoding: a subscription fits in a message of any reasonable size, and many that wait for
/// the service's decision are little to hold.
pub(super) const LONGEST_TOPIC: MaxMessageSize = match MaxMessageSize::new(16 * 1024) {
    Some(size) => size,
    None => panic!("it is in range"),
};

const SUBSCRIBE: u64 = 0;
const CREDIT: u64 = 1;
const UNSUBSCRIBE: u64 = 2;

const ACCEPTED: u64 = 0;
const REFUSED: u64 = 1;
const ITEM: u64 = 2;
const GAP: u64 = 3;
const ENDED: u64 = 4;
const UNSUBSCRIBED: u64 = 5;

impl FromClient {
    /// The subscription that it is about.
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Subscribe { id, .. } | Self::Credit { id, .. } | Self::Unsubscribe { id } => *id,
        }
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        match self {
            Self::Subscribe {
                id,
                after,
                credit,
                topic,
            } => {
                put(buffer, [SUBSCRIBE, *id]);
                put_u64(buffer, u64::from(after.is_some()));
                if let Some(cursor) = after {
                    put(buffer, [cursor.origin(), cursor.sequence()]);
                }
                put_u64(buffer, u64::from(credit.is_some()));
                if let Some(credit) = credit {
                    put(buffer, [credit.items, credit.bytes]);
                }
                buffer.put_slice(topic);
            }
            Self::Credit { id, credit } => put(buffer, [CREDIT, *id, credit.items, credit.bytes]),
            Self::Unsubscribe { id } => put(buffer, [UNSUBSCRIBE, *id]),
        }
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, WireError> {
        let mut input = message;
        let input = &mut input;
        let (tag, id) = (take_u64(input)?, take_u64(input)?);
        match tag {
            SUBSCRIBE => {
                let after = take_flag(input)?.then(|| take_cursor(input)).transpose()?;
                let credit = take_flag(input)?.then(|| take_credit(input)).transpose()?;
                let topic = Bytes::copy_from_slice(input);
                Ok(Self::Subscribe {
                    id,
                    after,
                    credit,
                    topic,
                })
            }
            CREDIT => {
                let credit = take_credit(input)?;
                end(input)?;
                Ok(Self::Credit { id, credit })
            }
            UNSUBSCRIBE => {
                end(input)?;
                Ok(Self::Unsubscribe { id })
            }
            other => Err(WireError::Tag(other)),
        }
    }
}

impl FromServer {
    /// The subscription that it is about.
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Accepted { id, .. }
            | Self::Refused { id, .. }
            | Self::Item { id, .. }
            | Self::Gap { id, .. }
            | Self::Ended { id, .. }
            | Self::Unsubscribed { id } => *id,
        }
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        match self {
            Self::Accepted { id, cursor, newest } => {
                let (origin, sequence) = (cursor.origin(), cursor.sequence());
                put(buffer, [ACCEPTED, *id, origin, sequence, *newest]);
            }
            Self::Refused { id, fault } => {
                put(buffer, [REFUSED, *id]);
                fault.put(buffer);
            }
            Self::Item { id, sequence, body } => {
                put(buffer, [ITEM, *id, *sequence]);
                buffer.put_slice(body);
            }
            Self::Gap { id, cursor, why } => {
                let (origin, sequence) = (cursor.origin(), cursor.sequence());
                put(buffer, [GAP, *id, origin, sequence, gap_number(*why)]);
            }
            Self::Ended { id, fault } => {
                put(buffer, [ENDED, *id]);
                if let Some(fault) = fault {
                    fault.put(buffer);
                }
            }
            Self::Unsubscribed { id } => put(buffer, [UNSUBSCRIBED, *id]),
        }
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, WireError> {
        let mut input = message;
        let input = &mut input;
        let (tag, id) = (take_u64(input)?, take_u64(input)?);
        match tag {
            ACCEPTED => {
                let (cursor, newest) = (take_cursor(input)?, take_u64(input)?);
                end(input)?;
                Ok(Self::Accepted { id, cursor, newest })
            }
            REFUSED => Ok(Self::Refused {
                id,
                fault: Fault::take(input)?,
            }),
            ITEM => Ok(Self::Item {
                id,
                sequence: take_u64(input)?,
                body: Bytes::copy_from_slice(input),
            }),
            GAP => {
                let (cursor, why) = (take_cursor(input)?, take_gap(input)?);
                end(input)?;
                Ok(Self::Gap { id, cursor, why })
            }
            ENDED => Ok(Self::Ended {
                id,
                fault: if input.is_empty() {
                    None
                } else {
                    Some(Fault::take(input)?)
                },
            }),
            UNSUBSCRIBED => {
                end(input)?;
                Ok(Self::Unsubscribed { id })
            }
            other => Err(WireError::Tag(other)),
        }
    }
}

fn put<const COUNT: usize>(buffer: &mut BytesMut, numbers: [u64; COUNT]) {
    for number in numbers {
        put_u64(buffer, number);
    }
}

fn take_flag(input: &mut &[u8]) -> Result<bool, WireError> {
    match take_u64(input)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(WireError::Value(other)),
    }
}

fn take_cursor(input: &mut &[u8]) -> Result<Cursor, WireError> {
    Ok(Cursor::new(take_u64(input)?, take_u64(input)?))
}

fn take_credit(input: &mut &[u8]) -> Result<Credit, WireError> {
    Ok(Credit {
        items: take_u64(input)?,
        bytes: take_u64(input)?,
    })
}

fn end(input: &[u8]) -> Result<(), WireError> {
    if input.is_empty() {
        Ok(())
    } else {
        Err(WireError::TrailingBytes)
    }
}

const GAP_REASONS: [GapReason; 5] = [
    GapReason::Lagged,
    GapReason::NotRetained,
    GapReason::Restarted,
    GapReason::NotResumed,
    GapReason::TooLarge,
];

fn gap_number(why: GapReason) -> u64 {
    let place = GAP_REASONS.iter().position(|reason| *reason == why);
    place.map_or(0, |place| place as u64)
}

fn take_gap(input: &mut &[u8]) -> Result<GapReason, WireError> {
    let number = take_u64(input)?;
    let place = usize::try_from(number).ok();
    let reason = place.and_then(|place| GAP_REASONS.get(place));
    reason.copied().ok_or(WireError::Value(number))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::codec::vectors::{Example, examples, hex};
    use crate::rpc::fault::FaultKind;
    use crate::rpc::fault::vectors::{describe_fault, name_of, name_of_integer};

    #[test]
    fn the_examples_of_the_document_decode_and_encode() {
        let mut tags = BTreeSet::new();
        for Example {
            name,
            bytes: expected,
            meaning,
        } in examples("topic-vectors")
        {
            let failed = |error: WireError| -> String { panic!("{name}: {error}") };
            let mut encoded = BytesMut::new();
            let text = if meaning.starts_with("client ") {
                let message = FromClient::decode(&expected);
                message.map_or_else(failed, |message| {
                    message.encode(&mut encoded);
                    describe_client(&message)
                })
            } else {
                let message = FromServer::decode(&expected);
                message.map_or_else(failed, |message| {
                    message.encode(&mut encoded);
                    describe_server(&message)
                })
            };
            assert_eq!(
                (text.as_str(), &encoded[..]),
                (meaning, &expected[..]),
                "{name}"
            );
            tags.insert((meaning.starts_with("client "), expected[0]));
        }
        assert_eq!(tags.len(), 9, "an example of each message: {tags:?}");
    }

    #[test]
    fn the_invalid_examples_of_the_document_are_refused_for_their_reasons() {
        for Example {
            name,
            bytes,
            meaning,
        } in examples("invalid-topic-vectors")
        {
            let (side, reason) = meaning.split_once(' ').expect(name);
            let error = match side {
                "client" => FromClient::decode(&bytes).expect_err(name),
                "service" => FromServer::decode(&bytes).expect_err(name),
                other => panic!("{other} in {name}"),
            };
            let found = match error {
                WireError::Integer(error) => name_of_integer(error),
                WireError::Fault(error) => name_of(error),
                WireError::Tag(_) => "UnknownTag",
                WireError::Value(_) => "Value",
                WireError::TrailingBytes => "Trailing",
            };
            assert_eq!(found, reason, "{name}");
        }
    }

    /// A message in the words of the document.
    fn describe_client(message: &FromClient) -> String {
        match message {
            FromClient::Subscribe {
                id,
                after,
                credit,
                topic,
            } => {
                let after = after.map_or_else(|| "-".to_owned(), place);
                let credit = credit.map_or_else(|| "-".to_owned(), described);
                let topic = hex(topic);
                format!("client Subscribe id={id} after={after} credit={credit} topic={topic}")
            }
            FromClient::Credit { id, credit } => {
                format!("client Credit id={id} credit={}", described(*credit))
            }
            FromClient::Unsubscribe { id } => format!("client Unsubscribe id={id}"),
        }
    }

    fn describe_server(message: &FromServer) -> String {
        match message {
            FromServer::Accepted { id, cursor, newest } => {
                let cursor = place(*cursor);
                format!("service Accepted id={id} cursor={cursor} newest={newest}")
            }
            FromServer::Refused { id, fault } => {
                format!("service Refused id={id} {}", describe_fault(fault))
            }
            FromServer::Item { id, sequence, body } => {
                format!(
                    "service Item id={id} sequence={sequence} body={}",
                    hex(body)
                )
            }
            FromServer::Gap { id, cursor, why } => {
                let (cursor, why) = (place(*cursor), gap_number(*why));
                format!("service Gap id={id} cursor={cursor} why={why}")
            }
            FromServer::Ended { id, fault } => {
                let fault = fault.as_ref().map(describe_fault);
                let words = [Some(format!("service Ended id={id}")), fault];
                words.into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
            FromServer::Unsubscribed { id } => format!("service Unsubscribed id={id}"),
        }
    }

    fn place(cursor: Cursor) -> String {
        format!("{}/{}", cursor.origin(), cursor.sequence())
    }

    fn described(Credit { items, bytes }: Credit) -> String {
        format!("{items}/{bytes}")
    }

    fn bytes(message: &FromServer) -> BytesMut {
        let mut buffer = BytesMut::new();
        message.encode(&mut buffer);
        buffer
    }

    #[test]
    fn an_item_costs_three_bytes_more_than_its_body() {
        let message = FromServer::Item {
            id: 1,
            sequence: 9,
            body: Bytes::from_static(b"body"),
        };
        assert_eq!(&bytes(&message)[..], b"\x02\x01\x09body");
    }

    #[test]
    fn what_follows_a_complete_message_is_refused() {
        let mut buffer = bytes(&FromServer::Unsubscribed { id: 7 });
        buffer.put_u8(0);
        assert_eq!(FromServer::decode(&buffer), Err(WireError::TrailingBytes));
        assert_eq!(FromServer::decode(&[9, 0]), Err(WireError::Tag(9)));
        assert_eq!(FromClient::decode(&[0, 1, 2]), Err(WireError::Value(2)));
    }

    prop_compose! {
        fn cursor()(origin in any::<u64>(), sequence in any::<u64>()) -> Cursor {
            Cursor::new(origin, sequence)
        }
    }

    prop_compose! {
        fn credit()(items in any::<u64>(), bytes in any::<u64>()) -> Credit {
            Credit { items, bytes }
        }
    }

    fn from_client() -> impl Strategy<Value = FromClient> {
        let id = any::<u64>();
        let body = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let subscribe = (
            id,
            proptest::option::of(cursor()),
            proptest::option::of(credit()),
            body,
        );
        prop_oneof![
            subscribe.prop_map(|(id, after, credit, topic)| FromClient::Subscribe {
                id,
                after,
                credit,
                topic
            }),
            (id, credit()).prop_map(|(id, credit)| FromClient::Credit { id, credit }),
            id.prop_map(|id| FromClient::Unsubscribe { id }),
        ]
    }

    fn from_server() -> impl Strategy<Value = FromServer> {
        let id = any::<u64>();
        let body = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let fault = ".{0,30}".prop_map(|text| Fault::new(FaultKind::Application(5), text));
        prop_oneof![
            (id, cursor(), any::<u64>()).prop_map(|(id, cursor, newest)| FromServer::Accepted {
                id,
                cursor,
                newest
            }),
            (id, fault.clone()).prop_map(|(id, fault)| FromServer::Refused { id, fault }),
            (id, any::<u64>(), body).prop_map(|(id, sequence, body)| FromServer::Item {
                id,
                sequence,
                body
            }),
            (id, cursor(), 0..GAP_REASONS.len()).prop_map(|(id, cursor, why)| FromServer::Gap {
                id,
                cursor,
                why: GAP_REASONS[why]
            }),
            (id, proptest::option::of(fault))
                .prop_map(|(id, fault)| FromServer::Ended { id, fault }),
            id.prop_map(|id| FromServer::Unsubscribed { id }),
        ]
    }

    proptest! {
        #[test]
        fn messages_of_clients_come_back_as_they_were(message in from_client()) {
            let mut buffer = BytesMut::new();
            message.encode(&mut buffer);
            prop_assert_eq!(FromClient::decode(&buffer), Ok(message));
        }

        #[test]
        fn messages_of_servers_come_back_as_they_were(message in from_server()) {
            prop_assert_eq!(FromServer::decode(&bytes(&message)), Ok(message));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = FromClient::decode(&bytes);
            let _ = FromServer::decode(&bytes);
        }
    }
}
