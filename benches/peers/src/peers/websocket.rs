//! Two WebSocket streams, `ws_stream_tungstenite`'s and ours: alone, and below asynchronous-codec.

use std::net::{SocketAddr, TcpListener};

use futures::{AsyncRead, AsyncWrite};
use sessionwire::transport::{Endpoint, TransportConfig, WsStream};

use super::framing::FramedEnd;
use super::raw::RawEnd;
use crate::network::{AsyncStd, Network};
use crate::peer::{Peer, Result, Runtime, Side};

pub mod names {
    pub const FRAMED_THEIRS: &str = "ws-stream-tungstenite";
    pub const FRAMED_OURS: &str = "ours-ws-stream";
    pub const BYTES_THEIRS: [&str; 2] =
        ["ws-bytes-tungstenite-client", "ws-bytes-tungstenite-server"];
    pub const BYTES_OURS: [&str; 2] = ["ours-ws-bytes-client", "ours-ws-bytes-server"];
}

type Tcp = <AsyncStd as Network>::Stream;

/// How a WebSocket is made of a connection.
pub trait WebSocket: Copy + Send + Sync + 'static {
    const FRAMED: &str;
    /// Of who sends as a client, and of who sends as a server.
    const BYTES: [&str; 2];
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn client(stream: Tcp) -> impl Future<Output = Result<Self::Stream>> + Send;
    fn server(stream: Tcp) -> impl Future<Output = Result<Self::Stream>> + Send;
}

#[derive(Debug, Clone, Copy)]
pub struct Theirs;

impl WebSocket for Theirs {
    const FRAMED: &str = names::FRAMED_THEIRS;
    const BYTES: [&str; 2] = names::BYTES_THEIRS;
    type Stream = ws_stream_tungstenite::WsStream<Tcp>;

    async fn client(stream: Tcp) -> Result<Self::Stream> {
        let (socket, _) = async_tungstenite::client_async("ws://localhost/", stream).await?;
        Ok(ws_stream_tungstenite::WsStream::new(socket))
    }

    async fn server(stream: Tcp) -> Result<Self::Stream> {
        let socket = async_tungstenite::accept_async(stream).await?;
        Ok(ws_stream_tungstenite::WsStream::new(socket))
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Ours;

impl WebSocket for Ours {
    const FRAMED: &str = names::FRAMED_OURS;
    const BYTES: [&str; 2] = names::BYTES_OURS;
    type Stream = WsStream<Tcp>;

    async fn client(stream: Tcp) -> Result<Self::Stream> {
        let endpoint: Endpoint = "ws://localhost:80/".parse()?;
        Ok(WsStream::connect(stream, &endpoint, &TransportConfig::default()).await?)
    }

    async fn server(stream: Tcp) -> Result<Self::Stream> {
        Ok(WsStream::accept(stream, "/", &TransportConfig::default()).await?)
    }
}

/// asynchronous-codec's `Framed` over it. Who opens is the client.
#[derive(Debug, Clone, Copy)]
pub struct Framed<W>(pub W);

/// The same as `Raw` does with TCP. What is measured goes from the opener to the acceptor.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<W> {
    #[expect(dead_code, reason = "names the type")]
    websocket: W,
    opener_is_client: bool,
}

impl<W> Bytes<W> {
    pub fn from_client(websocket: W) -> Self {
        Self {
            websocket,
            opener_is_client: true,
        }
    }

    pub fn from_server(websocket: W) -> Self {
        Self {
            websocket,
            opener_is_client: false,
        }
    }
}

async fn dial<W: WebSocket>(address: SocketAddr, is_client: bool) -> Result<W::Stream> {
    let stream = AsyncStd::dial(address).await?;
    shake::<W>(stream, is_client).await
}

async fn answer<W: WebSocket>(listener: &TcpListener, is_client: bool) -> Result<W::Stream> {
    let stream = AsyncStd::accept(listener).await?;
    shake::<W>(stream, is_client).await
}

async fn shake<W: WebSocket>(stream: Tcp, is_client: bool) -> Result<W::Stream> {
    if is_client {
        W::client(stream).await
    } else {
        W::server(stream).await
    }
}

macro_rules! peer {
    ($peer:ident, $end:ident, $name:expr, $opener_is_client:expr, $wrap:expr) => {
        impl<W: WebSocket> Peer for $peer<W> {
            type End = $end<W::Stream>;

            fn name(&self) -> &'static str {
                $name(self)
            }

            fn runtime(&self) -> Runtime {
                Runtime::AsyncStd
            }

            fn multiplexes(&self) -> bool {
                false
            }

            async fn open(&self, address: SocketAddr, channels: usize) -> Result<Side<Self::End>> {
                let mut ends = Vec::new();
                for _ in 0..channels {
                    ends.push($wrap(dial::<W>(address, $opener_is_client(self)).await?));
                }
                Ok(Side {
                    ends,
                    keep: Box::new(()),
                })
            }

            async fn accept(
                &self,
                listener: TcpListener,
                channels: usize,
            ) -> Result<Side<Self::End>> {
                let mut ends = Vec::new();
                for _ in 0..channels {
                    ends.push($wrap(
                        answer::<W>(&listener, !$opener_is_client(self)).await?,
                    ));
                }
                Ok(Side {
                    ends,
                    keep: Box::new(()),
                })
            }
        }
    };
}

peer!(
    Framed,
    FramedEnd,
    |_: &Framed<W>| W::FRAMED,
    |_: &Framed<W>| true,
    FramedEnd::new
);
peer!(
    Bytes,
    RawEnd,
    |peer: &Bytes<W>| W::BYTES[usize::from(!peer.opener_is_client)],
    |peer: &Bytes<W>| peer.opener_is_client,
    |stream| RawEnd { stream }
);
