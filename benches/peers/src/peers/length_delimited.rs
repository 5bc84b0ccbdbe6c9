//! tokio-util's `LengthDelimitedCodec` with bincode inside: encoded into a buffer that is used again, handed over as
//! `Bytes`, decoded from the frame's slice.

use std::net::{SocketAddr, TcpListener};

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::message::{FRAME_LIMIT, Message};
use crate::network::{Network, Tokio};
use crate::peer::{End, Peer, Result, Runtime, Side};

/// Framed's own default flushes every 8 KiB; this is what asynchronous-codec has by default.
const BACKPRESSURE_BOUNDARY: usize = 128 << 10;

#[derive(Debug, Clone, Copy)]
pub struct LengthDelimited;

pub struct LengthDelimitedEnd {
    framed: Framed<TcpStream, LengthDelimitedCodec>,
    scratch: BytesMut,
}

impl LengthDelimitedEnd {
    fn new(stream: TcpStream) -> Self {
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(FRAME_LIMIT)
            .new_codec();
        let mut framed = Framed::new(stream, codec);
        framed.set_backpressure_boundary(BACKPRESSURE_BOUNDARY);
        Self {
            framed,
            scratch: BytesMut::new(),
        }
    }
}

impl End for LengthDelimitedEnd {
    async fn feed(&mut self, message: &Message) -> Result<()> {
        message.encode(&mut self.scratch)?;
        Ok(self.framed.feed(self.scratch.split().freeze()).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(SinkExt::<Bytes>::flush(&mut self.framed).await?)
    }

    async fn receive(&mut self, sequence: u64, size: usize) -> Result<()> {
        let frame = self.framed.next().await.ok_or("the stream ended")??;
        Message::decode(&frame)?.check(sequence, size)
    }
}

impl Peer for LengthDelimited {
    type End = LengthDelimitedEnd;

    fn name(&self) -> &'static str {
        "length-delimited-tokio"
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
            ends.push(LengthDelimitedEnd::new(
                Tokio::dial(address).await?.into_inner(),
            ));
        }
        Ok(Side {
            ends,
            keep: Box::new(()),
        })
    }

    async fn accept(&self, listener: TcpListener, channels: usize) -> Result<Side<Self::End>> {
        let mut ends = Vec::new();
        for _ in 0..channels {
            ends.push(LengthDelimitedEnd::new(
                Tokio::accept(&listener).await?.into_inner(),
            ));
        }
        Ok(Side {
            ends,
            keep: Box::new(()),
        })
    }
}
