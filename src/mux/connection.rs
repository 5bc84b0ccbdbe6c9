use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::code::Code;
use super::config::{Config, NEVER};
use super::driver::{Driver, Engine};
use super::error::{ConnectionError, OpenError};
use super::machine::Machine;
use super::places::Place;
use super::priority::Priority;
use super::raw::RawChannel;
use super::role::Role;
use super::shared::Shared;
use super::statistics::Statistics;
use super::typed::Channel;
use crate::runtime::{self, MaybeSend, SharedRuntime};
use crate::transport::{BoxedStream, ConnectionInfo};

/// Many channels over one stream of bytes; a handle that can be cloned.
///
/// Either end may open channels, the other end accepts them. When the last handle is dropped, of the
/// connection and of all its channels, the connection ends, after what was finished has been sent.
pub struct Connection {
    shared: Arc<Shared>,
}

impl Connection {
    /// Starts the protocol on any stream of bytes, with the timers of the runtime that this is
    /// called in.
    ///
    /// Nothing moves before the driver is polled: spawn it. The two ends must have different roles.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use sessionwire::{Config, Connection, Role};
    ///
    /// let (one, other) = sessionwire::transport::pipe(64 * 1024);
    /// let (here, driver) = Connection::new(one, Role::Dialer, Config::default());
    /// async_std::task::spawn(driver);
    /// let (there, driver) = Connection::new(other, Role::Acceptor, Config::default());
    /// async_std::task::spawn(driver);
    ///
    /// println!("{:?} away", here.ping().await?);
    /// # Ok::<(), sessionwire::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn new<Io>(io: Io, role: Role, config: Config) -> (Self, Driver)
    where
        Io: AsyncRead + AsyncWrite + Unpin + MaybeSend + 'static,
    {
        Self::with_runtime(io, role, config, runtime::current())
    }

    /// As [`new`](Self::new), with the timers of `runtime`.
    pub fn with_runtime<Io>(
        io: Io,
        role: Role,
        config: Config,
        runtime: SharedRuntime,
    ) -> (Self, Driver)
    where
        Io: AsyncRead + AsyncWrite + Unpin + MaybeSend + 'static,
    {
        Self::start(
            Box::new(io),
            role,
            config,
            ConnectionInfo::default(),
            runtime,
        )
    }

    pub(crate) fn start(
        stream: BoxedStream,
        role: Role,
        config: Config,
        info: ConnectionInfo,
        runtime: SharedRuntime,
    ) -> (Self, Driver) {
        let machine = Machine::new(role, config, runtime.now());
        let shared = Shared::new(machine, Engine::new(stream), info, runtime);
        shared.add_handle();
        (
            Self {
                shared: Arc::clone(&shared),
            },
            Driver::new(shared),
        )
    }

    /// Two ends of one connection in this process, their drivers spawned: for tests and examples.
    pub fn pair() -> (Self, Self) {
        let (one, other) = crate::transport::pipe(64 * 1024);
        let runtime = runtime::current();
        let (here, driver) =
            Self::with_runtime(one, Role::Dialer, Config::default(), runtime.clone());
        driver.spawn();
        let (there, driver) = Self::with_runtime(other, Role::Acceptor, Config::default(), runtime);
        driver.spawn();
        (here, there)
    }

    /// Opens a channel of values for the protocol of that name (at most 255 bytes).
    ///
    /// Waits only while as many channels are open as the two ends allow. The peer need not answer:
    /// if it refuses, the first operation that waits for it says so, as does [`Channel::accepted`].
    ///
    /// # Cancel safety
    ///
    /// A cancelled `open` has opened nothing.
    pub async fn open<Tx, Rx>(&self, protocol: &str) -> Result<Channel<Tx, Rx>, OpenError>
    where
        Tx: Serialize,
        Rx: DeserializeOwned,
    {
        Ok(Channel::from_raw(self.open_raw(protocol).await?))
    }

