//! The serving end of a channel of topics: one task for all subscriptions on it.

use std::any::type_name;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustc_hash::FxHashMap;

use super::allowance::Allowance;
use super::cursor::Cursor;
use super::doorbell::Doorbell;
use super::limits::TopicLimits;
use super::outgoing::Outgoing;
use super::source::{Follower, Next, Source, Step};
use super::wire::{FromClient, FromServer, LONGEST_TOPIC, WireError};
use crate::codec;
use crate::mux::{ChannelError, Code, Connection, Place, RawReceiver, Router};
use crate::rpc::fault::{Fault, FaultKind};
use crate::rpc::interface::Interface;
use crate::rpc::service::{Caller, Service};
use crate::runtime::timeout;

/// Adds the topics of a service to a router.
pub(in crate::rpc) fn serve<S: Service>(
    router: Router,
    service: &Arc<S>,
    limits: TopicLimits,
) -> Router {
    let service = Arc::clone(service);
    let protocol = protocol::<S::Interface>();
    router.on_incoming(&protocol, move |channel| {
        let connection = channel.connection();
        let (sender, receiver) = channel.accept_raw().split();
        let serving = Serving {
            service: Arc::clone(&service),
            connection: Arc::new(connection),
            limits,
            receiver,
            bell: Arc::default(),
            subscriptions: FxHashMap::default(),
            last_id: None,
            openings: FuturesUnordered::new(),
            ready: VecDeque::new(),
            outgoing: Outgoing::new(sender),
            steps: Vec::new(),
        };
        Some(Box::pin(serving.run()))
    })
}

/// The name of the channels that carry an interface's subscriptions.
pub(super) fn protocol<I: Interface>() -> String {
    format!("{}.topics", I::NAME)
}

/// One channel of topics.
struct Serving<S> {
    service: Arc<S>,
    connection: Arc<Connection>,
    limits: TopicLimits,
    receiver: RawReceiver,
    bell: Arc<Doorbell>,
    subscriptions: FxHashMap<u64, Served>,
    last_id: Option<u64>,
    openings: FuturesUnordered<Opening>,
    /// Who has something to send, in turn. A subscription is here, or waits for its bell, or for
    /// credit.
    ready: VecDeque<u64>,
    outgoing: Outgoing,
    steps: Vec<Step>,
}

struct Served {
    stage: Stage,
    allowance: Option<Allowance>,
    _place: Place,
}

enum Stage {
    Opening {
        after: Option<Cursor>,
        abort: AbortHandle,
    },
    Live {
        follower: Follower,
        waits_for_credit: bool,
    },
}

#[cfg(not(target_family = "wasm"))]
type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;
#[cfg(target_family = "wasm")]
type Opening = Pin<Box<dyn Future<Output = Opened>>>;

/// What became of a subscription; none if it was given up.
type Opened = Option<(u64, Result<Arc<Source>, Fault>)>;

/// Why the channel is reset.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("subscription {0} is no new one")]
    Reused(u64),
    #[error("subscription {0} was never made")]
    Unknown(u64),
}

/// What the task does at most before others have their turn.
const ROUNDS: usize = 32;
const MESSAGES_AT_ONCE: usize = 64;

