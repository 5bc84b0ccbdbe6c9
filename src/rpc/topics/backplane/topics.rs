use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use event_listener::Event;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Backplane;
use super::mirror::Mirror;
use crate::codec::MaxMessageSize;
use crate::rpc::fault::Fault;
use crate::rpc::interface::Interface;
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::error::PublishError;
use crate::rpc::topics::feed::{Feed, FeedLimits, encoded};
use crate::runtime::{self, SharedRuntime};

/// The feeds of a service that runs in several processes, by topic: what is published in one of them comes to
/// the subscribers of all. A handle that can be cloned.
///
/// A service answers [`open`](Self::open) in its [`follow`](crate::rpc::Service::follow), once it has checked
/// that there is such a topic. Its feeds show what the backplane has; publish here, not on them.
///
/// ```
/// # futures::executor::block_on(async {
/// use sessionwire::rpc::{Interface, LocalBackplane, Never, SharedTopics};
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
/// let backplane = LocalBackplane::new();
/// let one: SharedTopics<Prices, _> = SharedTopics::new(backplane.clone());
/// let other: SharedTopics<Prices, _> = SharedTopics::new(backplane);
/// let feed = one.open(&"bread".to_owned()).await?;
/// let cursor = other.publish(&"bread".to_owned(), &3).await?;
/// assert_eq!(feed.cursor(), cursor);
/// # Ok::<(), sessionwire::rpc::PublishError>(())
/// # }).unwrap();
/// ```
pub struct SharedTopics<I, B> {
    shared: Arc<Shared<B>>,
    interface: PhantomData<fn() -> I>,
}

struct Shared<B> {
    backplane: B,
    state: Mutex<State>,
    opened: Event,
    most: usize,
    limits: FeedLimits,
    runtime: SharedRuntime,
}

#[derive(Default)]
struct State {
    feeds: FxHashMap<Bytes, Feed<()>>,
    /// Topics that someone opens at the moment.
    opening: FxHashSet<Bytes>,
}

impl<I: Interface, B: Backplane> SharedTopics<I, B> {
    /// No topics here yet; at most 1,024, whose feeds keep what [`FeedLimits`] say by default.
    pub fn new(backplane: B) -> Self {
        Self::with_limits(backplane, 1024, FeedLimits::default())
    }

    /// No topics here yet, at most `most`, whose feeds keep so much.
    pub fn with_limits(backplane: B, most: usize, limits: FeedLimits) -> Self {
        Self::with_runtime(backplane, most, limits, runtime::current())
    }

    /// The same, by the clock of `runtime`.
    pub fn with_runtime(
        backplane: B,
        most: usize,
        limits: FeedLimits,
        runtime: SharedRuntime,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                backplane,
                state: Mutex::default(),
                opened: Event::new(),
                most,
                limits,
                runtime,
            }),
            interface: PhantomData,
        }
    }

    /// Publishes an item on a topic, which need not be open here.
    ///
    /// # Errors
    ///
    /// After [`PublishError::Backplane`] the item
    /// [may have been published](super::BackplaneError::may_have_been_published), as that error says;
    /// otherwise it was not.
    ///
    /// # Cancel safety
    ///
    /// The item may have been published, or not, when this is cancelled.
    pub async fn publish(&self, topic: &I::Topic, item: &I::Item) -> Result<Cursor, PublishError> {
        let topic = encoded(topic, MaxMessageSize::default())?;
        let item = encoded(item, self.shared.limits.largest_item())?;
        Ok(self.shared.backplane.publish(topic, item).await?)
    }

    /// The feed of a topic: if it is not open here yet, what the backplane has of it is loaded first.
    ///
    /// Where the topic is a peer's choice, it can open as many as there may be: check it first.
    ///
    /// # Errors
    ///
    /// Why the topic could not be opened; trying again is safe.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `open` has opened nothing.
    pub async fn open(&self, topic: &I::Topic) -> Result<Feed<I::Item>, PublishError> {
        let topic = encoded(topic, MaxMessageSize::default())?;
        let Shared {
            backplane,
            limits,
            runtime,
            ..
        } = &*self.shared;
        let opening = loop {
            let listener = self.shared.opened.listen();
            match self.shared.begin(&topic)? {
                Begun::Open(feed) => return Ok(feed.retyped()),
                Begun::Opening => listener.await,
                Begun::Here(opening) => break opening,
            }
        };
        let feed = Feed::<()>::mirroring(*limits, Arc::clone(runtime));
        let mirror = Mirror::new(feed.source(), *limits);
        backplane.follow(topic, mirror).await?;
        let opened = feed.retyped();
        opening.done(feed);
        Ok(opened)
    }

    /// Closes a topic here: followers get what there is, then the end, with `fault` as the word about it.
    /// The other processes and the backplane keep it.
    pub fn close(&self, topic: &I::Topic, fault: Option<Fault>) {
        let Ok(topic) = encoded(topic, MaxMessageSize::default()) else {
            return;
        };
        let feed = self.shared.lock().feeds.remove(&topic);
        if let Some(feed) = feed {
            feed.close(fault);
        }
    }

    /// How many topics are open here.
    pub fn len(&self) -> usize {
        let state = self.shared.lock();
        let feeds = state.feeds.values();
        feeds.filter(|feed| !feed.is_closed()).count()
    }

    /// Whether no topic is open here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum Begun<'shared, B> {
    Open(Feed<()>),
    Opening,
    Here(Opening<'shared, B>),
}

/// Whoever has it opens the topic.
struct Opening<'shared, B> {
    shared: &'shared Shared<B>,
    topic: Bytes,
}

impl<B> Shared<B> {
    fn begin(&self, topic: &Bytes) -> Result<Begun<'_, B>, PublishError> {
        let mut state = self.lock();
        if let Some(feed) = state.feeds.get(topic).filter(|feed| !feed.is_closed()) {
            return Ok(Begun::Open(feed.clone()));
        }
        state.feeds.remove(topic);
        if state.feeds.len().saturating_add(state.opening.len()) >= self.most {
            state.feeds.retain(|_, feed| !feed.is_closed());
        }
        if state.opening.contains(topic) {
            return Ok(Begun::Opening);
        }
        if state.feeds.len().saturating_add(state.opening.len()) >= self.most {
            return Err(PublishError::TooManyTopics { limit: self.most });
        }
        state.opening.insert(topic.clone());
        Ok(Begun::Here(Opening {
            shared: self,
            topic: topic.clone(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Opening<'_, B> {
    fn done(self, feed: Feed<()>) {
        self.shared.lock().feeds.insert(self.topic.clone(), feed);
    }
}

impl<B> Drop for Opening<'_, B> {
    fn drop(&mut self) {
        self.shared.lock().opening.remove(&self.topic);
        self.shared.opened.notify(usize::MAX);
    }
}

impl<I, B> Clone for SharedTopics<I, B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            interface: PhantomData,
        }
    }
}

impl<I: Interface, B: Backplane> fmt::Debug for SharedTopics<I, B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedTopics")
            .field("interface", &I::NAME)
            .field("open", &self.len())
            .field("most", &self.shared.most)
            .finish_non_exhaustive()
    }
}
