//! Redis as a backplane: a topic is a stream there.
//!
//! An entry's id is `<origin>-<sequence>`: Redis counts the second part up by itself when it is asked for
//! `<origin>-*`, so that numbers have no holes, and mean the same to whoever reads them. The origin
//! is the time at which the stream was made; a stream that was lost gets another one.

mod reader;
mod resp;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::lock::Mutex;
use rustc_hash::FxHashMap;

use self::reader::{AT_ONCE, Entry, Followed};
use self::resp::Reply;
use self::wire::Wire;
use super::Backplane;
use super::error::BackplaneError;
use super::mirror::Mirror;
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::feed::FeedLimits;
use crate::runtime::{self, SharedRuntime};
use crate::transport::{Endpoint, TransportConfig, TransportError};

/// A [`Backplane`] over a Redis server of version 7.0 or later, or Valkey. A clone is another handle to the
/// same.
///
/// It has two connections: publishes of one process go over one of them, one after the other; all
/// topics are followed over the other, which is made again when it is lost. What was published
/// meanwhile comes then, as far as the stream keeps it. Should Redis lose its data, or the newest of
/// it, other numbers begin: subscribers are told by a gap, `Restarted`.
///
/// ```no_run
/// # futures::executor::block_on(async {
/// use sessionwire::rpc::{RedisBackplane, RedisConfig};
///
/// let config = RedisConfig::default().prefix("prices:");
/// let backplane = RedisBackplane::connect("tcp://localhost:6379", config).await?;
/// # Ok::<(), sessionwire::rpc::BackplaneError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct RedisBackplane {
    shared: Arc<Shared>,
}

/// How Redis is spoken to, and what it keeps.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    prefix: String,
    items: usize,
    login: Option<(String, String)>,
    database: u32,
    time: Duration,
    transport: TransportConfig,
}

struct Shared {
    endpoint: Endpoint,
    config: RedisConfig,
    runtime: SharedRuntime,
    /// Taken out by who asks something: one that is not put back is useless.
    asking: Mutex<Option<Wire>>,
    followed: Lock<FxHashMap<Bytes, Followed>>,
    /// What Redis calls the reader's connection, while there is one.
    reader: Lock<Option<i64>>,
}

/// The newest id of a stream, which is made if there is none; and made anew if it does not have what
/// was seen of it.
const BEGIN: &str = "
local newest = nil
if redis.call('EXISTS', KEYS[1]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for place = 1, #about, 2 do
    if about[place] == 'last-generated-id' then newest = about[place + 1] end
  end
end
if newest then
  local origin, sequence = string.match(newest, '^(%d+)-(%d+)$')
  if origin ~= ARGV[1] or tonumber(sequence) >= tonumber(ARGV[2]) then return newest end
end
local now = redis.call('TIME')
local first = string.format('%.0f-0', now[1] * 1000000 + now[2])
redis.call('XADD', KEYS[1], first, 'item', '')
redis.call('XDEL', KEYS[1], first)
return first
";

/// Adds an item, and answers its id.
const PUBLISH: &str = "
local origin = nil
if redis.call('EXISTS', KEYS[1]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for place = 1, #about, 2 do
    if about[place] == 'last-generated-id' then origin = string.match(about[place + 1], '^(%d+)-') end
  end
end
if not origin then
  local now = redis.call('TIME')
  origin = string.format('%.0f', now[1] * 1000000 + now[2])
  redis.call('XADD', KEYS[1], origin .. '-0', 'item', '')
  redis.call('XDEL', KEYS[1], origin .. '-0')
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], origin .. '-*', 'item', ARGV[2])
";

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            prefix: "sessionwire:".to_owned(),
            items: 1024,
            login: None,
            database: 0,
            time: Duration::from_secs(5),
            transport: TransportConfig::default(),
        }
    }
}

impl RedisConfig {
    /// What the names of the streams begin with; the topic's encoding follows. Default `sessionwire:`.
    ///
    /// Interfaces that share a Redis server need different ones.
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