impl<S: Service> Serving<S> {
    async fn run(mut self) {
        let outcome = poll_fn(|context| self.poll(context)).await;
        match outcome {
            Ok(()) => self.outgoing.sender.finish(),
            Err(Failure::Channel(error)) => tracing::debug!(%error, "a channel of topics ended"),
            Err(failure) => {
                tracing::debug!(error = %failure, "a client of topics broke the protocol");
                let reason = failure.to_string();
                self.outgoing.sender.reset(Code::PROTOCOL_ERROR, &reason);
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        for _ in 0..ROUNDS {
            let opened = self.poll_openings(context);
            let was_full = self.outgoing.is_full();
            let read = match self.poll_read(context)? {
                Poll::Ready(Read::End) => return Poll::Ready(Ok(())),
                Poll::Ready(Read::Some) => true,
                Poll::Pending => false,
            };
            let written = self.poll_write(context)?;
            let has_room_again = was_full && !self.outgoing.is_full();
            if !opened && !read && !has_room_again && written.is_pending() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether a service has decided about a subscription.
    fn poll_openings(&mut self, context: &mut Context<'_>) -> bool {
        let mut some = false;
        while let Poll::Ready(Some(opened)) = self.openings.poll_next_unpin(context) {
            if let Some((id, decision)) = opened {
                self.decide(id, decision);
            }
            some = true;
        }
        some
    }

    fn decide(&mut self, id: u64, decision: Result<Arc<Source>, Fault>) {
        let Some(served) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let Stage::Opening { after, .. } = served.stage else {
            return;
        };
        match decision {
            Ok(source) => {
                let (follower, newest) = source.follow(after);
                self.outgoing.push(&FromServer::Accepted {
                    id,
                    cursor: follower.place(),
                    newest,
                });
                served.stage = Stage::Live {
                    follower,
                    waits_for_credit: false,
                };
                self.ready.push_back(id);
            }
            Err(fault) => {
                self.subscriptions.remove(&id);
                self.outgoing.push(&FromServer::Refused { id, fault });
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Read, Failure>> {
        let mut count = 0;
        while count < MESSAGES_AT_ONCE && !self.outgoing.is_full() {
            match self.receiver.poll_recv_with(context, FromClient::decode)? {
                Poll::Ready(Some(message)) => self.heard(message?)?,
                Poll::Ready(None) => return Poll::Ready(Ok(Read::End)),
                Poll::Pending => break,
            }
            count += 1;
        }
        match count {
            0 => Poll::Pending,
            _ => Poll::Ready(Ok(Read::Some)),
        }
    }

    fn heard(&mut self, message: FromClient) -> Result<(), Failure> {
        match message {
            FromClient::Subscribe {
                id,
                after,
                credit,
                topic,
            } => {
                if self.last_id.is_some_and(|last| id <= last) {
                    return Err(Failure::Reused(id));
                }
                self.last_id = Some(id);
                self.subscribe(id, after, credit.map(Allowance::new), topic);
            }
            FromClient::Credit { id, credit } => {
                if !self.allow(id, |allowance| allowance.grant(credit)) {
                    self.check_was_used(id)?;
                }
            }
            FromClient::Unsubscribe { id } => self.unsubscribe(id)?,
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        id: u64,
        after: Option<Cursor>,
        allowance: Option<Allowance>,
        topic: Bytes,
    ) {
        let (length, longest) = (topic.len(), LONGEST_TOPIC.get());
        if length > longest {
            let reason = format!("the topic has {length} bytes, and {longest} are the most");
            let fault = Fault::refused(reason);
            return self.outgoing.push(&FromServer::Refused { id, fault });
        }
        let most = self.limits.subscriptions;
        let kind = type_name::<(Served, S::Interface)>();
        let Some(place) = self.connection.occupy(kind, most) else {
            let reason = format!("{most} subscriptions are open already");
            let fault = Fault::new(FaultKind::Busy, reason);
            return self.outgoing.push(&FromServer::Refused { id, fault });
        };
        let (abort, registration) = AbortHandle::new_pair();
        let opening = open(
            Arc::clone(&self.service),
            Arc::clone(&self.connection),
            topic,
            self.limits.follow_timeout,
        );
        let opening = Abortable::new(opening, registration);
        self.openings.push(Box::pin(
            opening.map(move |decision| decision.ok().map(|decision| (id, decision))),
        ));
        let served = Served {
            stage: Stage::Opening { after, abort },
            allowance,
            _place: place,
        };
        self.subscriptions.insert(id, served);
    }

    /// More may be sent for a subscription; false if there is none.
    fn allow(&mut self, id: u64, more: impl FnOnce(&mut Allowance)) -> bool {
        let Some(served) = self.subscriptions.get_mut(&id) else {
            return false;
        };
        served.allowance.as_mut().map(more);
        if let Stage::Live {
            waits_for_credit, ..
        } = &mut served.stage
            && std::mem::take(waits_for_credit)
        {
            self.ready.push_back(id);
        }
        true
    }

    fn unsubscribe(&mut self, id: u64) -> Result<(), Failure> {
        let Some(served) = self.subscriptions.remove(&id) else {
            // It has ended already, and the client has been told.
            return self.check_was_used(id);
        };
        if let Stage::Opening { abort, .. } = served.stage {
            abort.abort();
        }
        self.outgoing.forget(id);
        self.outgoing.push(&FromServer::Unsubscribed { id });
        Ok(())
    }

    fn check_was_used(&self, id: u64) -> Result<(), Failure> {
        if self.last_id.is_some_and(|last| id <= last) {
            Ok(())
        } else {
            Err(Failure::Unknown(id))
        }
    }

    /// Ready when something was written and more may be; pending when the channel is full, or
    /// nobody has anything to send.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        for _ in 0..MESSAGES_AT_ONCE {
            let sent = self.outgoing.poll(context)?;
            while let Some((id, bytes)) = self.outgoing.unsent.pop() {
                self.allow(id, |allowance| allowance.give_back(bytes));
            }
            ready!(sent);
            let rang = self.bell.answer(context, &mut self.ready);
            let Some(id) = self.ready.pop_front() else {
                if rang {
                    continue;
                }
                self.outgoing.sender.hand_over();
                return Poll::Pending;
            };
            self.read_for(id);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what comes next for a subscription, unless it is gone.
    fn read_for(&mut self, id: u64) {
        let Some(served) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let Stage::Live {
            follower,
            waits_for_credit,
        } = &mut served.stage
        else {
            return;
        };
        let next = follower.read(&mut served.allowance, &self.bell, id, &mut self.steps);
        for step in self.steps.drain(..) {
            self.outgoing.push_step(id, step);
        }
        match next {
            Next::ReadOn => self.ready.push_back(id),
            Next::WaitForCredit => *waits_for_credit = true,
            Next::WaitForBell => {}
            Next::Over => {
                self.subscriptions.remove(&id);
            }
        }
    }
}

enum Read {
    Some,
    End,
}

/// Asks the service, which may panic or take too long.
async fn open<S: Service>(
    service: Arc<S>,
    connection: Arc<Connection>,
    topic: Bytes,
    time: Duration,
) -> Result<Arc<Source>, Fault> {
    let runtime = Arc::clone(connection.runtime());
    let deciding = async move {
        let topic = codec::decode(&topic, LONGEST_TOPIC)
            .map_err(|error| Fault::new(FaultKind::Undecodable, error.to_string()))?;
        let now = connection.runtime().now();
        let caller = Caller::new(connection, now.checked_add(time).unwrap_or(now));
        let feed = service.follow(caller, topic).await?;
        Ok(Arc::clone(feed.source()))
    };
    let deciding = AssertUnwindSafe(deciding).catch_unwind();
    match timeout(&*runtime, time, deciding).await {
        Some(Ok(decision)) => decision,
        Some(Err(_)) => {
            let interface = <S::Interface as Interface>::NAME;
            tracing::error!(interface, "the handler of a subscription panicked");
            Err(Fault::new(FaultKind::Panicked, ""))
        }
        None => Err(Fault::new(FaultKind::DeadlinePassed, "")),
    }
}
