//! Loopback TCP with `TCP_NODELAY` on either runtime, as futures-io streams.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};

use futures::{AsyncRead, AsyncWrite};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::peer::{Result, Runtime};

/// Where a contestant that is generic over futures-io gets its connections.
pub trait Network: Copy + Send + Sync + 'static {
    const RUNTIME: Runtime;
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn dial(address: SocketAddr) -> impl Future<Output = Result<Self::Stream>> + Send;
    fn accept(listener: &TcpListener) -> impl Future<Output = Result<Self::Stream>> + Send;
}

#[derive(Debug, Clone, Copy)]
pub struct AsyncStd;

impl Network for AsyncStd {
    const RUNTIME: Runtime = Runtime::AsyncStd;
    type Stream = async_std::net::TcpStream;

    async fn dial(address: SocketAddr) -> Result<Self::Stream> {
        let stream = Self::Stream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn accept(listener: &TcpListener) -> Result<Self::Stream> {
        let (stream, _) = async_std::net::TcpListener::from(listener.try_clone()?)
            .accept()
            .await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Tokio;

impl Network for Tokio {
    const RUNTIME: Runtime = Runtime::Tokio;
    type Stream = Compat<tokio::net::TcpStream>;

    async fn dial(address: SocketAddr) -> Result<Self::Stream> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream.compat())
    }

    async fn accept(listener: &TcpListener) -> Result<Self::Stream> {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let (stream, _) = tokio::net::TcpListener::from_std(listener)?
            .accept()
            .await?;
        stream.set_nodelay(true)?;
        Ok(stream.compat())
    }
}
