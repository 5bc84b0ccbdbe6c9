//! What goes over the channel of the calls: a header by hand, then the value's bytes.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use crate::codec::VarintError;
use crate::codec::varint::{put_u32, put_u64, take_u32, take_u64};
use crate::rpc::fault::{Fault, FaultError};

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'m> {
    /// The first message, and only that.
    Hello {
        /// The same over all of the client's connections.
        client: u128,
        /// The largest id that the client sent before, over any connection.
        sent_up_to: u64,
    },
    Request {
        /// Larger than all before on the channel.
        id: u64,
        milliseconds: u32,
        key: Option<u128>,
        body: &'m [u8],
    },
    Cancel {
        id: u64,
    },
}

/// What a service says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered<'m> {
    /// The first message, and only that.
    Welcome {
        /// Another one for each start of the service.
        boot: u128,
        calls_at_once: u32,
    },
    Answer {
        id: u64,
        body: &'m [u8],
    },
    Fault {
        id: u64,
        fault: Fault,
    },
}

/// Why a message is none of the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error(transparent)]
    Integer(#[from] VarintError),
    #[error(transparent)]
    Fault(#[from] FaultError),
    #[error("a message of unknown kind {0}")]
    Kind(u8),
    #[error("a message that ends too early")]
    Short,
    #[error("a message that is too long")]
    Long,
}

const HELLO: u8 = 0;
const REQUEST: u8 = 1;
const KEYED_REQUEST: u8 = 2;
const CANCEL: u8 = 3;

const WELCOME: u8 = 0;
const ANSWER: u8 = 1;
const FAULT: u8 = 2;

pub(super) fn put_hello(buffer: &mut BytesMut, client: u128, sent_up_to: u64) {
    buffer.put_u8(HELLO);
    buffer.put_u128_le(client);
    put_u64(buffer, sent_up_to);
}

/// The body follows.
pub(super) fn put_request(buffer: &mut BytesMut, id: u64, milliseconds: u32, key: Option<u128>) {
    buffer.put_u8(key.map_or(REQUEST, |_| KEYED_REQUEST));
    put_u64(buffer, id);
    put_u32(buffer, milliseconds);
    if let Some(key) = key {
        buffer.put_u128_le(key);
    }
}

pub(super) fn put_cancel(buffer: &mut BytesMut, id: u64) {
    buffer.put_u8(CANCEL);
    put_u64(buffer, id);
}

pub(super) fn put_welcome(buffer: &mut BytesMut, boot: u128, calls_at_once: u32) {
    buffer.put_u8(WELCOME);
    buffer.put_u128_le(boot);
    put_u32(buffer, calls_at_once);
}

/// The body follows.
pub(super) fn put_answer(buffer: &mut BytesMut, id: u64) {
    buffer.put_u8(ANSWER);
    put_u64(buffer, id);
}

pub(super) fn put_fault(buffer: &mut BytesMut, id: u64, fault: &Fault) {
    buffer.put_u8(FAULT);
    put_u64(buffer, id);
    fault.put(buffer);
}

impl<'m> Asked<'m> {
    pub(super) fn take(message: &'m [u8]) -> Result<Self, Malformed> {
        let (kind, mut rest) = take_kind(message)?;
        let rest = &mut rest;
        match kind {
            HELLO => {
                let client = take_u128(rest)?;
                let sent_up_to = take_u64(rest)?;
                at_end(rest)?;
                Ok(Self::Hello { client, sent_up_to })
            }
            REQUEST | KEYED_REQUEST => {
                let id = take_u64(rest)?;
                let milliseconds = take_u32(rest)?;
                let key = match kind {
                    KEYED_REQUEST => Some(take_u128(rest)?),
                    _ => None,
                };
                Ok(Self::Request {
                    id,
                    milliseconds,
                    key,
                    body: rest,
                })
            }
            CANCEL => {
                let id = take_u64(rest)?;
                at_end(rest)?;
                Ok(Self::Cancel { id })
            }
            other => Err(Malformed::Kind(other)),
        }
    }
}

impl<'m> Answered<'m> {
    pub(super) fn take(message: &'m [u8]) -> Result<Self, Malformed> {
        let (kind, mut rest) = take_kind(message)?;
        let rest = &mut rest;
        match kind {
            WELCOME => {
                let boot = take_u128(rest)?;
                let calls_at_once = take_u32(rest)?;
                at_end(rest)?;
                Ok(Self::Welcome {
                    boot,
                    calls_at_once,
                })
            }
            ANSWER => {
                let id = take_u64(rest)?;
                Ok(Self::Answer { id, body: rest })
            }
            FAULT => {
                let id = take_u64(rest)?;
                let fault = Fault::take(rest)?;
                Ok(Self::Fault { id, fault })
            }
            other => Err(Malformed::Kind(other)),
        }
    }
}

fn take_kind(message: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    message
        .split_first()
        .map(|(kind, rest)| (*kind, rest))
        .ok_or(Malformed::Short)
}

fn take_u128(input: &mut &[u8]) -> Result<u128, Malformed> {
    let (bytes, rest) = input.split_first_chunk().ok_or(Malformed::Short)?;
    *input = rest;
    Ok(u128::from_le_bytes(*bytes))
}

fn at_end(rest: &[u8]) -> Result<(), Malformed> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Malformed::Long)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::codec::vectors::{Example, examples, hex};
    use crate::rpc::FaultKind;
    use crate::rpc::fault::vectors::{describe_fault, name_of, name_of_integer};

    /// The lines of a kind: what a client says, then what a service says.
    fn sides(kind: &str) -> [Vec<(&'static str, Example)>; 2] {
        let mut sides = [Vec::new(), Vec::new()];
        for example in examples(kind) {
            let (side, meaning) = example.meaning.split_once(' ').expect(example.name);
            let side = match side {
                "client" => &mut sides[0],
                "service" => &mut sides[1],
                other => panic!("{other} in {}", example.name),
            };
            side.push((meaning, example));
        }
        sides
    }

    #[test]
    fn the_examples_of_the_document_decode_and_encode() {
        let [client, service] = sides("call-vectors");
        let mut kinds = BTreeSet::new();
        for (meaning, Example { name, bytes, .. }) in client {
            let message = Asked::take(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let (text, again) = asked(&message);
            assert_eq!((text.as_str(), again), (meaning, bytes.clone()), "{name}");
            kinds.insert(('c', bytes[0]));
        }
        for (meaning, Example { name, bytes, .. }) in service {
            let message = Answered::take(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let (text, again) = answered(&message);
            assert_eq!((text.as_str(), again), (meaning, bytes.clone()), "{name}");
            kinds.insert(('s', bytes[0]));
        }
        assert_eq!(kinds.len(), 7, "an example of each message: {kinds:?}");
    }

    #[test]
    fn the_invalid_examples_of_the_document_are_refused_for_their_reasons() {
        let [client, service] = sides("invalid-call-vectors");
        for (reason, Example { name, bytes, .. }) in client {
            let error = Asked::take(&bytes).expect_err(name);
            assert_eq!(reason_of(error), reason, "{name}");
        }
        for (reason, Example { name, bytes, .. }) in service {
            let error = Answered::take(&bytes).expect_err(name);
            assert_eq!(reason_of(error), reason, "{name}");
        }
    }

    /// A message in the words of the document, and in bytes.
    fn asked(message: &Asked<'_>) -> (String, Vec<u8>) {
        let mut bytes = BytesMut::new();
        let text = match *message {
            Asked::Hello { client, sent_up_to } => {
                put_hello(&mut bytes, client, sent_up_to);
                let client = hex(&client.to_le_bytes());
                format!("Hello client={client} sent_up_to={sent_up_to}")
            }
            Asked::Request {
                id,
                milliseconds,
                key,
                body,
            } => {
                put_request(&mut bytes, id, milliseconds, key);
                bytes.extend_from_slice(body);
                let (kind, key) = match key {
                    None => ("Request", String::new()),
                    Some(key) => ("KeyedRequest", format!(" key={}", hex(&key.to_le_bytes()))),
                };
                let body = hex(body);
                format!("{kind} id={id} milliseconds={milliseconds}{key} body={body}")
            }
            Asked::Cancel { id } => {
                put_cancel(&mut bytes, id);
                format!("Cancel id={id}")
            }
        };
        (text, bytes.to_vec())
    }

    fn answered(message: &Answered<'_>) -> (String, Vec<u8>) {
        let mut bytes = BytesMut::new();
        let text = match message {
            Answered::Welcome {
                boot,
                calls_at_once,
            } => {
                put_welcome(&mut bytes, *boot, *calls_at_once);
                let boot = hex(&boot.to_le_bytes());
                format!("Welcome boot={boot} calls_at_once={calls_at_once}")
            }
            Answered::Answer { id, body } => {
                put_answer(&mut bytes, *id);
                bytes.extend_from_slice(body);
                format!("Answer id={id} body={}", hex(body))
            }
            Answered::Fault { id, fault } => {
                put_fault(&mut bytes, *id, fault);
                format!("Fault id={id} {}", describe_fault(fault))
            }
        };
        (text, bytes.to_vec())
    }

    fn reason_of(error: Malformed) -> &'static str {
        match error {
            Malformed::Integer(error) => name_of_integer(error),
            Malformed::Fault(error) => name_of(error),
            Malformed::Kind(_) => "UnknownKind",
            Malformed::Short => "Truncated",
            Malformed::Long => "Trailing",
        }
    }

    fn written(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut buffer = BytesMut::new();
        write(&mut buffer);
        buffer
    }

    #[test]
    fn what_a_client_writes_is_read_again() {
        let hello = written(|buffer| put_hello(buffer, 7 << 100, 300));
        let expected = Asked::Hello {
            client: 7 << 100,
            sent_up_to: 300,
        };
        assert_eq!(Asked::take(&hello), Ok(expected));
        for key in [None, Some(u128::MAX)] {
            let mut request = written(|buffer| put_request(buffer, u64::MAX, u32::MAX, key));
            request.extend_from_slice(b"body");
            let expected = Asked::Request {
                id: u64::MAX,
                milliseconds: u32::MAX,
                key,
                body: b"body",
            };
            assert_eq!(Asked::take(&request), Ok(expected));
        }
        let cancel = written(|buffer| put_cancel(buffer, 251));
        assert_eq!(Asked::take(&cancel), Ok(Asked::Cancel { id: 251 }));
    }

    #[test]
    fn what_a_service_writes_is_read_again() {
        let welcome = written(|buffer| put_welcome(buffer, 9, 256));
        let expected = Answered::Welcome {
            boot: 9,
            calls_at_once: 256,
        };
        assert_eq!(Answered::take(&welcome), Ok(expected));
        let mut answer = written(|buffer| put_answer(buffer, 1));
        answer.extend_from_slice(b"body");
        let expected = Answered::Answer {
            id: 1,
            body: b"body",
        };
        assert_eq!(Answered::take(&answer), Ok(expected));
        let fault = Fault::new(FaultKind::Busy, "later");
        let message = written(|buffer| put_fault(buffer, 2, &fault));
        let expected = Answered::Fault { id: 2, fault };
        assert_eq!(Answered::take(&message), Ok(expected));
    }

    #[test]
    fn what_is_cut_or_too_long_is_refused() {
        let hello = written(|buffer| put_hello(buffer, 7, 300));
        for length in 0..hello.len() {
            assert!(Asked::take(&hello[..length]).is_err());
        }
        let cancel = written(|buffer| put_cancel(buffer, 1));
        let longer = [&cancel[..], b"x"].concat();
        assert_eq!(Asked::take(&longer), Err(Malformed::Long));
        let keyed = written(|buffer| put_request(buffer, 1, 1, Some(1)));
        assert_eq!(Asked::take(&keyed[..10]), Err(Malformed::Short));
        assert_eq!(Asked::take(&[9]), Err(Malformed::Kind(9)));
        assert_eq!(Answered::take(&[9]), Err(Malformed::Kind(9)));
        assert_eq!(Answered::take(&[]), Err(Malformed::Short));
    }
}
