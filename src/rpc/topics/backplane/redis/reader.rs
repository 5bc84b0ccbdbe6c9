//! Reads what comes on all topics that are followed, over one connection.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use rustc_hash::FxHashMap;

use super::Shared;
use super::commands;
use super::connection::{Connection, Opened, driven, lost};
use super::following::{Added, Entry, Place, SHARE, STREAMS, share};
use super::scripts;
use crate::rpc::topics::backplane::error::BackplaneError;
use crate::rpc::topics::backplane::mirror::Mirror;
use crate::rpc::topics::cursor::Cursor;
use crate::runtime::Instant;

/// Redis answers after this time even if nothing came.
const BLOCK: Duration = Duration::from_secs(1);
/// The connection is made again after this time.
const PAUSE: Duration = Duration::from_millis(250);
/// The same if trying again alone is not likely to mend it; and a topic that is refused is tried again.
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// No more of a key is logged.
const LOGGED: usize = 64;

impl Shared {
    /// Lets the reader read one more topic, of which the mirror has what there is up to `place`.
    pub(super) async fn read(self: &Arc<Self>, key: Bytes, place: Cursor, mirror: Mirror) {
        let added = self.following().add(key, place, mirror);
        match added {
            Added::Start => {
                let reading = run(Arc::downgrade(self));
                self.server.runtime.spawn(Box::pin(reading));
            }
            // It looks for itself after `BLOCK` at the latest.
            Added::Unblock(reader) => {
                self.asks.ask(0, commands::unblock(reader)).await.ok();
            }
            Added::Nothing => {}
        }
    }

    fn begin(&self, key: &Bytes, before: Cursor, place: Cursor) {
        let mirrors = self.following().begin(key, before, place);
        for mirror in mirrors {
            mirror.begin(place);
        }
    }

    fn put(&self, key: &Bytes, after: Cursor, entries: &[Entry]) {
        let mirrors = self.following().put(key, after, entries);
        for (mirror, seen) in mirrors {
            for (cursor, item) in entries.iter().skip(seen) {
                mirror.put(*cursor, item.clone());
            }
        }
    }

    /// A topic cannot be read, and is left out for some time; unless the error is about more than it.
    fn refused(&self, key: &Bytes, error: BackplaneError) -> Result<(), BackplaneError> {
        if !is_of_topic(&error) {
            return Err(error);
        }
        if self.following().refused(key, self.after(LONG_PAUSE)) {
            let key = key.slice(..key.len().min(LOGGED));
            tracing::warn!(?key, %error, "reading a topic from the backplane failed");
        }
        Ok(())
    }

    /// Topics get nothing until it is read again.
    fn failed(&self, error: &BackplaneError) {
        let before = self.away().replace(error.clone());
        if before.is_none_or(|before| error.is_fatal() && !before.is_fatal()) {
            tracing::warn!(%error, "reading from the backplane failed: subscribers get nothing until it is back");
        } else {
            tracing::debug!(%error, "reading from the backplane failed again");
        }
    }

    fn succeeded(&self) {
        if self.away().take().is_some() {
            tracing::info!("the backplane is back");
        }
    }

    /// The time when that pause, which begins now, is over.
    fn after(&self, pause: Duration) -> Instant {
        let now = self.server.runtime.now();
        now.checked_add(pause).unwrap_or(now)
    }
}

/// Reads until nothing is followed any more.
async fn run(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let pause = match read(&shared).await {
            Ok(()) => {
                shared.away().take();
                return;
            }
            Err(error) => {
                let is_fatal = error.is_fatal();
                shared.failed(&error);
                if is_fatal { LONG_PAUSE } else { PAUSE }
            }
        };
        shared.following().disconnected();
        let runtime = Arc::clone(&shared.server.runtime);
        let until = shared.after(pause);
        drop(shared);
        runtime.sleep_until(until).await;
    }
}

/// Reads over one connection.
async fn read(shared: &Shared) -> Result<(), BackplaneError> {
    let Opened {
        connection,
        driver,
        id,
    } = shared.server.connect().await?;
    shared.following().connected(id);
    let read = driven(driver, read_over(shared, &connection)).await;
    read.unwrap_or_else(|| Err(lost()))
}

async fn read_over(shared: &Shared, connection: &Connection) -> Result<(), BackplaneError> {
    while !shared.following().is_over(Mirror::is_wanted) {
        go_on(shared, connection).await?;
        shared.succeeded();
        let places = shared.following().places();
        if places.is_empty() {
            // All are refused.
            shared.server.runtime.sleep_until(shared.after(BLOCK)).await;
            continue;
        }
        match read_all(shared, connection, &places).await {
            Err(error) if is_of_topic(&error) => {
                // It does not say of which one.
                shared.following().doubt();
                if go_on(shared, connection).await? == 0 {
                    return Err(error);
                }
            }
            read => read?,
        }
    }
    Ok(())
}

