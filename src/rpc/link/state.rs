use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;

use super::error::{DialError, LinkError, because};
use crate::mux::Connection;
use crate::runtime::Instant;

/// What a link is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinkState {
    /// It is making a connection.
    Connecting {
        /// Which attempt this is since the last connection that was stable, from 1.
        attempt: u32,
        /// Why it has none, as in [`Waiting`](Self::Waiting).
        why: Option<DialError>,
    },
    /// It has a connection.
    Up {
        /// Which one of the link's connections this is, from 1.
        epoch: u64,
        /// The connection, whose [`info`](Connection::info) tells which endpoint it goes to.
        connection: Connection,
    },
    /// It waits before it tries again.
    Waiting {
        /// Which attempt comes next, from 1.
        attempt: u32,
        /// When.
        until: Instant,
        /// Why it has no connection: what the last attempt failed of, or how the last connection ended;
        /// none if that one only takes no more channels, as when the peer drains it.
        why: Option<DialError>,
    },
    /// It is down for good.
    Down(LinkError),
}

impl LinkState {
    /// What every link that dials does first.
    pub(in crate::rpc) const CONNECTING: Self = Self::Connecting {
        attempt: 1,
        why: None,
    };
}

/// For logs and for people: what it does, and why it is not up.
impl fmt::Display for LinkState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::Connecting { attempt, why } => {
                write!(formatter, "connecting, attempt {attempt}")?;
                why
            }
            Self::Waiting { attempt, why, .. } => {
                write!(formatter, "waiting before attempt {attempt}")?;
                why
            }
            Self::Up { epoch, .. } => return write!(formatter, "up, connection {epoch}"),
            Self::Down(error) => return write!(formatter, "down: {error}"),
        };
        formatter.write_str(&because(why.as_ref()))
    }
}

/// A state to watch, by level: whoever looks late sees the newest.
#[derive(Debug)]
pub(super) struct Watched {
    current: Mutex<(u64, LinkState)>,
    changed: Event,
}

impl Watched {
    pub(super) fn new(state: LinkState) -> Self {
        Self {
            current: Mutex::new((1, state)),
            changed: Event::new(),
        }
    }

    pub(super) fn get(&self) -> LinkState {
        self.lock().1.clone()
    }

    /// Changes the state, unless the link is down for good; answers whether it did.
    pub(super) fn set(&self, state: LinkState) -> bool {
        let mut current = self.lock();
        if matches!(current.1, LinkState::Down(_)) {
            return false;
        }
        let version = current.0.saturating_add(1);
        let before = std::mem::replace(&mut *current, (version, state));
        drop(current);
        // Outside of the lock: it may hold the last handle of a connection.
        drop(before);
        self.changed.notify(usize::MAX);
        true
    }

    fn lock(&self) -> MutexGuard<'_, (u64, LinkState)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the states of a link: the newest is seen, those between may be missed.
///
/// It does not keep the link alive.
#[derive(Debug, Clone)]
pub struct LinkWatch {
    watched: Arc<Watched>,
    seen: u64,
}

impl LinkWatch {
    pub(super) fn new(watched: Arc<Watched>) -> Self {
        Self { watched, seen: 0 }
    }

    /// Waits for a state that this has not answered yet; the first time, that is the present one.
    ///
    /// After [`LinkState::Down`], no other follows: it waits for ever.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `changed` has taken nothing.
    pub async fn changed(&mut self) -> LinkState {
        loop {
            let listener = self.watched.changed.listen();
            let newest = {
                let current = self.watched.lock();
                (current.0 > self.seen).then(|| current.clone())
            };
            if let Some((version, state)) = newest {
                self.seen = version;
                return state;
            }
            listener.await;
        }
    }

    /// Waits until the link is down for good, answers why.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `down` may have taken states that [`changed`](Self::changed) then does not answer.
    pub async fn down(&mut self) -> LinkError {
        loop {
            let listener = self.watched.changed.listen();
            let newest = {
                let current = self.watched.lock();
                self.seen = current.0;
                match &current.1 {
                    LinkState::Down(error) => Some(error.clone()),
                    _ => None,
                }
            };
            if let Some(error) = newest {
                return error;
            }
            listener.await;
        }
    }
}
