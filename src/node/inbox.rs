//! What came from the peers and waits to be received.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::{Event, listener};

use super::outbox::Limits;

/// One queue for all peers, in which each has a share of its own.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    state: Mutex<State<T>>,
    arrival: Event,
    limits: Limits,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<(T, usize, Arc<Share>)>,
    closed: bool,
}

/// What one peer has in the queue.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Messages and bytes; changed only while the queue is locked.
    taken: Mutex<(usize, usize)>,
    room: Event,
}

impl<T> Inbox<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                closed: false,
            }),
            arrival: Event::new(),
            limits,
        }
    }

    /// Waits until the peer's share has room.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `put` has put nothing.
    pub(super) async fn put(&self, value: T, size: usize, share: &Arc<Share>) {
        let mut value = Some(value);
        loop {
            listener!(share.room => room);
            if self.try_put(&mut value, size, share) {
                return;
            }
            room.await;
        }
    }

    /// Waits for the next; none once the queue is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `take` has taken nothing.
    pub(super) async fn take(&self) -> Option<T> {
        loop {
            listener!(self.arrival => arrival);
            let (taken, closed) = {
                let mut state = self.lock();
                (state.queue.pop_front(), state.closed)
            };
            if let Some((value, size, share)) = taken {
                share.give_back(size);
                return Some(value);
            }
            if closed {
                return None;
            }
            arrival.await;
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrival.notify(usize::MAX);
    }

    fn try_put(&self, value: &mut Option<T>, size: usize, share: &Arc<Share>) -> bool {
        let mut state = self.lock();
        if !share.take(size, self.limits) {
            return false;
        }
        let value = value.take().map(|value| (value, size, Arc::clone(share)));
        state.queue.extend(value);
        drop(state);
        self.arrival.notify(1);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn take(&self, size: usize, limits: Limits) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (messages, bytes) = *taken;
        let has_room = messages == 0
            || messages < limits.messages && bytes.saturating_add(size) <= limits.bytes;
        if has_room {
            *taken = (messages.saturating_add(1), bytes.saturating_add(size));
        }
        has_room
    }

    fn give_back(&self, size: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = (taken.0.saturating_sub(1), taken.1.saturating_sub(size));
        drop(taken);
        self.room.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures::FutureExt;

    use super::*;

    fn put(inbox: &Inbox<u8>, value: u8, size: usize, share: &Arc<Share>) -> bool {
        inbox.put(value, size, share).now_or_never().is_some()
    }

    fn take(inbox: &Inbox<u8>) -> Poll<Option<u8>> {
        inbox
            .take()
            .now_or_never()
            .map_or(Poll::Pending, Poll::Ready)
    }

    #[test]
    fn each_peer_has_its_own_share() {
        let inbox = Inbox::new(Limits {
            messages: 2,
            bytes: 10,
        });
        let (one, other) = (Arc::default(), Arc::default());
        assert!(put(&inbox, 1, 1, &one) && put(&inbox, 2, 9, &one));
        assert!(!put(&inbox, 3, 1, &one), "two messages");
        assert!(put(&inbox, 4, 99, &other), "one may be larger");
        assert!(!put(&inbox, 5, 1, &other), "ten bytes");
        assert_eq!(take(&inbox), Poll::Ready(Some(1)));
        assert!(!put(&inbox, 6, 2, &one), "eleven bytes");
        assert!(put(&inbox, 6, 1, &one));
        assert_eq!(
            [2, 4, 6].map(|_| take(&inbox)),
            [2, 4, 6].map(|value| Poll::Ready(Some(value)))
        );
        assert_eq!(take(&inbox), Poll::Pending);
    }

    #[test]
    fn who_waits_for_room_is_woken() {
        let inbox = Inbox::new(Limits {
            messages: 1,
            bytes: 10,
        });
        let share = Arc::default();
        assert!(put(&inbox, 1, 1, &share));
        let mut waits = Box::pin(inbox.put(2, 1, &share));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(take(&inbox).is_ready());
        assert!(waits.as_mut().now_or_never().is_some());
    }

    #[test]
    fn what_is_there_comes_before_the_end() {
        let inbox = Inbox::new(Limits {
            messages: 1,
            bytes: 10,
        });
        put(&inbox, 1, 1, &Arc::default());
        inbox.close();
        assert_eq!(take(&inbox), Poll::Ready(Some(1)));
        assert_eq!(take(&inbox), Poll::Ready(None));
    }
}