    /// The user, which is `default` where there are no others, and the password.
    #[must_use]
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    /// The number of the database. Default 0.
    #[must_use]
    pub fn database(mut self, number: u32) -> Self {
        self.database = number;
        self
    }

    /// How long an answer may take. Default 5 s.
    #[must_use]
    pub fn answer_timeout(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// How Redis is reached: TLS and the like.
    #[must_use]
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.transport = transport;
        self
    }
}

impl RedisBackplane {
    /// Connects to a server at an endpoint such as `tcp://localhost:6379`, `tls://…` or `unix://…`.
    pub async fn connect<E>(endpoint: E, config: RedisConfig) -> Result<Self, BackplaneError>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(TransportError::from)?;
        let runtime = runtime::current();
        let wire = Wire::connect(&endpoint, &config, &runtime).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                endpoint,
                config,
                runtime,
                asking: Mutex::new(Some(wire)),
                followed: Lock::default(),
                reader: Lock::default(),
            }),
        })
    }
}

impl Backplane for RedisBackplane {
    async fn publish(&self, topic: Bytes, item: Bytes) -> Result<Cursor, BackplaneError> {
        let key = self.shared.key(&topic);
        let most = self.shared.config.items.to_string();
        let words = [
            &b"EVAL"[..],
            PUBLISH.as_bytes(),
            b"1",
            &key,
            most.as_bytes(),
            &item,
        ];
        cursor(&self.shared.ask(&words).await?)
    }

    async fn follow(&self, topic: Bytes, mirror: Mirror) -> Result<(), BackplaneError> {
        let key = self.shared.key(&topic);
        let begin = [&b"EVAL"[..], BEGIN.as_bytes(), b"1", &key, b"", b"0"];
        let end = cursor(&self.shared.ask(&begin).await?)?;
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
        [self.config.prefix.as_bytes(), topic].concat().into()
    }

    /// The newest entries up to `end`, in their order, as many as a feed keeps.
    async fn newest(
        &self,
        key: &[u8],
        end: Cursor,
        limits: FeedLimits,
    ) -> Result<Vec<Entry>, BackplaneError> {
        let first = format!("{}-0", end.origin());
        let (mut last, mut bytes, mut newest) = (id(end), 0, Vec::new());
        loop {
            let words = [
                &b"XREVRANGE"[..],
                key,
                last.as_bytes(),
                first.as_bytes(),
                b"COUNT",
                AT_ONCE,
            ];
            let entries = reader::entries(&self.ask(&words).await?)?;
            let Some((oldest, _)) = entries.last() else {
                break;
            };
            // The next are those before it.
            last = format!("({}", id(*oldest));
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

    async fn ask(&self, words: &[&[u8]]) -> Result<Reply, BackplaneError> {
        let mut asking = self.asking.lock().await;
        let mut wire = match asking.take() {
            Some(wire) => wire,
            None => Wire::connect(&self.endpoint, &self.config, &self.runtime).await?,
        };
        let asked = wire.ask(words).await;
        if matches!(asked, Ok(_) | Err(BackplaneError::Refused(_))) {
            *asking = Some(wire);
        }
        asked
    }
}

fn lock<T>(lock: &Lock<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The id of an entry, as Redis writes it.
fn id(cursor: Cursor) -> String {
    format!("{}-{}", cursor.origin(), cursor.sequence())
}

/// The place that an id names.
fn cursor(reply: &Reply) -> Result<Cursor, BackplaneError> {
    let Reply::Bytes(id) = reply else {
        return Err(BackplaneError::Unexpected("something else than an id"));
    };
    let parts = std::str::from_utf8(id)
        .ok()
        .and_then(|id| id.split_once('-'));
    let parts = parts.and_then(|(origin, sequence)| {
        let (origin, sequence) = (origin.parse().ok()?, sequence.parse().ok()?);
        Some(Cursor::new(origin, sequence))
    });
    parts.ok_or(BackplaneError::Unexpected("an id that is none"))
}

impl fmt::Debug for RedisBackplane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisBackplane")
            .field("endpoint", &self.shared.endpoint)
            .finish_non_exhaustive()
    }
}
