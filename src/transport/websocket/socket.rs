use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};

/// Where the head of an HTTP request or response ends.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The stream below during the handshake, which reads no further than to the end of the head: what
/// came behind it is kept for the frames.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    received: BytesMut,
    /// Bytes of the end of the head that were handed out already.
    matched: usize,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            matched: 0,
        }
    }

    /// The stream, and what was read of it behind the handshake.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.received.freeze())
    }

    /// How many bytes of what was received belong to the head.
    fn advance(&mut self, most: usize) -> usize {
        let mut count = 0;
        for byte in self.received.iter().take(most) {
            if self.matched == END_OF_HEAD.len() {
                break;
            }
            self.matched = match END_OF_HEAD.get(self.matched) {
                Some(expected) if expected == byte => self.matched + 1,
                _ => usize::from(END_OF_HEAD.first() == Some(byte)),
            };
            count += 1;
        }
        count
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.received.is_empty() {
            let mut scratch = [0; 2048];
            let count = ready!(Pin::new(&mut this.stream).poll_read(context, &mut scratch))?;
            this.received
                .extend_from_slice(scratch.get(..count).unwrap_or_default());
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
        }
        let count = this.advance(buffer.len());
        let head = buffer.get_mut(..count).unwrap_or_default();
        this.received.copy_to_slice(head);
        Poll::Ready(Ok(count))
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
