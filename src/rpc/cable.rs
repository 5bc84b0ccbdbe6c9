//! Pipes that the tests cut, at whatever byte.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

use crate::transport::{MemoryStream, pipe};

/// A pipe that can be cut.
pub(super) struct Cable([Wire; 2]);

impl Cable {
    /// One that is cut when so many bytes went there, or so many back; and its two ends.
    pub(super) fn new(forth: usize, back: usize) -> (Self, [Wire; 2]) {
        let (one, other) = pipe(64 * 1024);
        let wires = [Wire::new(one, forth), Wire::new(other, back)];
        (Self(wires.clone()), wires)
    }

    pub(super) fn cut(&self) {
        self.0.iter().for_each(Wire::cut);
    }

    pub(super) fn is_cut(&self) -> bool {
        let mut wires = self.0.iter();
        wires.any(|wire| wire.inner.lock().unwrap().stream.is_none())
    }
}

/// One end of a pipe that can be cut.
#[derive(Clone)]
pub(super) struct Wire {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    stream: Option<MemoryStream>,
    /// So many bytes are written before it is cut.
    left: usize,
    reader: Option<Waker>,
}

impl Wire {
    fn new(stream: MemoryStream, left: usize) -> Self {
        let inner = Inner {
            stream: Some(stream),
            left,
            reader: None,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn cut(&self) {
        let mut inner = self.inner.lock().unwrap();
        let (stream, reader) = (inner.stream.take(), inner.reader.take());
        drop(inner);
        drop(stream);
        reader.into_iter().for_each(Waker::wake);
    }

    fn with<T>(
        &self,
        act: impl FnOnce(Pin<&mut MemoryStream>, &mut usize) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut inner = self.inner.lock().unwrap();
        let Inner { stream, left, .. } = &mut *inner;
        match stream {
            Some(stream) => act(Pin::new(stream), left),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.inner.lock().unwrap().reader = Some(context.waker().clone());
        self.with(|stream, _| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut is_over = false;
        let written = self.with(|stream, left| {
            let part = &buffer[..buffer.len().min(*left)];
            let written = stream.poll_write(context, part);
            if let Poll::Ready(Ok(count)) = &written {
                *left -= count;
            }
            is_over = *left == 0;
            written
        });
        if is_over {
            self.cut();
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream, _| stream.poll_flush(context))
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream, _| stream.poll_close(context))
    }
}
