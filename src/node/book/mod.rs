//! Whom to dial, and whom to shun.
//!
//! A [`Book`] knows addresses, who answered there, and who misbehaved. A node tells it what
//! happens and what time it is, and does what [`poll`](Book::poll) asks for: dial, ask a peer for
//! addresses, drop one, save. It does no I/O of its own, so that days pass in a test in no time.
//!
//! Addresses that were only heard of are *new*; where a peer has answered, they are *tried*. Both
//! lie in buckets of 64 that are chosen by a secret, the address's group and the group of whoever
//! told of it, so that one party, or a few, cannot fill the book however many addresses it makes
//! up. A group is an IPv4 /16, an IPv6 /32, or the last two labels of a host's name.
//!
//! An address from a peer is taken only if the peer could itself be further away: from the
//! internet no private addresses, from another machine no `127.0.0.1` and no `unix://`. The same
//! holds for what a peer is told.
//!
//! # Memory
//!
//! At most 4,096 new, 1,024 tried and 256 kept addresses of up to 256 bytes, and 4,096 peers and
//! 4,096 addresses that misbehaved. A full book of IPv4 addresses takes 2.2 MB.

pub use self::config::BookConfig;
pub(super) use self::location::owner;
pub use self::machine::{BAN, Book, BookAction, Breach, DialFailure, MOST_ADDRESSES, Purpose};
pub use self::snapshot::{LARGEST_SNAPSHOT, SnapshotError};
pub use self::store::{FileStore, SaveError, Store, open, save};

mod config;
mod location;
mod machine;
mod snapshot;
mod store;
