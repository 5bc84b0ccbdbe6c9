use serde::{Deserialize, Serialize};

/// A place in a feed: behind the item of that number.
///
/// It can be kept in a file, to go on from there in another run of the program:
/// [`SubscribeOptions::after`](super::SubscribeOptions::after).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    origin: u64,
    sequence: u64,
}

impl Cursor {
    /// The place behind item `sequence` of those that `origin` has numbered.
    pub const fn new(origin: u64, sequence: u64) -> Self {
        Self { origin, sequence }
    }

    /// Who numbered the items: a random number that each feed picks when it is made. Numbers of
    /// different origins cannot be compared.
    pub const fn origin(self) -> u64 {
        self.origin
    }

    /// The number of the item, from 1 and without holes; 0 before the first.
    pub const fn sequence(self) -> u64 {
        self.sequence
    }
}