    /// Opens a channel of values with a priority.
    pub async fn open_with<Tx, Rx>(
        &self,
        protocol: &str,
        priority: Priority,
    ) -> Result<Channel<Tx, Rx>, OpenError>
    where
        Tx: Serialize,
        Rx: DeserializeOwned,
    {
        Ok(Channel::from_raw(
            self.open_raw_with(protocol, priority).await?,
        ))
    }

    /// Opens a channel of raw messages, as [`open`](Self::open) does.
    pub async fn open_raw(&self, protocol: &str) -> Result<RawChannel, OpenError> {
        self.open_raw_with(protocol, Priority::Normal).await
    }

    /// Opens a channel of raw messages with a priority.
    pub async fn open_raw_with(
        &self,
        protocol: &str,
        priority: Priority,
    ) -> Result<RawChannel, OpenError> {
        loop {
            let listener = self.shared.events.places.listen();
            let opened = self
                .shared
                .with(|state| state.machine.open(protocol, priority))?;
            if let Some(key) = opened {
                return Ok(RawChannel::new(&self.shared, key));
            }
            listener.await;
        }
    }

    /// Waits for the next channel that the peer opens; none when the connection has ended as
    /// someone wanted it to.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `accept` has taken nothing.
    pub async fn accept(&self) -> Result<Option<IncomingChannel>, ConnectionError> {
        loop {
            let listener = self.shared.events.incoming.listen();
            let (incoming, outcome) = self.shared.with(|state| {
                (
                    state.machine.take_incoming(),
                    state.machine.outcome().cloned(),
                )
            });
            if let Some((key, protocol)) = incoming {
                let channel = RawChannel::new(&self.shared, key);
                return Ok(Some(IncomingChannel {
                    shared: Arc::clone(&self.shared),
                    key,
                    protocol,
                    channel,
                }));
            }
            match outcome {
                Some(error) if error.is_clean() => return Ok(None),
                Some(error) => return Err(error),
                None => listener.await,
            }
        }
    }

    /// Lets the peer open 16 channels at once and no more, until [`grant_places`](Self::grant_places): call
    /// it before the driver runs.
    pub(crate) fn hold_places(&self) {
        self.shared.with(|state| state.machine.hold_places());
    }

    /// Lets the peer open as many channels as [`Config::max_channels`] says.
    pub(crate) fn grant_places(&self) {
        self.shared.with(|state| state.machine.grant_places());
    }

    /// Measures the time to the peer and back.
    ///
    /// Calls at the same time share one ping.
    pub async fn ping(&self) -> Result<Duration, ConnectionError> {
        let number = self.shared.with(|state| state.machine.ping())?;
        loop {
            let listener = self.shared.events.pong.listen();
            let (answered, round_trip, outcome) = self.shared.with(|state| {
                let machine = &state.machine;
                (
                    machine.pings_answered(),
                    machine.statistics().round_trip,
                    machine.outcome().cloned(),
                )
            });
            if let Some(round_trip) = round_trip.filter(|_| answered >= number) {
                return Ok(round_trip.last);
            }
            if let Some(error) = outcome {
                return Err(error);
            }
            listener.await;
        }
    }

    /// Where the two ends are, as far as the transport knows.
    pub fn info(&self) -> &ConnectionInfo {
        &self.shared.info
    }

    /// What the connection has done and holds.
    pub fn statistics(&self) -> Statistics {
        self.shared.with(|state| state.machine.statistics())
    }

    /// Ends the connection gently: no new channels, open ones may finish within `time`.
    ///
    /// The peer learns which of its channels were never seen here, and may open them elsewhere.
    /// Resolves when the connection has ended and the transport is closed, as [`closed`](Self::closed)
    /// does: a program may exit then.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::TimedOut`] when channels had to be cut.
    ///
    /// # Cancel safety
    ///
    /// The drain goes on when this is cancelled.
    pub async fn drain(&self, time: Duration) -> Result<(), ConnectionError> {
        let deadline = self.shared.runtime.now() + time.min(NEVER);
        self.shared.with(|state| state.machine.drain(deadline));
        match self.closed().await {
            error if error.is_clean() => Ok(()),
            error => Err(error),
        }
    }

