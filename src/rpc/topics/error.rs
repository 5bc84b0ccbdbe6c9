use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::backplane::BackplaneError;
use super::event::EndReason;
use crate::codec::CodecError;
use crate::mux::Code;
use crate::rpc::fault::{Fault, FaultKind};
use crate::rpc::link::{LinkError, LinkFailure};

/// Why there is no subscription.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The service refused, and said why.
    #[error(transparent)]
    Refused(Fault),
    /// The service closed the feed at once.
    #[error("the service closed the feed at once{}", .0.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default())]
    Closed(Option<Fault>),
    /// The service did not answer in time: trying again is safe.
    #[error(
        "no answer to the subscription within {0:?}: there is a connection, does the other end serve?"
    )]
    DeadlinePassed(Duration),
    /// There was no connection in time: trying again is safe.
    #[error(
        "no answer to the subscription within {within:?}, `SubscribeOptions::deadline` gives it longer: there is no connection{}",
        crate::rpc::link::because(why.as_ref())
    )]
    NoConnection {
        /// The deadline of the subscription.
        within: Duration,
        /// What the last attempt to make one failed of, or how the last one ended, if either is known.
        why: Option<LinkFailure>,
    },
    /// The client has as many subscriptions on the wire as it may: drop some, or raise
    /// [`ClientConfig::subscriptions`](super::super::ClientConfig::subscriptions).
    #[error("{limit} subscriptions are open already, `ClientConfig::subscriptions` allows no more")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The topic could not be encoded.
    #[error("the topic could not be encoded: {0}")]
    Unencodable(CodecError),
    /// The peer serves no topics of this interface.
    #[error(
        "the peer serves no topics of this interface: {code}{}",
        crate::mux::reason_text(reason)
    )]
    NotServed {
        /// The peer's code.
        code: Code,
        /// The peer's words, possibly empty.
        reason: Arc<str>,
    },
    /// The link is down for good.
    #[error("the link is down: {0}")]
    Down(LinkError),
}

impl From<EndReason> for SubscribeError {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Refused(fault) => Self::Refused(fault),
            EndReason::Closed(fault) => Self::Closed(fault),
            EndReason::NotServed { code, reason } => Self::NotServed { code, reason },
            EndReason::Down(error) => Self::Down(error),
            // Nobody lags before there is something to lag behind.
            EndReason::Lagged => Self::Closed(None),
        }
    }
}

/// Why an item was not published, or a topic not opened.
///
/// But for [`Backplane`](Self::Backplane), nobody has seen the item, and it took no number.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The item could not be encoded, or is larger than the feed may hold: raise
    /// [`FeedLimits::bytes`](super::FeedLimits::bytes).
    #[error("the item could not be encoded: {0}")]
    Unencodable(CodecError),
    /// The feed was closed.
    #[error("the feed is closed")]
    Closed,
    /// The feed shows what a backplane has: publish on its [`SharedTopics`](super::SharedTopics).
    #[error("the feed shows what a backplane has, publish there")]
    Mirror,
    /// The backplane failed.
    #[error("the backplane failed: {0}")]
    Backplane(BackplaneError),
    /// There are as many topics as there may be: close some, or raise the limit.
    #[error("{limit} topics are open already, more are not allowed")]
    TooManyTopics {
        /// The limit.
        limit: usize,
    },
}

impl From<CodecError> for PublishError {
    fn from(cause: CodecError) -> Self {
        Self::Unencodable(cause)
    }
}

impl From<BackplaneError> for PublishError {
    fn from(cause: BackplaneError) -> Self {
        Self::Backplane(cause)
    }
}

/// For a service that publishes, or opens a topic, while it answers. If the same may succeed a little later, the kind is
/// [`FaultKind::Busy`], or [`FaultKind::Unavailable`] if the item may have been published; [`FaultKind::Refused`] otherwise.
impl From<PublishError> for Fault {
    fn from(error: PublishError) -> Self {
        let kind = match &error {
            PublishError::Backplane(cause) if cause.is_fatal() => FaultKind::Refused,
            PublishError::Backplane(cause) if cause.may_have_been_published() => {
                FaultKind::Unavailable
            }
            PublishError::Backplane(_) | PublishError::TooManyTopics { .. } => FaultKind::Busy,
            _ => FaultKind::Refused,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn what_may_succeed_a_little_later_is_answered_by_busy() {
        let lost = BackplaneError::from(Error::from(ErrorKind::ConnectionReset));
        assert!(lost.may_have_been_published());
        let after = Duration::from_secs(1);
        for (error, kind) in [
            (PublishError::TooManyTopics { limit: 1 }, FaultKind::Busy),
            (BackplaneError::NotSent { after }.into(), FaultKind::Busy),
            (lost.into(), FaultKind::Unavailable),
            (
                BackplaneError::Forbidden("no".into()).into(),
                FaultKind::Refused,
            ),
            (PublishError::Closed, FaultKind::Refused),
        ] {
            let text = error.to_string();
            let fault = Fault::from(error);
            assert_eq!((fault.kind(), fault.reason()), (kind, &*text));
        }
    }
}
