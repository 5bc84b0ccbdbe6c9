//! tokio-tungstenite, one binary WebSocket message per bincode message, fed and flushed at the end. The opener is the
//! WebSocket client, so what it sends is masked.

use std::net::{SocketAddr, TcpListener};

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;

use crate::message::Message;
use crate::network::{Network, Tokio};
use crate::peer::{End, Peer, Result, Runtime, Side};

#[derive(Debug, Clone, Copy)]
pub struct TokioTungstenite;

pub struct WebSocketEnd {
    socket: WebSocketStream<TcpStream>,
    scratch: BytesMut,
}

impl End for WebSocketEnd {
    async fn feed(&mut self, message: &Message) -> Result<()> {
        message.encode(&mut self.scratch)?;
        let body = self.scratch.split().freeze();
        Ok(self.socket.feed(tungstenite::Message::Binary(body)).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.socket.flush().await?)
    }

    async fn receive(&mut self, sequence: u64, size: usize) -> Result<()> {
        match self.socket.next().await.ok_or("the socket ended")?? {
            tungstenite::Message::Binary(body) => Message::decode(&body)?.check(sequence, size),
            other => Err(format!("not a binary message: {other:?}").into()),
        }
    }
}

impl Peer for TokioTungstenite {
    type End = WebSocketEnd;

    fn name(&self) -> &'static str {
        "tokio-tungstenite"
    }

    fn runtime(&self) -> Runtime {
        Runtime::Tokio
    }

    fn multiplexes(&self) -> bool {
        false
    }

    async fn open(&self, address: SocketAddr, channels: usize) -> Result<Side<Self::End>> {
        let mut ends = Vec::new();
        for _ in 0..channels {
            let stream = Tokio::dial(address).await?.into_inner();
            let (socket, _) =
                tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await?;
            ends.push(WebSocketEnd {
                socket,
                scratch: BytesMut::new(),
            });
        }
        Ok(Side {
            ends,
            keep: Box::new(()),
        })
    }

    async fn accept(&self, listener: TcpListener, channels: usize) -> Result<Side<Self::End>> {
        let mut ends = Vec::new();
        for _ in 0..channels {
            let stream = Tokio::accept(&listener).await?.into_inner();
            let socket = tokio_tungstenite::accept_async(stream).await?;
            ends.push(WebSocketEnd {
                socket,
                scratch: BytesMut::new(),
            });
        }
        Ok(Side {
            ends,
            keep: Box::new(()),
        })
    }
}
