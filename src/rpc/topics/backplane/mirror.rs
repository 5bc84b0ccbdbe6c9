use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::feed::FeedLimits;
use crate::rpc::topics::source::{Source, Waiting};

/// A feed of this process that shows what a topic has in the backplane.
#[derive(Debug, Clone)]
pub struct Mirror {
    source: Weak<Source>,
    limits: FeedLimits,
}

impl Mirror {
    pub(super) fn new(source: &Arc<Source>, limits: FeedLimits) -> Self {
        Self {
            source: Arc::downgrade(source),
            limits,
        }
    }

    /// Whether anybody looks at it still.
    pub fn is_wanted(&self) -> bool {
        self.source
            .upgrade()
            .is_some_and(|source| !source.is_closed())
    }

    /// What it keeps, at most.
    pub fn limits(&self) -> FeedLimits {
        self.limits
    }

    /// The place behind its newest item.
    pub fn cursor(&self) -> Option<Cursor> {
        self.source.upgrade().map(|source| source.end())
    }

    /// Begins at a place: the next item is the one behind it. What was there before is gone; but if the origin
    /// becomes another one, those who have not read all of the former one read it to its end first.
    pub fn begin(&self, cursor: Cursor) {
        if let Some(source) = self.source.upgrade() {
            Waiting::ring_all(source.begin(cursor));
        }
    }

    /// Shows an item, which has the number that `cursor` says. One that it has seen is ignored, and one
    /// beyond the next leaves a hole, which followers are told of.
    pub fn put(&self, cursor: Cursor, item: Bytes) {
        Waiting::ring_all(self.put_quietly(cursor, item));
    }

    /// The same, but those who wait for it are left to be told.
    pub(super) fn put_quietly(&self, cursor: Cursor, item: Bytes) -> Vec<Waiting> {
        match self.source.upgrade() {
            Some(source) => source.put(cursor, item),
            None => Vec::new(),
        }
    }
}
