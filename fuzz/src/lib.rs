//! The body of each fuzz target, so that tests without a fuzzer can run it too.
//!
//! A target is a function here of the target's name that takes bytes and panics on a defect, a
//! wrapper of two lines in `fuzz_targets/`, a `[[bin]]` in `Cargo.toml`, and a line in
//! `tests/corpus.rs`. Its seeds, which are committed, lie in `seeds/<target>/`; what a fuzzer finds
//! worth keeping lies in `corpus/<target>/`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, LinkedList, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sessionwire::codec::{CodecError, MaxMessageSize, decode, encode};

pub use self::messages::channel_messages;
pub use self::websocket::websocket_bytes;

mod messages;
mod websocket;

/// The body of a frame, which the crate decodes by hand: to what bincode makes of it, or not at all.
pub fn decode_frame(data: &[u8]) {
    sessionwire::__fuzzing::decode_frame(data);
}

/// What a peer may send after its Hello: the connection must end, or go on within its limits.
pub fn connection_bytes(data: &[u8]) {
    sessionwire::__fuzzing::connection_bytes(data);
}

/// The first byte chooses a type and a limit, the rest is decoded.
///
/// What decodes must encode again, to no more bytes, and decode to the same; the guard must neither
/// refuse nor change what bincode alone makes of a small body.
pub fn decode_value(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else {
        return;
    };
    let max = [64, 4 * 1024, 64 * 1024, 1024 * 1024][usize::from(choice >> 6)];
    let max = MaxMessageSize::new(max).expect("in range");
    match choice & 0x3f {
        0 => round_trip::<Zoo>(body, max),
        1 => round_trip::<Vec<Option<[u64; 32]>>>(body, max),
        2 => round_trip::<HashMap<String, Vec<u16>>>(body, max),
        3 => round_trip::<BTreeMap<Option<u64>, Tree>>(body, max),
        4 => round_trip::<Vec<Vec<Vec<Box<str>>>>>(body, max),
        5 => round_trip::<(LinkedList<()>, Vec<()>)>(body, max),
        6 => round_trip::<(HashSet<u32>, BTreeSet<i64>)>(body, max),
        7 => round_trip::<Vec<Arc<u64>>>(body, max),
        _ => round_trip::<Zoo>(body, max),
    }
}

/// One of every shape that serde knows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Zoo {
    pub flag: bool,
    pub integers: (i8, i16, i32, i64, i128, u8, u16, u32, u64, u128),
    pub letter: char,
    pub text: String,
    pub bytes: ByteBuf,
    pub slow_bytes: Vec<u8>,
    pub array: [u16; 5],
    pub options: Vec<Option<Box<str>>>,
    pub queue: VecDeque<i64>,
    pub list: LinkedList<u8>,
    pub map: BTreeMap<String, Tree>,
    pub nothings: Vec<()>,
    pub tree: Tree,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Tree {
    Leaf,
    Branch(Box<Tree>),
    Fork { left: Box<Tree>, right: Box<Tree> },
    Named(String, Vec<Tree>),
}

fn round_trip<T>(body: &[u8], max: MaxMessageSize)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let value = match decode::<T>(body, max) {
        Ok(value) => value,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!matches!(error, CodecError::UnsupportedType { .. }));
            return;
        }
    };
    let mut again = BytesMut::new();
    let length = encode(&value, &mut again, max).expect("what was decoded fits");
    assert_eq!(length, again.len());
    // Varints that are longer than needed and repeated keys shrink.
    assert!(length <= body.len());
    assert_eq!(
        decode::<T>(&again, max).expect("what was encoded decodes"),
        value
    );
    // Sound without the guard now: the guard has shown that the claimed lengths are true.
    let (plain, consumed) =
        bincode::serde::decode_from_slice::<T, _>(body, bincode::config::standard())
            .expect("bincode accepts it too");
    assert_eq!(consumed, body.len());
    assert_eq!(plain, value);
}
