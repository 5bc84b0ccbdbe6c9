use std::collections::BTreeSet;

use bytes::{BufMut, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    END_OF_MESSAGE, FINISH, Frame, FrameError, Hello, LENGTH_PREFIX, MAX_DATA_HEADER,
    MAX_PROTOCOL_NAME, MAX_REASON, put_data_header,
};
use crate::codec::vectors::{Example, examples, hex, quoted};

#[test]
fn the_valid_examples_of_the_document_decode_and_encode() {
    let mut kinds = BTreeSet::new();
    for example in examples("vectors") {
        let name = example.name;
        let body = body(&example);
        let frame = Frame::decode(body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(describe(&frame), example.meaning, "{name}");
        assert_eq!(encode(&frame), example.bytes, "{name}");
        assert_eq!(bincode_encode(&frame), body, "{name}");
        assert_eq!(bincode_decode(body), Some(frame), "{name}");
        kinds.insert(body[0]);
    }
    assert_eq!(kinds, (0..=10).collect(), "an example of each frame");
}

#[test]
fn the_invalid_examples_of_the_document_are_refused_for_their_reasons() {
    let mut reasons = BTreeSet::new();
    for example in examples("invalid-vectors") {
        let name = example.name;
        let error = Frame::decode(body(&example)).expect_err(name);
        assert_eq!(error_name(error), example.meaning, "{name}");
        reasons.insert(error_name(error));
    }
    assert_eq!(reasons.len(), 7, "an example of each error: {reasons:?}");
}

#[test]
fn the_longest_header_is_as_long_as_announced() {
    let mut out = BytesMut::new();
    put_data_header(&mut out, u32::MAX, END_OF_MESSAGE | FINISH, 1 << 30);
    assert_eq!(out.len(), MAX_DATA_HEADER);
}

#[test]
fn every_byte_cut_off_is_an_error() {
    for example in examples("vectors") {
        let body = body(&example);
        // All prefixes of a short body, the last ones of a long one.
        for length in (0..body.len()).filter(|length| *length < 64 || *length + 8 > body.len()) {
            let error = Frame::decode(&body[..length]).expect_err(example.name);
            assert_eq!(error, FrameError::Truncated, "{} {length}", example.name);
        }
        let longer = [body, &[0]].concat();
        assert_eq!(Frame::decode(&longer), Err(FrameError::Trailing(1)));
    }
}

proptest! {
    #[test]
    fn encoded_by_hand_as_by_bincode(frame in frames()) {
        let frame = frame.borrow();
        let bytes = encode(&frame);
        let (prefix, body) = bytes.split_first_chunk::<LENGTH_PREFIX>().unwrap();
        prop_assert_eq!(u32::from_be_bytes(*prefix) as usize, body.len());
        prop_assert_eq!(body, bincode_encode(&frame));
        prop_assert_eq!(Frame::decode(body), Ok(frame));
    }

    #[test]
    fn arbitrary_bytes_decode_as_by_bincode_or_not_at_all(body in vec(any::<u8>(), 0..64)) {
        check_decoding(&body)?;
    }

    #[test]
    fn bytes_behind_any_tag_decode_as_by_bincode_or_not_at_all(
        tag in 0..12_u8,
        rest in vec(prop_oneof![3 => 0..4_u8, 2 => 248..=255_u8, 1 => any::<u8>()], 0..24),
    ) {
        check_decoding(&[&[tag], rest.as_slice()].concat())?;
    }

    #[test]
    fn spoilt_frames_decode_as_by_bincode_or_not_at_all(
        frame in frames(),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut body = encode(&frame.borrow()).split_off(LENGTH_PREFIX);
        for (place, byte, change) in changes {
            let place = place.index(body.len().max(1));
            match change {
                0 if place < body.len() => body[place] = byte,
                1 if place < body.len() => {
                    body.remove(place);
                }
                _ => body.insert(place.min(body.len()), byte),
            }
        }
        check_decoding(&body)?;
    }

    #[test]
    fn a_header_and_its_payload_are_a_data_frame(
        channel in numbers(),
        flags in 0..=3_u8,
        payload in payloads(),
    ) {
        let mut out = BytesMut::new();
        put_data_header(&mut out, channel, flags, payload.len());
        prop_assert!(out.len() <= MAX_DATA_HEADER);
        out.put_slice(&payload);
        let frame = Frame::Data { channel, flags, payload: &payload };
        prop_assert_eq!(out.to_vec(), encode(&frame));
    }
}

/// What is accepted by hand is accepted by bincode, to the same value, and is its only encoding.
fn check_decoding(body: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(frame) = Frame::decode(body) {
        prop_assert_eq!(bincode_decode(body), Some(frame.clone()));
        prop_assert_eq!(&encode(&frame)[LENGTH_PREFIX..], body);
    }
    Ok(())
}

fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out.to_vec()
}

fn bincode_encode(frame: &Frame<'_>) -> Vec<u8> {
    bincode::serde::encode_to_vec(frame, bincode::config::standard()).unwrap()
}

fn bincode_decode(body: &[u8]) -> Option<Frame<'_>> {
    let config = bincode::config::standard();
    let (frame, used) = bincode::serde::borrow_decode_from_slice(body, config).ok()?;
    (used == body.len()).then_some(frame)
}

