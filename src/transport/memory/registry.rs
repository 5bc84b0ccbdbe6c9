use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;

use super::{MemoryStream, pipe};

/// Connections that wait to be accepted, like the backlog of a socket.
const BACKLOG: usize = 128;

static LISTENERS: Mutex<BTreeMap<String, Arc<Queue>>> = Mutex::new(BTreeMap::new());

/// The `memory://` listener of one name; dropping it frees the name and its waiting connections.
#[derive(Debug)]
pub(in crate::transport) struct Listener {
    name: String,
    queue: Arc<Queue>,
}

impl Listener {
    /// `None` if the name is taken.
    pub(in crate::transport) fn bind(name: &str) -> Option<Self> {
        let mut listeners = lock(&LISTENERS);
        if listeners.contains_key(name) {
            return None;
        }
        let queue = Arc::new(Queue::default());
        listeners.insert(name.to_owned(), queue.clone());
        Some(Self {
            name: name.to_owned(),
            queue,
        })
    }

    /// Cancel-safe.
    pub(in crate::transport) async fn accept(&self) -> MemoryStream {
        loop {
            let arrival = self.queue.arrival.listen();
            if let Some(stream) = self.queue.take() {
                return stream;
            }
            arrival.await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        lock(&LISTENERS).remove(&self.name);
        self.queue.close();
    }
}

/// Waits while the listener's queue is full; `None` if nobody listens.
pub(in crate::transport) async fn connect(name: &str, capacity: usize) -> Option<MemoryStream> {
    let queue = lock(&LISTENERS).get(name).cloned()?;
    let (here, there) = pipe(capacity);
    let mut arriving = Some(there);
    loop {
        let room = queue.room.listen();
        match queue.put(&mut arriving) {
            Put::Done => return Some(here),
            Put::Closed => return None,
            Put::Full => room.await,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrival: Event,
    room: Event,
}

#[derive(Debug, Default)]
struct Waiting {
    streams: VecDeque<MemoryStream>,
    closed: bool,
}

enum Put {
    Done,
    Full,
    Closed,
}

impl Queue {
    fn take(&self) -> Option<MemoryStream> {
        let stream = lock(&self.waiting).streams.pop_front()?;
        self.room.notify(1);
        Some(stream)
    }

    fn put(&self, stream: &mut Option<MemoryStream>) -> Put {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Put::Closed;
        }
        if waiting.streams.len() >= BACKLOG {
            return Put::Full;
        }
        waiting.streams.extend(stream.take());
        drop(waiting);
        self.arrival.notify(1);
        Put::Done
    }

    fn close(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.closed = true;
        let streams = std::mem::take(&mut waiting.streams);
        drop(waiting);
        drop(streams);
        self.room.notify(usize::MAX);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, FutureExt};

    use super::*;

    #[test]
    fn a_name_is_free_again_after_its_listener() {
        let listener = Listener::bind("registry-free").unwrap();
        assert!(Listener::bind("registry-free").is_none());
        assert!(
            connect("registry-free", 1)
                .now_or_never()
                .unwrap()
                .is_some()
        );
        drop(listener);
        assert!(
            connect("registry-free", 1)
                .now_or_never()
                .unwrap()
                .is_none()
        );
        assert!(Listener::bind("registry-free").is_some());
    }

    #[test]
    fn the_queue_is_bounded_and_its_waiters_are_woken() {
        let listener = Listener::bind("registry-full").unwrap();
        let mut streams = Vec::new();
        for _ in 0..BACKLOG {
            streams.push(connect("registry-full", 1).now_or_never().unwrap().unwrap());
        }
        let mut late = Box::pin(connect("registry-full", 1));
        assert!(late.as_mut().now_or_never().is_none());
        assert!(listener.accept().now_or_never().is_some());
        assert!(late.as_mut().now_or_never().unwrap().is_some());
        let mut refused = Box::pin(connect("registry-full", 1));
        assert!(refused.as_mut().now_or_never().is_none());
        drop(listener);
        assert!(refused.as_mut().now_or_never().unwrap().is_none());
        let read = streams
            .pop()
            .unwrap()
            .read(&mut [0])
            .now_or_never()
            .unwrap()
            .unwrap();
        assert_eq!(read, 0, "what was never accepted ends");
    }
}
