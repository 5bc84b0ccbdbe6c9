//! What came from the peers and waits to be received.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::{Event, listener};
use futures_util::future::select;

use super::guard::Guarded;
use super::outbox::Limits;

/// One queue for all peers, in which each has a share of its own.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    state: Mutex<State<T>>,
    arrival: Event,
    /// There is room again in a queue that was full.
    room: Event,
    limits: Limits,
    /// Of the whole queue: what peers left that have gone is in nobody's share.
    most: Limits,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<(T, usize, Arc<Share>)>,
    bytes: usize,
    /// Somebody found no room in the whole queue.
    was_full: bool,
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
    /// A queue with so much room for each of so many peers at once, whose messages may be so long.
    pub(super) fn new(limits: Limits, peers: usize, longest: usize) -> Self {
        let peers = peers.max(1);
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                bytes: 0,
                was_full: false,
                closed: false,
            }),
            arrival: Event::new(),
            room: Event::new(),
            limits,
            most: Limits {
                messages: limits.messages.saturating_mul(peers),
                bytes: limits.bytes.max(longest).saturating_mul(peers),
            },
        }
    }

    /// Waits until the peer's share has room, and the whole queue.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `put` has put nothing.
    pub(super) async fn put(&self, value: T, size: usize, share: &Arc<Share>) {
        let mut value = Guarded::new(value);
        loop {
            listener!(share.room => own);
            listener!(self.room => all);
            if self.try_put(&mut value, size, share) {
                return;
            }
            select(own, all).await;
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
            let (taken, was_full, closed) = {
                let mut state = self.lock();
                let taken = state.pop();
                let was_full = taken.is_some() && std::mem::take(&mut state.was_full);
                (taken, was_full, state.closed)
            };
            if let Some((value, size, share)) = taken {
                share.give_back(size);
                if was_full {
                    self.room.notify(usize::MAX);
                }
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

    fn try_put(&self, value: &mut Guarded<T>, size: usize, share: &Arc<Share>) -> bool {
        let mut state = self.lock();
        if !self.most.have_room(state.queue.len(), state.bytes, size) {
            state.was_full = true;
            return false;
        }
        if !share.take(size, self.limits) {
            return false;
        }
        let value = value.take().map(|value| (value, size, Arc::clone(share)));
        state.queue.extend(value);
        state.bytes = state.bytes.saturating_add(size);
        drop(state);
        self.arrival.notify(1);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn pop(&mut self) -> Option<(T, usize, Arc<Share>)> {
        let taken = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(taken.1);
        Some(taken)
    }
}

impl Share {
    fn take(&self, size: usize, limits: Limits) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (messages, bytes) = *taken;
        let has_room = limits.have_room(messages, bytes, size);
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
        let inbox = Inbox::new(
            Limits {
                messages: 2,
                bytes: 10,
            },
            9,
            100,
        );
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
        let inbox = Inbox::new(
            Limits {
                messages: 1,
                bytes: 10,
            },
            9,
            100,
        );
        let share = Arc::default();
        assert!(put(&inbox, 1, 1, &share));
        let mut waits = Box::pin(inbox.put(2, 1, &share));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(take(&inbox).is_ready());
        assert!(waits.as_mut().now_or_never().is_some());
    }

    #[test]
    fn what_peers_left_who_have_gone_counts_until_it_is_taken() {
        let limits = Limits {
            messages: 1,
            bytes: 10,
        };
        let inbox = Inbox::new(limits, 2, 10);
        assert!(put(&inbox, 1, 1, &Arc::default()) && put(&inbox, 2, 1, &Arc::default()));
        let share = Arc::default();
        let mut waits = Box::pin(inbox.put(3, 1, &share));
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(take(&inbox), Poll::Ready(Some(1)));
        assert!(waits.as_mut().now_or_never().is_some());
        drop(waits);
        for number in [2, 3] {
            assert_eq!(take(&inbox), Poll::Ready(Some(number)));
        }
        assert!(put(&inbox, 4, 25, &Arc::default()), "alone");
        assert!(!put(&inbox, 5, 1, &share), "twenty bytes");
    }

    #[test]
    fn what_is_there_comes_before_the_end() {
        let inbox = Inbox::new(
            Limits {
                messages: 1,
                bytes: 10,
            },
            9,
            100,
        );
        put(&inbox, 1, 1, &Arc::default());
        inbox.close();
        assert_eq!(take(&inbox), Poll::Ready(Some(1)));
        assert_eq!(take(&inbox), Poll::Ready(None));
    }
}