    /// Waits until the peer has introduced itself, so that the two ends are known to understand each other.
    pub(crate) async fn introduced(&self) -> Result<(), ConnectionError> {
        loop {
            let listener = self.shared.events.accepted.listen();
            let introduced = self.shared.with(|state| state.machine.is_introduced())?;
            if introduced {
                return Ok(());
            }
            listener.await;
        }
    }

    /// Waits until no channel can be opened any more; answers why if the connection has ended, and
    /// none while channels that are open may go on.
    pub(crate) async fn spent(&self) -> Option<ConnectionError> {
        loop {
            let listener = self.shared.events.places.listen();
            match self.shared.with(|state| state.machine.check_open()) {
                Ok(()) => listener.await,
                Err(OpenError::Connection(error)) => return Some(error),
                Err(_) => return None,
            }
        }
    }

    /// Leaves a dialer numbers for so many channels more.
    #[cfg(test)]
    pub(crate) fn use_up_numbers_but(&self, channels: u32) {
        self.shared
            .with(|state| state.machine.use_up_numbers_but(channels));
    }

    pub(crate) fn runtime(&self) -> &SharedRuntime {
        &self.shared.runtime
    }

    /// Takes one of `most` places for work of a kind on this connection, if one is free.
    pub(crate) fn occupy(&self, kind: &'static str, most: usize) -> Option<Place> {
        self.occupy_some(kind, 1, most)
    }

    /// Takes `count` of `most` places at once.
    pub(crate) fn occupy_some(
        &self,
        kind: &'static str,
        count: usize,
        most: usize,
    ) -> Option<Place> {
        Place::take(&self.shared.places, kind, count, most)
    }

    /// Ends the connection at once; the peer is told `code` and `reason` (at most 128 bytes of it).
    pub fn close(&self, code: Code, reason: &str) {
        self.shared.with(|state| state.machine.close(code, reason));
    }

    /// Waits until the connection has ended and its goodbye is with the transport, which is closed;
    /// answers why it ended.
    ///
    /// From the end of the connection on that takes at most
    /// [`close_timeout`](Config::close_timeout), if its driver is polled.
    pub async fn closed(&self) -> ConnectionError {
        loop {
            let listener = self.shared.events.ended.listen();
            let outcome = self.shared.with(|state| state.machine.outcome().cloned());
            match outcome {
                Some(error) if self.shared.is_finished() => return error,
                _ => listener.await,
            }
        }
    }
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        self.shared.add_handle();
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A channel that the peer opened and that waits for an answer.
///
/// Dropping it refuses the channel with [`Code::REFUSED`].
#[derive(Debug)]
pub struct IncomingChannel {
    shared: Arc<Shared>,
    key: usize,
    protocol: Box<str>,
    channel: RawChannel,
}

impl IncomingChannel {
    /// The name of the protocol that the peer wants to speak.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Accepts the channel as one of values.
    pub fn accept<Tx: Serialize, Rx: DeserializeOwned>(self) -> Channel<Tx, Rx> {
        Channel::from_raw(self.accept_raw())
    }

    /// Accepts the channel as one of raw messages.
    pub fn accept_raw(self) -> RawChannel {
        self.shared.with(|state| state.machine.accept(self.key));
        self.channel
    }

    /// Accepts a channel of which at most so many bytes are ever unread, and one message.
    pub(crate) fn accept_with_window(self, most: u32) -> RawChannel {
        self.shared
            .with(|state| state.machine.accept_with_window(self.key, most));
        self.channel
    }

    /// What is logged about its connection is logged in there.
    pub(super) fn span(&self) -> &tracing::Span {
        &self.shared.span
    }

    /// The connection that the channel is part of.
    pub fn connection(&self) -> Connection {
        self.shared.add_handle();
        Connection {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Refuses the channel, with a reason for the peer (at most 128 bytes of it go).
    pub fn refuse(self, code: Code, reason: &str) {
        self.channel.reset(code, reason);
    }
}
