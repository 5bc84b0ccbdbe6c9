//! The integers of frame headers against bincode's.

use bincode::config::standard;
use proptest::prelude::*;
use sessionwire::codec::{VarintError, varint};

proptest! {
    #[test]
    fn varints_are_written_as_bincode_does(value in any::<u64>(), shift in 0..64_u32) {
        let value = value >> shift;
        let mut ours = Vec::new();
        varint::put_u64(&mut ours, value);
        prop_assert_eq!(&ours, &encoded(value));
        prop_assert_eq!(ours.len(), varint::encoded_len(value));
        let mut input = ours.as_slice();
        prop_assert_eq!(varint::take_u64(&mut input), Ok(value));
        prop_assert!(input.is_empty());
        let mut input = ours.as_slice();
        prop_assert_eq!(varint::take_u32(&mut input).ok(), u32::try_from(value).ok());
        for length in 0..ours.len() {
            let truncated = varint::take_u64(&mut &ours[..length]);
            let is_truncated = matches!(truncated, Err(VarintError::Truncated { .. }));
            prop_assert!(is_truncated);
        }
    }

    #[test]
    fn varints_are_read_as_bincode_does(
        first in prop_oneof![any::<u8>(), 248..=255_u8],
        rest in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..12),
    ) {
        let bytes: Vec<u8> = std::iter::once(first).chain(rest).collect();
        let mut input = bytes.as_slice();
        match varint::take_u64(&mut input) {
            Ok(value) => {
                let read = bincode::serde::decode_from_slice::<u64, _>(&bytes, standard()).unwrap();
                prop_assert_eq!((value, bytes.len() - input.len()), read);
                prop_assert_eq!(&bytes[..read.1], &encoded(value)[..]);
            }
            Err(error) => {
                prop_assert_eq!(input, &bytes[..]);
                let read = bincode::serde::decode_from_slice::<u64, _>(&bytes, standard());
                let not_canonical = matches!(error, VarintError::NotCanonical { .. });
                prop_assert_eq!(read.is_ok(), not_canonical);
            }
        }
        if let Ok(value) = varint::take_u32(&mut bytes.as_slice()) {
            prop_assert_eq!(varint::take_u64(&mut bytes.as_slice()), Ok(u64::from(value)));
        }
    }
}

fn encoded(value: u64) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, standard()).expect("encodes")
}
