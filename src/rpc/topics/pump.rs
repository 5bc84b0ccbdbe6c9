//! The task that carries a client's subscriptions from one connection to the next.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_sink::Sink;
use futures_util::future::{Either, pending, select};

use super::event::EndReason;
use super::machine::{Machine, Violation};
use super::shared::Shared;
use super::wire::{FromClient, FromServer, WireError};
use crate::mux::{ChannelError, Code, Connection, OpenError, RawChannel, RawReceiver, RawSender};
use crate::rpc::fault::Fault;
use crate::rpc::link::{LinkState, LinkWatch};
use crate::runtime::{SharedRuntime, Task};

/// A channel that failed while its connection lives is opened again after this time.
const PAUSE: Duration = Duration::from_secs(1);
/// What a server could not go on with is asked for again after this time, or up to twice as much.
const POSTPONED: Duration = Duration::from_secs(1);
/// What the task does at most before others have their turn.
const ROUNDS: usize = 32;
const MESSAGES_AT_ONCE: usize = 64;

/// Runs until all handles are gone, or the link is down for good.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut watch: LinkWatch,
    protocol: String,
    runtime: SharedRuntime,
) {
    let mut state = LinkState::CONNECTING;
    loop {
        let connection = match state {
            LinkState::Up { connection, .. } => Some(connection),
            LinkState::Connecting { .. } | LinkState::Waiting { .. } => None,
            LinkState::Down(error) => {
                shared.with(|machine| machine.link_down(&error));
                return;
            }
        };
        let conversing = async {
            if let Some(connection) = connection {
                converse(&shared, &connection, &protocol, &runtime).await;
            }
            pending().await
        };
        // Polled first, it leaves the waker for all that is below.
        let over = poll_fn(|context| shared.poll_pump(context));
        let (changed, conversing) = (pin!(watch.changed()), pin!(conversing));
        let next = match select(over, select(changed, conversing)).await {
            Either::Left(((), _)) => None,
            Either::Right((changed, _)) => Some(changed.factor_first().0),
        };
        shared.with(Machine::link_lost);
        match next {
            Some(next) => state = next,
            None => return,
        }
    }
}

/// Speaks with the server of a connection until that ends.
async fn converse(
    shared: &Shared,
    connection: &Connection,
    protocol: &str,
    runtime: &SharedRuntime,
) {
    loop {
        poll_fn(|_| {
            let (is_wanted, _) = shared.with(|machine| machine.needs());
            if is_wanted {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let channel = match connection.open_raw(protocol).await {
            Ok(channel) => channel,
            Err(OpenError::NameTooLong(length)) => {
                tracing::error!(length, "the name of an interface is too long");
                return;
            }
            Err(_) => return,
        };
        shared.with(Machine::link_up);
        let mut conversation = Conversation::new(shared, channel, runtime);
        let speaking = poll_fn(|context| conversation.poll(context));
        let Either::Left((failure, _)) = select(speaking, pin!(connection.spent())).await else {
            // The connection waits for its channels: the subscriptions go on over the next one.
            conversation.sender.finish();
            shared.with(Machine::link_lost);
            return;
        };
        tracing::debug!(error = %failure, "a channel of subscriptions ended");
        shared.with(Machine::link_lost);
        match failure {
            Failure::Channel(ChannelError::Connection(_)) => return,
            Failure::Channel(ChannelError::Refused {
                code: code @ Code::UNKNOWN_PROTOCOL,
                reason,
            }) => {
                let reason = EndReason::NotServed { code, reason };
                shared.with(|machine| machine.end_all(&reason));
            }
            Failure::Channel(_) | Failure::Finished => {}
            Failure::Wire(_) | Failure::Violation(_) => {
                let reason = failure.to_string();
                conversation.sender.reset(Code::PROTOCOL_ERROR, &reason);
            }
        }
        let now = runtime.now();
        let again = now.checked_add(PAUSE).unwrap_or(now);
        runtime.sleep_until(again).await;
    }
}

/// One channel to a server.
struct Conversation<'shared> {
    shared: &'shared Shared,
    sender: RawSender,
    receiver: RawReceiver,
    outgoing: Option<FromClient>,
    batch: Vec<FromServer>,
    runtime: &'shared SharedRuntime,
    has_postponed: bool,
    /// When that is asked for again.
    again: Option<Task>,
}

/// Why a channel is over.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the server finished")]
    Finished,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Violation(#[from] Violation),
}

impl<'shared> Conversation<'shared> {
    fn new(shared: &'shared Shared, channel: RawChannel, runtime: &'shared SharedRuntime) -> Self {
        let (sender, receiver) = channel.split();
        Self {
            shared,
            sender,
            receiver,
            outgoing: None,
            batch: Vec::new(),
            runtime,
            has_postponed: false,
            again: None,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        for _ in 0..ROUNDS {
            let read = match self.poll_read(context) {
                Poll::Ready(Err(failure)) => return Poll::Ready(failure),
                other => other.is_ready(),
            };
            self.poll_again(context);
            let written = self.poll_write(context);
            if let Poll::Ready(Err(failure)) = written {
                return Poll::Ready(failure.into());
            }
            self.sender.hand_over();
            if !read {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads whatever came: nothing here waits for a subscriber.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let mut failure = None;
        while self.batch.len() < MESSAGES_AT_ONCE {
            let received = self.receiver.poll_recv_with(context, FromServer::decode);
            match received {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(Ok(message)))) => self.batch.push(message),
                Poll::Ready(Ok(Some(Err(error)))) => failure = Some(error.into()),
                Poll::Ready(Ok(None)) => failure = Some(Failure::Finished),
                Poll::Ready(Err(error)) => failure = Some(error.into()),
            }
            if failure.is_some() {
                break;
            }
        }
        if self.batch.is_empty() && failure.is_none() {
            return Poll::Pending;
        }
        self.has_postponed = self.shared.with(|machine| {
            let mut batch = self.batch.drain(..);
            batch.try_for_each(|message| machine.receive(message))?;
            Ok::<bool, Failure>(machine.has_postponed())
        })?;
        Poll::Ready(failure.map_or(Ok(()), Err))
    }

    /// Asks again for what was postponed, when the pause is over.
    fn poll_again(&mut self, context: &mut Context<'_>) {
        if !self.has_postponed {
            return;
        }
        let again = self.again.get_or_insert_with(|| {
            let now = self.runtime.now();
            let pause = POSTPONED.mul_f64(1.0 + rand::random::<f64>());
            self.runtime
                .sleep_until(now.checked_add(pause).unwrap_or(now))
        });
        if again.as_mut().poll(context).is_ready() {
            (self.again, self.has_postponed) = (None, false);
            self.shared.with(Machine::ask_again);
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        loop {
            if self.outgoing.is_none() {
                self.outgoing = self.shared.with(Machine::poll_transmit);
            }
            if self.outgoing.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(Sink::poll_ready(Pin::new(&mut self.sender), context))?;
            let Some(message) = self.outgoing.take() else {
                continue;
            };
            let mut encoded = BytesMut::new();
            message.encode(&mut encoded);
            match Sink::start_send(Pin::new(&mut self.sender), encoded.freeze()) {
                Err(ChannelError::TooLarge { .. }) => {
                    let fault = Fault::refused("the topic is larger than a message may be");
                    let reason = EndReason::Refused(fault);
                    self.shared
                        .with(|machine| machine.refuse(message.id(), &reason));
                }
                sent => sent?,
            }
        }
    }
}
