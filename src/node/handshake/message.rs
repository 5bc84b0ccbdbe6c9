//! What the two ends of a handshake say, in bytes.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::varint::{put_u32, put_u64, take_u32, take_u64};
use crate::node::identity::{NetworkId, PeerId};
use crate::node::rejection::{Reason, Rejection};
use crate::transport::Endpoint;

/// The longest message of a handshake, in bytes.
pub(crate) const LONGEST: usize = 4 * 1024;
/// The most endpoints that a node says it listens at, and the longest of them in bytes.
pub(crate) const MOST_ENDPOINTS: usize = 8;
pub(crate) const LONGEST_ENDPOINT: usize = 200;

const HELLO: u32 = 0;
const REJECT: u32 = 1;
const ACK: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Hello(Hello),
    Reject(Rejection),
    Ack,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) network: String,
    pub(crate) id: PeerId,
    /// Which run of the node: another after each start.
    pub(crate) instance: u64,
    /// Of this handshake alone.
    pub(crate) nonce: u64,
    /// The lowest and the highest version of the application's protocol.
    pub(crate) versions: (u16, u16),
    pub(crate) capabilities: u64,
    pub(crate) endpoints: Vec<Endpoint>,
    /// What the application says, encoded.
    pub(crate) application: Bytes,
}

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::new();
        match self {
            Self::Hello(hello) => {
                put_u32(&mut buffer, HELLO);
                hello.encode(&mut buffer);
            }
            Self::Reject(rejection) => {
                let (number, code, text) = rejection.reason().to_wire();
                let retry = rejection.retried_after().unwrap_or_default();
                put_u32(&mut buffer, REJECT);
                put_u32(&mut buffer, number);
                put_u64(
                    &mut buffer,
                    u64::try_from(retry.as_millis()).unwrap_or(u64::MAX),
                );
                put_u32(&mut buffer, code);
                buffer.put_slice(text.as_bytes());
            }
            Self::Ack => put_u32(&mut buffer, ACK),
        }
        buffer.freeze()
    }

    /// None if it is no message of a handshake.
    pub(crate) fn decode(message: &Bytes) -> Option<Self> {
        if message.len() > LONGEST {
            return None;
        }
        let mut input = message.as_ref();
        match take_u32(&mut input).ok()? {
            HELLO => Hello::decode(message, input).map(Self::Hello),
            REJECT => {
                let number = take_u32(&mut input).ok()?;
                let retry = take_u64(&mut input).ok()?;
                let code = take_u32(&mut input).ok()?;
                let text = std::str::from_utf8(input).ok()?;
                let rejection = Rejection::new(Reason::from_wire(number, code, text)?);
                Some(Self::Reject(match retry {
                    0 => rejection,
                    retry => rejection.retry_after(Duration::from_millis(retry)),
                }))
            }
            ACK => input.is_empty().then_some(Self::Ack),
            _ => None,
        }
    }
}

impl Hello {
    fn encode(&self, buffer: &mut BytesMut) {
        put_text(buffer, &self.network);
        buffer.put_slice(self.id.as_bytes());
        put_u64(buffer, self.instance);
        put_u64(buffer, self.nonce);
        put_u32(buffer, u32::from(self.versions.0));
        put_u32(buffer, u32::from(self.versions.1));
        put_u64(buffer, self.capabilities);
        let endpoints = self.endpoints.iter().map(Endpoint::to_string);
        let endpoints: Vec<String> = endpoints
            .filter(|endpoint| endpoint.len() <= LONGEST_ENDPOINT)
            .take(MOST_ENDPOINTS)
            .collect();
        put_u32(buffer, u32::try_from(endpoints.len()).unwrap_or_default());
        for endpoint in &endpoints {
            put_text(buffer, endpoint);
        }
        buffer.put_slice(&self.application);
    }

    /// Decodes what follows the tag; an endpoint of a scheme that is not known here is left out.
    fn decode(whole: &Bytes, mut input: &[u8]) -> Option<Self> {
        let input = &mut input;
        let network = take_text(input, NetworkId::LONGEST)?.to_owned();
        let (id, rest) = input.split_first_chunk::<32>()?;
        let id = PeerId::new(*id);
        *input = rest;
        let instance = take_u64(input).ok()?;
        let nonce = take_u64(input).ok()?;
        let lowest = u16::try_from(take_u32(input).ok()?).ok()?;
        let highest = u16::try_from(take_u32(input).ok()?).ok()?;
        let capabilities = take_u64(input).ok()?;
        let count = take_u32(input).ok()?;
        if count as usize > MOST_ENDPOINTS {
            return None;
        }
        let mut endpoints = Vec::new();
        for _ in 0..count {
            endpoints.extend(take_text(input, LONGEST_ENDPOINT)?.parse::<Endpoint>().ok());
        }
        let mut application = whole.clone();
        application.advance(whole.len().saturating_sub(input.len()));
        Some(Self {
            network,
            id,
            instance,
            nonce,
            versions: (lowest, highest),
            capabilities,
            endpoints,
            application,
        })
    }
}

