use std::fmt::Debug;
use std::hash::Hash;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::runtime::{MaybeSend, MaybeSync};

/// What can be asked of a service and followed there: the types that both sides agree on.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sessionwire::rpc::Interface;
///
/// /// What things cost.
/// enum Prices {}
///
/// #[derive(Serialize, Deserialize)]
/// struct PriceOf(String);
///
/// impl Interface for Prices {
///     const NAME: &'static str = "prices/1";
///     type Request = PriceOf;
///     type Response = Option<u64>;
///     type Topic = String;
///     type Item = u64;
/// }
/// ```
pub trait Interface: 'static {
    /// Its name, with a version: at most 200 bytes. Another name is another interface, so count the
    /// version up when a type changes.
    const NAME: &'static str;
    /// What is asked.
    type Request: Serialize + DeserializeOwned + MaybeSend + MaybeSync + 'static;
    /// What is answered, the application's own errors among it.
    type Response: Serialize + DeserializeOwned + MaybeSend + 'static;
    /// What is followed; [`Never`] for an interface of calls alone.
    type Topic: Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Eq
        + Hash
        + MaybeSend
        + MaybeSync
        + 'static;
    /// What comes on a topic.
    type Item: Serialize + DeserializeOwned + MaybeSend + MaybeSync + 'static;
}

/// A type without values: what an interface of calls alone has for topics, and one of topics alone
/// for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Never {}
