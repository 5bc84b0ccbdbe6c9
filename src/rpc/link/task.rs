//! The one loop of a link: dial, hold the connection until it is of no more use, pause.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use event_listener::Event;
use futures_util::future::{Either, select};

use super::backoff::{Backoff, Ending, Planned};
use super::config::LinkConfig;
use super::dialer::{Attempt, Dialer};
use super::error::{DialError, LinkError, LinkFailure};
use super::events::{LinkEvent, Observers};
use super::state::{LinkState, Watched};
use crate::mux::{Connection, ConnectionError};
use crate::runtime::{SharedRuntime, timeout};

/// Says what a link does.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    pub(super) watched: Arc<Watched>,
    pub(super) observers: Arc<Observers>,
}

impl Publisher {
    fn dialing(&self, attempt: Attempt, target: Option<Arc<str>>, why: Option<LinkFailure>) {
        self.watched.set(LinkState::Connecting {
            attempt: attempt.number,
            target,
            why,
        });
        self.observers.tell(&LinkEvent::Dialing(attempt));
    }

    fn failed(&self, attempt: Attempt, error: &DialError) {
        let error = error.clone();
        self.observers.tell(&LinkEvent::Failed(attempt, error));
    }

    fn up(&self, epoch: u64, connection: Connection) {
        self.watched.set(LinkState::Up { epoch, connection });
        self.observers.tell(&LinkEvent::Up(epoch));
    }

    fn lost(&self, epoch: u64, end: Option<&ConnectionError>) {
        let event = match end {
            Some(end) => LinkEvent::Lost(epoch, end.clone()),
            None => LinkEvent::Retired(epoch),
        };
        self.observers.tell(&event);
    }

    fn waiting(&self, planned: Planned, target: Option<Arc<str>>, why: Option<LinkFailure>) {
        let Planned { attempt, at } = planned;
        self.watched.set(LinkState::Waiting {
            attempt: attempt.number,
            until: at,
            target,
            why,
        });
        self.observers.tell(&LinkEvent::Waiting(attempt, at));
    }

    fn down(&self, error: LinkError) {
        if self.watched.set(LinkState::Down(error.clone())) {
            self.observers.tell(&LinkEvent::Down(error));
        }
    }
}

/// How the handles of a link end it.
#[derive(Debug, Default)]
pub(super) struct Stop {
    wish: AtomicU8,
    changed: Event,
}

const DRAIN: u8 = 1;
const LEAVE: u8 = 2;

impl Stop {
    /// Nobody wants the link any more.
    pub(super) fn leave(&self) {
        self.wish(LEAVE);
    }

    /// Open channels may finish, then it is over.
    pub(super) fn drain(&self) {
        self.wish(DRAIN);
    }

    fn wish(&self, wish: u8) {
        self.wish.fetch_max(wish, Ordering::AcqRel);
        self.changed.notify(usize::MAX);
    }

    /// Waits for such a wish; answers whether channels may finish.
    async fn wished(&self) -> bool {
        loop {
            let listener = self.changed.listen();
            match self.wish.load(Ordering::Acquire) {
                0 => listener.await,
                wish => return wish == DRAIN,
            }
        }
    }
}

/// Does what a link does until that is over, or until nobody wants it.
pub(super) fn run(
    publisher: Publisher,
    stop: Arc<Stop>,
    drain_timeout: Duration,
    activity: impl Future<Output = LinkError>,
) -> impl Future<Output = ()> {
    // Made here, as a runtime may drop a task that it has never polled.
    let lasting = Lasting(publisher);
    async move {
        let Lasting(publisher) = &lasting;
        let may_finish = match select(pin!(activity), pin!(stop.wished())).await {
            Either::Left((error, _)) => return publisher.down(error),
            Either::Right((may_finish, _)) => may_finish,
        };
        if may_finish && let LinkState::Up { connection, .. } = publisher.watched.get() {
            // What was cut tells its own users.
            let _ = connection.drain(drain_timeout).await;
        }
        publisher.down(LinkError::Closed);
    }
}

/// Has a connection used until its end.
pub(super) async fn use_up(connection: Connection) -> LinkError {
    LinkError::Ended(match connection.spent().await {
        Some(end) => end,
        None => connection.closed().await,
    })
}

/// With the task, the link is down.
struct Lasting(Publisher);

impl Drop for Lasting {
    fn drop(&mut self) {
        self.0.down(LinkError::Abandoned);
    }
}

