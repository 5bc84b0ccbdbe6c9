use std::sync::Arc;

use thiserror::Error;

use crate::codec::CodecError;
use crate::mux::{ChannelError, Code};
use crate::rpc::fault::{Fault, FaultKind};
use crate::rpc::link::{LinkError, LinkFailure};

/// Why a call has no answer.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The link is down for good, and no byte of the call was sent: it was not run.
    #[error("the call was not sent: {0}")]
    NotSent(LinkError),
    /// The peer does not serve the interface; the call was not run.
    #[error(
        "the peer does not serve calls of this interface: {code}{}",
        crate::mux::reason_text(reason)
    )]
    NotServed {
        /// The peer's code.
        code: Code,
        /// The peer's words, possibly empty.
        reason: Arc<str>,
    },
    /// The call was sent and its answer lost: whether it was run is unknown.
    #[error("the call was sent and its answer lost, whether it was run is unknown: {0}")]
    Unknown(Loss),
    /// The time for the call was up while there was a connection; the service has been told.
    #[error("the time for the call was up {}", if *sent {
        "before it was answered, whether it was run is unknown; `CallOptions::deadline` gives it longer"
    } else {
        "before it was sent: it was too short, or more calls are made than are answered"
    })]
    DeadlinePassed {
        /// Whether it was sent: the service did not run it if not.
        sent: bool,
    },
    /// The time for the call was up before it was sent: there was no connection, or only some that drain, or
    /// one that has to wait beside four of those. It was not run.
    #[error(
        "the time for the call was up before it was sent: there is no connection that takes it{}",
        crate::rpc::link::because(why.as_ref())
    )]
    NoConnection {
        /// What the last attempt to make one failed of, or how the last one ended, if either is known.
        why: Option<LinkFailure>,
    },
    /// The time for the call was up before it was sent: there is a connection, and the service did not
    /// say on it that it takes calls. It was not run.
    #[error(
        "the time for the call was up before it was sent: there is a connection, but the service has not welcomed this client on it; does it hang, or have too much to do?"
    )]
    NoWelcome,
    /// The service answered with a fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The request is larger than one of the two ends allows; it was not sent.
    #[error(
        "a request of {length} bytes, {max} are allowed: raise `max_message_size` on both ends"
    )]
    TooLarge {
        /// Bytes of the message with the request.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The request could not be encoded; it was not sent.
    #[error("the request could not be encoded: {0}")]
    Unencodable(CodecError),
    /// The answer could not be decoded: do both ends have the same types? The call was run.
    #[error(
        "the call was run, and its answer could not be decoded: do both ends have the same types? {0}"
    )]
    Undecodable(CodecError),
}

impl CallError {
    /// Whether the service certainly did not run the call, so that making it again is safe.
    ///
    /// It holds for all times that the call was sent, and for all calls with its key as far as the client knows them: see
    /// [`Delivery::Idempotent`](super::Delivery::Idempotent).
    pub fn is_not_run(&self) -> bool {
        match self {
            Self::NotSent(_)
            | Self::NotServed { .. }
            | Self::DeadlinePassed { sent: false }
            | Self::NoConnection { .. }
            | Self::NoWelcome
            | Self::TooLarge { .. }
            | Self::Unencodable(_) => true,
            Self::Fault(fault) => matches!(fault.kind(), FaultKind::Busy | FaultKind::Undecodable),
            Self::Unknown(_) | Self::DeadlinePassed { sent: true } | Self::Undecodable(_) => false,
        }
    }

    /// The same of a call that may have been run before, if so: what became of its last sending is no proof that it
    /// was not.
    pub(super) fn unless_run_before(self, may_be: bool) -> Self {
        if !may_be || !self.is_not_run() {
            return self;
        }
        Self::Unknown(match self {
            Self::NotSent(error) => Loss::Link(error),
            Self::NoConnection { why } => Loss::NotSentAgain(why),
            Self::NoWelcome | Self::DeadlinePassed { .. } => Loss::NotSentAgain(None),
            refusal => Loss::NotRunAgain(Box::new(refusal)),
        })
    }
}

/// How the answer to a call was lost.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum Loss {
    /// The channel of the calls ended, most likely with its connection.
    #[error("the channel of the calls ended: {0}")]
    Channel(ChannelError),
    /// The link went down for good before the call could be sent again.
    #[error("the link went down: {0}")]
    Link(LinkError),
    /// The connection was lost, and the time for the call was up before it was sent on another.
    #[error(
        "its time was up before it was sent again{}",
        crate::rpc::link::because(.0.as_ref())
    )]
    NotSentAgain(
        /// What the last attempt to make a connection failed of, or how the last one ended, if there is none.
        Option<LinkFailure>,
    ),
    /// When it was sent again, or was to be, it was not run, for this reason.
    #[error("sending it again failed: {0}")]
    NotRunAgain(Box<CallError>),
    /// It was not run itself, for this reason, but another call with its key goes on.
    #[error("another call with its key goes on; of this one: {0}")]
    Beside(Box<CallError>),
    /// The service ended the channel of the calls.
    #[error("the service ended the channel of the calls")]
    Finished,
    /// The service broke the rules of the channel of the calls.
    #[error("the service broke the rules of the channel of the calls")]
    Misbehaved,
    /// Another process of the service is there, or the same one started anew, which does not know what the former ran.
    #[error(
        "it went to another process of the service than the one that is there now, or to an earlier start of it"
    )]
    Restarted,
}

impl From<ChannelError> for Loss {
    fn from(cause: ChannelError) -> Self {
        Self::Channel(cause)
    }
}
