//! Reads what comes on all topics that are followed, over one connection.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::resp::Reply;
use super::wire::Wire;
use super::{BEGIN, Shared, cursor, id, lock};
use crate::rpc::topics::backplane::error::BackplaneError;
use crate::rpc::topics::backplane::mirror::Mirror;
use crate::rpc::topics::cursor::Cursor;

/// An item, and the place behind it.
pub(super) type Entry = (Cursor, Bytes);

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
/// Entries of one topic that are read at once: an answer is held as a whole.
pub(super) const AT_ONCE: &[u8] = b"16";

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
            self.runtime.spawn(Box::pin(reading));
            return;
        }
        let reader = *lock(&self.reader);
        if let Some(reader) = reader {
            let reader = reader.to_string();
            // It looks for itself after `BLOCK` at the latest.
            let unblock = [&b"CLIENT"[..], b"UNBLOCK", reader.as_bytes()];
            self.ask(&unblock).await.ok();
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
        match read_on(&shared).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "reading from the backplane failed"),
        }
        *lock(&shared.reader) = None;
        let runtime = Arc::clone(&shared.runtime);
        drop(shared);
        let now = runtime.now();
        runtime
            .sleep_until(now.checked_add(PAUSE).unwrap_or(now))
            .await;
    }
}

/// Reads over one connection.
async fn read_on(shared: &Shared) -> Result<(), BackplaneError> {
    let mut wire = Wire::connect(&shared.endpoint, &shared.config, &shared.runtime).await?;
    if let Reply::Integer(number) = wire.ask(&[b"CLIENT", b"ID"]).await? {
        *lock(&shared.reader) = Some(number);
    }
    for (key, place) in shared.places() {
        let (origin, sequence) = (place.origin().to_string(), place.sequence().to_string());
        let words = [
            &b"EVAL"[..],
            BEGIN.as_bytes(),
            b"1",
            &key,
            origin.as_bytes(),
            sequence.as_bytes(),
        ];
        let end = cursor(&wire.ask(&words).await?)?;
        if end.origin() != place.origin() {
            shared.begin(&key, Cursor::new(end.origin(), 0));
        }
    }
    loop {
        let places = shared.places();
        if places.is_empty() {
            return Ok(());
        }
        let block = BLOCK.as_millis().to_string();
        let ids: Vec<String> = places.iter().map(|(_, place)| id(*place)).collect();
        let mut words = vec![&b"XREAD"[..], b"COUNT", AT_ONCE, b"BLOCK"];
        words.extend([block.as_bytes(), b"STREAMS"]);
        words.extend(places.iter().map(|(key, _)| &key[..]));
        words.extend(ids.iter().map(String::as_bytes));
        for (key, entries) in streams(&wire.ask_patiently(&words, BLOCK).await?)? {
            shared.put(&key, entries);
        }
    }
}

const UNEXPECTED: BackplaneError = BackplaneError::Unexpected("entries that are none");

/// What XREAD answers.
fn streams(reply: &Reply) -> Result<Vec<(Bytes, Vec<Entry>)>, BackplaneError> {
    let streams = match reply {
        Reply::Nothing => return Ok(Vec::new()),
        Reply::List(streams) => streams,
        _ => return Err(UNEXPECTED),
    };
    let stream = |stream: &Reply| match stream {
        Reply::List(parts) => match &parts[..] {
            [Reply::Bytes(key), list] => Ok((key.clone(), entries(list)?)),
            _ => Err(UNEXPECTED),
        },
        _ => Err(UNEXPECTED),
    };
    streams.iter().map(stream).collect()
}

/// A list of entries: of each its id, and a list of a field and what is in it.
pub(super) fn entries(reply: &Reply) -> Result<Vec<Entry>, BackplaneError> {
    let Reply::List(list) = reply else {
        return Err(UNEXPECTED);
    };
    let entry = |entry: &Reply| match entry {
        Reply::List(parts) => match &parts[..] {
            [id, Reply::List(fields)] => match &fields[..] {
                [_, Reply::Bytes(item)] => Ok((cursor(id)?, item.clone())),
                _ => Err(UNEXPECTED),
            },
            _ => Err(UNEXPECTED),
        },
        _ => Err(UNEXPECTED),
    };
    list.iter().map(entry).collect()
}
