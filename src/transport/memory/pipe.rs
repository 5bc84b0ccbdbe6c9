use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

/// Two connected streams: what is written to one is read from the other.
///
/// Each direction holds at most `capacity` bytes (0 counts as 1), after which its writer waits; memory
/// is taken as it is needed. Closing or dropping a stream ends the other's reading once it has read
/// what was written; dropping it also fails the other's writing with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// ```
/// use futures::{AsyncReadExt, AsyncWriteExt};
/// use sessionwire::transport::pipe;
///
/// # async_std::task::block_on(async {
/// let (mut here, mut there) = pipe(1024);
/// here.write_all(b"hello").await?;
/// here.close().await?;
/// let mut heard = String::new();
/// there.read_to_string(&mut heard).await?;
/// assert_eq!(heard, "hello");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub fn pipe(capacity: usize) -> (MemoryStream, MemoryStream) {
    let (forth, back) = (Direction::new(capacity), Direction::new(capacity));
    let here = MemoryStream {
        incoming: back.clone(),
        outgoing: forth.clone(),
    };
    (
        here,
        MemoryStream {
            incoming: forth,
            outgoing: back,
        },
    )
}

/// One end of a [`pipe`], or of a `memory://` connection.
pub struct MemoryStream {
    incoming: Arc<Direction>,
    outgoing: Arc<Direction>,
}

#[cfg(all(test, feature = "websocket"))]
impl MemoryStream {
    pub(in crate::transport) fn readable(&self) -> usize {
        self.incoming.lock().bytes.len()
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut state = self.incoming.lock();
        if state.bytes.is_empty() {
            if state.writer_done {
                return Poll::Ready(Ok(0));
            }
            let replaced = remember(&mut state.reader, context);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        // The ring's bytes may lie in two parts, and reading takes only the first.
        let first = state.bytes.read(buffer)?;
        let second = match buffer.get_mut(first..) {
            Some(rest) if !rest.is_empty() => state.bytes.read(rest)?,
            _ => 0,
        };
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Poll::Ready(Ok(first.saturating_add(second)))
    }
}

impl AsyncWrite for MemoryStream {
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
        let mut state = self.outgoing.lock();
        if state.writer_done {
            return Poll::Ready(broken("this end is closed"));
        }
        if state.reader_gone {
            return Poll::Ready(broken("the other end is gone"));
        }
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let room = self.outgoing.capacity.saturating_sub(state.bytes.len());
        if room == 0 {
            let replaced = remember(&mut state.writer, context);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        let mut left = room;
        for buffer in buffers {
            let part = buffer.get(..left.min(buffer.len())).unwrap_or_default();
            state.bytes.extend(part);
            left = left.saturating_sub(part.len());
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(room.saturating_sub(left)))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.outgoing.finish();
        self.incoming.abandon();
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryStream")
            .field("readable", &self.incoming.lock().bytes.len())
            .field("unread_by_peer", &self.outgoing.lock().bytes.len())
            .finish_non_exhaustive()
    }
}

struct Direction {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    writer_done: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Direction {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self) {
        let mut state = self.lock();
        state.writer_done = true;
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        wake(reader);
        wake(writer);
    }

