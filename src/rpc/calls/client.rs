//! The caller's side of a call.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
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
    pub(in crate::rpc) fn new(link: &Link, calls_at_once: usize) -> Self {
        let shared = Shared::new(link.runtime().clone(), calls_at_once);
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
        poll_fn(|context| self.poll_permit(context, Some(deadline))).await?;
        self.submit(request, options.delivery, deadline)?;
        poll_fn(|context| self.poll_answer(context)).await
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

    /// Submits the request, with the permit.
    fn submit<Request: Serialize>(
        &mut self,
        request: &Request,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let body = encode(request)?;
        self.holds = Holds::Nothing;
        let submit =
            |machine: &mut super::machine::Machine<_>| machine.submit(body, delivery, deadline);
        self.holds = Holds::Call(self.front.shared.with(submit)?);
        Ok(())
    }

    /// Ready with the answer, once.
    fn poll_answer<Response: DeserializeOwned>(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Response, CallError>> {
        let Holds::Call(id) = self.holds else {
            return Poll::Pending;
        };
        let caller = || context.waker().clone();
        let outcome: Option<Outcome> = self.front.shared.with(|machine| machine.take(id, caller));
        let Some(outcome) = outcome else {
            return Poll::Pending;
        };
        self.holds = Holds::Nothing;
        let decode = |body: Bytes| {
            let max = self.front.shared.max_message();
            codec::decode(&body, max).map_err(CallError::Undecodable)
        };
        Poll::Ready(outcome.and_then(decode))
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
    }
}

/// Longer than any call takes, and short enough to be added to the time. About 68 years.
const NEVER: Duration = Duration::from_secs(1 << 31);

/// How long is judged when it is written, by the connection that there is then.
fn encode<Request: Serialize>(request: &Request) -> Result<Bytes, CallError> {
    let max = MaxMessageSize::new(MaxMessageSize::LARGEST).unwrap_or_default();
    let mut buffer = BytesMut::new();
    codec::encode(request, &mut buffer, max).map_err(CallError::Unencodable)?;
    Ok(buffer.freeze())
}
