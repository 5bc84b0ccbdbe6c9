use std::time::Duration;

use super::address::Login;
use crate::transport::TransportConfig;

/// How Redis is spoken to, and what it keeps.
///
/// ```
/// use sessionwire::rpc::RedisConfig;
///
/// let config = RedisConfig::default()
///     .prefix("prices:")
///     .items(10_000)
///     .login("market", "a password");
/// assert!(!format!("{config:?}").contains("a password"));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    pub(super) prefix: String,
    pub(super) items: usize,
    pub(super) answer_timeout: Duration,
    pub(super) publishes_at_once: usize,
    pub(super) publish_bytes: usize,
    pub(super) login: Option<Login>,
    pub(super) database: u32,
    pub(super) transport: TransportConfig,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            prefix: "sessionwire:".to_owned(),
            items: 1024,
            answer_timeout: Duration::from_secs(5),
            publishes_at_once: 256,
            publish_bytes: 4 * 1024 * 1024,
            login: None,
            database: 0,
            transport: TransportConfig::default(),
        }
    }
}

impl RedisConfig {
    /// What the names of all keys begin with: `topic:` and a topic's encoding follow in those of streams, and
    /// `origins` in that of one more key. Default `sessionwire:`.
    ///
    /// Interfaces that share a Redis server need different ones, of which none begins with another.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The items that Redis keeps of a topic, at least; it may keep some more. Default 1,024.
    #[must_use]
    pub fn items(mut self, items: usize) -> Self {
        self.items = items.max(1);
        self
    }

    /// How long it may take until an item is published: waiting for its turn, for a connection and for the
    /// answer. Each step of opening a topic may take as long. Default 5 s.
    #[must_use]
    pub fn answer_timeout(mut self, time: Duration) -> Self {
        self.answer_timeout = time;
        self
    }

    /// The items that are at Redis and not answered, at most. Further ones wait for their turn, until
    /// [`answer_timeout`](Self::answer_timeout). Default 256, at least 1.
    #[must_use]
    pub fn publishes_at_once(mut self, items: usize) -> Self {
        self.publishes_at_once = items.max(1);
        self
    }

    /// The same in bytes of items and topics. Default 4 MiB. One that is larger goes alone.
    #[must_use]
    pub fn publish_bytes(mut self, bytes: usize) -> Self {
        self.publish_bytes = bytes;
        self
    }

    /// The user, which is `default` where there are no others, and the password. Default none.
    ///
    /// What the address says goes before this. The password is in no error, no log and no `Debug`. This
    /// is all that the user needs, with a prefix of `prices:`:
    ///
    /// ```text
    /// ACL SETUSER market on >password ~prices:* +eval +exists +time +hmget +hset +del
    ///     +xinfo|stream +xadd +xdel +xrevrange +xread +client|id +client|unblock +info
    /// ```
    #[must_use]
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some(Login {
            user: Some(user.into()),
            password: password.into(),
        });
        self
    }

    /// The number of the database, unless the address has one. Default 0.
    #[must_use]
    pub fn database(mut self, number: u32) -> Self {
        self.database = number;
        self
    }

    /// How Redis is reached: whom to trust over TLS, and the like.
    #[must_use]
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.transport = transport;
        self
    }
}
