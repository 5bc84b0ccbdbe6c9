//! Bytes over TCP with nothing around them: one `write_all` per message. The receiver of a bulk run reads whatever
//! comes into one buffer and checks nothing but the count.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::message::Message;
use crate::network::Network;
use crate::peer::{End, Peer, Result, Runtime, Side};

const READ_BUFFER: usize = 64 << 10;

#[derive(Debug, Clone, Copy)]
pub struct Raw<N>(pub N);

pub struct RawEnd<S> {
    pub stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> End for RawEnd<S> {
    async fn feed(&mut self, message: &Message) -> Result<()> {
        Ok(self.stream.write_all(&message.payload).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.stream.flush().await?)
    }

    async fn receive(&mut self, sequence: u64, size: usize) -> Result<()> {
        self.receive_run(sequence..sequence + 1, size).await
    }

    async fn receive_run(&mut self, sequences: Range<u64>, size: usize) -> Result<()> {
        let mut missing = (sequences.end - sequences.start) as usize * size;
        let mut buffer = vec![0; missing.min(size.max(READ_BUFFER))];
        while missing > 0 {
            let room = missing.min(buffer.len());
            let count = self.stream.read(&mut buffer[..room]).await?;
            if count == 0 {
                return Err("the connection ended".into());
            }
            missing -= count;
        }
        Ok(())
    }
}

impl<N: Network> Peer for Raw<N> {
    type End = RawEnd<N::Stream>;

    fn name(&self) -> &'static str {
        match N::RUNTIME {
            Runtime::AsyncStd => "tcp",
            Runtime::Tokio => "tcp-tokio",
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
            ends.push(RawEnd {
                stream: N::dial(address).await?,
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
            ends.push(RawEnd {
                stream: N::accept(&listener).await?,
            });
        }
        Ok(Side {
            ends,
            keep: Box::new(()),
        })
    }
}
