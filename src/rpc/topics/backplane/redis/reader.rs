//! Reads what comes on all topics that are followed, over one connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::commands::{self, Entry};
use super::connection::{Connection, Opened, driven, lost};
use crate::rpc::topics::backplane::error::BackplaneError;
use crate::rpc::topics::backplane::mirror::Mirror;
use crate::rpc::topics::cursor::Cursor;

/// A topic that is followed, and up to where.
#[derive(Debug)]
pub(super) struct Followed {
    place: Cursor,
    mirror: Mirror,
}

/// Redis answers after this time even if nothing came.
const BLOCK: Duration = Duration::from_secs(1);
/// The connection is made again after this time.
const PAUSE: Duration = Duration::from_millis(250);
/// The same if trying again alone is not likely to mend it.
const LONG_PAUSE: Duration = Duration::from_secs(5);

impl Followed {
    pub(super) fn new(place: Cursor, mirror: Mirror) -> Self {
        Self { place, mirror }
    }
}

impl Shared {
    /// Lets the reader read one more topic.
    pub(super) async fn read(self: &Arc<Self>, key: Bytes, followed: Followed) {
        let is_first = {
            let mut all = lock(&self.followed);
            let is_first = all.is_empty();
            all.insert(key, followed);
            is_first
        };
        if is_first {
            let reading = run(Arc::downgrade(self));
            self.server.runtime.spawn(Box::pin(reading));
            return;
        }
        let reader = *lock(&self.reader);
        if let Some(reader) = reader {
            // It looks for itself after `BLOCK` at the latest.
            self.asks.ask(0, commands::unblock(reader)).await.ok();
        }
    }

    /// The topics that are followed still, and up to where.
    fn places(&self) -> Vec<(Bytes, Cursor)> {
        let mut all = lock(&self.followed);
        all.retain(|_, followed| followed.mirror.is_wanted());
        let places = all
            .iter()
            .map(|(key, followed)| (key.clone(), followed.place));
        places.collect()
    }

    fn begin(&self, key: &Bytes, place: Cursor) {
        if let Some(followed) = lock(&self.followed).get_mut(key) {
            followed.place = place;
            followed.mirror.begin(place);
        }
    }

    fn put(&self, key: &Bytes, entries: Vec<Entry>) {
        let mirror = {
            let mut all = lock(&self.followed);
            let Some(followed) = all.get_mut(key) else {
                return;
            };
            if let Some((last, _)) = entries.last() {
                followed.place = *last;
            }
            followed.mirror.clone()
        };
        for (cursor, item) in entries {
            mirror.put(cursor, item);
        }
    }
}

/// Reads until nothing is followed any more.
async fn run(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let pause = match read(&shared).await {
            Ok(()) => return,
            Err(error) if error.is_fatal() => {
                tracing::warn!(%error, "reading from the backplane failed");
                LONG_PAUSE
            }
            Err(error) => {
                tracing::debug!(%error, "reading from the backplane failed");
                PAUSE
            }
        };
        *lock(&shared.reader) = None;
        let runtime = Arc::clone(&shared.server.runtime);
        drop(shared);
        let now = runtime.now();
        runtime
            .sleep_until(now.checked_add(pause).unwrap_or(now))
            .await;
    }
}

/// Reads over one connection.
async fn read(shared: &Shared) -> Result<(), BackplaneError> {
    let Opened {
        connection,
        driver,
        id,
    } = shared.server.connect().await?;
    *lock(&shared.reader) = id;
    let read = driven(driver, read_over(shared, connection)).await;
    read.unwrap_or_else(|| Err(lost()))
}

async fn read_over(shared: &Shared, connection: Connection) -> Result<(), BackplaneError> {
    for (key, place) in shared.places() {
        let end = connection.ask(commands::go_on(&key, place)).await?;
        let end = commands::cursor(end)?;
        if end.origin() != place.origin() {
            shared.begin(&key, Cursor::new(end.origin(), 0));
        }
    }
    loop {
        let places = shared.places();
        if places.is_empty() {
            return Ok(());
        }
        let command = commands::read(&places, BLOCK.as_millis());
        let answer = connection.ask_patiently(command, BLOCK).await?;
        for (key, entries) in commands::streams(answer)? {
            shared.put(&key, entries);
        }
    }
}

fn lock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
