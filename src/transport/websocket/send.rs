use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use futures_io::{AsyncRead, AsyncWrite};

use super::WsStream;
use super::failure::{closed, takes_nothing};
use super::frame::Header;
use super::output::total;
use super::receive::Incoming;

/// The caller's pieces that are written without a copy, at most.
const SLICES: usize = 16;

impl<S> WsStream<S> {
    pub(super) fn check_writable(&self) -> io::Result<()> {
        if self.closing.has_begun() || !matches!(self.incoming, Incoming::Open) {
            return Err(closed());
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// Takes bytes to send. A full message starts on its way at once; if it cannot, the next write or
    /// flush sees to it.
    pub(super) fn poll_accept(&mut self, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.check_writable()?;
        let wanted = total(buffers);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.output.is_sending() {
            ready!(self.poll_transmit())?;
        }
        if self.output.can_pass(wanted) && buffers.len() <= SLICES {
            return self.poll_pass(buffers);
        }
        let taken = self.output.collect(buffers);
        if self.output.is_sending()
            && let Poll::Ready(Err(error)) = self.poll_transmit()
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    /// Writes one full message right from the caller's bytes, and keeps what of it does not go at once.
    fn poll_pass(&mut self, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = self.output.max_message();
        let header = Header::new(OpCode::Data(Data::Binary), length, None);
        let mut left = length;
        let mut frame = [&[][..]; SLICES + 1];
        for (part, buffer) in frame.iter_mut().skip(1).zip(buffers) {
            *part = buffer.get(..left.min(buffer.len())).unwrap_or_default();
            left = left.saturating_sub(part.len());
        }
        if let Some(first) = frame.first_mut() {
            *first = header.as_bytes();
        }
        loop {
            let (control, _) = self.output.next();
            let mut slices = [IoSlice::new(&[]); SLICES + 2];
            for (slice, part) in slices.iter_mut().zip([&control].into_iter().chain(&frame)) {
                *slice = IoSlice::new(part);
            }
            let count = buffers.len().saturating_add(2);
            let slices = slices.get(..count).unwrap_or_default();
            let mut context = Context::from_waker(&self.waker);
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(&mut context, slices))?;
            if written == 0 {
                return Poll::Ready(Err(takes_nothing()));
            }
            let before = written.min(control.len());
            let sent = written.saturating_sub(before);
            self.output.advance(before);
            if sent > 0 {
                self.output.keep_rest(&frame, sent);
                return Poll::Ready(Ok(length));
            }
        }
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
        Pin::new(&mut self.stream).poll_flush(&mut Context::from_waker(&self.waker))
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
