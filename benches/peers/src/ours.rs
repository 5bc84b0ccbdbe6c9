//! sessionwire: typed channels over TCP, WebSocket, the two over TLS, and memory; and channels of raw `Bytes`.

use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use sessionwire::transport::{
    BoxedStream, Endpoint, Identity, Listener, TlsClient, TlsServer, TokioStream, TransportConfig,
    WsStream, pipe,
};
use sessionwire::{Channel, Config, Connection, RawChannel, Role};

use crate::measure::Contestant;
use crate::message::Message;
use crate::network::{AsyncStd, Network, Tokio};
use crate::peer::{End, Link, Path, Peer, Result, Runtime, Side};

pub const TCP: &str = "ours-tcp";
pub const TCP_TOKIO: &str = "ours-tcp-tokio";
pub const WEBSOCKET: &str = "ours-websocket";
pub const WEBSOCKET_TOKIO: &str = "ours-websocket-tokio";
pub const TLS: &str = "ours-tls";
pub const WEBSOCKET_TLS: &str = "ours-wss";
pub const MEMORY: &str = "ours-memory";
pub const BYTES: &str = "ours-bytes";

pub fn table() -> Vec<Box<dyn Contestant>> {
    let ours = Ours::new;
    vec![
        Box::new(ours(TCP, Runtime::AsyncStd, Wire::Tcp)),
        Box::new(ours(TCP_TOKIO, Runtime::Tokio, Wire::Tcp)),
        Box::new(ours(WEBSOCKET, Runtime::AsyncStd, Wire::WebSocket)),
        Box::new(ours(WEBSOCKET_TOKIO, Runtime::Tokio, Wire::WebSocket)),
        Box::new(ours(TLS, Runtime::AsyncStd, Wire::Secure("tls"))),
        Box::new(ours(WEBSOCKET_TLS, Runtime::AsyncStd, Wire::Secure("wss"))),
        Box::new(ours(MEMORY, Runtime::AsyncStd, Wire::Memory)),
        Box::new(OursBytes(ours(BYTES, Runtime::AsyncStd, Wire::Tcp))),
    ]
}

#[derive(Debug, Clone, Copy)]
pub struct Ours {
    pub name: &'static str,
    pub runtime: Runtime,
    wire: Wire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Tcp,
    WebSocket,
    /// Over TLS, by endpoints of that scheme: the sockets are sessionwire's own.
    Secure(&'static str),
    Memory,
}

impl Wire {
    fn is_given_sockets(self) -> bool {
        matches!(self, Self::Tcp | Self::WebSocket)
    }
}

/// The same with raw messages.
#[derive(Debug, Clone, Copy)]
struct OursBytes(Ours);

pub struct TypedEnd(Channel<Message, Message>);

impl End for TypedEnd {
    async fn feed(&mut self, message: &Message) -> Result<()> {
        Ok(self.0.feed(message).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }

    async fn receive(&mut self, sequence: u64, size: usize) -> Result<()> {
        let message = self.0.recv().await?.ok_or("the channel ended")?;
        message.check(sequence, size)
    }
}

pub struct BytesEnd {
    channel: RawChannel,
    payload: Bytes,
}

impl End for BytesEnd {
    async fn feed(&mut self, message: &Message) -> Result<()> {
        if self.payload.len() != message.payload.len() {
            self.payload = message.payload.clone().into();
        }
        Ok(self
            .channel
            .feed(self.payload.clone())
            .await
            .map_err(|failed| failed.error)?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.channel.flush().await?)
    }

    async fn receive(&mut self, _sequence: u64, size: usize) -> Result<()> {
        let message = self.channel.recv().await?.ok_or("the channel ended")?;
        if message.len() == size {
            Ok(())
        } else {
            Err("a message of another size".into())
        }
    }
}

impl Ours {
    pub fn new(name: &'static str, runtime: Runtime, wire: Wire) -> Self {
        Self {
            name,
            runtime,
            wire,
        }
    }

    pub async fn dial(self, address: SocketAddr) -> Result<BoxedStream> {
        match self.runtime {
            Runtime::AsyncStd => self.dialed(AsyncStd::dial(address).await?, address).await,
            Runtime::Tokio => {
                let stream = TokioStream::new(Tokio::dial(address).await?.into_inner());
                self.dialed(stream, address).await
            }
        }
    }

    async fn dialed<S>(self, stream: S, address: SocketAddr) -> Result<BoxedStream>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.wire == Wire::Tcp {
            return Ok(Box::new(stream));
        }
        let endpoint: Endpoint = format!("ws://{address}/").parse()?;
        Ok(Box::new(
            WsStream::connect(stream, &endpoint, &TransportConfig::default()).await?,
        ))
    }

    pub async fn answer(self, listener: TcpListener) -> Result<BoxedStream> {
        match self.runtime {
            Runtime::AsyncStd => self.answered(AsyncStd::accept(&listener).await?).await,
            Runtime::Tokio => {
                let stream = TokioStream::new(Tokio::accept(&listener).await?.into_inner());
                self.answered(stream).await
            }
        }
    }

