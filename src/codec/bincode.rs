//! Values to bytes and back: bincode 2, `standard()` configuration, through serde.
//!
//! The only file that names the bincode crate.

use bincode::config;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::guard::{Budget, Refusal, Root};
use super::{CodecError, MaxMessageSize};

/// Appends the encoding of `value` to `buffer` and tells its length in bytes.
///
/// The length prefix is not included. Bytes that serde sees one by one (`Vec<u8>`) take tens of
/// times longer than a single copy: put `#[serde(with = "serde_bytes")]` on such fields.
///
/// # Errors
///
/// [`CodecError::TooLargeToSend`] as soon as the encoding exceeds `max`, and
/// [`CodecError::Unserializable`] if the value's own `Serialize` fails or it has a sequence of
/// unknown length. On an error `buffer` is as it was, apart from its capacity.
///
/// ```
/// use bytes::BytesMut;
/// use sessionwire::codec::{CodecError, MaxMessageSize, decode, encode};
///
/// let mut buffer = BytesMut::new();
/// let length = encode(&("hello", 300_u32), &mut buffer, MaxMessageSize::default())?;
/// assert_eq!(length, 9);
///
/// let (word, number): (String, u32) = decode(&buffer, MaxMessageSize::default())?;
/// assert_eq!((word.as_str(), number), ("hello", 300));
/// # Ok::<(), CodecError>(())
/// ```
#[inline]
pub fn encode<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut BytesMut,
    max: MaxMessageSize,
) -> Result<usize, CodecError> {
    let start = buffer.len();
    let mut bounded = Bounded {
        end: start.saturating_add(max.get()),
        refused: None,
        buffer,
    };
    match bincode::serde::encode_into_writer(value, &mut bounded, config::standard()) {
        Ok(()) => Ok(bounded.buffer.len().saturating_sub(start)),
        Err(error) => {
            bounded.buffer.truncate(start);
            Err(match bounded.refused {
                Some(end) => CodecError::TooLargeToSend {
                    at_least: end.saturating_sub(start),
                    limit: max.get(),
                },
                None => unserializable(error),
            })
        }
    }
}

/// Decodes a value from `body`, the whole of one message without its length prefix.
///
/// Whatever `body` holds, decoding allocates at most 16 times `max` in all (at least 4 KiB), and
/// nests at most 128 levels of structs, options, collections and the like. To that end every
/// element of a collection is charged its size in memory, or up to twice that, against a budget of
/// 4 times `max`. A message that is small on the wire and large in memory is refused with
/// [`CodecError::MemoryLimit`]: a `Vec<u64>` of small numbers takes 8 bytes in memory for each on
/// the wire, so it may be about half as long as `max` bytes.
///
/// What no decoder can count are `Deserialize` implementations that allocate for nothing on the
/// wire: skipped or defaulted fields behind a `Box`, several pointers around one small value,
/// collections created with a capacity of their own. A type for messages should have none of these
/// in its collections.
///
/// # Errors
///
/// [`CodecError::TooLargeReceived`], [`CodecError::MemoryLimit`] and [`CodecError::TooDeep`] if a
/// limit is exceeded, [`CodecError::TrailingBytes`] if bytes are left over,
/// [`CodecError::Malformed`] if `body` is no `T`, [`CodecError::UnsupportedType`] if no message can
/// be one.
///
/// ```
/// use sessionwire::codec::{CodecError, MaxMessageSize, decode};
///
/// // Nine bytes that claim to be a string of 16 EiB, and three with one too many.
/// let hostile = [253, 255, 255, 255, 255, 255, 255, 255, 255];
/// assert!(decode::<String>(&hostile, MaxMessageSize::default()).is_err());
/// let error = decode::<(u8, u8)>(&[1, 2, 3], MaxMessageSize::default()).unwrap_err();
/// assert!(matches!(error, CodecError::TrailingBytes { left: 1 }));
/// ```
#[inline]
pub fn decode<T: DeserializeOwned>(body: &[u8], max: MaxMessageSize) -> Result<T, CodecError> {
    if body.len() > max.get() {
        return Err(CodecError::TooLargeReceived {
            length: body.len(),
            limit: max.get(),
        });
    }
    let allowed = max.get().saturating_mul(BUDGET_FACTOR).max(SMALLEST_BUDGET);
    let budget = Budget::new(allowed, body.len());
    let decoded =
        bincode::serde::seed_decode_from_slice(Root::<T>::new(&budget), body, config::standard());
    match decoded {
        Ok((value, consumed)) if consumed == body.len() => Ok(value),
        Ok((_, consumed)) => Err(CodecError::TrailingBytes {
            left: body.len().saturating_sub(consumed),
        }),
        Err(error) => Err(match budget.refusal() {
            Some(Refusal::Memory { needed, limit }) => CodecError::MemoryLimit { needed, limit },
            Some(Refusal::Depth { limit }) => CodecError::TooDeep { limit },
            None => malformed(error),
        }),
    }
}

const BUDGET_FACTOR: usize = 4;

/// The budget in bytes that even the smallest limit comes with, so that it stays usable.
const SMALLEST_BUDGET: usize = 1024;

/// The longest reason kept in an error, in bytes: the text may quote the peer at length.
const LONGEST_REASON: usize = 200;

/// Writes to a buffer up to a length, and keeps in mind where it would have ended.
struct Bounded<'b> {
    buffer: &'b mut BytesMut,
    end: usize,
    refused: Option<usize>,
}

impl Writer for Bounded<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let end = self.buffer.len().saturating_add(bytes.len());
        if end > self.end {
            self.refused = Some(end);
            return Err(EncodeError::UnexpectedEnd);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}

#[cold]
fn unserializable(error: EncodeError) -> CodecError {
    let reason = match error {
        EncodeError::OtherString(said) => said,
        EncodeError::Serde(bincode::serde::EncodeError::SequenceMustHaveLength) => {
            "a sequence or map does not tell its length".to_owned()
        }
        other => other.to_string(),
    };
    CodecError::Unserializable {
        reason: shorten(&reason),
    }
}

#[cold]
fn malformed(error: DecodeError) -> CodecError {
    let reason = match error {
        DecodeError::Serde(unsupported) => {
            return CodecError::UnsupportedType {
                reason: shorten(&format!("{unsupported:?}")),
            };
        }
        DecodeError::UnexpectedEnd { additional } => {
            format!("it ends {additional} bytes or more too early")
        }
        DecodeError::InvalidBooleanValue(found) => {
            format!("a bool is encoded as {found} instead of 0 or 1")
        }
        DecodeError::UnexpectedVariant {
            found, type_name, ..
        } => {
            format!("{type_name} has no variant {found}")
        }
        DecodeError::InvalidIntegerType { expected, found } => {
            format!("an integer is of type {found:?} instead of {expected:?}")
        }
        DecodeError::Utf8 { inner } => format!("a string is not UTF-8: {inner}"),
        DecodeError::OtherString(said) => said,
        other => other.to_string(),
    };
    CodecError::Malformed {
        reason: shorten(&reason),
    }
}

fn shorten(reason: &str) -> Box<str> {
    reason
        .char_indices()
        .take_while(|(start, _)| *start < LONGEST_REASON)
        .map(|(_, character)| character)
        .collect()
}
