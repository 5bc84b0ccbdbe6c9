//! What several processes of one service publish, for the subscribers of each.

mod error;
mod local;
mod mirror;
#[cfg(feature = "redis")]
mod redis;
mod topics;

use bytes::Bytes;

pub use self::error::BackplaneError;
pub use self::local::LocalBackplane;
pub use self::mirror::Mirror;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::{RedisBackplane, RedisConfig};
pub use self::topics::SharedTopics;
use super::cursor::Cursor;
use crate::runtime::{MaybeSend, MaybeSync};

/// Numbers the items of topics and carries them to every process of a service: a cursor means the same in
/// all of them, so that a subscription goes on with another process where it was.
///
/// [`LocalBackplane`] is for one process, `RedisBackplane` (feature `redis`) for many.
pub trait Backplane: MaybeSend + MaybeSync + 'static {
    /// Numbers an item of a topic and keeps it for all who follow the topic.
    ///
    /// Items of one topic are numbered in the order in which this was first polled for them.
    ///
    /// # Errors
    ///
    /// The error says whether the item
    /// [may have been published](BackplaneError::may_have_been_published).
    fn publish(
        &self,
        topic: Bytes,
        item: Bytes,
    ) -> impl Future<Output = Result<Cursor, BackplaneError>> + MaybeSend;

    /// Puts what a topic has into a mirror, and resolves; then puts there what comes, in its order, for as
    /// long as the mirror [is wanted](Mirror::is_wanted).
    fn follow(
        &self,
        topic: Bytes,
        mirror: Mirror,
    ) -> impl Future<Output = Result<(), BackplaneError>> + MaybeSend;
}
