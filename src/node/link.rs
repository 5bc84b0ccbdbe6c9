//! One connection with a peer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::app::App;
use super::inventory::{ItemId, MOST_AT_ONCE};
use super::message::Notice;
use super::peer::Peer;
use super::registry::{Key, View};
use crate::mux::{Code, Connection};

/// The most notices that wait to be sent, and their bytes.
const MOST_NOTICES: usize = 1024;
const MOST_BYTES: usize = 1024 * 1024;
/// The most items that the other end may ask for at once: two requests' worth.
const MOST_ASKED: usize = 2 * MOST_AT_ONCE;

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
    /// What the other end asks for and has not got yet.
    asked: VecDeque<ItemId>,
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

    /// Queues a notice, false if there is no room; for a goodbye there is. Whoever calls this notifies the
    /// peer.
    pub(super) fn notice(&self, notice: &Notice) -> bool {
        let is_goodbye = matches!(notice, Notice::Bye | Notice::Moved);
        let notice = notice.encode();
        let mut state = self.lock();
        let bytes = state.bytes.saturating_add(notice.len());
        let is_full = state.notices.len() >= MOST_NOTICES || bytes > MOST_BYTES;
        let has_room = is_goodbye || !is_full;
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

    /// The other end asks for items: answers those that are too many.
    pub(super) fn ask(&self, mut items: Vec<ItemId>) -> Vec<ItemId> {
        let mut state = self.lock();
        let room = MOST_ASKED.saturating_sub(state.asked.len());
        let refused = items.split_off(room.min(items.len()));
        state.asked.extend(items);
        refused
    }

    pub(super) fn next_asked(&self) -> Option<ItemId> {
        self.lock().asked.pop_front()
    }

    /// Ends the connection at once.
    pub(super) fn cut(&self, code: Code, reason: &str) {
        self.connection.close(code, reason);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
