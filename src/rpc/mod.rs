//! Calls and subscriptions, over a link that reconnects.
//!
//! An [`Interface`] names the types that both sides agree on. A [`Service`] answers it; a
//! [`Client`] asks, and follows topics. The client stands on a [`Link`], which keeps one connection
//! up for as many clients and protocols as wanted.

#[cfg(test)]
mod cable;
mod calls;
mod client;
mod fault;
mod interface;
mod link;
mod serve;
mod service;
mod topics;

#[cfg(feature = "tower")]
pub use self::calls::FromTower;
pub use self::calls::{CallError, CallLimits, CallOptions, Delivery, Loss};
pub use self::client::{Client, ClientConfig};
pub use self::fault::{Fault, FaultKind};
pub use self::interface::{Interface, Never};
pub use self::link::{
    Attempt, DialError, Dialer, Link, LinkConfig, LinkError, LinkEvent, LinkFailure, LinkState,
    LinkWatch,
};
pub use self::serve::ServiceLimits;
pub use self::service::{Caller, Service};
pub use self::topics::{
    Backplane, BackplaneError, Cursor, EndReason, Event, Feed, FeedLimits, GapReason, Lag,
    LocalBackplane, Mirror, PublishError, SharedTopics, SubscribeError, SubscribeOptions,
    Subscription, TopicLimits, Topics,
};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::topics::{RedisBackplane, RedisConfig};
