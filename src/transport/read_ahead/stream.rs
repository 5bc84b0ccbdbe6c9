use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::{Inbox, ReadSize};

/// A stream that is read in large pieces while it is busy, however little its reader asks for. It holds
/// no memory while its reader waits.
#[derive(Debug)]
pub(in crate::transport) struct ReadAhead<S> {
    stream: S,
    inbox: Inbox,
    size: ReadSize,
}

impl<S> ReadAhead<S> {
    /// `most` is how many bytes are read ahead at most.
    pub(in crate::transport) fn new(stream: S, most: usize) -> Self {
        Self {
            stream,
            inbox: Inbox::default(),
            size: ReadSize::new(most),
        }
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    fn poll_stream(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.size.learn(buffer.len(), count);
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.inbox.is_empty() {
            let mut inbox = std::mem::take(&mut this.inbox);
            let size = this.size.get();
            if buffer.len() >= size {
                return this.poll_stream(context, buffer);
            }
            let count = ready!(this.poll_stream(context, inbox.room(size)))?;
            inbox.fill(count);
            this.inbox = inbox;
        }
        Poll::Ready(Ok(this.inbox.read(buffer)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::executor::block_on;
    use futures::task::{ArcWake, noop_waker_ref, waker};
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::transport::pipe;

    const MOST: usize = 64 * 1024;

    /// What each read below answers; pending again and again when nothing is left.
    #[derive(Debug, Default)]
    struct Script {
        answers: VecDeque<Poll<io::Result<Vec<u8>>>>,
        asked: Vec<usize>,
    }

    impl Script {
        fn bytes(mut self, bytes: &[u8]) -> Self {
            self.answers.push_back(Poll::Ready(Ok(bytes.to_vec())));
            self
        }

        fn pending(mut self) -> Self {
            self.answers.push_back(Poll::Pending);
            self
        }

        fn error(mut self) -> Self {
            let reset = io::ErrorKind::ConnectionReset.into();
            self.answers.push_back(Poll::Ready(Err(reset)));
            self
        }
    }

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.asked.push(buffer.len());
            let mut bytes = ready!(self.answers.pop_front().unwrap_or(Poll::Pending))?;
            let rest = bytes.split_off(bytes.len().min(buffer.len()));
            buffer[..bytes.len()].copy_from_slice(&bytes);
            if !rest.is_empty() {
                self.answers.push_front(Poll::Ready(Ok(rest)));
            }
            Poll::Ready(Ok(bytes.len()))
        }
    }

    fn read(stream: &mut ReadAhead<Script>, most: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut buffer = vec![0; most];
        read_into(stream, &mut buffer).map_ok(|count| buffer[..count].to_vec())
    }

    fn read_into(stream: &mut ReadAhead<Script>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(stream).poll_read(&mut Context::from_waker(noop_waker_ref()), buffer)
    }

    fn some(polled: Poll<io::Result<Vec<u8>>>) -> Vec<u8> {
        match polled {
            Poll::Ready(Ok(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn held<S>(stream: &ReadAhead<S>) -> usize {
        stream.inbox.bytes.capacity()
    }

    #[test]
    fn however_they_are_cut_the_bytes_are_the_same() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for piece in [3, 1023, 1024, 1025, 4096, MOST, MOST + 1, 200_000] {
            for most in [1, 5, 1023, 1024, 4096, 16 * 1024, MOST, 200_000] {
                let pieces = bytes.chunks(piece);
                let script = pieces.fold(Script::default(), |script, piece| {
                    script.bytes(piece).pending()
                });
                let mut stream = ReadAhead::new(script.bytes(&[]), MOST);
                let (mut got, mut buffer) = (Vec::<u8>::new(), vec![0; most]);
                loop {
                    match read_into(&mut stream, &mut buffer) {
                        Poll::Pending => assert_eq!(held(&stream), 0),
                        Poll::Ready(Ok(0)) => break,
                        Poll::Ready(Ok(count)) => got.extend(&buffer[..count]),
                        Poll::Ready(Err(error)) => panic!("{error}"),
                    }
                }
                assert!(got == bytes, "pieces of {piece}, reads of {most}");
            }
        }
    }

    #[test]
    fn a_busy_stream_is_read_in_large_pieces_and_a_quiet_one_in_small_ones() {
        let much = vec![7; 1024 * 1024];
        let mut stream = ReadAhead::new(Script::default().bytes(&much), MOST);
        for _ in 0..256 {
            assert_eq!(some(read(&mut stream, 4096)).len(), 4096);
        }
        let asked = std::mem::take(&mut stream.stream.asked);
        assert_eq!(asked[..4], [4096, 4096, 16 * 1024, MOST]);
        assert_eq!(asked.len(), 19);

        for _ in 0..3 {
            stream.stream.answers.push_back(Poll::Ready(Ok(vec![7])));
        }
        while read(&mut stream, 100).is_ready() {}
        assert_eq!(stream.stream.asked.last(), Some(&1024));
    }

    #[test]
    fn who_waits_holds_nothing() {
        let script = Script::default().bytes(&[7; 1024]).pending().bytes(&[8; 3]);
        let mut stream = ReadAhead::new(script, MOST);
        assert_eq!(some(read(&mut stream, 10)), [7; 10]);
        assert!(held(&stream) > 0);
        assert_eq!(some(read(&mut stream, 1000)), [7; 1000]);
        assert_eq!(some(read(&mut stream, 100)), [7; 14]);
        assert!(read(&mut stream, 10).is_pending());
        assert_eq!(held(&stream), 0);
        assert_eq!(some(read(&mut stream, 10)), [8; 3]);
    }

    #[test]
    fn errors_and_the_end_come_behind_the_bytes() {
        let script = Script::default()
            .bytes(b"all")
            .error()
            .bytes(b"!")
            .bytes(&[]);
        let mut stream = ReadAhead::new(script, MOST);
        assert_eq!(some(read(&mut stream, 2)), b"al");
        assert_eq!(some(read(&mut stream, 2)), b"l");
        let Poll::Ready(Err(error)) = read(&mut stream, 2) else {
            panic!("no error");
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(held(&stream), 0);
        assert_eq!(some(read(&mut stream, 2)), b"!");
        assert_eq!(some(read(&mut stream, 2)), b"");
    }

    struct Woken(AtomicUsize);

    impl ArcWake for Woken {
        fn wake_by_ref(woken: &Arc<Self>) {
            woken.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_stream_below_wakes_who_reads_and_takes_all_slices_at_once() {
        let (here, there) = pipe(16);
        let mut stream = ReadAhead::new(here, MOST);
        let mut peer = ReadAhead::new(there, MOST);
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = waker(woken.clone());
        let mut context = Context::from_waker(&waker);
        let polled = Pin::new(&mut stream).poll_read(&mut context, &mut [0; 4]);
        assert!(polled.is_pending());
        let slices = [IoSlice::new(b"one "), IoSlice::new(b"two")];
        let count = block_on(peer.write_vectored(&slices)).unwrap();
        assert_eq!(count, 7);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        block_on(peer.close()).unwrap();
        let mut heard = String::new();
        block_on(stream.read_to_string(&mut heard)).unwrap();
        assert_eq!(heard, "one two");
    }
}
