//! asynchronous-codec's `Framed` with a u32 big-endian length before bincode, as a good user of it writes it: encoded
//! straight into the write buffer, decoded straight out of the read buffer, fed and flushed at the end.

use std::net::{SocketAddr, TcpListener};

use asynchronous_codec::{Decoder, Encoder, Framed};
use bytes::{Buf, BufMut, BytesMut};
use futures::{AsyncRead, AsyncWrite, SinkExt, StreamExt};

use crate::message::{FRAME_LIMIT, Message};
use crate::network::Network;
use crate::peer::{End, Error, Peer, Result, Runtime, Side};

const HEADER: usize = 4;

pub struct BincodeCodec;

impl Encoder for BincodeCodec {
    type Item<'a> = &'a Message;
    type Error = Error;

    fn encode(&mut self, message: &Message, buffer: &mut BytesMut) -> Result<()> {
        let start = buffer.len();
        buffer.put_u32(0);
        message.encode(buffer)?;
        let length = buffer.len() - start - HEADER;
        if length > FRAME_LIMIT {
            buffer.truncate(start);
            return Err("the message is too long".into());
        }
        buffer[start..start + HEADER].copy_from_slice(&(length as u32).to_be_bytes());
        Ok(())
    }
}

impl Decoder for BincodeCodec {
    type Item = Message;
    type Error = Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>> {
        let Some(header) = buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*header) as usize;
        if length > FRAME_LIMIT {
            return Err("the frame is too long".into());
        }
        let whole = HEADER + length;
        if buffer.len() < whole {
            buffer.reserve(whole - buffer.len());
            return Ok(None);
        }
        let message = Message::decode(&buffer[HEADER..whole])?;
        buffer.advance(whole);
        Ok(Some(message))
    }
}

/// A `Framed`; yamux uses the same over its streams.
pub struct FramedEnd<S>(Framed<S, BincodeCodec>);

impl<S: AsyncRead + AsyncWrite + Unpin> FramedEnd<S> {
    pub fn new(stream: S) -> Self {
        Self(Framed::new(stream, BincodeCodec))
    }

    /// Has every message written before the next one is taken.
    pub fn gather_nothing(&mut self) {
        self.0.set_send_high_water_mark(1);
    }

    pub async fn next(&mut self) -> Result<Message> {
        self.0.next().await.ok_or("the stream ended")?
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> End for FramedEnd<S> {
    async fn feed(&mut self, message: &Message) -> Result<()> {
        self.0.feed(message).await
    }

    async fn flush(&mut self) -> Result<()> {
        SinkExt::<&Message>::flush(&mut self.0).await
    }

    async fn receive(&mut self, sequence: u64, size: usize) -> Result<()> {
        self.next().await?.check(sequence, size)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct OverTcp<N>(pub N);

impl<N: Network> Peer for OverTcp<N> {
    type End = FramedEnd<N::Stream>;

    fn name(&self) -> &'static str {
        match N::RUNTIME {
            Runtime::AsyncStd => "asynchronous-codec",
            Runtime::Tokio => "asynchronous-codec-tokio",
        }
    }

    fn runtime(&self) -> Runtime {
        N::RUNTIME
    }

    fn multiplexes(&self) -> bool {
        false
    }

    async fn open(&self, address: SocketAddr, channels: usize) -> Result<Side<Self::End>> {
        let mut ends = Vec::new();
        for _ in 0..channels {
            ends.push(FramedEnd::new(N::dial(address).await?));
        }
        Ok(Side {
            ends,
            keep: Box::new(()),
        })
    }

    async fn accept(&self, listener: TcpListener, channels: usize) -> Result<Side<Self::End>> {
        let mut ends = Vec::new();
        for _ in 0..channels {
            ends.push(FramedEnd::new(N::accept(&listener).await?));
        }
        Ok(Side {
            ends,
            keep: Box::new(()),
        })
    }
}
