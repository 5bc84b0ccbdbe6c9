use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::Backplane;
use super::error::BackplaneError;
use super::mirror::Mirror;
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::feed::FeedLimits;
use crate::rpc::topics::ring::Ring;
use crate::rpc::topics::source::Waiting;
use crate::runtime::{self, SharedRuntime};

/// A backplane within one process, between several servers there: for tests, and for programs that are to
/// be spread later. A clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct LocalBackplane {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    topics: Mutex<FxHashMap<Bytes, Topic>>,
    most: usize,
    limits: FeedLimits,
    runtime: SharedRuntime,
}

#[derive(Debug)]
struct Topic {
    ring: Ring,
    mirrors: Vec<Mirror>,
}

impl LocalBackplane {
    /// A backplane of at most 1,024 topics, each of which keeps what [`FeedLimits`] say by default.
    pub fn new() -> Self {
        Self::with_limits(1024, FeedLimits::default())
    }

    /// A backplane of at most `most` topics, each of which keeps so much.
    pub fn with_limits(most: usize, limits: FeedLimits) -> Self {
        Self {
            shared: Arc::new(Shared {
                topics: Mutex::default(),
                most,
                limits,
                runtime: runtime::current(),
            }),
        }
    }

    fn with_topic<T>(
        &self,
        topic: Bytes,
        act: impl FnOnce(&mut Topic) -> T,
    ) -> Result<T, BackplaneError> {
        let Shared {
            topics,
            most,
            limits,
            ..
        } = &*self.shared;
        let mut topics = topics.lock().unwrap_or_else(PoisonError::into_inner);
        if topics.len() >= *most && !topics.contains_key(&topic) {
            return Err(BackplaneError::TooManyTopics { limit: *most });
        }
        let topic = topics.entry(topic).or_insert_with(|| Topic {
            ring: Ring::new(rand::random(), *limits),
            mirrors: Vec::new(),
        });
        Ok(act(topic))
    }
}

impl Backplane for LocalBackplane {
    async fn publish(&self, topic: Bytes, item: Bytes) -> Result<Cursor, BackplaneError> {
        let now = self.shared.runtime.now();
        let (cursor, waiting) = self.with_topic(topic, |topic| {
            let cursor = topic.ring.push(item.clone(), now);
            topic.mirrors.retain(Mirror::is_wanted);
            let mirrors = topic.mirrors.iter();
            let waiting = mirrors.flat_map(|mirror| mirror.put_quietly(cursor, item.clone()));
            (cursor, waiting.collect::<Vec<Waiting>>())
        })?;
        Waiting::ring_all(waiting);
        Ok(cursor)
    }

    async fn follow(&self, topic: Bytes, mirror: Mirror) -> Result<(), BackplaneError> {
        self.with_topic(topic, |topic| {
            let mut place = topic.ring.begin();
            mirror.begin(place);
            while let Some(item) = topic.ring.next(place) {
                place = Cursor::new(place.origin(), place.sequence().saturating_add(1));
                mirror.put_quietly(place, item.clone());
            }
            topic.mirrors.retain(Mirror::is_wanted);
            topic.mirrors.push(mirror);
        })
    }
}

impl Default for LocalBackplane {
    fn default() -> Self {
        Self::new()
    }
}