    async fn answered<S>(self, stream: S) -> Result<BoxedStream>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.wire == Wire::Tcp {
            return Ok(Box::new(stream));
        }
        Ok(Box::new(
            WsStream::accept(stream, "/", &TransportConfig::default()).await?,
        ))
    }
}

pub fn connection(stream: BoxedStream, role: Role) -> Connection {
    let config = Config::default().max_message_size(4 << 20);
    let (connection, driver) = Connection::new(stream, role, config);
    driver.spawn();
    connection
}

async fn open_all(connection: Connection, channels: usize) -> Result<Side<RawChannel>> {
    let mut ends = Vec::new();
    for _ in 0..channels {
        ends.push(connection.open_raw("bench/1").await?);
    }
    for end in &ends {
        end.accepted().await?;
    }
    Ok(Side {
        ends,
        keep: Box::new(connection),
    })
}

async fn accept_all(connection: Connection, channels: usize) -> Result<Side<RawChannel>> {
    let mut ends = Vec::new();
    for _ in 0..channels {
        let incoming = connection.accept().await?.ok_or("the connection ended")?;
        ends.push(incoming.accept_raw());
    }
    Ok(Side {
        ends,
        keep: Box::new(connection),
    })
}

async fn pair(wire: Wire, channels: usize) -> Result<Link<RawChannel>> {
    let (one, other) = match wire {
        Wire::Secure(scheme) => secure(scheme).await?,
        _ => memory(),
    };
    let (opener, acceptor) = futures::try_join!(
        open_all(connection(one, Role::Dialer), channels),
        accept_all(connection(other, Role::Acceptor), channels),
    )?;
    Ok(Link {
        opener,
        acceptor,
        proxy: None,
    })
}

fn memory() -> (BoxedStream, BoxedStream) {
    let (one, other) = pipe(256 << 10);
    (Box::new(one), Box::new(other))
}

/// A server with a certificate of its own making, and a client that trusts it alone.
async fn secure(scheme: &str) -> Result<(BoxedStream, BoxedStream)> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())?;
    let client = TlsClient::builder().pin(identity.fingerprint()).build()?;
    let server = TlsServer::builder(identity).build()?;
    let config = TransportConfig::default()
        .tls_client(client)
        .tls_server(server);
    let endpoint: Endpoint = format!("{scheme}://127.0.0.1:0").parse()?;
    let mut listener = Listener::bind(&endpoint, &config).await?;
    let address = listener.endpoint().clone();
    let (dialed, accepted) =
        futures::try_join!(sessionwire::transport::connect(&address, &config), async {
            listener.accept().await?.handshake().await
        },)?;
    Ok((dialed.stream, accepted.stream))
}

fn convert<E>(side: Side<RawChannel>, end: impl Fn(RawChannel) -> E) -> Side<E> {
    Side {
        ends: side.ends.into_iter().map(end).collect(),
        keep: side.keep,
    }
}

macro_rules! peer {
    ($peer:ty, $end:ty, $ours:expr, $wrap:expr) => {
        impl Peer for $peer {
            type End = $end;

            fn name(&self) -> &'static str {
                $ours(self).name
            }

            fn runtime(&self) -> Runtime {
                $ours(self).runtime
            }

            fn multiplexes(&self) -> bool {
                true
            }

            fn uses_network(&self) -> bool {
                $ours(self).wire.is_given_sockets()
            }

            async fn open(&self, address: SocketAddr, channels: usize) -> Result<Side<$end>> {
                let stream = $ours(self).dial(address).await?;
                Ok(convert(
                    open_all(connection(stream, Role::Dialer), channels).await?,
                    $wrap,
                ))
            }

            async fn accept(&self, listener: TcpListener, channels: usize) -> Result<Side<$end>> {
                let stream = $ours(self).answer(listener).await?;
                Ok(convert(
                    accept_all(connection(stream, Role::Acceptor), channels).await?,
                    $wrap,
                ))
            }

            async fn connect(&self, path: Path, channels: usize) -> Result<Link<$end>> {
                let wire = $ours(self).wire;
                if !wire.is_given_sockets() {
                    let link = pair(wire, channels).await?;
                    return Ok(Link {
                        opener: convert(link.opener, $wrap),
                        acceptor: convert(link.acceptor, $wrap),
                        proxy: None,
                    });
                }
                crate::peer::connect_by_network(self, path, channels).await
            }
        }
    };
}

peer!(Ours, TypedEnd, |peer: &Ours| *peer, |raw| TypedEnd(
    Channel::from_raw(raw)
));
peer!(OursBytes, BytesEnd, |peer: &OursBytes| peer.0, |channel| {
    BytesEnd {
        channel,
        payload: Bytes::new(),
    }
});
