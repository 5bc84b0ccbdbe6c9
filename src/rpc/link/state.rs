use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;

use super::error::{LinkError, LinkFailure};
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
        /// The [name](super::Dialer::name) of what it dials.
        target: Option<Arc<str>>,
        /// Why it has none, as in [`Waiting`](Self::Waiting); the very first time nothing.
        why: Option<LinkFailure>,
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
        /// The [name](super::Dialer::name) of what is dialled then.
        target: Option<Arc<str>>,
        /// Why it has no connection: what the last attempt failed of, or how the last connection ended.
        why: Option<LinkFailure>,
    },
    /// It is down for good.
    Down(LinkError),
}

impl LinkState {
    /// What every link that dials does first.
    pub(in crate::rpc) const CONNECTING: Self = Self::Connecting {
        attempt: 1,
        target: None,
        why: None,
    };
}

/// For logs and for people: what it does, and why it is not up.
impl fmt::Display for LinkState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (doing, attempt, target, why) = match self {
            Self::Connecting {
                attempt,
                target,
                why,
            } => ("connecting", attempt, target, why),
            Self::Waiting {
                attempt,
                target,
                why,
                ..
            } => ("waiting to connect", attempt, target, why),
            Self::Up { epoch, connection } => {
                write!(formatter, "up, connection {epoch}")?;
                let peer = connection.info().peer.as_ref();
                return peer.map_or(Ok(()), |peer| {
                    write!(formatter, ", to {}", peer.without_query())
                });
            }
            Self::Down(error) => return write!(formatter, "down: {error}"),
        };
        formatter.write_str(doing)?;
        if let Some(target) = target {
            write!(formatter, " to {target}")?;
        }
        write!(formatter, ", attempt {attempt}")?;
        match why {
            Some(why) => write!(formatter, "; before that: {why}"),
            None => Ok(()),
        }
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
