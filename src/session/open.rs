//! How sessions begin: opened here, accepted by hand or by a router.

use std::future::Future;

use super::error::{Fault, SessionError};
use super::protocol::Protocol;
use super::table::Table;
use super::typed::Session;
use crate::mux::{Code, Connection, IncomingChannel, Place, Priority, Router};
use crate::runtime::{MaybeSend, MaybeSync, Task};

/// How much of one protocol a connection's peer may have going on at once.
///
/// ```
/// let limits = sessionwire::session::Limits::default().sessions(8).queued_bytes(64 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    pub(super) sessions: usize,
    pub(super) queued_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 128,
            queued_bytes: 256 * 1024,
        }
    }
}

impl Limits {
    /// The sessions of the protocol that are served at once on one connection. Default 128; further ones
    /// are refused with [`Code::REFUSED`].
    #[must_use]
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// The bytes that the peer may send in one session before they are read, each message counting 32
    /// more. Default 256 KiB, at least 64 KiB; the peer waits beyond that.
    ///
    /// One message that is larger still arrives, if the state allows it.
    #[must_use]
    pub fn queued_bytes(mut self, bytes: usize) -> Self {
        self.queued_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self
    }
}

impl Connection {
    /// Opens a session, in which this end is the client.
    ///
    /// Waits as [`open`](Self::open) does. The peer need not answer: if it refuses, the first step that waits
    /// for it says so.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `open_session` has opened nothing.
    pub async fn open_session<P: Protocol>(
        &self,
        protocol: P,
    ) -> Result<Session<P::Client>, SessionError> {
        self.open_session_with(protocol, Priority::Normal).await
    }

    /// Opens a session with a priority.
    pub async fn open_session_with<P: Protocol>(
        &self,
        _: P,
        priority: Priority,
    ) -> Result<Session<P::Client>, SessionError> {
        let channel = self.open_raw_with(P::TABLE.wire_name(), priority).await?;
        Ok(Session::begin(channel))
    }
}

impl IncomingChannel {
    /// Accepts the channel as a session, in which this end is the server.
    ///
    /// # Errors
    ///
    /// [`SessionError::Aborted`], when the peer was refused because it opened something else: another
    /// protocol, a plain channel, or the same protocol by another table.
    pub fn accept_session<P: Protocol>(self, _: P) -> Result<Session<P::Server>, SessionError> {
        let most = Limits::default().queued_bytes;
        match mismatch(self.protocol(), P::TABLE) {
            None => Ok(Session::begin(self.accept_with_window(most))),
            Some((code, reason)) => {
                self.refuse(code, &reason);
                Err(SessionError::Aborted {
                    code,
                    reason: reason.into(),
                })
            }
        }
    }
}

impl Router {
    /// Serves sessions of a protocol, with the default [`Limits`].
    ///
    /// Each session's handler runs in a task of its own. What it answers decides what a fault ends: a
    /// [`SessionError`], or any other error, has ended the session alone and is
    /// logged; a [`Fault`] can say that it ends the connection.
    ///
    /// A peer with another table is refused with [`Code::OTHER_TABLE`].
    #[must_use]
    pub fn on_session<P, Handler, Running, Failure>(self, protocol: P, handler: Handler) -> Self
    where
        P: Protocol,
        Handler: Fn(Session<P::Server>) -> Running + MaybeSend + MaybeSync + 'static,
        Running: Future<Output = Result<(), Failure>> + MaybeSend + 'static,
        Failure: Into<Fault>,
    {
        self.on_session_with(protocol, Limits::default(), handler)
    }

    /// Serves sessions of a protocol within limits.
    #[must_use]
    pub fn on_session_with<P, Handler, Running, Failure>(
        self,
        _: P,
        limits: Limits,
        handler: Handler,
    ) -> Self
    where
        P: Protocol,
        Handler: Fn(Session<P::Server>) -> Running + MaybeSend + MaybeSync + 'static,
        Running: Future<Output = Result<(), Failure>> + MaybeSend + 'static,
        Failure: Into<Fault>,
    {
        self.on_family(P::TABLE.name, move |channel| {
            let (channel, place) = admit(channel, P::TABLE, limits)?;
            let connection = channel.connection();
            let session = Session::begin(channel.accept_with_window(limits.queued_bytes));
            let running = handler(session);
            let task: Task = Box::pin(async move {
                if let Err(failure) = running.await {
                    report(&failure.into(), P::TABLE.name, &connection);
                }
                drop(place);
            });
            Some(task)
        })
    }
}

/// Refuses what cannot be served.
fn admit(
    channel: IncomingChannel,
    table: &'static Table,
    limits: Limits,
) -> Option<(IncomingChannel, Place)> {
    if let Some((code, reason)) = mismatch(channel.protocol(), table) {
        tracing::debug!(reason, "a session was refused");
        channel.refuse(code, &reason);
        return None;
    }
    let place = channel.connection().occupy(table.name, limits.sessions);
    let Some(place) = place else {
        let most = limits.sessions;
        let reason = format!("{most} sessions of this protocol are open already");
        channel.refuse(Code::REFUSED, &reason);
        return None;
    };
    Some((channel, place))
}

/// Why a channel is no session by that table, if it is none.
fn mismatch(opened: &str, table: &Table) -> Option<(Code, String)> {
    let here = table.wire_name();
    if opened == here {
        return None;
    }
    let Some((name, fingerprint)) = opened.split_once('#') else {
        let reason = format!("{opened:?} is not open to plain channels, only to sessions");
        return Some((Code::UNKNOWN_PROTOCOL, reason));
    };
    if name != table.name {
        return Some((Code::UNKNOWN_PROTOCOL, format!("no protocol {name:?} here")));
    }
    let own = here.rsplit('#').next().unwrap_or_default();
    // The part that differs first: a reason is cut after 128 bytes.
    let reason = format!("the table there is {fingerprint}, here {own}: {name} differs");
    Some((Code::OTHER_TABLE, reason))
}

fn report(fault: &Fault, protocol: &str, connection: &Connection) {
    if let Some(code) = fault.ends_connection() {
        tracing::warn!(%fault, protocol, "a session ended its connection");
        connection.close(code, &fault.to_string());
    } else {
        tracing::debug!(%fault, protocol, "a session failed");
    }
}
