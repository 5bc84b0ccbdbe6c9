//! The one message every contestant carries, and how it is encoded.

use bincode::config::{Configuration, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use crate::peer::Result;

/// No frame may be longer, wherever a codec knows a limit.
pub const FRAME_LIMIT: usize = 4 << 20;

/// bincode's `standard()` configuration with the limit.
pub const BINCODE: Configuration<LittleEndian, Varint, bincode::config::Limit<FRAME_LIMIT>> =
    bincode::config::standard().with_limit::<FRAME_LIMIT>();

/// What is sent: an ordinary serde struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    pub sequence: u64,
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

impl Message {
    /// A message of `size` bytes of payload, whose last byte is 1.
    pub fn new(size: usize) -> Self {
        let mut payload = vec![0; size];
        if let Some(last) = payload.last_mut() {
            *last = 1;
        }
        Self {
            sequence: 0,
            payload,
        }
    }

    /// The receiver's check: the sequence number, the length and the last byte.
    pub fn check(&self, sequence: u64, size: usize) -> Result<()> {
        let last_is_right = self.payload.last().is_none_or(|last| *last == 1);
        if self.sequence == sequence && self.payload.len() == size && last_is_right {
            return Ok(());
        }
        let (got, length) = (self.sequence, self.payload.len());
        Err(format!("expected message {sequence} of {size} bytes, got {got} of {length}").into())
    }

    /// Appends the encoding, straight into the buffer that will be written.
    pub fn encode(&self, buffer: &mut BytesMut) -> Result<()> {
        bincode::serde::encode_into_writer(self, Append(buffer), BINCODE)?;
        Ok(())
    }

    /// Decodes an owned message out of exactly these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (message, read) = bincode::serde::decode_from_slice(bytes, BINCODE)?;
        if read == bytes.len() {
            Ok(message)
        } else {
            Err("bytes remain after the message".into())
        }
    }
}

struct Append<'a>(&'a mut BytesMut);

impl Writer for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
