//! One connection with a peer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::app::App;
use super::message::Notice;
use super::peer::Peer;
use super::registry::{Key, View};
use crate::mux::{Code, Connection};

/// The most notices that wait to be sent, and their bytes.
const MOST_NOTICES: usize = 1024;
const MOST_BYTES: usize = 1024 * 1024;

/// A connection whose handshake is over, and what it may do.
pub(super) struct Link<A: App> {
    pub(super) key: Key,
    pub(super) peer: Peer<A>,
    pub(super) connection: Connection,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    view: View,
    notices: VecDeque<Bytes>,
    bytes: usize,
    /// Nothing more comes from the other end.
    is_over: bool,
}

impl<A: App> Link<A> {
    pub(super) fn new(key: Key, peer: Peer<A>, connection: Connection) -> Self {
        Self {
            key,
            peer,
            connection,
            state: Mutex::default(),
        }
    }

    pub(super) fn view(&self) -> View {
        self.lock().view
    }

    /// Whoever calls this notifies the peer.
    pub(super) fn set_view(&self, view: View) {
        self.lock().view = view;
    }

    /// Whether nothing is to be sent but what waits already.
    pub(super) fn is_ending(&self) -> bool {
        let state = self.lock();
        state.is_over || state.view.is_retiring
    }

    /// Nothing more comes from the other end.
    pub(super) fn set_over(&self) {
        self.lock().is_over = true;
        self.peer.shared.signal.notify(usize::MAX);
    }

    /// Queues a notice, false if there is no room. Whoever calls this notifies the peer.
    pub(super) fn notice(&self, notice: &Notice) -> bool {
        let notice = notice.encode();
        let mut state = self.lock();
        let bytes = state.bytes.saturating_add(notice.len());
        let has_room = state.notices.len() < MOST_NOTICES && bytes <= MOST_BYTES;
        if has_room {
            state.bytes = bytes;
            state.notices.push_back(notice);
        }
        has_room
    }

    pub(super) fn next_notice(&self) -> Option<Bytes> {
        let mut state = self.lock();
        let notice = state.notices.pop_front()?;
        state.bytes = state.bytes.saturating_sub(notice.len());
        Some(notice)
    }

    /// Ends the connection at once.
    pub(super) fn cut(&self, code: Code, reason: &str) {
        self.connection.close(code, reason);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
