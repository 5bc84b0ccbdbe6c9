use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::transport::TransportError;
use crate::transport::read_ahead::ReadAhead;

/// A TLS connection whose errors last: a stream that was cut short never ends well later, and an end
/// that refused this one is quoted.
#[derive(Debug)]
pub(in crate::transport) struct TlsStream<S> {
    inner: futures_rustls::TlsStream<ReadAhead<S>>,
    failure: Option<Failure>,
}

#[derive(Clone, Debug)]
enum Failure {
    Truncated,
    /// Something about TLS.
    Explained(TransportError),
    Io(io::ErrorKind, String),
}

impl<S> TlsStream<S> {
    pub(super) fn new(inner: futures_rustls::TlsStream<ReadAhead<S>>) -> Self {
        Self {
            inner,
            failure: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(failure) = &self.failure {
            return Poll::Ready(Err(failure.to_io()));
        }
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        read.map_err(|error| self.failure.insert(Failure::of(&error)).to_io())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match super::explain(error) {
            Some(explained) => Self::Explained(explained),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated,
            None => Self::Io(error.kind(), error.to_string()),
        }
    }

    fn to_io(&self) -> io::Error {
        match self {
            Self::Truncated => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the peer vanished without ending TLS; what was read may be cut short",
            ),
            Self::Explained(error) => io::Error::new(io::ErrorKind::InvalidData, error.clone()),
            Self::Io(kind, message) => io::Error::new(*kind, message.clone()),
        }
    }
}
