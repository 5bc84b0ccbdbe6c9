//! Redis as a backplane: a topic is a stream there.
//!
//! An entry's id is `<origin>-<sequence>`: Redis counts the second part up by itself when it is asked for
//! `<origin>-*`, so that numbers have no holes, and mean the same to whoever reads them. An origin is the time
//! in microseconds at which it was given to a stream; if the clock was ahead once, a number above the last
//! one that differs from run to run. Ids of 2^53 and more are refused.
//!
//! A Redis that starts again, or another one that takes its place, may have lost its newest entries, and
//! cannot tell: it would give their numbers to other items. So an origin belongs to one run of one server.
//! A hash beside the streams says which `run` that is, which origin was the `last` that it has given, and,
//! of each stream that was used in it, which one it has. A stream with another origin than that, or with
//! less than was seen of it, gets a new one, above all that were given, from whoever comes first to publish
//! there or to read on. What is left of the former one stays before it in the stream, until it is trimmed.
//!
//! This does not see older data of a run that is put back in the same run: a copy was the primary while no
//! process spoke to it, and the one before it took over again, with what the copy had.

mod address;
mod asks;
mod commands;
mod config;
mod connection;
mod following;
mod queue;
mod reader;
mod refusal;
mod scripts;
mod server;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use self::address::Address;
use self::asks::Asks;
pub use self::config::RedisConfig;
use self::following::{Entry, Following};
use self::scripts::Keys;
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
/// keeps it.
///
/// # A Redis that starts again
///
/// It may have lost all of its data, or the newest of it, and cannot tell. So whenever it starts again, or
/// another one takes its place, other numbers begin: subscribers are told by a gap, `Restarted`, even if
/// nothing is missing. What is left of the former numbers comes before the gap, as far as feeds keep it.
///
/// Redis is asked for its run by `INFO server`. A service in its place that does not say `run_id` there is
/// taken to have never started again: if it loses its newest items, others get their numbers, and
/// subscribers miss them without being told. The same holds if older data is put back while Redis runs.
///
/// # How topics are read
///
/// Of each topic up to 16 items are read at once, of all together up to 1,024, or one of each topic if more
/// are followed: so many are held beside what feeds keep. When a topic is opened, what its feed keeps is read
/// in answers of 1,024 items or 1 MiB, and a few items more. A topic that Redis refuses, such as one whose key
/// has something else in it than a stream, is logged once and tried again every 5 s; the others go on.
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
    following: Mutex<Following<Mirror>>,
    /// Why topics that are followed get nothing.
    away: Mutex<Option<BackplaneError>>,
    /// The key of the hash that says which origins hold.
    origins: Bytes,
}

/// Between the prefix and a topic: whatever the topic is, its key is not the other one.
const STREAM: &[u8] = b"topic:";
/// Behind the prefix, in the name of the hash that says which origins hold.
const ORIGINS: &[u8] = b"origins";

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
        let origins = [config.prefix.as_bytes(), ORIGINS].concat().into();
        let server = Arc::new(Server::new(address, config, Arc::clone(&runtime)));
        let first = server.connect().await?;
        let asking = asks::run(Arc::clone(&asks), Arc::clone(&server), first);
        runtime.spawn(Box::pin(asking));
        Ok(Self {
            shared: Arc::new(Shared {
                server,
                asks,
                following: Mutex::default(),
                away: Mutex::default(),
                origins,
            }),
        })
    }

    /// Whether what is published reaches the topics that this process follows: for its health check.
    ///
    /// While it does not, subscribers get nothing and are told nothing. What is published meanwhile comes when the
    /// server is back, or a gap in its place. The log says both: a warning, and that it is over. A server that falls
    /// silent is noticed within [`answer_timeout`](RedisConfig::answer_timeout) and a second.
    ///
    /// # Errors
    ///
    /// What the last attempt to read failed of. None if no topic is followed; and of publishing it says nothing: a server
    /// without memory may still be read.
    pub fn health(&self) -> Result<(), BackplaneError> {
        self.shared.away().clone().map_or(Ok(()), Err)
    }
}

impl Backplane for RedisBackplane {
    async fn publish(&self, topic: Bytes, item: Bytes) -> Result<Cursor, BackplaneError> {
        let key = self.shared.key(&topic);
        let keep = self.shared.server.config.items;
        let weight = key.len().saturating_add(item.len());
        let question = scripts::publish(self.shared.keys(&key), keep, &item);
        commands::cursor(self.shared.asks.ask(weight, question).await?)
    }

    async fn follow(&self, topic: Bytes, mirror: Mirror) -> Result<(), BackplaneError> {
        let key = self.shared.key(&topic);
        let question = scripts::begin(self.shared.keys(&key));
        let end = commands::cursor(self.shared.asks.ask(key.len(), question).await?)?;
        let entries = self.shared.newest(&key, end, mirror.limits()).await?;
        let mut place = entries.first().map_or(end, |(first, _)| {
            Cursor::new(first.origin(), first.sequence().saturating_sub(1))
        });
        mirror.begin(place);
        for (cursor, item) in entries {
            mirror.put(cursor, item);
            place = cursor;
        }
        if place.origin() != end.origin() {
            mirror.begin(end);
        }
        self.shared.read(key, end, mirror).await;
        Ok(())
    }
}

impl Shared {
    fn key(&self, topic: &[u8]) -> Bytes {
        let prefix = self.server.config.prefix.as_bytes();
        [prefix, STREAM, topic].concat().into()
    }

    fn keys<'keys>(&'keys self, stream: &'keys [u8]) -> Keys<'keys> {
        let origins = &self.origins;
        Keys { stream, origins }
    }

    fn away(&self) -> MutexGuard<'_, Option<BackplaneError>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn following(&self) -> MutexGuard<'_, Following<Mirror>> {
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest entries up to `end`, in their order, as many as a feed keeps: those of that origin, and
    /// what is left of the one before.
    async fn newest(
        &self,
        key: &[u8],
        end: Cursor,
        limits: FeedLimits,
    ) -> Result<Vec<Entry>, BackplaneError> {
        let (mut bytes, mut newest) = (0, Vec::new());
        let keys = self.keys(key);
        let mut question = scripts::newest(keys, end, false, limits.items);
        let mut former = None;
        while newest.len() < limits.items && bytes < limits.bytes {
            // The answer is large: nothing else is asked with it.
            let entries = commands::entries(self.asks.ask(usize::MAX, question).await?)?;
            let Some(&(oldest, _)) = entries.last() else {
                break;
            };
            for (cursor, item) in entries {
                let origin = cursor.origin();
                if origin != end.origin() && *former.get_or_insert(origin) != origin {
                    continue;
                }
                bytes = usize::saturating_add(bytes, item.len());
                newest.push((cursor, item));
            }
            if former.is_some_and(|former| former != oldest.origin()) {
                break;
            }
            let left = limits.items.saturating_sub(newest.len());
            question = scripts::newest(keys, oldest, true, left);
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