/// Asks about all topics whose origins may hold no longer; answers how many are refused.
async fn go_on(shared: &Shared, connection: &Connection) -> Result<usize, BackplaneError> {
    let unsure = shared.following().unsure(shared.server.runtime.now());
    let mut refused = 0;
    for places in unsure.chunks(STREAMS) {
        let questions = places.iter();
        let questions = questions.map(|(key, place)| scripts::go_on(shared.keys(key), *place));
        let answers = connection.ask_all(questions).await?;
        let mut changes = Vec::new();
        for ((key, place), answer) in places.iter().zip(answers) {
            match answer.and_then(commands::cursor) {
                Ok(end) if end.origin() == place.origin() => shared.following().accepted(key),
                Ok(end) => changes.push(Change {
                    key: key.clone(),
                    place: *place,
                    next: end.origin(),
                }),
                Err(error) => {
                    shared.refused(key, error)?;
                    refused += 1;
                }
            }
        }
        refused += change_origins(shared, connection, changes).await?;
    }
    Ok(refused)
}

/// A topic whose origin is another one now.
struct Change {
    key: Bytes,
    place: Cursor,
    next: u64,
}

/// Shows what is left of the former origins behind the places, then begins the next ones; answers how many
/// topics are refused.
async fn change_origins(
    shared: &Shared,
    connection: &Connection,
    mut changes: Vec<Change>,
) -> Result<usize, BackplaneError> {
    let mut refused = 0;
    while !changes.is_empty() {
        let questions = changes.iter().map(|Change { key, place, .. }| {
            let place = (key.clone(), *place);
            commands::read(&[place], SHARE, None)
        });
        let answers = connection.ask_all(questions).await?;
        let mut unfinished = Vec::new();
        for (change, answer) in changes.into_iter().zip(answers) {
            let Change { key, place, next } = change;
            let rest = match answer.and_then(commands::streams) {
                Ok(rest) => rest.into_iter().flat_map(|(_, entries)| entries),
                Err(error) => {
                    shared.refused(&key, error)?;
                    refused += 1;
                    continue;
                }
            };
            let is_former = |(cursor, _): &Entry| cursor.origin() == place.origin();
            let rest: Vec<Entry> = rest.take_while(is_former).collect();
            shared.put(&key, place, &rest);
            match rest.last() {
                Some(&(place, _)) if rest.len() == SHARE => {
                    unfinished.push(Change { key, place, next });
                }
                last => {
                    let end = last.map_or(place, |(end, _)| *end);
                    shared.begin(&key, end, Cursor::new(next, 0));
                    shared.following().accepted(&key);
                }
            }
        }
        changes = unfinished;
    }
    Ok(refused)
}

/// Whether it may be that other topics are not refused.
fn is_of_topic(error: &BackplaneError) -> bool {
    matches!(
        error,
        BackplaneError::Refused(_) | BackplaneError::Forbidden(_) | BackplaneError::Unexpected(_)
    )
}

/// Waits until something comes on some topic, and reads of each a share that lets none hold up the others;
/// then more of those that have more.
async fn read_all(
    shared: &Shared,
    connection: &Connection,
    places: &[Place],
) -> Result<(), BackplaneError> {
    let share = share(places.len());
    let command = commands::read(places, share, Some(BLOCK));
    let answer = connection.ask_patiently(command, BLOCK).await?;
    let mut more = Vec::new();
    for (key, entries) in put_all(shared, places, answer)? {
        if let Some((last, _)) = entries.last().filter(|_| entries.len() == share) {
            more.push((key, *last));
        }
    }
    if share == SHARE {
        return Ok(());
    }
    for places in more.chunks(STREAMS) {
        let answer = connection.ask(commands::read(places, SHARE, None)).await?;
        put_all(shared, places, answer)?;
    }
    Ok(())
}

/// Shows what came behind these places, and answers it.
fn put_all(
    shared: &Shared,
    places: &[Place],
    answer: Value,
) -> Result<Vec<(Bytes, Vec<Entry>)>, BackplaneError> {
    let places: FxHashMap<_, _> = places.iter().map(|(key, place)| (key, *place)).collect();
    let streams = commands::streams(answer)?;
    for (key, entries) in &streams {
        let after = places.get(key).copied();
        let after = after.ok_or(BackplaneError::Unexpected(
            "a stream that was not asked for",
        ))?;
        shared.put(key, after, entries);
    }
    Ok(streams)
}
