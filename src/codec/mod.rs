//! A byte stream to messages, and values to bytes: no sockets, no clock, no `async`.
//!
//! A message is `[u32 big-endian length][body]`, and the body is the value in bincode 2's
//! `standard()` encoding through serde. [`BincodeCodec`] does both for anything that frames a
//! stream; [`encode`] and [`decode`] do the body alone, [`decode_length`] the prefix alone, and
//! [`varint`] the integers of frame headers that are written by hand.
//!
//! Nothing that a peer sends makes this module panic, nor allocate or recurse without bound:
//! [`decode`] tells the bounds.

pub mod varint;
#[cfg(test)]
pub(crate) mod vectors;

pub use self::bincode::{decode, encode};
pub use self::error::CodecError;
pub use self::length::{LENGTH_PREFIX, decode_length};
pub use self::limit::MaxMessageSize;
pub use self::message::BincodeCodec;
pub use self::varint::VarintError;

mod bincode;
mod error;
mod guard;
mod length;
mod limit;
mod message;
#[cfg(test)]
mod tests;
