//! Redis as a backplane: a topic is a stream there.
//!
//! An entry's id is `<origin>-<sequence>`: Redis counts the second part up by itself when it is asked for
//! `<origin>-*`, so that numbers have no holes, and mean the same to whoever reads them. The origin
//! is the time at which the stream was made; a stream that was lost gets another one.

mod address;
mod asks;
mod commands;
mod config;
mod connection;
mod queue;
mod reader;
mod refusal;
mod server;

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use self::address::Address;
use self::asks::Asks;
use self::commands::Entry;
pub use self::config::RedisConfig;
use self::reader::Followed;
use self::server::Server;
use super::Backplane;
use super::error::BackplaneError;
use super::mirror::Mirror;
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::feed::FeedLimits;
use crate::runtime;

/// A [`Backplane`] over a Redis server of version 7.0 or later, or Valkey. A clone is another handle to the
/// same.
///
/// It has two connections. Over one of them go the items of this process: what is published while Redis
/// answers goes to it together, as soon as it has answered. Over the other one all topics are followed.
/// Either is made again when it is lost. What was published meanwhile comes then, as far as the stream
/// keeps it. Should Redis lose its data, other numbers begin: subscribers are told by a gap, `Restarted`. The
/// same holds if it loses only the newest of it, unless others are published before this process looks
/// again: then those have the numbers of the lost ones, and subscribers miss them without being told.
///
/// # Order, and lost connections
///
/// Items of this process are numbered in the order in which their `publish` was first polled, whether the
/// earlier ones were awaited or not. Nothing is ever sent twice, so no item is there twice. One whose
/// answer never came is told as an error that
/// [may have been published](BackplaneError::may_have_been_published): the program chooses whether it
/// publishes again, and then two may be there, or the first may come behind items that were published
/// later. Not every error leaves that open: of most it is certain that the item was not published.
///
/// ```no_run
/// # futures::executor::block_on(async {
/// use sessionwire::rpc::{RedisBackplane, RedisConfig};
///
/// let config = RedisConfig::default().prefix("prices:");
/// let backplane = RedisBackplane::connect("redis://user:password@localhost:6379/1", config).await?;
/// # Ok::<(), sessionwire::rpc::BackplaneError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct RedisBackplane {
    shared: Arc<Shared>,
}

struct Shared {
    server: Arc<Server>,
    asks: Arc<Asks>,
    followed: Mutex<FxHashMap<Bytes, Followed>>,
    /// What Redis calls the reader's connection, while there is one.
    reader: Mutex<Option<i64>>,
}

impl RedisBackplane {
    /// Connects to a server, and logs in.
    ///
    /// | address | what it is |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | TCP; all but the host may be left out |
    /// | `rediss://user:password@host:6379/0` | the same over TLS, with the feature `tls` |
    /// | `redis+unix:///path?db=0&user=user&pass=password` | a Unix socket |
    /// | `tcp://host:port`, `tls://host:port`, `unix:///path` | an [`Endpoint`](crate::transport::Endpoint); the login and the database are set on [`RedisConfig`] |
    ///
    /// `valkey` may stand for `redis`. What is special in a user or a password is percent-encoded: `%40`
    /// for `@`. Whom to trust over TLS is set on [`RedisConfig::transport`].
    ///
    /// # Errors
    ///
    /// After one that [is fatal](BackplaneError::is_fatal), such as a wrong password, someone must change
    /// something before another attempt can succeed.
    pub async fn connect(
        address: impl AsRef<str>,
        config: RedisConfig,
    ) -> Result<Self, BackplaneError> {
        let address = Address::parse(address.as_ref())?;
        let runtime = runtime::current();
        let asks = Arc::new(Asks::new(&config, Arc::clone(&runtime)));
        let server = Arc::new(Server::new(address, config, Arc::clone(&runtime)));
        let first = server.connect().await?;
        let asking = asks::run(Arc::clone(&asks), Arc::clone(&server), first);
        runtime.spawn(Box::pin(asking));
        Ok(Self {
            shared: Arc::new(Shared {
                server,
                asks,
                followed: Mutex::default(),
                reader: Mutex::default(),
            }),
        })
    }
}

impl Backplane for RedisBackplane {
    async fn publish(&self, topic: Bytes, item: Bytes) -> Result<Cursor, BackplaneError> {
        let key = self.shared.key(&topic);
        let keep = self.shared.server.config.items;
        let weight = key.len().saturating_add(item.len());
        let command = commands::publish(&key, keep, &item);
        commands::cursor(self.shared.asks.ask(weight, command).await?)
    }

    async fn follow(&self, topic: Bytes, mirror: Mirror) -> Result<(), BackplaneError> {
        let key = self.shared.key(&topic);
        let end = self.shared.asks.ask(key.len(), commands::begin(&key));
        let end = commands::cursor(end.await?)?;
        let entries = self.shared.newest(&key, end, mirror.limits()).await?;
        mirror.begin(entries.first().map_or(end, |(cursor, _)| {
            Cursor::new(cursor.origin(), cursor.sequence().saturating_sub(1))
        }));
        for (cursor, item) in entries {
            mirror.put(cursor, item);
        }
        self.shared.read(key, Followed::new(end, mirror)).await;
        Ok(())
    }
}

impl Shared {
    fn key(&self, topic: &[u8]) -> Bytes {
        [self.server.config.prefix.as_bytes(), topic]
            .concat()
            .into()
    }

    /// The newest entries up to `end`, in their order, as many as a feed keeps.
    async fn newest(
        &self,
        key: &[u8],
        end: Cursor,
        limits: FeedLimits,
    ) -> Result<Vec<Entry>, BackplaneError> {
        let (mut bytes, mut newest) = (0, Vec::new());
        let mut command = commands::newest(key, end, false);
        loop {
            // The answer is large: nothing else is asked with it.
            let entries = commands::entries(self.asks.ask(usize::MAX, command).await?)?;
            let Some((oldest, _)) = entries.last() else {
                break;
            };
            command = commands::newest(key, *oldest, true);
            for (cursor, item) in entries {
                bytes = usize::saturating_add(bytes, item.len());
                newest.push((cursor, item));
            }
            if newest.len() >= limits.items || bytes >= limits.bytes {
                break;
            }
        }
        newest.reverse();
        Ok(newest)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.asks.close();
    }
}

impl fmt::Debug for RedisBackplane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisBackplane")
            .field("endpoint", &self.shared.server.endpoint)
            .finish_non_exhaustive()
    }
}
