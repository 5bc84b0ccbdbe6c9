use thiserror::Error;

use crate::codec::CodecError;
use crate::mux::{ChannelError, ConnectionError, OpenError, SendError};
use crate::node::book::SaveError;
use crate::node::{DialError, NodeError};
use crate::rpc::{BackplaneError, CallError, LinkError, PublishError, SubscribeError};
use crate::session::SessionError;
use crate::transport::TransportError;

/// Any error of this crate, for programs that treat them alike.
///
/// Each layer has its own error, which says more; all of them turn into this one with `?`.
///
/// The text of every error says what its causes say. They are in its fields and not its
/// [`source`](std::error::Error::source), or whoever prints both would print them twice.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum Error {
    /// No stream of bytes could be had.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A value could not be encoded, or bytes not decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A channel could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A channel cannot go on.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A session ended before its end.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A link is down for good.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is no subscription.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// An item was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A backplane cannot be used.
    #[error(transparent)]
    Backplane(#[from] BackplaneError),
    /// A node was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A message to a peer was not sent.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A node's addresses were not saved.
    #[error(transparent)]
    Save(#[from] SaveError),
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Channel(error.error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::mux::Violation;
    use crate::node::HandshakeError;
    use crate::rpc::{self, Fault, Loss};

    /// Logs and terminals mostly get the text of the outermost error alone; and who prints the sources
    /// too is not told anything twice.
    #[test]
    fn an_error_says_what_its_causes_say_and_says_it_once() {
        let refused = TransportError::Connect {
            endpoint: "tcp://127.0.0.1:1".parse().expect("an endpoint"),
            cause: Arc::new(io::Error::other("nobody there")),
        };
        let lost = ConnectionError::Io(Arc::new(io::Error::other("unplugged")));
        let channel = ChannelError::Connection(lost.clone());
        let ended = LinkError::Ended(lost.clone());
        let unreachable = LinkError::Unreachable {
            attempts: 3,
            last: rpc::DialError::Transport(refused.clone()).into(),
        };
        let fault = Fault::refused("not for sale");
        let codec = CodecError::TooLargeToSend {
            at_least: 2,
            limit: 1,
        };
        let unencodable = codec.to_string();
        let undecodable = SessionError::Undecodable {
            state: "Idle",
            tag: 1,
            cause: codec.clone(),
        };
        let all: [(Error, &str); 20] = [
            (CallError::Fault(fault.clone()).into(), "not for sale"),
            (CallError::NotSent(ended.clone()).into(), "unplugged"),
            (
                CallError::Unknown(Loss::Channel(channel.clone())).into(),
                "unplugged",
            ),
            (
                CallError::Unknown(Loss::Link(ended.clone())).into(),
                "unplugged",
            ),
            (CallError::Unencodable(codec.clone()).into(), &unencodable),
            (CallError::Undecodable(codec.clone()).into(), &unencodable),
            (SubscribeError::Refused(fault).into(), "not for sale"),
            (SubscribeError::Down(ended).into(), "unplugged"),
            (
                SubscribeError::Down(unreachable.clone()).into(),
                "nobody there",
            ),
            (
                SubscribeError::Unencodable(codec.clone()).into(),
                &unencodable,
            ),
            (
                PublishError::Backplane(BackplaneError::Unreachable(refused.clone())).into(),
                "nobody there",
            ),
            (
                PublishError::Unencodable(codec.clone()).into(),
                &unencodable,
            ),
            (unreachable.into(), "nobody there"),
            (DialError::Transport(refused).into(), "nobody there"),
            (
                DialError::Handshake(HandshakeError::Channel(channel)).into(),
                "unplugged",
            ),
            (
                DialError::Handshake(HandshakeError::Hello(codec)).into(),
                &unencodable,
            ),
            (OpenError::Connection(lost.clone()).into(), "unplugged"),
            (SessionError::Connection(lost).into(), "unplugged"),
            (undecodable.into(), &unencodable),
            (
                ConnectionError::PeerMisbehaved(Violation::Abuse).into(),
                &Violation::Abuse.to_string(),
            ),
        ];
        for (error, cause) in all {
            let text = error.to_string();
            assert!(text.contains(cause), "{text}: {error:?}");
            let mut next = std::error::Error::source(&error);
            while let Some(source) = next {
                assert!(!text.contains(&source.to_string()), "{text}: {error:?}");
                next = source.source();
            }
        }
        let fault = Error::from(CallError::Fault(Fault::refused("not for sale")));
        assert_eq!(fault.to_string(), "the service refused (not for sale)");
    }
}
