use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::closing::Closing;
use super::events::Observers;
use super::frame::{MAX_CONTROL, Receiver, WsClose, WsRole};
use super::output::Output;
use super::receive::Incoming;
use super::wakers::Wakers;
use super::{WsConfig, WsText};
use crate::runtime::{self, SharedRuntime};
use crate::transport::read_ahead::{Inbox, ReadSize};

/// A WebSocket over any stream, as a stream of bytes.
///
/// What is written is collected until it is flushed or 256 KiB are together, then sent in binary
/// messages (RFC 6455) of at most
/// [`max_outgoing_message`](WsConfig#structfield.max_outgoing_message); boundaries of incoming messages
/// mean nothing, and their bytes can be read as they come. Pings are answered whenever the stream is
/// read or flushed. In particular:
///
/// - **Reading** ends with `Ok(0)` only after the peer's Close, which [`peer_close`](Self::peer_close)
///   then tells. A peer that vanishes without one is an
///   [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), since what was read may be cut short. A text
///   message, one above [`max_message`](WsConfig#structfield.max_message) and any other breach are
///   [`InvalidData`](io::ErrorKind::InvalidData), and the peer is told by Close 1003, 1009 or 1002.
/// - **Writing** fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe) once either end has sent its
///   Close: a WebSocket has no half-closed state.
/// - **Closing** sends what is left and a Close 1000, or what [`close_with`](Self::close_with) is told,
///   waits for the peer's for at most [`close_timeout`](WsConfig#structfield.close_timeout), then closes
///   the stream below. Up to 256 KiB that come in meanwhile can still be read afterwards. After a breach
///   it tells the peer, closes the stream below, and drops what still comes, up to 128 MiB, until the
///   peer closes too or that time is over: or else TCP would mostly lose what the peer is told. If the
///   time runs out before all was sent, it fails with [`TimedOut`](io::ErrorKind::TimedOut); an answer
///   that fails to come is no error.
/// - **Dropping** it without closing it looks to the peer as if this end had vanished.
///
/// What has no place in a stream of bytes is told to observers: see [`WsEvent`](super::WsEvent).
///
/// Reading and writing may happen on two tasks. Each read, write, flush and close may be given up at
/// any time and called again. Besides the traits of futures-io there are those of tokio, with the
/// feature `tokio`.
///
/// ```
/// use bytes::Bytes;
/// use futures::{AsyncReadExt, AsyncWriteExt};
/// use sessionwire::transport::{WsConfig, WsRole, WsStream, pipe};
///
/// # async_std::task::block_on(async {
/// let (here, there) = pipe(1024); // two ends, of which each has done the handshake
/// let config = WsConfig::default();
/// let mut client = WsStream::new(here, WsRole::Client, Bytes::new(), &config);
/// let mut server = WsStream::new(there, WsRole::Server, Bytes::new(), &config);
/// let talk = async {
///     client.write_all(b"hello").await?;
///     client.close_with(4000, "no more to say").await
/// };
/// let listen = async {
///     let mut heard = String::new();
///     server.read_to_string(&mut heard).await?;
///     assert_eq!(heard, "hello");
///     server.close().await
/// };
/// futures::try_join!(talk, listen)?;
/// assert_eq!(server.peer_close().unwrap().code, 4000);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct WsStream<S> {
    pub(super) stream: S,
    /// Bytes that came in behind the handshake.
    pub(super) received: Bytes,
    pub(super) receiver: Receiver,
    pub(super) inbox: Inbox,
    pub(super) read_size: ReadSize,
    pub(super) incoming: Incoming,
    pub(super) output: Output,
    /// Something that was accepted can no longer be sent.
    pub(super) lost: bool,
    pub(super) closing: Closing,
    pub(super) observers: Observers,
    pub(super) wakers: Arc<Wakers>,
    pub(super) waker: Waker,
    pub(super) runtime: SharedRuntime,
}

impl<S> WsStream<S> {
    /// Takes over a connection on which the handshake is done, wherever that was.
    ///
    /// `role` says which end of it this is, `received` is what was read of the stream behind the
    /// handshake's last byte.
    pub fn new(stream: S, role: WsRole, received: Bytes, config: &WsConfig) -> Self {
        Self::with_runtime(stream, role, received, config, runtime::current())
    }

    pub(super) fn with_runtime(
        stream: S,
        role: WsRole,
        received: Bytes,
        config: &WsConfig,
        runtime: SharedRuntime,
    ) -> Self {
        let max_text = match config.text {
            WsText::Rejected => None,
            WsText::Observed { max } => Some(max),
        };
        let wakers = Arc::new(Wakers::default());
        Self {
            stream,
            received,
            receiver: Receiver::new(role, config.max_message, max_text),
            inbox: Inbox::default(),
            read_size: ReadSize::new(config.read_buffer),
            incoming: Incoming::Open,
            output: Output::new(role, config.max_outgoing_message),
            lost: false,
            closing: Closing::new(config.close_timeout),
            observers: Observers::default(),
            waker: Waker::from(wakers.clone()),
            wakers,
            runtime,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The peer's Close, once it has come: reading has ended then.
    pub fn peer_close(&self) -> Option<&WsClose> {
        match &self.incoming {
            Incoming::Ended(close) => Some(close),
            _ => None,
        }
    }

    /// Sends a ping with the next flush. The answer is a [`WsEvent::Pong`](super::WsEvent::Pong), for
    /// which the stream must be read. It takes the place of a ping that has not left yet.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 125 bytes,
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) once either end has sent its Close.
    pub fn ping(&mut self, payload: &[u8]) -> io::Result<()> {
        if payload.len() > MAX_CONTROL {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the payload of a websocket ping must be at most 125 bytes long",
            ));
        }
        self.check_writable()?;
        self.output.ping(payload);
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// Closes the stream like [`AsyncWrite::poll_close`], and tells the peer why. If closing has begun
    /// already, the first reason stays.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a `code` that means nothing on the wire
    /// (RFC 6455 §7.4) or a `reason` of more than 123 bytes; those of closing, as above.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the stream closing; closing it again goes on with that.
    pub async fn close_with(&mut self, code: u16, reason: &str) -> io::Result<()> {
        let close = WsClose::new(code, reason);
        close
            .check()
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        self.close_because(close);
        poll_fn(|context| Pin::new(&mut *self).poll_close(context)).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let this = self.get_mut();
        this.wakers.reader.register(context.waker());
        if this.inbox.is_empty() && buffer.len() >= this.read_size.get() {
            this.inbox = Inbox::default();
            return this.poll_payload(buffer);
        }
        ready!(this.poll_inbox())?;
        Poll::Ready(Ok(this.inbox.read(buffer)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for WsStream<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        this.wakers.reader.register(context.waker());
        ready!(this.poll_inbox())?;
        Poll::Ready(Ok(this.inbox.unread()))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().inbox.consume(count);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.wakers.writer.register(context.waker());
        this.poll_accept(buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.wakers.writer.register(context.waker());
        this.poll_send()
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.wakers.writer.register(context.waker());
        this.poll_closing(context)
    }
}

impl<S: fmt::Debug> fmt::Debug for WsStream<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WsStream")
            .field("stream", &self.stream)
            .field("incoming", &self.incoming)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}
