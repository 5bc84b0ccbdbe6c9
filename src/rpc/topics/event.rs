use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::cursor::Cursor;
use crate::codec::CodecError;
use crate::mux::{Code, reason_text};
use crate::rpc::fault::Fault;
use crate::rpc::link::LinkError;

/// What comes on a [`Subscription`](super::Subscription).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<T> {
    /// An item.
    Item {
        /// The place behind it.
        cursor: Cursor,
        /// The item.
        value: T,
    },
    /// An item that does not decode: do both ends have the same types?
    Other {
        /// The place behind it.
        cursor: Cursor,
        /// Its encoding, as it came.
        bytes: Bytes,
        /// What is wrong with it.
        error: CodecError,
    },
    /// Items that will not come; those before and behind them are in their places.
    Gap {
        /// How many, if that can be known.
        missed: Option<u64>,
        /// Why.
        why: GapReason,
    },
    /// Nothing more comes.
    End(EndReason),
}

/// Why items are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The subscriber was too slow: the feed no longer had them, or its own queue was full.
    Lagged,
    /// They were published while there was no connection, and the feed no longer had them when
    /// there was one again.
    NotRetained,
    /// Another origin numbers the items now, as after a restart of the server: how many are missing
    /// is unknown.
    Restarted,
    /// They were published while there was no connection, and the subscription does not
    /// [resume](super::SubscribeOptions::resume).
    NotResumed,
    /// They are larger than a message on the connection may be.
    TooLarge,
}

/// Why a subscription is over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EndReason {
    /// The service closed the feed, with words about it or without.
    Closed(Option<Fault>),
    /// The service refused to go on when it was asked again, on another connection. If it was
    /// [busy](crate::rpc::FaultKind::Busy) or [lacked something](crate::rpc::FaultKind::Unavailable), or did not decide in time,
    /// it is asked until it says something else.
    Refused(Fault),
    /// The subscriber was too slow, and had asked to be cut off then: [`Lag::Disconnect`](super::Lag::Disconnect).
    Lagged,
    /// The peer serves no topics of this interface.
    NotServed {
        /// The peer's code.
        code: Code,
        /// The peer's words, possibly empty.
        reason: Arc<str>,
    },
    /// The link is down for good.
    Down(LinkError),
}

impl fmt::Display for EndReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(None) => formatter.write_str("the service closed the feed"),
            Self::Closed(Some(fault)) => write!(formatter, "the service closed the feed: {fault}"),
            Self::Refused(fault) => write!(formatter, "the service refused to go on: {fault}"),
            Self::Lagged => formatter.write_str("the subscriber was too slow"),
            Self::NotServed { code, reason } => {
                let reason = reason_text(reason);
                write!(formatter, "the peer serves no such topics: {code}{reason}")
            }
            Self::Down(error) => write!(formatter, "the link is down: {error}"),
        }
    }
}