fn put_text(buffer: &mut BytesMut, text: &str) {
    put_u32(buffer, u32::try_from(text.len()).unwrap_or_default());
    buffer.put_slice(text.as_bytes());
}

fn take_text<'a>(input: &mut &'a [u8], longest: usize) -> Option<&'a str> {
    let length = take_u32(input).ok()? as usize;
    let (text, rest) = input.split_at_checked(length)?;
    *input = rest;
    (length <= longest)
        .then(|| std::str::from_utf8(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::codec::vectors::{Example, examples, hex, quoted};

    #[test]
    fn the_examples_of_the_document_decode_and_encode() {
        let mut tags = BTreeSet::new();
        for Example {
            name,
            bytes,
            meaning,
        } in examples("handshake-vectors")
        {
            let message = Message::decode(&bytes.clone().into()).expect(name);
            assert_eq!(describe(&message), meaning, "{name}");
            assert_eq!(message.encode(), bytes, "{name}");
            tags.insert(bytes[0]);
        }
        assert_eq!(tags, (0..=2).collect(), "an example of each message");
    }

    #[test]
    fn the_invalid_examples_of_the_document_are_refused() {
        for Example { name, bytes, .. } in examples("invalid-handshake-vectors") {
            assert_eq!(Message::decode(&bytes.into()), None, "{name}");
        }
    }

    #[test]
    fn an_endpoint_that_is_not_understood_is_left_out() {
        let mut bytes = Message::Hello(hello()).encode().to_vec();
        let place = bytes.windows(3).position(|word| word == b"tcp").unwrap();
        bytes[place..place + 3].copy_from_slice(b"new");
        let Some(Message::Hello(heard)) = Message::decode(&bytes.into()) else {
            panic!("it is a hello");
        };
        assert!(heard.endpoints.is_empty());
        assert_eq!(heard.application, hello().application);
    }

    /// A message in the words of the document.
    fn describe(message: &Message) -> String {
        match message {
            Message::Hello(hello) => {
                let endpoints: Vec<_> = hello.endpoints.iter().map(Endpoint::to_string).collect();
                let endpoints = match endpoints.join(",") {
                    none if none.is_empty() => "-".to_owned(),
                    some => some,
                };
                format!(
                    "Hello network={} id={} instance={} nonce={} versions={}-{} capabilities={} \
                     endpoints={endpoints} application={}",
                    quoted(&hello.network),
                    hex(hello.id.as_bytes()),
                    hello.instance,
                    hello.nonce,
                    hello.versions.0,
                    hello.versions.1,
                    hello.capabilities,
                    hex(&hello.application),
                )
            }
            Message::Reject(rejection) => {
                let (number, code, text) = rejection.reason().to_wire();
                let retry = rejection.retried_after().unwrap_or_default().as_millis();
                let text = quoted(text);
                format!("Reject reason={number} retry_ms={retry} code={code} text={text}")
            }
            Message::Ack => "Ack".to_owned(),
        }
    }

    fn hello() -> Hello {
        Hello {
            network: "test".to_owned(),
            id: PeerId::new([7; 32]),
            instance: 1,
            nonce: u64::MAX,
            versions: (1, 300),
            capabilities: 5,
            endpoints: vec!["tcp://127.0.0.1:9000".parse().unwrap()],
            application: Bytes::from_static(b"rest"),
        }
    }

    #[test]
    fn what_was_said_is_heard() {
        let rejection = Rejection::application(9, "no").retry_after(Duration::from_millis(1500));
        for message in [
            Message::Hello(hello()),
            Message::Reject(rejection),
            Message::Reject(Rejection::new(Reason::Full)),
            Message::Ack,
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_refused_or_loses_what_the_application_says() {
        let whole = Message::Hello(hello()).encode();
        for length in 0..whole.len() - 4 {
            assert_eq!(Message::decode(&whole.slice(..length)), None, "{length}");
        }
    }

    #[test]
    fn a_message_of_4_kib_is_the_longest() {
        let mut large = hello();
        let rest = LONGEST - Message::Hello(hello()).encode().len() + 4;
        large.application = vec![1; rest].into();
        assert!(Message::decode(&Message::Hello(large.clone()).encode()).is_some());
        large.application = vec![1; rest + 1].into();
        assert!(Message::decode(&Message::Hello(large).encode()).is_none());
    }

    #[test]
    fn nine_endpoints_are_one_too_many() {
        let mut many = hello();
        many.endpoints = vec![many.endpoints[0].clone(); 9];
        let Some(Message::Hello(heard)) = Message::decode(&Message::Hello(many).encode()) else {
            panic!("eight of them are sent");
        };
        assert_eq!(heard.endpoints.len(), 8);
        let mut bytes = Message::Hello(hello()).encode().to_vec();
        let count = bytes.len() - 4 - "tcp://127.0.0.1:9000".len() - 2;
        assert_eq!(bytes[count], 1);
        bytes[count] = 9;
        assert_eq!(Message::decode(&bytes.into()), None);
    }
}
