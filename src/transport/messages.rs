use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use futures_sink::Sink;
use futures_util::{Stream, StreamExt};

/// Bytes of the largest message that is sent.
const MAX_OUTGOING_MESSAGE: usize = 64 * 1024;

/// Messages without data that one call takes before it lets other tasks run.
const EMPTY_MESSAGES_PER_POLL: usize = 64;

/// A stream of bytes over a socket that carries messages, such as the WebSocket of a web framework or
/// of a browser.
///
/// The messages' data, end to end, are the bytes; where a message ends means nothing. So the other end
/// may be any other stream of bytes over WebSocket.
///
/// - **Reading** ends with `Ok(0)` when `incoming` ends, and with its first error for ever. A library
///   that ends its messages alike after a Close and after a connection that broke hides truncation:
///   make the latter an error.
/// - **Writing** collects bytes until they are flushed or 64 KiB are together, and sends them as one
///   message.
/// - **Closing** flushes, then closes `outgoing`. What that waits for is up to the library.
///
/// Limits on the size of incoming messages, and on time, are the library's: set them there. Where the
/// connection below a WebSocket can be had, a `WsStream` over it has limits of its own and copies less.
///
/// ```
/// use bytes::Bytes;
/// use futures::channel::mpsc;
/// use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
/// use sessionwire::transport::MessageStream;
///
/// # async_std::task::block_on(async {
/// let (sender, receiver) = mpsc::unbounded::<Bytes>(); // both ends of some socket
/// let mut stream = MessageStream::new(receiver.map(Ok), sender);
/// stream.write_all(b"hel").await?;
/// stream.write_all(b"lo").await?;
/// stream.close().await?;
/// let mut heard = String::new();
/// stream.read_to_string(&mut heard).await?;
/// assert_eq!(heard, "hello");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// `examples/axum_server.rs` does it for the WebSocket of axum.
pub struct MessageStream<Incoming, Outgoing> {
    incoming: Incoming,
    outgoing: Outgoing,
    unread: Bytes,
    unsent: BytesMut,
    end: Option<End>,
}

/// What every further read tells.
#[derive(Clone, Debug)]
enum End {
    Clean,
    Failed(io::ErrorKind, String),
}

impl<Incoming, Outgoing> MessageStream<Incoming, Outgoing>
where
    Incoming: Stream<Item = io::Result<Bytes>>,
    Outgoing: Sink<Bytes>,
{
    /// Wraps the two halves of a socket whose handshake is done.
    ///
    /// `incoming` gives the data of each message, and empty bytes for one that has none, such as a ping.
    pub fn new(incoming: Incoming, outgoing: Outgoing) -> Self {
        Self {
            incoming,
            outgoing,
            unread: Bytes::new(),
            unsent: BytesMut::new(),
            end: None,
        }
    }
}

impl<Incoming, Outgoing> AsyncRead for MessageStream<Incoming, Outgoing>
where
    Incoming: Stream<Item = io::Result<Bytes>> + Unpin,
    Outgoing: Unpin,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_unread(context))?;
        let count = buffer.len().min(this.unread.len());
        if let Some(filled) = buffer.get_mut(..count) {
            this.unread.copy_to_slice(filled);
        }
        Poll::Ready(Ok(count))
    }
}

impl<Incoming, Outgoing> AsyncWrite for MessageStream<Incoming, Outgoing>
where
    Incoming: Unpin,
    Outgoing: Sink<Bytes> + Unpin,
    Outgoing::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.unsent.len() >= MAX_OUTGOING_MESSAGE {
            ready!(this.poll_send(context))?;
        }
        let room = MAX_OUTGOING_MESSAGE.saturating_sub(this.unsent.len());
        let taken = buffer.get(..room).unwrap_or(buffer);
        this.unsent.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.outgoing)
            .poll_flush(context)
            .map_err(io::Error::other)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.outgoing)
            .poll_close(context)
            .map_err(io::Error::other)
    }
}

