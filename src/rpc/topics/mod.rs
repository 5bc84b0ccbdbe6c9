//! Topics: what a service publishes, and subscriptions to it that survive the loss of a connection.
//!
//! A [`Feed`] numbers what is published and keeps the newest of it, once for all who follow. A
//! [`Subscription`] remembers the number of the last item that it has seen; on the next connection
//! it goes on from there. What was lost meanwhile is counted and said in its place: an
//! [`Event::Gap`].

mod allowance;
mod backplane;
mod cursor;
mod doorbell;
mod error;
mod event;
mod feed;
mod limits;
mod machine;
mod options;
mod outgoing;
mod pump;
mod registry;
mod ring;
mod serve;
mod shared;
mod source;
mod subscription;
#[cfg(test)]
mod tests;
mod wire;

pub use self::backplane::{Backplane, BackplaneError, LocalBackplane, Mirror, SharedTopics};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::backplane::{RedisBackplane, RedisConfig};
pub use self::cursor::Cursor;
pub use self::error::{PublishError, SubscribeError};
pub use self::event::{EndReason, Event, GapReason};
pub use self::feed::{Feed, FeedLimits};
pub use self::limits::TopicLimits;
pub use self::options::{Lag, SubscribeOptions};
pub use self::registry::Topics;
pub(super) use self::serve::serve;
pub(super) use self::subscription::Front;
pub use self::subscription::Subscription;
