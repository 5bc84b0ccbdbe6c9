use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::cursor::Cursor;
use super::error::PublishError;
use super::feed::{Feed, FeedLimits, encoded};
use crate::codec::MaxMessageSize;
use crate::rpc::fault::Fault;
use crate::rpc::interface::Interface;
use crate::runtime::{self, SharedRuntime};

/// The feeds of a service, by topic; a handle that can be cloned.
///
/// ```
/// use sessionwire::rpc::{Interface, Never, Topics};
///
/// enum Prices {}
/// impl Interface for Prices {
///     const NAME: &'static str = "prices/1";
///     type Request = Never;
///     type Response = Never;
///     type Topic = String;
///     type Item = u64;
/// }
///
/// let topics: Topics<Prices> = Topics::new();
/// topics.open(&"bread".to_owned())?;
/// topics.publish(&"bread".to_owned(), &3)?;
/// assert!(topics.get(&"gold".to_owned()).is_none());
/// # Ok::<(), sessionwire::rpc::PublishError>(())
/// ```
pub struct Topics<I> {
    shared: Arc<Shared>,
    interface: PhantomData<fn() -> I>,
}

struct Shared {
    feeds: Mutex<FxHashMap<Bytes, Untyped>>,
    most: usize,
    limits: FeedLimits,
    runtime: SharedRuntime,
}

/// A feed of whatever the interface's items are.
type Untyped = Feed<()>;

/// Topics that are open at once, unless set otherwise.
const MOST_TOPICS: usize = 1024;

impl<I: Interface> Topics<I> {
    /// No topics yet; at most 1,024, whose feeds keep what [`FeedLimits`] say by default.
    pub fn new() -> Self {
        Self::with_limits(MOST_TOPICS, FeedLimits::default())
    }

    /// No topics yet, at most `most`, whose feeds keep so much.
    pub fn with_limits(most: usize, limits: FeedLimits) -> Self {
        Self::with_runtime(most, limits, runtime::current())
    }

    /// The same, by the clock of `runtime`.
    pub fn with_runtime(most: usize, limits: FeedLimits, runtime: SharedRuntime) -> Self {
        Self {
            shared: Arc::new(Shared {
                feeds: Mutex::default(),
                most,
                limits,
                runtime,
            }),
            interface: PhantomData,
        }
    }

    /// Publishes an item on a topic, which is opened if it is not open yet. It never waits.
    ///
    /// # Errors
    ///
    /// Nothing was published then.
    pub fn publish(&self, topic: &I::Topic, item: &I::Item) -> Result<Cursor, PublishError> {
        self.open(topic)?.publish(item)
    }

    /// The feed of a topic, which is opened if it is not open yet, or its feed was [closed](Feed::close).
    ///
    /// Where the topic is a peer's choice, it can open as many as there may be: check it first, or
    /// [`get`](Self::get) what is open.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooManyTopics`], or the topic cannot be encoded.
    pub fn open(&self, topic: &I::Topic) -> Result<Feed<I::Item>, PublishError> {
        let Shared {
            most,
            limits,
            runtime,
            ..
        } = &*self.shared;
        let name = name::<I>(topic)?;
        let mut feeds = self.shared.lock();
        if let Some(feed) = feeds.get(&name).filter(|feed| !feed.is_closed()) {
            return Ok(feed.retyped());
        }
        feeds.remove(&name);
        if feeds.len() >= *most {
            feeds.retain(|_, feed| !feed.is_closed());
        }
        if feeds.len() >= *most {
            return Err(PublishError::TooManyTopics { limit: *most });
        }
        let feed = Untyped::with_runtime(*limits, Arc::clone(runtime));
        let opened = feed.retyped();
        feeds.insert(name, feed);
        Ok(opened)
    }

    /// The feed of a topic, if it is open.
    pub fn get(&self, topic: &I::Topic) -> Option<Feed<I::Item>> {
        let name = name::<I>(topic).ok()?;
        let feeds = self.shared.lock();
        let open = feeds.get(&name).filter(|feed| !feed.is_closed());
        open.map(Feed::retyped)
    }

    /// Closes a topic: followers get what there is, then the end, with `fault` as the word about it.
    /// Opened again, it is another feed, which numbers from 1.
    pub fn close(&self, topic: &I::Topic, fault: Option<Fault>) {
        let Ok(name) = name::<I>(topic) else { return };
        let feed = self.shared.lock().remove(&name);
        if let Some(feed) = feed {
            feed.close(fault);
        }
    }

    /// How many topics are open.
    pub fn len(&self) -> usize {
        let feeds = self.shared.lock();
        feeds.values().filter(|feed| !feed.is_closed()).count()
    }

    /// Whether no topic is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, FxHashMap<Bytes, Untyped>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Topics are compared by their encoding: no code of the user's runs under the lock.
fn name<I: Interface>(topic: &I::Topic) -> Result<Bytes, PublishError> {
    Ok(encoded(topic, MaxMessageSize::default())?)
}

impl<I: Interface> Default for Topics<I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I> Clone for Topics<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            interface: PhantomData,
        }
    }
}

impl<I: Interface> fmt::Debug for Topics<I> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Topics")
            .field("interface", &I::NAME)
            .field("open", &self.len())
            .field("most", &self.shared.most)
            .finish()
    }
}