impl<Incoming, Outgoing> MessageStream<Incoming, Outgoing>
where
    Incoming: Stream<Item = io::Result<Bytes>> + Unpin,
{
    /// Resolves once there is something unread, or nothing more will come.
    fn poll_unread(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..EMPTY_MESSAGES_PER_POLL {
            if !self.unread.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = &self.end {
                return Poll::Ready(end.told());
            }
            match ready!(self.incoming.poll_next_unpin(context)) {
                Some(Ok(data)) => self.unread = data,
                Some(Err(error)) => self.end = Some(End::Failed(error.kind(), error.to_string())),
                None => self.end = Some(End::Clean),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<Incoming, Outgoing> MessageStream<Incoming, Outgoing>
where
    Outgoing: Sink<Bytes> + Unpin,
    Outgoing::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Hands what was collected over as one message.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut outgoing = Pin::new(&mut self.outgoing);
        ready!(outgoing.as_mut().poll_ready(context)).map_err(io::Error::other)?;
        let message = self.unsent.split().freeze();
        Poll::Ready(outgoing.start_send(message).map_err(io::Error::other))
    }
}

impl End {
    fn told(&self) -> io::Result<()> {
        match self {
            Self::Clean => Ok(()),
            Self::Failed(kind, message) => Err(io::Error::new(*kind, message.clone())),
        }
    }
}

impl<Incoming, Outgoing> fmt::Debug for MessageStream<Incoming, Outgoing> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MessageStream")
            .field("unread", &self.unread.len())
            .field("unsent", &self.unsent.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::iter;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use futures::channel::mpsc;
    use futures::executor::block_on;
    use futures::future::{self, join};
    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, SinkExt, sink, stream};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    type Messages = Vec<io::Result<Bytes>>;

    /// The stream panics when it is polled after its end.
    fn reading(
        messages: Messages,
    ) -> MessageStream<impl Stream<Item = io::Result<Bytes>> + Unpin, sink::Drain<Bytes>> {
        let incoming = stream::unfold(messages.into_iter(), |mut messages| {
            future::ready(messages.next().map(|message| (message, messages)))
        });
        MessageStream::new(incoming, sink::drain())
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("no waiting")
    }

    #[test]
    fn messages_are_read_end_to_end() {
        let messages = ["", "he", "", "llo", ""].map(|text| Ok(Bytes::from(text)));
        let mut stream = reading(messages.into());
        let mut first = [0; 1];
        assert_eq!(now(stream.read(&mut [])).unwrap(), 0);
        assert_eq!(now(stream.read(&mut first)).unwrap(), 1);
        let mut rest = String::new();
        now(stream.read_to_string(&mut rest)).unwrap();
        assert_eq!((&first, rest.as_str()), (b"h", "ello"));
        assert_eq!(now(stream.read(&mut first)).unwrap(), 0, "it stays ended");
    }

    #[test]
    fn an_error_comes_after_the_data_before_it_and_stays() {
        let error = io::Error::new(io::ErrorKind::InvalidData, "text");
        let messages = vec![Ok(Bytes::from("data")), Err(error), Ok(Bytes::from("more"))];
        let mut stream = reading(messages);
        let mut buffer = [0; 9];
        assert_eq!(now(stream.read(&mut buffer)).unwrap(), 4);
        for _ in 0..2 {
            let error = now(stream.read(&mut buffer)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(error.to_string(), "text");
        }
    }

    #[test]
    fn messages_without_data_let_others_run() {
        let empty = iter::repeat_with(|| Ok(Bytes::new())).take(EMPTY_MESSAGES_PER_POLL);
        let mut stream = reading(empty.chain([Ok(Bytes::from("data"))]).collect());
        let mut buffer = [0; 9];
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let polled = Pin::new(&mut stream).poll_read(&mut context, &mut buffer);
        assert!(polled.is_pending());
        assert!(woken.0.load(Ordering::Relaxed), "it goes on by itself");
        assert_eq!(now(stream.read(&mut buffer)).unwrap(), 4);
    }

    #[test]
    fn small_writes_become_one_message_when_flushed() {
        let (sender, mut receiver) = mpsc::channel(8);
        let mut stream = MessageStream::new(stream::pending(), sender);
        for part in ["hel", "", "lo"] {
            now(stream.write_all(part.as_bytes())).unwrap();
        }
        assert!(receiver.try_recv().is_err(), "not flushed");
        now(stream.flush()).unwrap();
        assert_eq!(receiver.try_recv().unwrap(), "hello");
        now(stream.flush()).unwrap();
        assert!(receiver.try_recv().is_err(), "nothing is no message");
    }

    #[test]
    fn no_message_is_larger_than_the_largest() {
        let (sender, receiver) = mpsc::channel(8);
        let mut stream = MessageStream::new(stream::pending(), sender);
        let sent: Vec<u8> = (0..=250)
            .cycle()
            .take(2 * MAX_OUTGOING_MESSAGE + 1)
            .collect();
        for part in [&sent[..10], &sent[10..]] {
            now(stream.write_all(part)).unwrap();
        }
        now(stream.close()).unwrap();
        let messages: Vec<Bytes> = now(receiver.collect());
        let lengths: Vec<usize> = messages.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [MAX_OUTGOING_MESSAGE, MAX_OUTGOING_MESSAGE, 1]);
        assert!(messages.concat() == sent);
    }

    #[test]
    fn a_full_socket_holds_the_writer_and_keeps_what_was_written() {
        let (sender, mut receiver) = mpsc::channel(0);
        let mut stream = MessageStream::new(stream::pending(), sender);
        let sent = vec![1; 3 * MAX_OUTGOING_MESSAGE];
        let mut context = Context::from_waker(Waker::noop());
        let (mut taken, mut heard) = (0, 0);
        while taken < sent.len() {
            match Pin::new(&mut stream).poll_write(&mut context, &sent[taken..]) {
                Poll::Ready(written) => taken += written.unwrap(),
                Poll::Pending => heard += receiver.try_recv().expect("it is full").len(),
            }
            assert!(taken - heard <= 2 * MAX_OUTGOING_MESSAGE);
        }
        let rest = async {
            let mut rest = 0;
            while let Some(message) = receiver.next().await {
                rest += message.len();
            }
            rest
        };
        let (closed, rest) = block_on(join(stream.close(), rest));
        closed.unwrap();
        assert_eq!(heard + rest, sent.len());
    }

    #[test]
    fn a_broken_socket_fails_writing() {
        let (sender, receiver) = mpsc::channel(0);
        drop(receiver);
        let sender = sender.sink_map_err(io::Error::other);
        let mut stream = MessageStream::new(stream::pending(), sender);
        now(stream.write_all(b"lost")).unwrap();
        assert!(now(stream.flush()).is_err());
    }
}
