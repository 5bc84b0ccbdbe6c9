//! The protocols that the tests speak.

use serde::{Deserialize, Serialize};
use sessionwire::protocol;

/// The newest of these that the server has?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Find(pub(crate) Vec<u64>);
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found(pub(crate) u64);
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotFound;
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestNext;
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forward(pub(crate) u64);
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backward(pub(crate) u64);
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Await;
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done;

protocol! {
    /// Follows a chain.
    pub(crate) Sync = "sync" version 1;

    Idle: Client(secs(60), 1024) {
        0 Find => Asked,
        1 RequestNext => Next,
        2 Done => End,
    }
    Asked: Server(secs(10), 1024) {
        0 Found => Idle,
        1 NotFound => Idle,
    }
    Next: Server(secs(10), 64 * KIB) {
        0 Forward => Idle,
        1 Backward => Idle,
        2 Await => Must,
    }
    Must: Server(mins(10), 64 * KIB) {
        0 Forward => Idle,
        1 Backward => Idle,
    }
}

/// One question, one answer, over.
pub(crate) mod once {
    use super::protocol;

    protocol! {
        /// Doubles a number.
        pub(crate) Double = "double" version 1;

        Asking: Client(secs(10), 16) { 7 Number: u64 => Answering }
        Answering: Server(secs(10), 16) { 7 Number: u64 => End }
    }
}

/// The server speaks first, and goes on as long as it likes.
pub(crate) mod stream {
    use super::protocol;

    protocol! {
        /// Streams blocks.
        pub(crate) Blocks = "blocks" version 3;

        Streaming: Server(secs(5), 512 * KIB) {
            0 Block: Vec<u8> => Streaming,
            1 Batch: u32 => Deciding,
        }
        Deciding: Client(secs(5), 1) {
            0 More: () => Streaming,
            1 Enough: bool => End,
        }
    }
}
