//! A TCP proxy in this process that makes loopback a long fat pipe: 30 ms each way and 1 Gbit/s per direction, with a
//! queue of more than the bandwidth-delay product, after which it stops reading.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer::Result;

pub const DELAY: Duration = Duration::from_millis(30);
pub const BYTES_PER_SECOND: f64 = 125_000_000.0;
/// What one direction holds, in flight and waiting: the bandwidth-delay product is 7.5 MB.
const QUEUE_BYTES: usize = 12 << 20;
const CHUNK: usize = 64 << 10;

/// Listens until dropped.
pub struct Proxy {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        thread::spawn(move || {
            for inward in listener.incoming().flatten() {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                if let Err(error) = join(&inward, target) {
                    eprintln!("proxy: {error}");
                }
            }
        });
        Ok(Self { address, stopped })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
    }
}

fn join(inward: &TcpStream, target: SocketAddr) -> Result<()> {
    let outward = TcpStream::connect(target)?;
    for (from, to) in [(inward, &outward), (&outward, inward)] {
        from.set_nodelay(true)?;
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        let pipe = Arc::new(Pipe::default());
        let filled = Arc::clone(&pipe);
        thread::spawn(move || filled.fill(&mut from));
        thread::spawn(move || pipe.empty(&mut to));
    }
    Ok(())
}

#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    ended: bool,
}

impl Pipe {
    /// Reads; every chunk leaves when the link has carried those before it, and arrives a delay later.
    fn fill(&self, from: &mut TcpStream) {
        let mut link_free = Instant::now();
        loop {
            let mut chunk = vec![0; CHUNK];
            let count = from.read(&mut chunk).unwrap_or(0);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.bytes > QUEUE_BYTES && !state.ended {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if count == 0 || state.ended {
                state.ended = true;
                self.changed.notify_all();
                return;
            }
            chunk.truncate(count);
            let carried = Duration::from_secs_f64(count as f64 / BYTES_PER_SECOND);
            link_free = link_free.max(Instant::now()) + carried;
            state.bytes += count;
            state.chunks.push_back((link_free + DELAY, chunk));
            self.changed.notify_all();
        }
    }

    fn empty(&self, to: &mut TcpStream) {
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.chunks.is_empty() && !state.ended {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let Some((arrives, chunk)) = state.chunks.pop_front() else {
                let _ = to.shutdown(Shutdown::Write);
                return;
            };
            drop(state);
            thread::sleep(arrives.saturating_duration_since(Instant::now()));
            let written = to.write_all(&chunk);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.bytes -= chunk.len();
            state.ended |= written.is_err();
            self.changed.notify_all();
            if written.is_err() {
                return;
            }
        }
    }
}