/// Makes connections, one after the other.
pub(super) struct Redial<D> {
    pub(super) dialer: D,
    pub(super) config: LinkConfig,
    pub(super) runtime: SharedRuntime,
    pub(super) publisher: Publisher,
    /// Draws a number from 0 to 1.
    pub(super) fraction: fn() -> f64,
}

impl<D: Dialer> Redial<D> {
    /// Goes on until no attempt is left.
    pub(super) async fn keep_up(self) -> LinkError {
        let mut backoff = Backoff::new(self.config.policy(), self.dialer.targets());
        let mut planned = backoff.first(self.runtime.now());
        let mut why = None;
        let mut epoch = 0_u64;
        loop {
            let attempt = planned.attempt;
            let target: Option<Arc<str>> = self.dialer.name(attempt.target).map(Arc::from);
            self.pause(planned, target.as_ref(), why.as_ref()).await;
            self.publisher.dialing(attempt, target.clone(), why);
            let next = match self.dial(attempt).await {
                Ok(connection) => {
                    epoch = epoch.saturating_add(1);
                    self.hold(epoch, connection, target, &mut backoff).await
                }
                Err(error) => self.plan_after(attempt, LinkFailure { target, error }, &mut backoff),
            };
            (planned, why) = match next {
                Ok((planned, why)) => (planned, Some(why)),
                Err(error) => return error,
            };
        }
    }

    async fn pause(&self, planned: Planned, target: Option<&Arc<str>>, why: Option<&LinkFailure>) {
        if planned.at > self.runtime.now() {
            self.publisher
                .waiting(planned, target.cloned(), why.cloned());
            self.runtime.sleep_until(planned.at).await;
        }
    }

    /// Makes one attempt: a connection counts when the peer has introduced itself.
    async fn dial(&self, attempt: Attempt) -> Result<Connection, DialError> {
        let after = self.config.attempt_timeout;
        let dialling = async {
            let connection = self.dialer.dial(attempt).await?;
            connection.introduced().await?;
            Ok(connection)
        };
        let dialled = timeout(&*self.runtime, after, dialling).await;
        dialled.unwrap_or(Err(DialError::TimedOut { after }))
    }

    fn plan_after(
        &self,
        attempt: Attempt,
        why: LinkFailure,
        backoff: &mut Backoff,
    ) -> Result<(Planned, LinkFailure), LinkError> {
        self.publisher.failed(attempt, &why.error);
        let (now, is_fatal) = (self.runtime.now(), self.dialer.is_fatal(&why.error));
        if is_fatal {
            tracing::warn!(%why, "a link cannot connect until someone changes something");
        } else {
            tracing::debug!(number = attempt.number, %why, "a link could not connect");
        }
        match backoff.failed(now, (self.fraction)(), is_fatal) {
            Some(next) => Ok((next, why)),
            None => Err(LinkError::Unreachable {
                attempts: attempt.number,
                last: why,
            }),
        }
    }

    /// Has a connection used until it is of no more use for what is new.
    async fn hold(
        &self,
        epoch: u64,
        connection: Connection,
        target: Option<Arc<str>>,
        backoff: &mut Backoff,
    ) -> Result<(Planned, LinkFailure), LinkError> {
        backoff.connected(self.runtime.now());
        tracing::info!(epoch, to = target.as_deref(), "a link is up");
        self.publisher.up(epoch, connection.clone());
        let end = connection.spent().await;
        self.publisher.lost(epoch, end.as_ref());
        let error = end.map_or(DialError::Retired, DialError::from);
        let ending = match &error {
            DialError::Retired => Ending::Retired,
            error if self.dialer.is_fatal(error) => Ending::ForGood,
            _ => Ending::Lost,
        };
        let why = LinkFailure { target, error };
        tracing::info!(epoch, %why, "a link has to connect again");
        match backoff.ended(self.runtime.now(), (self.fraction)(), ending) {
            Some(next) => {
                self.retire(connection);
                Ok((next, why))
            }
            None => Err(use_up(connection).await),
        }
    }

    /// Lets what is open on a connection finish, but not for ever, or a peer that drains again and again
    /// could keep any number of them.
    fn retire(&self, connection: Connection) {
        let time = self.config.drain_timeout;
        self.runtime.spawn(Box::pin(async move {
            // What was cut tells its own users.
            let _ = connection.drain(time).await;
        }));
    }
}