fn body(example: &Example) -> &[u8] {
    let (prefix, body) = example.bytes.split_first_chunk().expect(example.name);
    let length = u32::from_be_bytes(*prefix) as usize;
    assert_eq!(length, body.len(), "the length of {}", example.name);
    body
}

/// A frame in the words of the document.
fn describe(frame: &Frame<'_>) -> String {
    match *frame {
        Frame::Data {
            channel,
            flags,
            payload,
        } => format!(
            "Data channel={channel} flags={flags} payload={}",
            hex(payload)
        ),
        Frame::Open {
            channel,
            window,
            priority,
            protocol,
        } => format!(
            "Open channel={channel} window={window} priority={priority} protocol={}",
            quoted(protocol)
        ),
        Frame::Accept { channel, window } => format!("Accept channel={channel} window={window}"),
        Frame::Credit { channel, bytes } => format!("Credit channel={channel} bytes={bytes}"),
        Frame::Stop { channel, code } => format!("Stop channel={channel} code={code}"),
        Frame::Reset {
            channel,
            code,
            reason,
        } => format!(
            "Reset channel={channel} code={code} reason={}",
            quoted(reason)
        ),
        Frame::Ping { nonce } => format!("Ping nonce={nonce}"),
        Frame::Pong { nonce } => format!("Pong nonce={nonce}"),
        Frame::GoAway {
            last_channel,
            code,
            reason,
        } => format!(
            "GoAway last_channel={last_channel} code={code} reason={}",
            quoted(reason)
        ),
        Frame::Hello(ref hello) => format!(
            "Hello magic={} min_version={} max_version={} max_frame={} max_message={} \
             max_channels={} idle_timeout_ms={} capabilities={} tail={}",
            hex(&hello.magic),
            hello.min_version,
            hello.max_version,
            hello.max_frame,
            hello.max_message,
            hello.max_channels,
            hello.idle_timeout_ms,
            hello.capabilities,
            hex(hello.tail)
        ),
        Frame::Allow { channels } => format!("Allow channels={channels}"),
    }
}

fn error_name(error: FrameError) -> &'static str {
    match error {
        FrameError::Truncated => "Truncated",
        FrameError::Trailing(_) => "Trailing",
        FrameError::Number => "Number",
        FrameError::UnknownTag(_) => "UnknownTag",
        FrameError::TextTooLong { .. } => "TextTooLong",
        FrameError::NotUtf8 => "NotUtf8",
        FrameError::UnknownFlags(_) => "UnknownFlags",
    }
}

/// A frame with what it borrows.
#[derive(Debug, Clone)]
struct Owned {
    kind: u8,
    numbers: [u32; 4],
    long: u64,
    bytes: [u8; 2],
    text: String,
    payload: Vec<u8>,
}

impl Owned {
    fn borrow(&self) -> Frame<'_> {
        let [first, second, third, fourth] = self.numbers;
        let [byte, other_byte] = self.bytes;
        let channel = first;
        match self.kind {
            0 => Frame::Data {
                channel,
                flags: byte & (END_OF_MESSAGE | FINISH),
                payload: &self.payload,
            },
            1 => Frame::Open {
                channel,
                window: second,
                priority: byte,
                protocol: shorten(&self.text, MAX_PROTOCOL_NAME),
            },
            2 => Frame::Accept {
                channel,
                window: second,
            },
            3 => Frame::Credit {
                channel,
                bytes: second,
            },
            4 => Frame::Stop {
                channel,
                code: second,
            },
            5 => Frame::Reset {
                channel,
                code: second,
                reason: shorten(&self.text, MAX_REASON),
            },
            6 => Frame::Ping { nonce: self.long },
            7 => Frame::Pong { nonce: self.long },
            8 => Frame::GoAway {
                last_channel: first,
                code: second,
                reason: shorten(&self.text, MAX_REASON),
            },
            9 => Frame::Hello(Hello {
                magic: second.to_be_bytes(),
                min_version: byte,
                max_version: other_byte,
                max_frame: first,
                max_message: second,
                max_channels: third,
                idle_timeout_ms: fourth,
                capabilities: self.long,
                tail: &self.payload,
            }),
            _ => Frame::Allow { channels: first },
        }
    }
}

fn shorten(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn frames() -> impl Strategy<Value = Owned> {
    (
        0..=10_u8,
        [numbers(), numbers(), numbers(), numbers()],
        prop_oneof![numbers().prop_map(u64::from), any::<u64>(), Just(u64::MAX)],
        any::<[u8; 2]>(),
        prop_oneof![Just(String::new()), "\\PC{0,12}", "\\PC{60,300}"],
        payloads(),
    )
        .prop_map(|(kind, numbers, long, bytes, text, payload)| Owned {
            kind,
            numbers,
            long,
            bytes,
            text,
            payload,
        })
}

/// Numbers of all lengths, those where the length changes above all.
fn numbers() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..4_u32,
        248..254_u32,
        65_533..65_539_u32,
        Just(u32::MAX),
        any::<u32>(),
    ]
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![0..4_usize, 248..254_usize, 65_533..65_539_usize];
    (lengths, any::<u8>()).prop_map(|(length, fill)| vec![fill; length])
}
