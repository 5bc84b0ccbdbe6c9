//! The caller's side of a call.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::CallError;
use super::machine::Outcome;
use super::options::{CallOptions, Delivery};
use super::pump;
use super::shared::Shared;
use crate::codec::{self, MaxMessageSize};
use crate::rpc::client::Client;
use crate::rpc::interface::Interface;
use crate::rpc::link::Link;
use crate::runtime::Instant;

impl<I: Interface> Client<I> {
    /// Asks the service, and waits for its answer, as the
    /// [options of the client](crate::rpc::ClientConfig::call_options) say: by default for 10 s.
    ///
    /// While the link has no connection, the call waits for the next one. When the connection is lost
    /// before the answer is there, the call fails by default: the service may or may not have run it.
    /// [`Delivery`] has other ways.
    ///
    /// # Errors
    ///
    /// Why there is no answer; [`CallError::is_not_run`] tells whether the service certainly did not run
    /// the call.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up: one that was not sent yet never is, otherwise the service
    /// is told, and drops its handler.
    pub async fn call(&self, request: &I::Request) -> Result<I::Response, CallError> {
        self.call_with(request, self.call_options()).await
    }

    /// Asks the service as the options say.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_with(
        &self,
        request: &I::Request,
        options: CallOptions,
    ) -> Result<I::Response, CallError> {
        let call = self.calls().begin(self.link(), I::NAME);
        call.make(request, options).await
    }
}

/// The front end to the calls of one client; its clones are the same.
#[derive(Clone)]
pub(in crate::rpc) struct Calls {
    front: Arc<Front>,
}

/// Ends the tasks with the last client and call.
struct Front {
    shared: Arc<Shared>,
    is_running: AtomicBool,
}

impl Calls {
    pub(in crate::rpc) fn new(
        link: &Link,
        calls_at_once: usize,
        welcome_timeout: Duration,
    ) -> Self {
        let shared = Shared::new(link.runtime().clone(), calls_at_once, welcome_timeout);
        Self {
            front: Arc::new(Front {
                shared: Arc::new(shared),
                is_running: AtomicBool::new(false),
            }),
        }
    }

    /// Begins a call; the first one starts the tasks.
    pub(super) fn begin(&self, link: &Link, interface: &str) -> Call {
        let Front { shared, is_running } = &*self.front;
        if !is_running.load(Ordering::Relaxed) && !is_running.swap(true, Ordering::AcqRel) {
            pump::start(shared, link.watch(), interface);
        }
        Call {
            front: Arc::clone(&self.front),
            holds: Holds::Nothing,
            key: None,
        }
    }

    /// How many calls the machine keeps.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.front.shared.with(|machine| machine.len())
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// One call on its way. Dropping it gives back what it holds.
pub(in crate::rpc) struct Call {
    front: Arc<Front>,
    holds: Holds,
    /// By which others that are the same call are known.
    key: Option<u128>,
}

enum Holds {
    Nothing,
    /// A place in the queue for permits.
    Ticket(u64),
    Permit,
    /// A call that was submitted, by its id.
    Call(u64),
}

impl Call {
    /// Makes the call, with the permit that it has or as soon as it has one.
    pub(super) async fn make<Request: Serialize, Response: DeserializeOwned>(
        mut self,
        request: &Request,
        options: CallOptions,
    ) -> Result<Response, CallError> {
        let deadline = self.deadline(options.deadline);
        self.enter(options.delivery.key());
        let outcome = poll_fn(|context| match self.holds {
            Holds::Call(id) => self.poll_outcome(id, context),
            _ => self.poll_submit(request, options.delivery, deadline, context),
        });
        let outcome = outcome.await;
        self.leave();
        let shared = &self.front.shared;
        let verdict = |error| shared.with(|machine| machine.verdict(options.delivery, error));
        let body = outcome.map_err(verdict)?;
        let max = shared.max_message();
        codec::decode(&body, max).map_err(CallError::Undecodable)
    }

    fn enter(&mut self, key: Option<u128>) {
        self.key = key;
        if let Some(key) = key {
            self.front.shared.with(|machine| machine.enter(key));
        }
    }

