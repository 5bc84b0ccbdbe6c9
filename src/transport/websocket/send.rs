use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use futures_io::{AsyncRead, AsyncWrite};

use super::WsStream;
use super::failure::{closed, takes_nothing};
use super::frame::Header;
use super::parts::Parts;
use super::receive::Incoming;

/// The caller's buffers that are written without a copy, at most.
const SLICES: usize = 16;
/// Messages that leave in one such write, at most.
const MESSAGES: usize = 16;

impl<S> WsStream<S> {
    pub(super) fn check_writable(&self) -> io::Result<()> {
        if self.closing.has_begun() || !matches!(self.incoming, Incoming::Open) {
            return Err(closed());
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// Takes bytes to send. What is a full message, or more, starts on its way at once; if it cannot,
    /// the next write or flush sees to it.
    pub(super) fn poll_accept(&mut self, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.check_writable()?;
        let parts = Parts::new(buffers);
        if parts.total() == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.output.is_sending() {
            ready!(self.poll_transmit())?;
        }
        if self.output.can_pass(parts.total()) && buffers.len() <= SLICES {
            return self.poll_pass(parts);
        }
        let taken = self.output.collect(parts);
        if self.output.is_sending()
            && let Poll::Ready(Err(error)) = self.poll_transmit()
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    /// Writes messages right from the caller's bytes. Of one that has begun to leave, the rest is kept;
    /// of the others, nothing was taken.
    fn poll_pass(&mut self, mut parts: Parts<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_transmit())?;
        let lengths = self.output.cut(parts.total()).take(MESSAGES);
        let header = |length| Header::new(OpCode::Data(Data::Binary), length, None);
        let frames: Vec<_> = lengths.map(|length| (header(length), length)).collect();
        let mut slices = Vec::with_capacity(2 * frames.len() + SLICES);
        for (header, length) in &frames {
            slices.push(IoSlice::new(header.as_bytes()));
            for part in parts.take(*length) {
                slices.push(IoSlice::new(part));
            }
        }
        let mut context = Context::from_waker(&self.waker);
        let stream = Pin::new(&mut self.stream);
        let written = ready!(stream.poll_write_vectored(&mut context, &slices))?;
        if written == 0 {
            return Poll::Ready(Err(takes_nothing()));
        }
        let (mut taken, mut end): (usize, usize) = (0, 0);
        for (header, length) in &frames {
            if end < written {
                taken = taken.saturating_add(*length);
                end = end.saturating_add(header.as_bytes().len() + length);
            }
        }
        self.output.keep(&slices, written..end);
        Poll::Ready(Ok(taken))
    }

    /// Sends all that was written.
    pub(super) fn poll_send(&mut self) -> Poll<io::Result<()>> {
        if self.lost {
            return Poll::Ready(Err(closed()));
        }
        self.output.seal();
        self.poll_send_sealed()
    }

    /// Sends all that is in frames.
    pub(super) fn poll_send_sealed(&mut self) -> Poll<io::Result<()>> {
        ready!(self.poll_transmit())?;
        let mut context = Context::from_waker(&self.waker);
        ready!(Pin::new(&mut self.stream).poll_flush(&mut context))?;
        self.output.rest();
        Poll::Ready(Ok(()))
    }

    fn poll_transmit(&mut self) -> Poll<io::Result<()>> {
        loop {
            let (first, second) = self.output.next();
            let mut context = Context::from_waker(&self.waker);
            let stream = Pin::new(&mut self.stream);
            let polled = match (first, second) {
                ([], []) => break,
                ([], bytes) | (bytes, []) => stream.poll_write(&mut context, bytes),
                (first, second) => {
                    let slices = [IoSlice::new(first), IoSlice::new(second)];
                    stream.poll_write_vectored(&mut context, &slices)
                }
            };
            match ready!(polled)? {
                0 => return Poll::Ready(Err(takes_nothing())),
                count => self.output.advance(count),
            }
        }
        if matches!(self.incoming, Incoming::Ended(_)) && self.output.is_closed() {
            self.observers.tell_closed();
        }
        Poll::Ready(Ok(()))
    }
}
