//! Integers as bincode writes them, for headers that are encoded by hand.
//!
//! Values up to 250 take one byte; then 251 and a `u16`, 252 and a `u32`, or 253 and a `u64`, each
//! little-endian. bincode reads any of these for a small value; here only the shortest is accepted,
//! so that every value has one encoding.

use bytes::BufMut;

/// Why bytes are no canonical integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VarintError {
    /// The input ends inside the integer.
    #[error("the peer's frame ends inside an integer: {missing} more bytes are needed")]
    Truncated {
        /// How many bytes are missing.
        missing: usize,
    },

    /// The integer takes more bytes than its value needs.
    #[error("the peer encoded the integer {value} in {length} bytes instead of the fewest")]
    NotCanonical {
        /// The value.
        value: u64,
        /// The bytes it took.
        length: usize,
    },

    /// The first byte announces an integer wider than the field.
    #[error(
        "the peer sent an integer with first byte {first}, too wide for a field of {bits} bits"
    )]
    TooWide {
        /// The first byte.
        first: u8,
        /// The width of the field.
        bits: u32,
    },
}

/// Appends `value`, in [`encoded_len`] bytes.
///
/// # Panics
///
/// As [`BufMut`] does, if a buffer that cannot grow is full.
///
/// ```
/// use sessionwire::codec::varint;
///
/// let mut frame = Vec::new();
/// varint::put_u32(&mut frame, 250);
/// varint::put_u32(&mut frame, 251);
/// assert_eq!(frame, [250, 251, 251, 0]);
///
/// let mut input = frame.as_slice();
/// assert_eq!(varint::take_u32(&mut input), Ok(250));
/// assert_eq!(varint::take_u32(&mut input), Ok(251));
/// assert!(input.is_empty());
/// ```
#[inline]
pub fn put_u32(buffer: &mut impl BufMut, value: u32) {
    put_u64(buffer, u64::from(value));
}

/// Appends `value`, in [`encoded_len`] bytes.
///
/// # Panics
///
/// As [`BufMut`] does, if a buffer that cannot grow is full.
#[inline]
pub fn put_u64(buffer: &mut impl BufMut, value: u64) {
    if let Some(byte) = narrow::<u8>(value).filter(|byte| *byte <= SINGLE_BYTE_LARGEST) {
        buffer.put_u8(byte);
    } else if let Some(short) = narrow::<u16>(value) {
        buffer.put_u8(U16_FOLLOWS);
        buffer.put_u16_le(short);
    } else if let Some(word) = narrow::<u32>(value) {
        buffer.put_u8(U32_FOLLOWS);
        buffer.put_u32_le(word);
    } else {
        buffer.put_u8(U64_FOLLOWS);
        buffer.put_u64_le(value);
    }
}

/// Takes a `u32` off the front of `input`, which is left as it was on an error.
///
/// # Errors
///
/// [`VarintError`] if the input is too short, the encoding longer than needed, or the value too
/// wide.
#[inline]
pub fn take_u32(input: &mut &[u8]) -> Result<u32, VarintError> {
    match input.first() {
        Some(&first) if first > U32_FOLLOWS => Err(VarintError::TooWide { first, bits: 32 }),
        // The value is at most u32::MAX, as checked on the first byte.
        _ => take_u64(input).map(|value| narrow::<u32>(value).unwrap_or(u32::MAX)),
    }
}

/// Takes a `u64` off the front of `input`, which is left as it was on an error.
///
/// # Errors
///
/// [`VarintError`] if the input is too short, the encoding longer than needed, or the value too
/// wide.
#[inline]
pub fn take_u64(input: &mut &[u8]) -> Result<u64, VarintError> {
    let Some((&first, rest)) = input.split_first() else {
        return Err(VarintError::Truncated { missing: 1 });
    };
    let (value, rest) = match first {
        U16_FOLLOWS => {
            let (bytes, rest) = take_chunk(rest)?;
            (u64::from(u16::from_le_bytes(bytes)), rest)
        }
        U32_FOLLOWS => {
            let (bytes, rest) = take_chunk(rest)?;
            (u64::from(u32::from_le_bytes(bytes)), rest)
        }
        U64_FOLLOWS => {
            let (bytes, rest) = take_chunk(rest)?;
            (u64::from_le_bytes(bytes), rest)
        }
        single if single <= SINGLE_BYTE_LARGEST => {
            *input = rest;
            return Ok(u64::from(single));
        }
        _ => return Err(VarintError::TooWide { first, bits: 64 }),
    };
    let length = input.len().saturating_sub(rest.len());
    if length != encoded_len(value) {
        return Err(VarintError::NotCanonical { value, length });
    }
    *input = rest;
    Ok(value)
}

/// How many bytes `value` takes: 1, 3, 5 or 9.
#[inline]
pub const fn encoded_len(value: u64) -> usize {
    match value {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

const SINGLE_BYTE_LARGEST: u8 = 250;
const U16_FOLLOWS: u8 = 251;
const U32_FOLLOWS: u8 = 252;
const U64_FOLLOWS: u8 = 253;

#[inline]
fn narrow<T: TryFrom<u64>>(value: u64) -> Option<T> {
    T::try_from(value).ok()
}

#[inline]
fn take_chunk<const LENGTH: usize>(input: &[u8]) -> Result<([u8; LENGTH], &[u8]), VarintError> {
    match input.split_first_chunk::<LENGTH>() {
        Some((bytes, rest)) => Ok((*bytes, rest)),
        None => Err(VarintError::Truncated {
            missing: LENGTH.saturating_sub(input.len()),
        }),
    }
}
