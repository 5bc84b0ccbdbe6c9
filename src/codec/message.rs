//! Values over a byte stream: length-delimited bincode.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CodecError, LENGTH_PREFIX, MaxMessageSize, decode, decode_length, encode};

/// Frames a byte stream into values: sends `Tx`, receives `Rx`, as length-delimited bincode.
///
/// It implements [`asynchronous_codec::Encoder`] and [`asynchronous_codec::Decoder`], and
/// `tokio_util::codec`'s with the feature `tokio`, so that `Framed::new(stream, codec)` of either
/// crate is a `Stream` of `Rx` and a `Sink` of `Tx`.
///
/// # Errors
///
/// A message that is complete but undecodable is consumed: decoding may go on with the next one,
/// though tokio's `Framed` ends the stream after any error. A length above the limit leaves no way
/// to find the next message. The codec drops all input from then on, and returns the same error
/// whenever there is some; keep the stream no longer. A stream that ends inside a message is
/// [`CodecError::Truncated`]. Encoding a value that is too large writes nothing, and the codec
/// stays usable.
///
/// While a message arrives, room is reserved for what is there and at most 64 KiB more, whatever
/// length it announces (and `BytesMut` itself doubles what it has when it grows).
///
/// # Example
///
/// ```
/// use asynchronous_codec::Framed;
/// use futures::io::Cursor;
/// use futures::{SinkExt, StreamExt};
/// use sessionwire::codec::{BincodeCodec, CodecError, MaxMessageSize};
///
/// # futures::executor::block_on(async {
/// let codec = BincodeCodec::<(u32, String)>::new(MaxMessageSize::default());
/// let mut writer = Framed::new(Cursor::new(Vec::new()), codec.clone());
/// writer.send((1, "one".to_owned())).await?;
/// writer.send((2, "two".to_owned())).await?;
///
/// let bytes = writer.into_inner().into_inner();
/// let mut reader = Framed::new(Cursor::new(bytes), codec);
/// assert_eq!(reader.next().await.transpose()?, Some((1, "one".to_owned())));
/// assert_eq!(reader.next().await.transpose()?, Some((2, "two".to_owned())));
/// assert_eq!(reader.next().await.transpose()?, None);
/// # Ok::<(), CodecError>(())
/// # }).unwrap();
/// ```
pub struct BincodeCodec<Tx, Rx = Tx> {
    max: MaxMessageSize,
    failed: Option<CodecError>,
    types: PhantomData<fn(Tx) -> Rx>,
}

impl<Tx, Rx> BincodeCodec<Tx, Rx> {
    /// Makes a codec that neither sends nor accepts messages larger than `max`.
    pub const fn new(max: MaxMessageSize) -> Self {
        Self {
            max,
            failed: None,
            types: PhantomData,
        }
    }

    /// The limit in force in both directions.
    pub const fn max_message_size(&self) -> MaxMessageSize {
        self.max
    }
}

impl<Tx: Serialize, Rx> asynchronous_codec::Encoder for BincodeCodec<Tx, Rx> {
    type Item<'a> = Tx;
    type Error = CodecError;

    fn encode(&mut self, item: Tx, buffer: &mut BytesMut) -> Result<(), CodecError> {
        self.append(&item, buffer)
    }
}

impl<Tx, Rx: DeserializeOwned> asynchronous_codec::Decoder for BincodeCodec<Tx, Rx> {
    type Item = Rx;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Rx>, CodecError> {
        self.take(buffer)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Rx>, CodecError> {
        self.take_last(buffer)
    }
}

#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
impl<Tx: Serialize, Rx> tokio_util::codec::Encoder<Tx> for BincodeCodec<Tx, Rx> {
    type Error = CodecError;

    fn encode(&mut self, item: Tx, buffer: &mut BytesMut) -> Result<(), CodecError> {
        self.append(&item, buffer)
    }
}

#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
impl<Tx, Rx: DeserializeOwned> tokio_util::codec::Decoder for BincodeCodec<Tx, Rx> {
    type Item = Rx;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Rx>, CodecError> {
        self.take(buffer)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Rx>, CodecError> {
        self.take_last(buffer)
    }
}

impl<Tx, Rx> Clone for BincodeCodec<Tx, Rx> {
    fn clone(&self) -> Self {
        Self {
            max: self.max,
            failed: self.failed.clone(),
            types: PhantomData,
        }
    }
}

impl<Tx, Rx> fmt::Debug for BincodeCodec<Tx, Rx> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BincodeCodec")
            .field("sends", &type_name::<Tx>())
            .field("receives", &type_name::<Rx>())
            .field("max_message_size", &self.max.get())
            .field("failed", &self.failed)
            .finish()
    }
}

/// What is reserved at most beyond what has arrived, in bytes.
const READ_AHEAD: usize = 64 * 1024;

impl<Tx: Serialize, Rx> BincodeCodec<Tx, Rx> {
    fn append(&self, item: &Tx, buffer: &mut BytesMut) -> Result<(), CodecError> {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; LENGTH_PREFIX]);
        let written = encode(item, buffer, self.max);
        let length = match written {
            Ok(length) => length,
            Err(error) => {
                buffer.truncate(start);
                return Err(error);
            }
        };
        let prefix = buffer
            .get_mut(start..)
            .and_then(<[u8]>::first_chunk_mut::<LENGTH_PREFIX>);
        if let (Some(prefix), Ok(length)) = (prefix, u32::try_from(length)) {
            *prefix = length.to_be_bytes();
        }
        Ok(())
    }
}

impl<Tx, Rx: DeserializeOwned> BincodeCodec<Tx, Rx> {
    fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Rx>, CodecError> {
        if let Some(failure) = &self.failed {
            return match drop_all(buffer) {
                0 => Ok(None),
                _ => Err(failure.clone()),
            };
        }
        let length = match decode_length(buffer, self.max.get()) {
            Ok(Some(length)) => length,
            Ok(None) => return Ok(None),
            Err(error) => {
                drop_all(buffer);
                self.failed = Some(error.clone());
                return Err(error);
            }
        };
        let end = LENGTH_PREFIX.saturating_add(length);
        let Some(body) = buffer.get(LENGTH_PREFIX..end) else {
            buffer.reserve(end.saturating_sub(buffer.len()).min(READ_AHEAD));
            return Ok(None);
        };
        let decoded = decode(body, self.max);
        buffer.advance(end);
        decoded.map(Some)
    }

    fn take_last(&mut self, buffer: &mut BytesMut) -> Result<Option<Rx>, CodecError> {
        if let Some(item) = self.take(buffer)? {
            return Ok(Some(item));
        }
        match drop_all(buffer) {
            0 => Ok(None),
            received => Err(CodecError::Truncated { received }),
        }
    }
}

/// Empties the buffer and tells how many bytes it held.
fn drop_all(buffer: &mut BytesMut) -> usize {
    let dropped = buffer.len();
    buffer.clear();
    dropped
}
