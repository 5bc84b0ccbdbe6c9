use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::{Established, TransportError};

#[cfg(not(target_family = "wasm"))]
type Handshake = Pin<Box<dyn Future<Output = Result<Established, TransportError>> + Send>>;
#[cfg(target_family = "wasm")]
type Handshake = Pin<Box<dyn Future<Output = Result<Established, TransportError>>>>;

/// The handshakes of one listener that are neither over nor given up, by age; the oldest gives way to
/// one too many.
///
/// Whoever accepted a connection holds only a share of its handshake: giving way frees the socket and all
/// else at once, even if nobody ever polls it again.
#[derive(Debug)]
pub(super) struct Pending {
    most: usize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    places: BTreeMap<u64, Arc<Place>>,
    next: u64,
}

#[derive(Default)]
struct Place {
    /// None: it is over, or gave way.
    handshake: Mutex<Option<Handshake>>,
    waker: AtomicWaker,
}

impl Pending {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            line: Mutex::default(),
        }
    }

    pub(super) fn begin(self: &Arc<Self>, handshake: Handshake) -> Turn {
        let place = Arc::new(Place {
            handshake: Mutex::new(Some(handshake)),
            waker: AtomicWaker::new(),
        });
        let mut line = lock(&self.line);
        let number = line.next;
        line.next = number.wrapping_add(1);
        let oldest = if line.places.len() < self.most {
            None
        } else {
            line.places.pop_first()
        };
        line.places.insert(number, Arc::clone(&place));
        drop(line);
        if let Some((_, oldest)) = oldest {
            oldest.give_way();
        }
        Turn {
            pending: Arc::clone(self),
            place,
            number,
        }
    }
}

/// One of them. Dropping it closes the connection and frees the place.
pub(super) struct Turn {
    pending: Arc<Pending>,
    place: Arc<Place>,
    number: u64,
}

impl Turn {
    /// Does the handshake, unless it has to give way.
    pub(super) async fn take(self) -> Result<Established, TransportError> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Established, TransportError>> {
        self.place.waker.register(context.waker());
        let mut place = lock(&self.place.handshake);
        match place.as_mut() {
            Some(handshake) => handshake.as_mut().poll(context),
            None => Poll::Ready(Err(TransportError::HandshakeDisplaced {
                most: self.pending.most,
            })),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.pending.line).places.remove(&self.number);
    }
}

impl Place {
    fn give_way(&self) {
        let handshake = lock(&self.handshake).take();
        drop(handshake);
        self.waker.wake();
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Place")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
