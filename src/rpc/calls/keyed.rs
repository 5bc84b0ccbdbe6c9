//! Idempotent calls at the service: they run apart from the connection that they came on, so that the next
//! one finds their answers.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use event_listener::Event;

use super::limits::CallLimits;
use super::serve::{Answer, Handler, Outcome, guarded};
use super::window::{Begin, Remembered, Window};
use crate::codec::{self, MaxMessageSize};
use crate::rpc::fault::{Fault, FaultKind};
use crate::rpc::service::Service;
use crate::runtime::{Instant, SharedRuntime, timeout};

/// The idempotent calls of a service, of all its clients.
#[derive(Debug)]
pub(super) struct Keyed {
    window: Mutex<Window<Arc<Running>>>,
}

/// A call that runs, and then what came of it.
#[derive(Debug, Default)]
pub(super) struct Running {
    outcome: OnceLock<Remembered>,
    ended: Event,
}

/// A client that has a conversation.
#[derive(Debug)]
pub(super) struct Present {
    keyed: Arc<Keyed>,
    runtime: SharedRuntime,
    client: u128,
}

/// A run of a call, which has an outcome even when it is dropped.
struct Run {
    keyed: Arc<Keyed>,
    running: Arc<Running>,
    runtime: SharedRuntime,
    client: u128,
    key: u128,
}

/// Which call is run, and under what conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) id: u64,
    pub(super) key: u128,
    pub(super) deadline: Instant,
    /// How long the request is.
    pub(super) request: usize,
    /// The longest message that the answer may be.
    pub(super) max: MaxMessageSize,
}

impl Keyed {
    pub(super) fn new(limits: CallLimits) -> Self {
        Self {
            window: Mutex::new(Window::new(limits)),
        }
    }

    /// Notes that a client is there, which has sent calls up to that id before.
    pub(super) fn enter(
        self: &Arc<Self>,
        runtime: &SharedRuntime,
        client: u128,
        sent_up_to: u64,
    ) -> Present {
        self.window().enter(runtime.now(), client, sent_up_to);
        Present {
            keyed: Arc::clone(self),
            runtime: runtime.clone(),
            client,
        }
    }

    fn window(&self) -> MutexGuard<'_, Window<Arc<Running>>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    /// Runs a call unless it is run, or was, and answers what waits for its outcome.
    pub(super) fn begin<S: Service>(
        &self,
        terms: Terms,
        handle: impl FnOnce() -> Handler<Outcome<S>>,
        context: &mut Context<'_>,
    ) -> Handler<Outcome<S>> {
        let Terms {
            id, key, request, ..
        } = terms;
        let now = self.runtime.now();
        let begun = self
            .keyed
            .window()
            .begin(now, self.client, id, key, request, Arc::default);
        let running = match begun {
            Begin::Wait(running) => running,
            Begin::Run(running) => {
                self.run::<S>(Arc::clone(&running), terms, handle(), context);
                running
            }
            Begin::Answer(answer) => return Box::pin(async { answer.map(Answer::Body) }),
            Begin::Forgotten => return fault(FaultKind::KeyForgotten),
            Begin::Full => return fault(FaultKind::Busy),
        };
        Box::pin(async move { running.outcome().await.map(Answer::Body) })
    }

    fn run<S: Service>(
        &self,
        running: Arc<Running>,
        terms: Terms,
        mut handler: Handler<Outcome<S>>,
        context: &mut Context<'_>,
    ) {
        let run = Run {
            keyed: Arc::clone(&self.keyed),
            running,
            runtime: self.runtime.clone(),
            client: self.client,
            key: terms.key,
        };
        let max = terms.max;
        if let Poll::Ready(outcome) = handler.as_mut().poll(context) {
            return run.end(outcome.and_then(|answer| encode(answer, max)));
        }
        let runtime = self.runtime.clone();
        self.runtime.spawn(Box::pin(async move {
            let left = terms.deadline.saturating_duration_since(runtime.now());
            let late = || Err(Fault::new(FaultKind::DeadlinePassed, ""));
            let outcome = timeout(&*runtime, left, handler).await;
            let outcome = outcome.unwrap_or_else(late);
            run.end(outcome.and_then(|answer| encode(answer, max)));
        }));
    }
}

impl Run {
    fn end(&self, outcome: Remembered) {
        let (now, answer) = (self.runtime.now(), outcome.clone());
        self.keyed
            .window()
            .finish(now, self.client, self.key, answer);
        self.running.end(outcome);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.running.outcome.get().is_none() {
            let reason = "the call was dropped before its end";
            self.end(Err(Fault::new(FaultKind::KeyForgotten, reason)));
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let now = self.runtime.now();
        self.keyed.window().leave(now, self.client);
    }
}

impl Running {
    fn end(&self, outcome: Remembered) {
        // It ends once.
        let _ = self.outcome.set(outcome);
        self.ended.notify(usize::MAX);
    }

    async fn outcome(&self) -> Remembered {
        loop {
            let ended = self.ended.listen();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            ended.await;
        }
    }
}

fn encode<Value: serde::Serialize>(answer: Answer<Value>, max: MaxMessageSize) -> Remembered {
    match answer {
        Answer::Body(body) => Ok(body),
        Answer::Value(value) => {
            let mut buffer = BytesMut::new();
            match guarded(|| codec::encode(&value, &mut buffer, max)) {
                // It counts by its length, and the buffer may be twice as large.
                Ok(_) => Ok(Bytes::copy_from_slice(&buffer)),
                Err(error) => Err(Fault::new(FaultKind::Unencodable, error.to_string())),
            }
        }
    }
}

fn fault<T: 'static + crate::runtime::MaybeSend>(kind: FaultKind) -> Handler<Result<T, Fault>> {
    Box::pin(async move { Err(Fault::new(kind, "")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_remembered_takes_no_more_memory_than_it_is_long() {
        for length in [0, 1, 65, 5000, 100_000] {
            let answer = Answer::Value(vec![7_u8; length]);
            let body = encode(answer, MaxMessageSize::default()).unwrap();
            let length = body.len();
            let kept = body.try_into_mut().unwrap();
            assert_eq!(kept.capacity(), length);
        }
    }
}
