use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use bytes::{Buf, Bytes, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use futures_sink::Sink;
use futures_util::Stream;
use futures_util::task::AtomicWaker;

use super::WsConfig;
use super::failure::{Failure, closed, write_error};
use super::socket::Socket;
use crate::runtime::{SharedRuntime, Task};

/// Bytes of the largest message that is sent.
pub(super) const MAX_OUTGOING_MESSAGE: usize = 64 * 1024;

/// Pings, pongs and empty messages that one call handles before it lets other tasks run.
const CONTROL_FRAMES_PER_POLL: u32 = 64;

/// Reads of the stream below that one call makes before it lets other tasks run.
const READS_PER_POLL: u32 = 64;

/// Messages up to this many bytes are worth collecting several of in one read.
const SMALL_MESSAGE: usize = 4 * 1024;

/// Bytes kept for later reads while closing waits for the peer.
const MAX_BACKLOG: usize = 256 * 1024;

/// A buffer that held more bytes than this is given back when all is flushed.
const KEPT_CAPACITY: usize = 8 * 1024;

/// A WebSocket over any stream, as a stream of bytes.
///
/// What is written is collected until it is flushed or 64 KiB are together, then sent as one binary
/// message; boundaries of incoming messages mean nothing. Pings are answered whenever the stream is
/// read. In particular:
///
/// - **Reading** ends with `Ok(0)` only after the peer's Close. A peer that vanishes without one is an
///   [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), since what was read may be cut short. A text
///   message, one above
///   [`max_message`](WsConfig#structfield.max_message) and any other breach
///   are [`InvalidData`](io::ErrorKind::InvalidData), and the peer is told by Close 1003, 1009 or 1002.
/// - **Writing** fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe) once either end has sent its
///   Close: a WebSocket has no half-closed state.
/// - **Closing** sends what is left and a Close 1000, waits for the peer's for at most
///   [`close_timeout`](WsConfig#structfield.close_timeout), then closes the
///   stream below. Up to 256 KiB that come in meanwhile can still be read afterwards. If the time runs
///   out before all was sent, it fails with [`TimedOut`](io::ErrorKind::TimedOut); an answer that fails
///   to come is no error.
/// - **Dropping** it without closing it looks to the peer as if this end had vanished.
///
/// Reading and writing may happen on two tasks.
pub struct WsStream<S> {
    socket: WebSocketStream<Socket<S>>,
    incoming: Incoming,
    /// Came in while closing, older than `current`.
    backlog: VecDeque<Bytes>,
    discarded: bool,
    current: Bytes,
    outgoing: BytesMut,
    /// Bytes of the largest message since the last flush.
    largest: usize,
    closing: Closing,
    close_deadline: Option<Task>,
    close_error: Option<io::Error>,
    wakers: Arc<Wakers>,
    waker: Waker,
    runtime: SharedRuntime,
    close_timeout: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// The stream below.
    pub fn get_ref(&self) -> &S {
        self.socket.get_ref().get_ref()
    }

    pub(super) fn new(
        socket: WebSocketStream<Socket<S>>,
        runtime: SharedRuntime,
        config: &WsConfig,
    ) -> Self {
        let wakers = Arc::new(Wakers::default());
        Self {
            socket,
            incoming: Incoming::Open,
            backlog: VecDeque::new(),
            discarded: false,
            current: Bytes::new(),
            outgoing: BytesMut::new(),
            largest: 0,
            closing: Closing::Not,
            close_deadline: None,
            close_error: None,
            waker: Waker::from(wakers.clone()),
            wakers,
            runtime,
            close_timeout: config.close_timeout,
        }
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
        this.socket.get_mut().allow_reads(READS_PER_POLL);
        let mut budget = CONTROL_FRAMES_PER_POLL;
        let mut filled: usize = 0;
        loop {
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            filled = filled.saturating_add(this.take_received(rest));
            if filled == buffer.len() || filled > SMALL_MESSAGE {
                return Poll::Ready(Ok(filled));
            }
            if filled > 0 {
                this.socket.get_mut().forbid_reads();
            } else if this.discarded {
                return Poll::Ready(Err(Failure::discarded().to_io()));
            }
            match &this.incoming {
                Incoming::Open => {}
                Incoming::Failed(failure) if filled == 0 => {
                    return Poll::Ready(Err(failure.to_io()));
                }
                Incoming::Failed(_) | Incoming::Ended => return Poll::Ready(Ok(filled)),
            }
            if this.poll_data(&mut budget).is_pending() {
                return if filled > 0 {
                    Poll::Ready(Ok(filled))
                } else {
                    Poll::Pending
                };
            }
        }
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
        if this.closing != Closing::Not || !matches!(this.incoming, Incoming::Open) {
            return Poll::Ready(Err(closed()));
        }
        this.wakers.writer.register(context.waker());
        if this.outgoing.len() >= MAX_OUTGOING_MESSAGE {
            ready!(this.poll_send())?;
        }
        let wanted = buffers
            .iter()
            .fold(0, |sum: usize, buffer| sum.saturating_add(buffer.len()));
        let room = MAX_OUTGOING_MESSAGE.saturating_sub(this.outgoing.len());
        let mut left = wanted.min(room);
        let written = left;
        this.outgoing.reserve(left);
        for buffer in buffers {
            let part = buffer.get(..left.min(buffer.len())).unwrap_or_default();
            this.outgoing.extend_from_slice(part);
            left = left.saturating_sub(part.len());
        }
        // A full message starts on its way now; if it cannot, the next write or flush sees to it.
        if this.outgoing.len() >= MAX_OUTGOING_MESSAGE
            && let Poll::Ready(Err(error)) = this.poll_send()
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.wakers.writer.register(context.waker());
        ready!(this.poll_send())?;
        this.poll_flush_socket()
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.wakers.writer.register(context.waker());
        if this.closing == Closing::Not {
            let deadline = this.runtime.now().checked_add(this.close_timeout);
            this.close_deadline = deadline.map(|deadline| this.runtime.sleep_until(deadline));
            this.closing = Closing::Sending;
        }
        if let Some(deadline) = &mut this.close_deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            this.close_deadline = None;
            this.give_up_closing();
        }
        loop {
            let step = match this.closing {
                Closing::Sending => this.poll_send_close(),
                Closing::Flushing => this.poll_flush_socket().map_ok(|()| Closing::Waiting),
                Closing::Waiting => this.poll_answer().map(|()| Ok(Closing::Below)),
                Closing::Below => Pin::new(this.socket.get_mut())
                    .poll_close(&mut Context::from_waker(&this.waker))
                    .map_ok(|()| Closing::Done),
                Closing::Not | Closing::Done => {
                    this.close_deadline = None;
                    return Poll::Ready(this.close_error.take().map_or(Ok(()), Err));
                }
            };
            match ready!(step) {
                Ok(next) => this.closing = next,
                Err(error) => this.fail_closing(error),
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for WsStream<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WsStream")
            .field("incoming", &self.incoming)
            .field("closing", &self.closing)
            .field("unsent", &self.outgoing.len())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Incoming {
    Open,
    /// The peer's Close has come.
    Ended,
    Failed(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Not,
    Sending,
    Flushing,
    Waiting,
    Below,
    Done,
}

/// One waker for everything below, whoever polls: closing reads, and reading writes.
#[derive(Debug, Default)]
struct Wakers {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    fn take_received(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled: usize = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            if self.current.is_empty() || !self.backlog.is_empty() {
                let Some(oldest) = self.backlog.front_mut() else {
                    break;
                };
                filled = filled.saturating_add(take(oldest, rest));
                if oldest.is_empty() {
                    self.backlog.pop_front();
                }
            } else {
                filled = filled.saturating_add(take(&mut self.current, rest));
            }
        }
        if self.current.is_empty() {
            // An empty slice would still hold tungstenite's buffer, which could not be used again.
            self.current = Bytes::new();
        }
        filled
    }

    /// Ready when `current` has something or `incoming` has changed.
    fn poll_data(&mut self, budget: &mut u32) -> Poll<()> {
        loop {
            let mut context = Context::from_waker(&self.waker);
            match ready!(Pin::new(&mut self.socket).poll_next(&mut context)) {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => {
                    self.current = bytes;
                    return Poll::Ready(());
                }
                Some(Ok(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                )) => {}
                Some(Ok(Message::Close(frame))) => {
                    tracing::debug!(
                        code = frame.map(|frame| u16::from(frame.code)),
                        "peer closes"
                    );
                    self.end_incoming(Incoming::Ended);
                    return Poll::Ready(());
                }
                Some(Ok(Message::Text(_))) => {
                    self.fail_incoming(Failure::text());
                    return Poll::Ready(());
                }
                Some(Err(error)) => {
                    self.fail_incoming(error.into());
                    return Poll::Ready(());
                }
                None => {
                    self.fail_incoming(Failure::truncated());
                    return Poll::Ready(());
                }
            }
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                self.waker.wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    fn fail_incoming(&mut self, failure: Failure) {
        tracing::debug!(message = failure.message, "websocket failed");
        if let Some(code) = failure.code {
            let frame = CloseFrame {
                code,
                reason: Utf8Bytes::from_static(""),
            };
            // Nothing more can be done about a peer that is at fault and cannot be told so.
            drop(Pin::new(&mut self.socket).start_send(Message::Close(Some(frame))));
        }
        self.end_incoming(Incoming::Failed(failure));
    }

    /// Sends the Close that may be waiting, as far as it goes at once; closing sends the rest.
    fn end_incoming(&mut self, how: Incoming) {
        self.incoming = how;
        let _sent: Poll<io::Result<()>> = self.poll_flush_socket();
        self.wakers.writer.wake();
        self.wakers.reader.wake();
    }

    /// Hands what was collected to tungstenite, whose buffer is empty by then.
    fn poll_send(&mut self) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut context = Context::from_waker(&self.waker);
        ready!(Pin::new(&mut self.socket).poll_flush(&mut context)).map_err(write_error)?;
        let message = self.outgoing.split().freeze();
        self.largest = self.largest.max(message.len());
        let sent = Pin::new(&mut self.socket).start_send(Message::Binary(message));
        Poll::Ready(sent.map_err(write_error))
    }

    fn poll_flush_socket(&mut self) -> Poll<io::Result<()>> {
        let mut context = Context::from_waker(&self.waker);
        ready!(Pin::new(&mut self.socket).poll_flush(&mut context)).map_err(write_error)?;
        if self.outgoing.is_empty() && self.largest > KEPT_CAPACITY {
            self.outgoing = BytesMut::new();
            self.largest = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send_close(&mut self) -> Poll<io::Result<Closing>> {
        if !matches!(self.incoming, Incoming::Open) {
            let lost = !std::mem::take(&mut self.outgoing).is_empty();
            return Poll::Ready(if lost {
                Err(closed())
            } else {
                Ok(Closing::Flushing)
            });
        }
        ready!(self.poll_send())?;
        ready!(self.poll_flush_socket())?;
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::from_static(""),
        };
        let sent = Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)));
        Poll::Ready(sent.map(|()| Closing::Flushing).map_err(write_error))
    }

    /// Ready when no more can come.
    fn poll_answer(&mut self) -> Poll<()> {
        self.socket.get_mut().allow_reads(READS_PER_POLL);
        let mut budget = CONTROL_FRAMES_PER_POLL;
        loop {
            if !self.current.is_empty() {
                self.keep_for_later();
                self.wakers.reader.wake();
            }
            if !matches!(self.incoming, Incoming::Open) {
                return Poll::Ready(());
            }
            ready!(self.poll_data(&mut budget));
        }
    }

    fn keep_for_later(&mut self) {
        let bytes = std::mem::take(&mut self.current);
        // What a slice costs beside its bytes counts too.
        let cost = |bytes: &Bytes| bytes.len().saturating_add(64);
        let held = self.backlog.iter().map(cost).fold(0, usize::saturating_add);
        if self.discarded || held.saturating_add(cost(&bytes)) > MAX_BACKLOG {
            self.discarded = true;
        } else {
            self.backlog.push_back(bytes);
        }
    }

    fn give_up_closing(&mut self) {
        match self.closing {
            Closing::Sending | Closing::Flushing => self.fail_closing(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer did not take what was left to send before close_timeout",
            )),
            Closing::Waiting => {
                tracing::debug!("the peer did not answer the websocket close in time");
                self.closing = Closing::Below;
            }
            Closing::Not | Closing::Below | Closing::Done => {}
        }
    }

    /// The stream below is closed all the same.
    fn fail_closing(&mut self, error: io::Error) {
        // Once the peer has ended it, it may be gone, and nothing of it is missed.
        if self.closing == Closing::Sending || matches!(self.incoming, Incoming::Open) {
            self.close_error.get_or_insert(error);
        }
        self.closing = match self.closing {
            Closing::Below | Closing::Done => Closing::Done,
            _ => Closing::Below,
        };
    }
}

fn take(from: &mut Bytes, to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    if let Some(to) = to.get_mut(..count) {
        from.copy_to_slice(to);
    }
    count
}
