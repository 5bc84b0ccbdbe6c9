use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_io::{AsyncRead, AsyncWrite};

use super::failure::Failure;
use super::frame::{End, Heard, WsClose};
use super::{WsEvent, WsStream};

/// Bytes without payload that one call takes before it lets other tasks run.
const BARREN_BYTES: usize = 256 * 1024;
/// What a read counts against that at least.
const READ_COST: usize = 4 * 1024;

/// What can still come.
#[derive(Debug)]
pub(super) enum Incoming {
    Open,
    Ended(WsClose),
    Failed(Failure),
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// Ready when the inbox has something, or when nothing more can come.
    pub(super) fn poll_inbox(&mut self) -> Poll<io::Result<()>> {
        if !self.inbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let size = self.read_size.get();
        let count = ready!(self.poll_payload(inbox.room(size)))?;
        inbox.fill(count);
        self.inbox = inbox;
        Poll::Ready(Ok(()))
    }

    /// Ready with some payload in `buffer`, or with none when the peer has closed.
    pub(super) fn poll_payload(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.closing.has_discarded() {
            return Poll::Ready(Err(Failure::discarded().to_io()));
        }
        let mut budget = BARREN_BYTES;
        loop {
            match &self.incoming {
                Incoming::Open => {}
                Incoming::Ended(_) => return Poll::Ready(Ok(0)),
                Incoming::Failed(failure) => return Poll::Ready(Err(failure.to_io())),
            }
            let payload = ready!(self.poll_receive(buffer, &mut budget));
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
    }

    /// Reads once, and says how much payload is in `buffer`.
    pub(super) fn poll_receive(&mut self, buffer: &mut [u8], budget: &mut usize) -> Poll<usize> {
        if *budget == 0 {
            self.waker.wake_by_ref();
            return Poll::Pending;
        }
        let count = match ready!(self.poll_read_below(buffer)) {
            Ok(0) => {
                self.fail_incoming(Failure::truncated());
                return Poll::Ready(0);
            }
            Ok(count) => count,
            Err(error) => {
                self.fail_incoming(error.into());
                return Poll::Ready(0);
            }
        };
        *budget = budget.saturating_sub(count.max(READ_COST));
        let (observers, output) = (&mut self.observers, &mut self.output);
        let hear = |heard: Heard<'_>| match heard {
            Heard::Ping(payload) => {
                output.pong(payload);
                observers.tell(|| WsEvent::Ping(Bytes::copy_from_slice(payload)));
            }
            Heard::Pong(payload) => {
                observers.tell(|| WsEvent::Pong(Bytes::copy_from_slice(payload)));
            }
            Heard::Text(text) => observers.tell(|| WsEvent::Text(text.to_owned())),
        };
        let bytes = buffer.get_mut(..count).unwrap_or_default();
        let (payload, end) = self.receiver.unframe(bytes, hear);
        match end {
            None => self.answer(),
            Some(End::Close(close)) => self.end_incoming(close),
            Some(End::Breach(breach)) => self.fail_incoming(breach.into()),
        }
        Poll::Ready(payload)
    }

    fn poll_read_below(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.received.is_empty() {
            let count = self.received.len().min(buffer.len());
            let early = buffer.get_mut(..count).unwrap_or_default();
            self.received.copy_to_slice(early);
            if self.received.is_empty() {
                self.received = Bytes::new();
            }
            return Poll::Ready(Ok(count));
        }
        let mut context = Context::from_waker(&self.waker);
        let count = ready!(Pin::new(&mut self.stream).poll_read(&mut context, buffer))?;
        self.read_size.learn(buffer.len(), count);
        Poll::Ready(Ok(count))
    }

    fn end_incoming(&mut self, close: WsClose) {
        tracing::trace!(code = close.code, "peer closes");
        self.observers.tell(|| WsEvent::Close(close.clone()));
        let answer = WsClose::new(close.code, "");
        self.stop(Incoming::Ended(close), Some(answer));
    }

    fn fail_incoming(&mut self, failure: Failure) {
        let error = failure.to_io();
        tracing::trace!(%error, "websocket failed");
        self.observers.tell(|| WsEvent::Error(Arc::new(error)));
        let told = failure.code.map(|code| WsClose::new(code.into(), ""));
        self.stop(Incoming::Failed(failure), told);
    }

    /// Sends the Close as far as it goes at once; closing sends the rest.
    fn stop(&mut self, how: Incoming, close: Option<WsClose>) {
        self.incoming = how;
        self.lost |= self.output.discard();
        if let Some(close) = close {
            self.output.close(&close);
        }
        let _sent: Poll<io::Result<()>> = self.poll_send_sealed();
        self.wakers.writer.wake();
        self.wakers.reader.wake();
    }

    /// Sends what waits for nobody's flush, as far as it goes at once. An error is the next write's.
    fn answer(&mut self) {
        if self.output.has_control() {
            let _sent: Poll<io::Result<()>> = self.poll_send_sealed();
        }
    }
}
