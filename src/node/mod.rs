//! Nodes that are peers: each listens, dials others, and finds more through them.

pub mod book;

use serde::{Deserialize, Serialize};

/// Who a peer is, whatever its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The id of those bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}