    fn leave(&mut self) {
        if let Some(key) = self.key.take() {
            self.front.shared.with(|machine| machine.leave(key));
        }
    }

    fn deadline(&self, time: Duration) -> Instant {
        self.front.shared.runtime.now() + time.min(NEVER)
    }

    /// Ready with the right to submit, in the order of asking.
    pub(super) fn poll_permit(
        &mut self,
        context: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<Result<(), CallError>> {
        let mut ticket = match self.holds {
            Holds::Nothing => None,
            Holds::Ticket(ticket) => Some(ticket),
            Holds::Permit | Holds::Call(_) => return Poll::Ready(Ok(())),
        };
        let caller = || context.waker().clone();
        let answer = self
            .front
            .shared
            .with(|machine| machine.reserve(&mut ticket, deadline, caller));
        let (holds, answer) = match (answer, ticket) {
            (Some(Ok(())), _) => (Holds::Permit, Poll::Ready(Ok(()))),
            (Some(Err(error)), _) => (Holds::Nothing, Poll::Ready(Err(error))),
            (None, Some(ticket)) => (Holds::Ticket(ticket), Poll::Pending),
            (None, None) => (Holds::Nothing, Poll::Pending),
        };
        self.holds = holds;
        answer
    }

    /// Submits the request as soon as there is a permit, then waits for the outcome.
    fn poll_submit<Request: Serialize>(
        &mut self,
        request: &Request,
        delivery: Delivery,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Outcome> {
        if let Holds::Ticket(_) = self.holds {
            ready!(self.poll_permit(context, Some(deadline)))?;
        }
        // Mostly there is a permit, and the machine is locked once for both. Otherwise the encoding is
        // not kept: of calls that wait for permits there may be any number.
        let body = encode(request)?;
        let (mut ticket, caller) = (None, || context.waker().clone());
        let holds_permit = matches!(self.holds, Holds::Permit);
        self.holds = Holds::Nothing;
        let submitted = self.front.shared.with(|machine| {
            if !holds_permit {
                match machine.reserve(&mut ticket, Some(deadline), caller) {
                    None => return Ok(None),
                    Some(reserved) => reserved?,
                }
            }
            machine.submit(body, delivery, deadline, caller()).map(Some)
        });
        if let Some(id) = submitted? {
            self.holds = Holds::Call(id);
        } else if let Some(ticket) = ticket {
            self.holds = Holds::Ticket(ticket);
        }
        Poll::Pending
    }

    /// Ready with the outcome, once.
    fn poll_outcome(&mut self, id: u64, context: &mut Context<'_>) -> Poll<Outcome> {
        let caller = || context.waker().clone();
        let outcome = self.front.shared.with(|machine| machine.take(id, caller));
        if outcome.is_some() {
            self.holds = Holds::Nothing;
        }
        outcome.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let shared = &self.front.shared;
        match self.holds {
            Holds::Nothing => {}
            Holds::Ticket(ticket) => shared.with(|machine| machine.abandon(Some(ticket))),
            Holds::Permit => shared.with(super::machine::Machine::release),
            Holds::Call(id) => shared.with(|machine| machine.forget(id)),
        }
        self.leave();
    }
}

/// Longer than any call takes, and short enough to be added to the time. About 68 years.
const NEVER: Duration = Duration::from_secs(1 << 31);

thread_local! {
    /// Where requests are encoded before their length is known.
    static SCRATCH: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// A request of up to so many bytes is copied out of the scratch buffer.
const SMALL: usize = 4 * 1024;

/// How long it may be is judged when it is written, by the connection that there is then.
fn encode<Request: Serialize>(request: &Request) -> Result<Bytes, CallError> {
    let max = MaxMessageSize::new(MaxMessageSize::LARGEST).unwrap_or_default();
    let mut scratch = SCRATCH.take();
    let encoded = codec::encode(request, &mut scratch, max);
    if scratch.len() > SMALL {
        return Ok(scratch.freeze());
    }
    let body = Bytes::copy_from_slice(&scratch);
    scratch.clear();
    SCRATCH.set(scratch);
    encoded.map(|_| body).map_err(CallError::Unencodable)
}
