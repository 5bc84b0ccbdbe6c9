use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

/// The stream below the WebSocket, read a bounded number of times at a stretch: within one call
/// tungstenite reads on for as long as nothing but empty fragments comes in.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    reads: Reads,
}

#[derive(Clone, Copy, Debug)]
enum Reads {
    Left(u32),
    /// Only what tungstenite holds already is wanted: no system call, and nobody to wake.
    Forbidden,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            reads: Reads::Left(u32::MAX),
        }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    pub(super) fn allow_reads(&mut self, count: u32) {
        self.reads = Reads::Left(count);
    }

    pub(super) fn forbid_reads(&mut self) {
        self.reads = Reads::Forbidden;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.reads {
            Reads::Forbidden => Poll::Pending,
            Reads::Left(0) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Reads::Left(count) => {
                self.reads = Reads::Left(count.saturating_sub(1));
                Pin::new(&mut self.stream).poll_read(context, buffer)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
