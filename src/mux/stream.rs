use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_io::{AsyncRead, AsyncWrite};

use super::machine::transmit::COPY_UP_TO;
use super::raw::RawChannel;

/// A write becomes messages of at most this many bytes, so that each travels in one frame.
const MOST: usize = 64 * 1024;

/// A channel as a stream of bytes: `AsyncRead + AsyncWrite` over its messages.
///
/// What is written is cut into messages anywhere; message boundaries of the peer are not seen.
/// Closing finishes the channel, and reads then still go on until the peer has finished too.
/// Errors are a [`ChannelError`](super::ChannelError) inside [`io::Error`], with the kind nearest to it.
#[derive(Debug)]
pub struct ChannelStream {
    channel: RawChannel,
    unread: Bytes,
}

impl ChannelStream {
    fn new(channel: RawChannel) -> Self {
        Self {
            channel,
            unread: Bytes::new(),
        }
    }
}

impl RawChannel {
    /// The channel as a stream of bytes, for code that wants `AsyncRead + AsyncWrite`.
    pub fn into_stream(self) -> ChannelStream {
        ChannelStream::new(self)
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while self.unread.is_empty() {
            let (_, receiver) = self.channel.halves();
            match ready!(receiver.poll_recv(context))? {
                Some(message) => self.unread = message,
                None => return Poll::Ready(Ok(0)),
            }
        }
        let count = buffer.len().min(self.unread.len());
        self.unread
            .split_to(count)
            .copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let (sender, _) = self.channel.halves();
        let message = buffer.get(..buffer.len().min(MOST)).unwrap_or_default();
        if message.len() <= COPY_UP_TO {
            ready!(sender.poll_send_copy(context, message))?;
        } else {
            ready!(sender.poll_ready(context))?;
            sender.start_send_message(&mut Bytes::copy_from_slice(message))?;
        }
        Poll::Ready(Ok(message.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channel
            .halves()
            .0
            .poll_flush(context)
            .map_err(Into::into)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (sender, _) = self.channel.halves();
        sender.finish();
        sender.poll_flush(context).map_err(Into::into)
    }
}
