//! The codec over hostile, split and legitimate input.

#![expect(
    clippy::zero_sized_map_values,
    reason = "maps whose entries cost nothing on the wire are what a peer may abuse"
)]

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::time::{Duration, Instant};

use asynchronous_codec::{Decoder, Encoder, Framed};
use bincode::config::standard;
use bytes::BytesMut;
use futures::executor::block_on;
use futures::io::Cursor;
use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sessionwire::codec::{BincodeCodec, CodecError, LENGTH_PREFIX, MaxMessageSize, decode, encode};

use crate::codec_support::{Tree, Zoo, hostile_bodies, zoo};

mod codec_support;

fn limit(bytes: usize) -> MaxMessageSize {
    MaxMessageSize::new(bytes).expect("in range")
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, standard()).expect("encodes")
}

/// Enough for room to be reserved up front, and slow to exhaust without optimization.
const LARGE: usize = if cfg!(debug_assertions) {
    320 * 1024
} else {
    1024 * 1024
};

/// Decodes every hostile body as `T` and checks the memory and the time it takes.
fn withstands<T: DeserializeOwned>() {
    for max in [4 * 1024, 64 * 1024, LARGE] {
        for (number, body) in hostile_bodies(max).into_iter().enumerate() {
            let start = Instant::now();
            let allocated = allocation_counter::measure(|| {
                let _ = decode::<T>(&body, limit(max));
            });
            let name = std::any::type_name::<T>();
            assert!(
                allocated.bytes_total <= 16 * max as u64,
                "{name}, body {number} of {} bytes, limit {max}: allocated {} bytes, {} times max",
                body.len(),
                allocated.bytes_total,
                allocated.bytes_total / max as u64,
            );
            assert_eq!(allocated.bytes_current, 0);
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{name}, body {number}, limit {max}"
            );
        }
    }
}

/// One byte on the wire, 264 or so in memory.
type Wide = Option<[u64; 32]>;

#[test]
fn hostile_arrays_allocate_within_bounds() {
    withstands::<String>();
    withstands::<ByteBuf>();
    withstands::<Vec<u8>>();
    withstands::<Vec<u64>>();
    withstands::<Vec<String>>();
    withstands::<Vec<ByteBuf>>();
    withstands::<Vec<Vec<u8>>>();
    withstands::<Vec<Vec<Vec<u64>>>>();
    withstands::<Vec<Option<u128>>>();
    withstands::<Vec<Wide>>();
    withstands::<Vec<(Wide, Wide)>>();
    withstands::<VecDeque<Wide>>();
    withstands::<VecDeque<u32>>();
    withstands::<BinaryHeap<u32>>();
    withstands::<Vec<Zoo>>();
}

#[test]
fn hostile_elements_without_size_or_width_are_bounded() {
    withstands::<Vec<()>>();
    withstands::<Vec<[u64; 0]>>();
    withstands::<Vec<Vec<()>>>();
    withstands::<VecDeque<()>>();
    withstands::<LinkedList<()>>();
    withstands::<HashSet<()>>();
    withstands::<BTreeSet<()>>();
    withstands::<HashMap<(), ()>>();
    withstands::<BTreeMap<(), ()>>();
}

#[test]
fn hostile_nodes_sets_and_maps_allocate_within_bounds() {
    withstands::<LinkedList<u8>>();
    withstands::<LinkedList<Wide>>();
    withstands::<HashSet<u8>>();
    withstands::<HashSet<u32>>();
    withstands::<HashSet<u64>>();
    withstands::<HashSet<[u64; 4]>>();
    withstands::<HashSet<(u64, Wide)>>();
    withstands::<Vec<HashSet<u8>>>();
    withstands::<BTreeSet<u32>>();
    withstands::<BTreeSet<[u64; 4]>>();
    withstands::<HashMap<u32, ()>>();
    withstands::<HashMap<u32, u8>>();
    withstands::<HashMap<u32, Wide>>();
    withstands::<HashMap<String, Vec<Wide>>>();
    withstands::<BTreeMap<u32, u8>>();
    withstands::<BTreeMap<u32, Wide>>();
    withstands::<Vec<BTreeMap<u8, u8>>>();
    withstands::<HashMap<u32, HashMap<u32, Wide>>>();
}

