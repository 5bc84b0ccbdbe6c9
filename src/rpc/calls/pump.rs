//! The task between the machine and the channel of the present connection, and the one that tells
//! the machine the time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::channel::{Conversation, End, Next, converse};
use super::machine::Machine;
use super::shared::Shared;
use crate::rpc::link::{LinkState, LinkWatch};
use crate::runtime::{Instant, Task, timeout};

/// Starts both tasks; they end when the calls are closed.
pub(super) fn start(shared: &Arc<Shared>, watch: LinkWatch, interface: &str) {
    let protocol = protocol(interface);
    let runtime = shared.runtime.clone();
    let pumped = Arc::clone(shared);
    runtime.spawn(Box::pin(async move {
        let mut pump = pin!(pump(&pumped, watch, protocol));
        poll_fn(|context| {
            pumped.register_pump(context);
            if pumped.is_closed() {
                return Poll::Ready(());
            }
            pump.as_mut().poll(context)
        })
        .await;
    }));
    let shared = Arc::clone(shared);
    runtime.spawn(Box::pin(async move {
        let mut timer = None;
        poll_fn(|context| poll_clock(&shared, &mut timer, context)).await;
    }));
}

/// The name of the protocol that calls of an interface have.
pub(super) fn protocol(interface: &str) -> String {
    format!("{interface}.calls")
}

async fn pump(shared: &Shared, mut watch: LinkWatch, protocol: String) {
    let client = rand::random();
    let mut leaving = Leaving::default();
    let mut failures = Failures::default();
    let mut state = leaving.beside(watch.changed()).await;
    loop {
        let connection = match state {
            LinkState::Up { connection, .. } => connection,
            LinkState::Down(error) => {
                shared.with(|machine| machine.down(&error));
                return leaving.finish().await;
            }
            LinkState::Connecting { why, .. } | LinkState::Waiting { why, .. } => {
                shared.with(|machine| machine.away(why));
                state = leaving.beside(watch.changed()).await;
                continue;
            }
        };
        state = loop {
            shared.with(|machine| machine.away(None));
            if let Some(next) = leaving.room_or(watch.changed()).await {
                break next;
            }
            shared.with(Machine::connected);
            let began = shared.runtime.now();
            let talk = converse(shared, &connection, &protocol, client);
            match leaving.beside(talk).await {
                Next::Again => {}
                Next::Elsewhere => {
                    drop(connection);
                    break leaving.beside(watch.changed()).await;
                }
                Next::Beside(conversation) => {
                    leaving.push(conversation);
                    if !leaving.take_failed() {
                        continue;
                    }
                }
                Next::Leave(conversation) => {
                    leaving.push(conversation);
                    drop(connection);
                    break leaving.beside(watch.changed()).await;
                }
            }
            shared.with(Machine::connected);
            let pause = failures.pause(shared.runtime.now().saturating_duration_since(began));
            let changed = timeout(&*shared.runtime, pause, watch.changed());
            if let Some(next) = leaving.beside(changed).await {
                break next;
            }
        };
    }
}

/// Conversations that wait for answers, while what is new goes over another channel.
#[derive(Default)]
struct Leaving<'s> {
    conversations: Vec<Conversation<'s>>,
    /// A channel ended before its answers, and not with its connection.
    has_failed: bool,
}

impl<'s> Leaving<'s> {
    /// Of one more, the next conversation waits until one of them is over.
    const MOST: usize = 4;

    fn push(&mut self, conversation: Conversation<'s>) {
        self.conversations.push(conversation);
    }

    /// Whether one has failed since this was last asked: calls that its service ended are not repeated at
    /// once, or it could have them repeated, and channels opened, over and over.
    fn take_failed(&mut self) -> bool {
        std::mem::take(&mut self.has_failed)
    }

    /// Does something, and lets them go on meanwhile.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.poll(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Lets them go on until there is room for one more, or something else happens.
    async fn room_or<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        let mut other = pin!(other);
        poll_fn(|context| {
            self.poll(context);
            if self.conversations.len() < Self::MOST {
                return Poll::Ready(None);
            }
            other.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Lets them go on to their ends.
    async fn finish(&mut self) {
        poll_fn(|context| {
            self.poll(context);
            if self.conversations.is_empty() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        let mut index = 0;
        while let Some(conversation) = self.conversations.get_mut(index) {
            if let Poll::Ready(end) = conversation.poll_answered(context) {
                self.has_failed |= !matches!(end, End::Idle) && !end.is_of_connection();
                self.conversations.swap_remove(index).close(&end);
            } else {
                index += 1;
            }
        }
    }
}

/// Channels that end while their connection lives: the pauses between them grow.
#[derive(Default)]
struct Failures(u32);

impl Failures {
    const FIRST_PAUSE: Duration = Duration::from_millis(100);
    const LONGEST_PAUSE: Duration = Duration::from_secs(10);

    fn pause(&mut self, lasted: Duration) -> Duration {
        if lasted >= Self::LONGEST_PAUSE {
            self.0 = 0;
        }
        let factor = 2_u32.saturating_pow(self.0);
        self.0 = self.0.saturating_add(1);
        let most = Self::FIRST_PAUSE
            .saturating_mul(factor)
            .min(Self::LONGEST_PAUSE);
        // At least half of it, so that a peer that fails at once is not asked at once.
        most.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

/// Tells the machine the time; ready when the calls are closed.
fn poll_clock(
    shared: &Shared,
    timer: &mut Option<(Instant, Task)>,
    context: &mut Context<'_>,
) -> Poll<()> {
    shared.register_clock(context);
    loop {
        if shared.is_closed() {
            return Poll::Ready(());
        }
        let Some(deadline) = shared.arm() else {
            *timer = None;
            return Poll::Pending;
        };
        if timer.as_ref().is_none_or(|(at, _)| *at != deadline) {
            *timer = Some((deadline, shared.runtime.sleep_until(deadline)));
        }
        if let Some((_, sleep)) = timer {
            ready!(sleep.as_mut().poll(context));
        }
        *timer = None;
        let now = shared.runtime.now();
        shared.with(|machine| machine.time(now));
    }
}
