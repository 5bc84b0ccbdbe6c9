use super::deadline::Deadline;
#[cfg(feature = "tls")]
use super::tls::{self, TlsClient, TlsServer};
use super::{
    BoxedStream, ConnectionInfo, Endpoint, Established, Scheme, TransportConfig, TransportError,
};
use crate::runtime;

/// What is spoken on a stream before it carries the user's bytes: first TLS, then WebSocket, where the
/// endpoint has them.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "websocket"),
    allow(dead_code, reason = "they matter where something is spoken")
)]
pub(super) struct Handshake {
    endpoint: Endpoint,
    side: Side,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

#[cfg(feature = "tls")]
#[derive(Clone, Debug)]
enum Tls {
    Client(TlsClient),
    Server(TlsServer),
}

impl Handshake {
    /// Fails for what this build or configuration cannot speak, before anything is opened.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "only TLS is configured")
    )]
    pub(super) fn new(
        side: Side,
        endpoint: &Endpoint,
        config: &TransportConfig,
    ) -> Result<Self, TransportError> {
        check(endpoint)?;
        Ok(Self {
            endpoint: endpoint.clone(),
            side,
            #[cfg(feature = "tls")]
            tls: Tls::new(side, endpoint, config)?,
        })
    }

    /// Does all of it within [`TransportConfig::handshake_timeout`].
    pub(super) async fn shake(
        &self,
        stream: BoxedStream,
        info: ConnectionInfo,
        config: &TransportConfig,
    ) -> Result<Established, TransportError> {
        let deadline = Deadline::new(runtime::current(), config.handshake_timeout);
        let connection = Established { stream, info };
        // Boxed, as they are large, and over when the connection begins.
        let connection = Box::pin(self.encrypt(connection, &deadline)).await?;
        let upgraded = Box::pin(self.upgrade(connection, config, &deadline)).await;
        upgraded.map_err(cause)
    }

    #[cfg(feature = "tls")]
    async fn encrypt(
        &self,
        connection: Established,
        deadline: &Deadline,
    ) -> Result<Established, TransportError> {
        let Established { stream, mut info } = connection;
        let (stream, learned) = match &self.tls {
            None => return Ok(Established { stream, info }),
            Some(Tls::Client(client)) => {
                tls::connect(stream, &self.endpoint, client, deadline).await?
            }
            Some(Tls::Server(server)) => {
                tls::accept(stream, &self.endpoint, server, deadline).await?
            }
        };
        info.tls = Some(learned);
        let stream = Box::new(stream);
        Ok(Established { stream, info })
    }

    #[cfg(not(feature = "tls"))]
    #[expect(
        clippy::unused_async,
        reason = "it stands in for a function that waits"
    )]
    async fn encrypt(
        &self,
        connection: Established,
        _deadline: &Deadline,
    ) -> Result<Established, TransportError> {
        Ok(connection)
    }

    #[cfg(feature = "websocket")]
    async fn upgrade(
        &self,
        connection: Established,
        config: &TransportConfig,
        deadline: &Deadline,
    ) -> Result<Established, TransportError> {
        use super::websocket;
        if !self.endpoint.scheme().is_websocket() {
            return Ok(connection);
        }
        let Established { stream, mut info } = connection;
        let stream = match self.side {
            Side::Client => {
                let connecting = websocket::connect(stream, &self.endpoint, config, deadline);
                let (stream, learned) = connecting.await?;
                info.websocket = Some(learned);
                stream
            }
            Side::Server => {
                let path = self.endpoint.path();
                let accepting = websocket::accept(stream, path, info, config, deadline);
                let (stream, learned) = accepting.await?;
                info = learned;
                stream
            }
        };
        let stream = Box::new(stream);
        Ok(Established { stream, info })
    }

    #[cfg(not(feature = "websocket"))]
    #[expect(
        clippy::unused_async,
        reason = "it stands in for a function that waits"
    )]
    async fn upgrade(
        &self,
        connection: Established,
        _config: &TransportConfig,
        _deadline: &Deadline,
    ) -> Result<Established, TransportError> {
        Ok(connection)
    }
}

#[cfg(feature = "tls")]
impl Tls {
    fn new(
        side: Side,
        endpoint: &Endpoint,
        config: &TransportConfig,
    ) -> Result<Option<Self>, TransportError> {
        if !matches!(endpoint.scheme(), Scheme::Tls | Scheme::Wss) {
            return Ok(None);
        }
        Ok(Some(match side {
            Side::Client => Self::Client(match &config.tls_client {
                Some(client) => client.clone(),
                None => TlsClient::native_roots()?,
            }),
            Side::Server => Self::Server(config.tls_server.clone().ok_or_else(|| {
                TransportError::TlsSetup {
                    problem: format!(
                        "a server on {endpoint} needs a certificate; set `tls_server` of TransportConfig"
                    ),
                }
            })?),
        }))
    }
}

fn check(endpoint: &Endpoint) -> Result<(), TransportError> {
    let scheme = endpoint.scheme();
    let reason = match scheme {
        Scheme::Unix if !cfg!(unix) => "this operating system has no Unix sockets; use tcp://",
        Scheme::Ws | Scheme::Wss if !cfg!(feature = "websocket") => {
            "this build of sessionwire has no WebSocket; enable its feature `websocket`"
        }
        Scheme::Tls | Scheme::Wss if !cfg!(feature = "tls") => {
            "this build of sessionwire has no TLS; enable its feature `tls`"
        }
        _ => return Ok(()),
    };
    Err(TransportError::Unsupported {
        endpoint: endpoint.clone(),
        reason,
    })
}

/// With TLS 1.3 a client learns that the server refused its certificate when it next reads; what broke
/// the handshake above is then the error of TLS.
fn cause(error: TransportError) -> TransportError {
    let TransportError::HandshakeBroken { cause, .. } = &error else {
        return error;
    };
    let below = cause.get_ref();
    match below.and_then(|below| below.downcast_ref::<TransportError>()) {
        Some(cause) => cause.clone(),
        None => error,
    }
}