    fn abandon(&self) {
        let mut state = self.lock();
        state.reader_gone = true;
        let bytes = std::mem::take(&mut state.bytes);
        let (reader, writer) = (state.reader.take(), state.writer.take());
        drop(state);
        drop((bytes, reader));
        wake(writer);
    }
}

/// Whoever is replaced is returned, to be dropped outside of the lock.
fn remember(slot: &mut Option<Waker>, context: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(context.waker()) => None,
        _ => slot.replace(context.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn broken(whose: &'static str) -> io::Result<usize> {
    Err(io::Error::new(io::ErrorKind::BrokenPipe, whose))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn read(stream: &mut MemoryStream, waker: &Waker, most: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut buffer = vec![0; most];
        let polled = Pin::new(stream).poll_read(&mut Context::from_waker(waker), &mut buffer);
        polled.map_ok(|count| buffer[..count].to_vec())
    }

    fn write(stream: &mut MemoryStream, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(stream).poll_write(&mut Context::from_waker(waker), bytes)
    }

    fn ready<T>(polled: Poll<io::Result<T>>) -> T {
        match polled {
            Poll::Ready(result) => result.unwrap(),
            Poll::Pending => panic!("pending"),
        }
    }

    fn kind<T: fmt::Debug>(polled: Poll<io::Result<T>>) -> io::ErrorKind {
        match polled {
            Poll::Ready(result) => result.unwrap_err().kind(),
            Poll::Pending => panic!("pending"),
        }
    }

    #[test]
    fn holds_its_capacity_and_not_a_byte_more() {
        let (mut here, mut there) = pipe(4);
        let noop = Waker::noop();
        assert_eq!(ready(write(&mut here, noop, b"abc")), 3);
        assert_eq!(ready(write(&mut here, noop, b"de")), 1);
        assert!(write(&mut here, noop, b"e").is_pending());
        assert_eq!(ready(write(&mut here, noop, b"")), 0);
        assert_eq!(ready(read(&mut there, noop, 1)), b"a");
        assert_eq!(ready(write(&mut here, noop, b"ef")), 1);
        assert_eq!(ready(read(&mut there, noop, 9)), b"bcde");
        assert!(read(&mut there, noop, 1).is_pending());
        assert_eq!(ready(read(&mut there, noop, 0)), b"");
    }

    #[test]
    fn a_vectored_write_gathers_up_to_the_capacity() {
        let (mut here, mut there) = pipe(6);
        let parts = [
            IoSlice::new(b""),
            IoSlice::new(b"abc"),
            IoSlice::new(b"defg"),
        ];
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(
            ready(Pin::new(&mut here).poll_write_vectored(&mut context, &parts)),
            6
        );
        assert_eq!(ready(read(&mut there, Waker::noop(), 9)), b"abcdef");
    }

    #[test]
    fn each_direction_wakes_its_own_waiters_once() {
        let (mut here, mut there) = pipe(1);
        let [readable, writable] = [Arc::new(Count::default()), Arc::new(Count::default())];
        let (reader, writer) = (Waker::from(readable.clone()), Waker::from(writable.clone()));
        let counts = || {
            (
                readable.0.load(Ordering::SeqCst),
                writable.0.load(Ordering::SeqCst),
            )
        };
        assert!(read(&mut there, &reader, 1).is_pending());
        assert_eq!(ready(write(&mut here, &writer, b"a")), 1);
        assert_eq!(counts(), (1, 0));
        assert!(write(&mut here, &writer, b"b").is_pending());
        assert_eq!(ready(write(&mut there, &reader, b"back")), 1);
        assert_eq!(counts(), (1, 0), "the other direction wakes nobody here");
        assert_eq!(ready(read(&mut there, &reader, 1)), b"a");
        assert_eq!(counts(), (1, 1));
    }

    #[test]
    fn closing_ends_the_reading_after_the_rest_and_leaves_the_way_back() {
        let (mut here, mut there) = pipe(9);
        let noop = Waker::noop();
        assert_eq!(ready(write(&mut here, noop, b"rest")), 4);
        here.close().now_or_never().unwrap().unwrap();
        assert_eq!(
            kind(write(&mut here, noop, b"x")),
            io::ErrorKind::BrokenPipe
        );
        assert_eq!(ready(read(&mut there, noop, 9)), b"rest");
        assert_eq!(ready(read(&mut there, noop, 9)), b"");
        assert_eq!(ready(write(&mut there, noop, b"back")), 4);
        assert_eq!(ready(read(&mut here, noop, 9)), b"back");
    }

    #[test]
    fn dropping_ends_both_ways_and_wakes_both_waiters() {
        let (here, mut there) = pipe(1);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        assert_eq!(ready(write(&mut there, &waker, b"a")), 1);
        assert!(write(&mut there, &waker, b"b").is_pending());
        assert!(read(&mut there, &waker, 1).is_pending());
        drop(here);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert_eq!(
            kind(write(&mut there, &waker, b"b")),
            io::ErrorKind::BrokenPipe
        );
        assert_eq!(ready(read(&mut there, &waker, 1)), b"");
    }

    #[test]
    fn bytes_keep_their_order_around_the_ring() {
        let (here, there) = pipe(1000);
        let (mut writer, mut reader) = (here, there);
        let sent: Vec<u8> = (0..100_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let expected = sent.clone();
        let write = async move {
            for chunk in sent.chunks(777) {
                writer.write_all(chunk).await.unwrap();
            }
        };
        let read = async move {
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let ((), heard) = futures::executor::block_on(futures::future::join(write, read));
        assert_eq!(heard, expected);
    }
}
