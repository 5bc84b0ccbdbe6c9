//! The length in front of every frame and message.

use super::CodecError;

/// The bytes that the length in front of a body takes: a big-endian `u32`.
pub const LENGTH_PREFIX: usize = 4;

/// Reads the length at the start of `buffer` and checks it against `max`, in bytes.
///
/// Answers the length of the body that follows the prefix, `None` while fewer than
/// [`LENGTH_PREFIX`] bytes are there. It looks at the prefix only: the body may still be under way.
/// Check it this way before reserving memory for a body, as the length is only the peer's word.
///
/// # Errors
///
/// [`CodecError::TooLargeReceived`] if the length is above `max`. Where the next body starts is
/// unknown from then on, so the stream is of no further use.
///
/// ```
/// use sessionwire::codec::{CodecError, decode_length};
///
/// assert_eq!(decode_length(&[0, 0, 0], 1024).unwrap(), None);
/// assert_eq!(decode_length(&[0, 0, 1, 0, 7, 7], 1024).unwrap(), Some(256));
/// let refused = decode_length(&[255, 255, 255, 255], 1024).unwrap_err();
/// assert!(matches!(refused, CodecError::TooLargeReceived { limit: 1024, .. }));
/// ```
#[inline]
pub fn decode_length(buffer: &[u8], max: usize) -> Result<Option<usize>, CodecError> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_PREFIX>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes(*prefix);
    // A length that this machine cannot even address is above every limit.
    let length = usize::try_from(announced).unwrap_or(usize::MAX);
    if length > max {
        return Err(CodecError::TooLargeReceived { length, limit: max });
    }
    Ok(Some(length))
}
