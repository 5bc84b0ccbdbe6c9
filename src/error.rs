use thiserror::Error;

use crate::codec::CodecError;
use crate::mux::{ChannelError, ConnectionError, OpenError, SendError};
use crate::node::{DialError, NodeError};
use crate::rpc::{CallError, LinkError, PublishError, SubscribeError};
use crate::session::SessionError;
use crate::transport::TransportError;

/// Any error of this crate, for programs that treat them alike.
///
/// Each layer has its own error, which says more; all of them turn into this one with `?`.
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
    /// A node was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A message to a peer was not sent.
    #[error(transparent)]
    Node(#[from] NodeError),
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
    use crate::rpc::{BackplaneError, Fault, Loss};

    /// Logs and terminals mostly get the text of the outermost error alone.
    #[test]
    fn an_error_says_what_its_causes_say() {
        let refused = TransportError::Connect {
            endpoint: "tcp://127.0.0.1:1".parse().expect("an endpoint"),
            source: Arc::new(io::Error::other("nobody there")),
        };
        let lost = ConnectionError::Io(Arc::new(io::Error::other("unplugged")));
        let channel = ChannelError::Connection(lost.clone());
        let ended = LinkError::Ended(lost.clone());
        let fault = Fault::refused("not for sale");
        let codec = CodecError::TooLargeToSend {
            at_least: 2,
            limit: 1,
        };
        let all: [Error; 14] = [
            CallError::Fault(fault.clone()).into(),
            CallError::NotSent(ended.clone()).into(),
            CallError::Unknown(Loss::Channel(channel.clone())).into(),
            CallError::Unknown(Loss::Link(ended.clone())).into(),
            CallError::Unencodable(codec.clone()).into(),
            SubscribeError::Refused(fault).into(),
            SubscribeError::Down(ended).into(),
            PublishError::Backplane(BackplaneError::Unreachable(refused.clone())).into(),
            DialError::Transport(refused).into(),
            DialError::Handshake(HandshakeError::Channel(channel)).into(),
            DialError::Handshake(HandshakeError::Hello(codec)).into(),
            OpenError::Connection(lost.clone()).into(),
            SessionError::Connection(lost).into(),
            ConnectionError::PeerMisbehaved(Violation::Abuse).into(),
        ];
        for error in all {
            let text = error.to_string();
            let mut innermost: &dyn std::error::Error = &error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            assert!(text.contains(&innermost.to_string()), "{text}: {error:?}");
        }
        let fault = Error::from(CallError::Fault(Fault::refused("not for sale")));
        assert_eq!(fault.to_string(), "the service refused (not for sale)");
    }
}
