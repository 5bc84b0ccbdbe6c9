use super::{BoxedStream, Endpoint, Scheme, TransportConfig, TransportError};

/// What is spoken on a stream before it carries the user's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Bare,
    #[cfg(feature = "websocket")]
    WebSocket,
}

/// A [`Protocol`] from one end's point of view.
#[derive(Clone, Debug)]
pub(super) enum Handshake {
    Bare,
    #[cfg(feature = "websocket")]
    WebSocketClient(Endpoint),
    #[cfg(feature = "websocket")]
    WebSocketServer(Endpoint),
}

impl Protocol {
    /// Fails for what this build cannot speak, before anything is opened.
    pub(super) fn of(endpoint: &Endpoint) -> Result<Self, TransportError> {
        let unsupported = |reason| TransportError::Unsupported {
            endpoint: endpoint.clone(),
            reason,
        };
        match endpoint.scheme() {
            Scheme::Memory | Scheme::Tcp => Ok(Self::Bare),
            Scheme::Unix if cfg!(unix) => Ok(Self::Bare),
            Scheme::Unix => Err(unsupported(
                "this operating system has no Unix sockets; use tcp://",
            )),
            #[cfg(feature = "websocket")]
            Scheme::Ws => Ok(Self::WebSocket),
            #[cfg(not(feature = "websocket"))]
            Scheme::Ws => Err(unsupported(
                "this build of sessionwire has no WebSocket; enable its feature `websocket`",
            )),
            Scheme::Tls | Scheme::Wss => Err(unsupported(
                "this build of sessionwire has no TLS yet; use tcp:// or ws:// behind a proxy that has",
            )),
        }
    }

    #[cfg_attr(
        not(feature = "websocket"),
        expect(unused_variables, reason = "only WebSocket asks")
    )]
    pub(super) fn dialing(self, endpoint: &Endpoint) -> Handshake {
        match self {
            Self::Bare => Handshake::Bare,
            #[cfg(feature = "websocket")]
            Self::WebSocket => Handshake::WebSocketClient(endpoint.clone()),
        }
    }

    #[cfg_attr(
        not(feature = "websocket"),
        expect(unused_variables, reason = "only WebSocket asks")
    )]
    pub(super) fn accepting(self, endpoint: &Endpoint) -> Handshake {
        match self {
            Self::Bare => Handshake::Bare,
            #[cfg(feature = "websocket")]
            Self::WebSocket => Handshake::WebSocketServer(endpoint.clone()),
        }
    }
}

/// Each protocol bounds its own time.
#[cfg_attr(
    not(feature = "websocket"),
    expect(unused_variables, reason = "only WebSocket has a handshake")
)]
pub(super) async fn handshake(
    stream: BoxedStream,
    handshake: Handshake,
    config: &TransportConfig,
) -> Result<BoxedStream, TransportError> {
    match handshake {
        Handshake::Bare => Ok(stream),
        #[cfg(feature = "websocket")]
        Handshake::WebSocketClient(endpoint) => Ok(Box::new(
            super::WsStream::connect(stream, &endpoint, config).await?,
        )),
        #[cfg(feature = "websocket")]
        Handshake::WebSocketServer(endpoint) => Ok(Box::new(
            super::WsStream::accept(stream, endpoint.path(), config).await?,
        )),
    }
}