#[test]
fn hostile_pointers_allocate_within_bounds() {
    withstands::<Box<[u8]>>();
    withstands::<Box<[Wide]>>();
    withstands::<Vec<Box<str>>>();
    withstands::<Vec<Box<u8>>>();
    withstands::<Vec<Box<u64>>>();
    withstands::<Vec<Box<Wide>>>();
    withstands::<Vec<Option<Box<Wide>>>>();
    withstands::<LinkedList<Box<Wide>>>();
    withstands::<HashMap<u32, Box<Wide>>>();
    withstands::<Vec<Tree>>();
    withstands::<Vec<Vec<Tree>>>();
}

#[derive(Debug, Serialize, Deserialize)]
struct Link {
    next: Option<Box<Self>>,
}

#[derive(Debug, Deserialize)]
struct Onion(#[expect(dead_code, reason = "only its depth matters")] Vec<Self>);

#[test]
fn deep_recursion_is_an_error() {
    let deep = vec![1; 100_000];
    let max = MaxMessageSize::default();
    assert!(matches!(
        decode::<Tree>(&deep, max),
        Err(CodecError::TooDeep { limit: 128 })
    ));
    assert!(matches!(
        decode::<Link>(&deep, max),
        Err(CodecError::TooDeep { .. })
    ));
    assert!(matches!(
        decode::<Onion>(&deep, max),
        Err(CodecError::TooDeep { .. })
    ));

    let mut allowed = vec![1; 127];
    allowed.push(0);
    decode::<Tree>(&allowed, max).unwrap();
}

#[test]
fn memory_over_the_budget_is_named() {
    let wide: Vec<Wide> = vec![None; 4000];
    let body = encoded(&wide);
    let error = decode::<Vec<Wide>>(&body, limit(4096)).unwrap_err();
    let CodecError::MemoryLimit {
        needed,
        limit: allowed,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(allowed, 4 * 4096);
    assert!(needed > allowed && needed < 2 * allowed);
    assert!(error.to_string().contains("max_message_size"));
    assert_eq!(
        decode::<Vec<Wide>>(&body, MaxMessageSize::default()).unwrap(),
        wide
    );
}

#[test]
fn messages_up_to_the_limit_pass_both_ways() {
    for max in [16, 250, 4096, 64 * 1024, 1024 * 1024] {
        // The length of the bytes takes 1, 3 or 5 bytes itself.
        let fits = (0..16).map(|less| ByteBuf::from(vec![7; max - less]));
        let exact = fits
            .into_iter()
            .find(|bytes| encoded(bytes).len() == max)
            .unwrap();
        let larger = ByteBuf::from(vec![7; exact.len() + 1]);

        let mut buffer = BytesMut::from(&b"before"[..]);
        assert_eq!(encode(&exact, &mut buffer, limit(max)).unwrap(), max);
        assert_eq!(decode::<ByteBuf>(&buffer[6..], limit(max)).unwrap(), exact);
        assert_eq!(
            decode::<Vec<u8>>(&buffer[6..], limit(max)).unwrap(),
            exact.to_vec()
        );

        buffer.truncate(6);
        let error = encode(&larger, &mut buffer, limit(max)).unwrap_err();
        assert!(
            matches!(error, CodecError::TooLargeToSend { at_least, limit } if at_least == max + 1 && limit == max)
        );
        assert_eq!(&buffer[..], b"before");
        let error = decode::<ByteBuf>(&encoded(&larger), limit(max)).unwrap_err();
        assert!(
            matches!(error, CodecError::TooLargeReceived { length, limit } if length == max + 1 && limit == max)
        );
    }
}

#[test]
fn a_payload_takes_one_allocation() {
    #[derive(Serialize, Deserialize)]
    struct Packet {
        sequence: u64,
        payload: ByteBuf,
    }
    let packet = Packet {
        sequence: 1 << 40,
        payload: ByteBuf::from(vec![3; 64 * 1024]),
    };
    let mut buffer = BytesMut::with_capacity(128 * 1024);
    let encoding = allocation_counter::measure(|| {
        encode(&packet, &mut buffer, MaxMessageSize::default()).unwrap();
    });
    assert_eq!(encoding.count_total, 0);
    let decoding = allocation_counter::measure(|| {
        let decoded: Packet = decode(&buffer, MaxMessageSize::default()).unwrap();
        assert_eq!(decoded.payload.len(), 64 * 1024);
    });
    assert_eq!((decoding.count_total, decoding.bytes_total), (1, 64 * 1024));
}

#[test]
fn wrong_bodies_are_told_apart() {
    let max = MaxMessageSize::default();
    assert!(matches!(
        decode::<u8>(&[1, 2, 3], max),
        Err(CodecError::TrailingBytes { left: 2 })
    ));
    for (error, expected) in [
        (
            decode::<bool>(&[7], max).unwrap_err(),
            "bool is encoded as 7",
        ),
        (
            decode::<(u8, u8)>(&[7], max).map(drop).unwrap_err(),
            "ends 1 bytes or more too early",
        ),
        (
            decode::<String>(&[1, 255], max).map(drop).unwrap_err(),
            "not UTF-8",
        ),
        (
            decode::<Tree>(&[9], max).map(drop).unwrap_err(),
            "variant index",
        ),
    ] {
        assert!(matches!(error, CodecError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = decode::<serde_json::Value>(&[1], max).unwrap_err();
    assert!(matches!(error, CodecError::UnsupportedType { .. }));

    let unserializable = std::cell::RefCell::new(1);
    let _borrowed = unserializable.borrow_mut();
    let mut buffer = BytesMut::new();
    let error = encode(&(1_u8, &unserializable), &mut buffer, max).unwrap_err();
    assert!(matches!(error, CodecError::Unserializable { .. }));
    assert!(buffer.is_empty());
}

type Codec = BincodeCodec<(u32, ByteBuf)>;

fn message(number: u32, length: usize) -> (u32, ByteBuf) {
    (number, ByteBuf::from(vec![7; length]))
}

#[test]
fn an_undecodable_message_is_skipped() {
    let mut stream = BytesMut::new();
    let mut codec = Codec::new(limit(1000));
    codec.encode(message(1, 9), &mut stream).unwrap();
    stream.extend_from_slice(&[0, 0, 0, 3, 255, 255, 255]);
    codec.encode(message(2, 9), &mut stream).unwrap();

    assert_eq!(codec.decode(&mut stream).unwrap(), Some(message(1, 9)));
    assert!(matches!(
        codec.decode(&mut stream),
        Err(CodecError::Malformed { .. })
    ));
    assert_eq!(codec.decode(&mut stream).unwrap(), Some(message(2, 9)));
    assert_eq!(codec.decode(&mut stream).unwrap(), None);
}

#[test]
fn a_length_above_the_limit_ends_all_decoding() {
    let mut codec = Codec::new(limit(1000));
    let mut stream = BytesMut::from(&[0, 0, 4, 0, 1, 2, 3][..]);
    let error = codec.decode(&mut stream).unwrap_err();
    assert!(matches!(
        error,
        CodecError::TooLargeReceived {
            length: 1024,
            limit: 1000
        }
    ));
    assert!(stream.is_empty());
    assert!(codec.decode(&mut stream).unwrap().is_none());

    stream.extend_from_slice(&[0, 0, 0, 2, 1, 0]);
    assert!(codec.decode(&mut stream).is_err());
    assert!(stream.is_empty());

    let framed = Framed::new(Cursor::new(vec![255; 100_000]), Codec::new(limit(1000)));
    let items = block_on(framed.take(1000).collect::<Vec<_>>());
    assert!(items.len() < 20 && items.iter().all(Result::is_err));
}

#[test]
fn a_cut_stream_is_an_error() {
    let mut stream = BytesMut::new();
    Codec::new(limit(1000))
        .encode(message(1, 9), &mut stream)
        .unwrap();
    for length in 1..stream.len() {
        let cut = Cursor::new(stream[..length].to_vec());
        let mut framed = Framed::new(cut, Codec::new(limit(1000)));
        let error = block_on(framed.next()).unwrap().unwrap_err();
        assert!(matches!(error, CodecError::Truncated { received } if received == length));
        assert!(block_on(framed.next()).is_none());
    }
    let error = std::io::Error::from(CodecError::Truncated { received: 3 });
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_claimed_length_reserves_little() {
    let mut codec = Codec::new(limit(1 << 30));
    let mut stream = BytesMut::from(&[0x3f, 0, 0, 0, 1][..]);
    let allocated = allocation_counter::measure(|| {
        assert!(codec.decode(&mut stream).unwrap().is_none());
    });
    assert!(
        allocated.bytes_total <= 65 * 1024,
        "{}",
        allocated.bytes_total
    );
}

#[test]
fn too_large_a_message_writes_nothing() {
    let mut codec = Codec::new(limit(100));
    let mut stream = BytesMut::new();
    codec.encode(message(1, 9), &mut stream).unwrap();
    let before = stream.clone();
    let error = codec.encode(message(2, 100), &mut stream).unwrap_err();
    assert!(matches!(error, CodecError::TooLargeToSend { .. }));
    assert_eq!(stream, before);
}

#[test]
fn framed_carries_messages_end_to_end() {
    let lengths = [0, 1, 250, 251, 8192, 65_536, 1_000_000];
    let sent = block_on(async {
        let mut framed = Framed::new(
            Cursor::new(Vec::new()),
            Codec::new(MaxMessageSize::default()),
        );
        for (number, length) in (0..).zip(lengths) {
            framed.send(message(number, length)).await.unwrap();
        }
        framed.into_inner().into_inner()
    });
    let framed = Framed::new(Cursor::new(sent), Codec::new(MaxMessageSize::default()));
    let received = block_on(framed.map(Result::unwrap).collect::<Vec<_>>());
    let expected: Vec<_> = (0..)
        .zip(lengths)
        .map(|(n, length)| message(n, length))
        .collect();
    assert!(received == expected);
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn tokio_framed_carries_messages_end_to_end() {
    let (near, far) = tokio::io::duplex(1000);
    let codec = BincodeCodec::<(u32, ByteBuf), String>::new(limit(100_000));
    let mut near = tokio_util::codec::Framed::new(near, codec);
    let codec = BincodeCodec::<String, (u32, ByteBuf)>::new(limit(100_000));
    let mut far = tokio_util::codec::Framed::new(far, codec);
    let echo = tokio::spawn(async move {
        while let Some((number, bytes)) = far.next().await.transpose().unwrap() {
            far.send(format!("{number}: {}", bytes.len()))
                .await
                .unwrap();
        }
    });
    for length in [0, 1, 999, 50_000] {
        near.send(message(5, length)).await.unwrap();
        assert_eq!(near.next().await.unwrap().unwrap(), format!("5: {length}"));
    }
    assert!(near.send(message(5, 100_000)).await.is_err());
    drop(near);
    echo.await.unwrap();
}

proptest! {
    #[test]
    fn the_guard_changes_no_value(value in zoo()) {
        let mut buffer = BytesMut::new();
        encode(&value, &mut buffer, MaxMessageSize::default()).unwrap();
        prop_assert_eq!(&buffer[..], &encoded(&value)[..]);
        prop_assert_eq!(decode::<Zoo>(&buffer, MaxMessageSize::default()).unwrap(), value);
    }

    #[test]
    fn the_guard_accepts_no_more_than_bincode(body in prop::collection::vec(0..6_u8, 0..200)) {
        if let Ok(value) = decode::<Vec<(Tree, Option<String>)>>(&body, limit(4096)) {
            prop_assert_eq!(encoded(&value), body);
        }
    }

    #[test]
    fn any_split_decodes_the_same(
        lengths in prop::collection::vec(0..600_usize, 1..8),
        cuts in prop::collection::vec(1..700_usize, 0..40),
    ) {
        let mut codec = Codec::new(limit(1000));
        let mut stream = BytesMut::new();
        for (number, length) in (0..).zip(&lengths) {
            codec.encode(message(number, *length), &mut stream).unwrap();
        }
        let mut arrived = BytesMut::new();
        let mut received = Vec::new();
        let mut cuts = cuts.into_iter();
        while !stream.is_empty() {
            let length = cuts.next().unwrap_or(usize::MAX).min(stream.len());
            arrived.extend_from_slice(&stream.split_to(length));
            while let Some(item) = codec.decode(&mut arrived).unwrap() {
                received.push(item);
            }
        }
        prop_assert!(codec.decode_eof(&mut arrived).unwrap().is_none());
        let expected: Vec<_> = (0..).zip(lengths).map(|(n, length)| message(n, length)).collect();
        prop_assert!(received == expected);
    }
}

#[test]
fn the_prefix_is_four_bytes_big_endian() {
    let mut stream = BytesMut::new();
    Codec::new(limit(1000))
        .encode(message(1, 300), &mut stream)
        .unwrap();
    assert_eq!(&stream[..LENGTH_PREFIX], [0, 0, 1, 48]);
    assert_eq!(stream.len(), LENGTH_PREFIX + 304);
}
