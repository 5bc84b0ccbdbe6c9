use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::cursor::Cursor;
use super::error::PublishError;
use super::source::Source;
use crate::codec::{self, MaxMessageSize};
use crate::rpc::fault::Fault;
use crate::runtime::{self, SharedRuntime};

/// What is published on one topic: the newest items, encoded once and shared by all who follow.
///
/// A clone is another handle to the same. When the last handle is dropped, the feed is closed: its
/// followers get what it still has, then [`EndReason::Closed`](super::EndReason::Closed).
///
/// ```
/// use sessionwire::rpc::Feed;
///
/// let feed: Feed<u64> = Feed::new();
/// let first = feed.publish(&7)?;
/// assert_eq!(first.sequence(), 1);
/// assert_eq!(feed.cursor(), first);
/// # Ok::<(), sessionwire::rpc::PublishError>(())
/// ```
pub struct Feed<T> {
    handle: Arc<Handle>,
    limits: FeedLimits,
    items: PhantomData<fn(T)>,
}

/// How much a feed keeps for those who follow slowly, or come back after a lost connection.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::rpc::FeedLimits;
///
/// let limits = FeedLimits::default().items(10_000).age(Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedLimits {
    pub(super) items: usize,
    pub(super) bytes: usize,
    pub(super) item_bytes: usize,
    pub(super) age: Option<Duration>,
}

/// Closes the source with the last of them.
#[derive(Debug)]
struct Handle {
    source: Arc<Source>,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self {
            items: 1024,
            bytes: 4 * 1024 * 1024,
            // With its header it fits in the largest message of a connection's default.
            item_bytes: 1024 * 1024 - 32,
            age: None,
        }
    }
}

impl FeedLimits {
    /// The items that are kept, at most. Default 1,024, at least 1.
    #[must_use]
    pub fn items(mut self, items: usize) -> Self {
        self.items = items.max(1);
        self
    }

    /// The bytes of encoding that the kept items may take together. Default 4 MiB, at least one byte.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes.max(1);
        self
    }

    /// The bytes of encoding that one item may take; a larger one is not published. Default 1 MiB less
    /// 32 bytes, which fits in the largest message that a connection takes by default.
    #[must_use]
    pub fn item_bytes(mut self, bytes: usize) -> Self {
        self.item_bytes = bytes.max(1);
        self
    }

    /// How long an item is kept, at most. By default its age does not matter.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    pub(super) fn largest_item(&self) -> MaxMessageSize {
        let bytes = self.item_bytes.min(self.bytes);
        MaxMessageSize::new(bytes.min(MaxMessageSize::LARGEST)).unwrap_or_default()
    }
}

impl<T> Feed<T> {
    /// A feed with the default limits.
    pub fn new() -> Self {
        Self::with_limits(FeedLimits::default())
    }

    /// A feed that keeps so much.
    pub fn with_limits(limits: FeedLimits) -> Self {
        Self::with_runtime(limits, runtime::current())
    }

    /// A feed that keeps so much, by the clock of `runtime`.
    pub fn with_runtime(limits: FeedLimits, runtime: SharedRuntime) -> Self {
        Self::over(Source::new(limits, runtime, false), limits)
    }

    /// A feed whose items are numbered elsewhere.
    pub(super) fn mirroring(limits: FeedLimits, runtime: SharedRuntime) -> Self {
        Self::over(Source::new(limits, runtime, true), limits)
    }

    fn over(source: Arc<Source>, limits: FeedLimits) -> Self {
        Self {
            handle: Arc::new(Handle { source }),
            limits,
            items: PhantomData,
        }
    }

    /// The place behind the newest item.
    pub fn cursor(&self) -> Cursor {
        self.handle.source.end()
    }

    /// How many subscriptions of peers follow it now.
    pub fn followers(&self) -> usize {
        self.handle.source.followers()
    }

    /// Publishes no more: followers get what there is, then the end, with `fault` as the word about it.
    pub fn close(&self, fault: Option<Fault>) {
        self.handle.source.close(fault);
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.handle.source.is_closed()
    }

    pub(super) fn source(&self) -> &Arc<Source> {
        &self.handle.source
    }

    /// The same feed for whoever knows better what its items are.
    pub(super) fn retyped<Other>(&self) -> Feed<Other> {
        Feed {
            handle: Arc::clone(&self.handle),
            limits: self.limits,
            items: PhantomData,
        }
    }
}

impl<T: Serialize> Feed<T> {
    /// Publishes an item: numbers it and tells those who follow. It never waits for them.
    ///
    /// # Errors
    ///
    /// Nothing was published then.
    pub fn publish(&self, item: &T) -> Result<Cursor, PublishError> {
        let body = encoded(item, self.limits.largest_item())?;
        self.handle.source.publish(body)
    }
}

/// An encoding that takes no more memory than it is long.
pub(super) fn encoded<T: Serialize>(
    value: &T,
    max: MaxMessageSize,
) -> Result<Bytes, codec::CodecError> {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let encoded = codec::encode(value, &mut scratch, max)
        .map(|length| Bytes::copy_from_slice(scratch.get(..length).unwrap_or_default()));
    if scratch.capacity() <= KEPT {
        SCRATCH.set(scratch);
    }
    encoded
}

thread_local! {
    static SCRATCH: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// A thread keeps a scratch buffer of at most this many bytes.
const KEPT: usize = 64 * 1024;

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        self.retyped()
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Feed")
            .field("cursor", &self.cursor())
            .field("followers", &self.followers())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.source.close(None);
    }
}
