//! The task between the machine and the channel of the present connection, and the one that tells
//! the machine the time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::error::{CallError, Loss};
use super::machine::{Outcome, Outgoing};
use super::message::{Answered, put_cancel, put_hello, put_request};
use super::shared::Shared;
use crate::mux::{ChannelError, Code, Connection, OpenError, Priority, RawReceiver, RawSender};
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

/// How a conversation with the service ended.
enum End {
    Lost(Loss),
    NotServed(Code, Arc<str>),
    /// The service did not say its welcome in time, so that nothing was sent.
    Silent,
    /// The connection takes no more channels, and nothing was lost.
    Retired,
}

async fn pump(shared: &Shared, mut watch: LinkWatch, protocol: String) {
    let client = rand::random();
    let mut failures = Failures::default();
    let mut state = watch.changed().await;
    loop {
        let connection = match state {
            LinkState::Up { connection, .. } => connection,
            LinkState::Down(error) => return shared.with(|machine| machine.down(&error)),
            LinkState::Connecting { why, .. } | LinkState::Waiting { why, .. } => {
                shared.with(|machine| machine.away(why));
                state = watch.changed().await;
                continue;
            }
        };
        shared.with(super::machine::Machine::connected);
        state = loop {
            let began = shared.runtime.now();
            let end = converse(shared, &connection, &protocol, client).await;
            let again = match &end {
                End::Lost(loss) => {
                    shared.with(|machine| machine.lost(loss));
                    !matches!(loss, Loss::Channel(ChannelError::Connection(_)))
                }
                End::NotServed(code, reason) => {
                    shared.with(|machine| machine.not_served(*code, reason));
                    false
                }
                End::Silent => true,
                End::Retired => false,
            };
            if !again {
                drop(connection);
                break watch.changed().await;
            }
            shared.with(super::machine::Machine::connected);
            let pause = failures.pause(shared.runtime.now().saturating_duration_since(began));
            if let Some(next) = timeout(&*shared.runtime, pause, watch.changed()).await {
                break next;
            }
        };
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

/// Speaks with the service until the channel ends.
async fn converse(shared: &Shared, connection: &Connection, protocol: &str, client: u128) -> End {
    let opened = connection.open_raw_with(protocol, Priority::High).await;
    let mut channel = match opened {
        Ok(channel) => channel,
        Err(OpenError::Connection(error)) => return End::Lost(ChannelError::from(error).into()),
        Err(error @ OpenError::NameTooLong(_)) => {
            return End::NotServed(Code::UNKNOWN_PROTOCOL, error.to_string().into());
        }
        Err(_) => return End::Retired,
    };
    shared.set_max_message(channel.max_message_size());
    let mut hello = BytesMut::new();
    put_hello(
        &mut hello,
        client,
        shared.with(|machine| machine.sent_up_to()),
    );
    if let Err(error) = channel.send(hello.freeze()).await {
        return ended(error.error);
    }
    let mut welcomed_by = Some(shared.welcome_deadline());
    let (sender, receiver) = channel.split();
    let mut conversation = Conversation {
        shared,
        sender,
        receiver,
        is_welcome: false,
        answers: Vec::new(),
        outgoing: Vec::new(),
        gathered: None,
    };
    let mut spent = pin!(connection.spent());
    let mut is_spent = false;
    let end = poll_fn(|context| {
        if !is_spent && spent.as_mut().poll(context).is_ready() {
            is_spent = true;
            shared.with_pump(super::machine::Machine::retire);
        }
        let end = conversation.poll(context);
        if end.is_pending() && is_spent && shared.with_pump(|machine| machine.is_idle()) {
            conversation.sender.finish();
            return Poll::Ready(End::Retired);
        }
        if conversation.is_welcome {
            welcomed_by = None;
        }
        match &mut welcomed_by {
            Some(late) if end.is_pending() => late.as_mut().poll(context).map(|()| End::Silent),
            _ => end,
        }
    })
    .await;
    match end {
        End::Lost(Loss::Misbehaved) => {
            let reason = "no message of the protocol";
            conversation.sender.reset(Code::PROTOCOL_ERROR, reason);
        }
        End::Silent => conversation.sender.reset(Code::TIMED_OUT, "no welcome"),
        _ => {}
    }
    end
}

fn ended(error: ChannelError) -> End {
    match error {
        ChannelError::Refused {
            code: code @ Code::UNKNOWN_PROTOCOL,
            reason,
        } => End::NotServed(code, reason),
        error => End::Lost(error.into()),
    }
}

struct Conversation<'s> {
    shared: &'s Shared,
    sender: RawSender,
    receiver: RawReceiver,
    is_welcome: bool,
    /// Kept for their memory.
    answers: Vec<(u64, Outcome)>,
    outgoing: Vec<Outgoing>,
    /// How many requests there were when callers were let go first.
    gathered: Option<usize>,
}

/// So many answers are taken before the callers are told.
const ANSWERS: usize = 512;

/// So many requests are written without waiting for more.
const GATHERED: usize = 256;

/// So many bytes are written before it is asked whether there is room for more.
const BATCH: usize = 16 * 1024;

impl Conversation<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let received = self.poll_receive(context);
        if received.is_ready() {
            return received;
        }
        self.poll_send(context)
    }

    /// Tells the machine what came; ready when nothing more will.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            let end = self.poll_answers(context);
            let is_full = self.answers.len() >= ANSWERS;
            if !self.answers.is_empty() {
                let answers = &mut self.answers;
                self.shared.with_pump(|machine| {
                    for (id, outcome) in answers.drain(..) {
                        machine.answered(id, outcome);
                    }
                });
            }
            if end.is_ready() || !is_full {
                return end;
            }
        }
    }

    /// Collects answers; ready when nothing more will come.
    fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<End> {
        while self.answers.len() < ANSWERS {
            let message = match ready!(self.receiver.poll_recv(context)) {
                Ok(Some(message)) => message,
                Ok(None) => return Poll::Ready(End::Lost(Loss::Finished)),
                Err(error) => return Poll::Ready(ended(error)),
            };
            if self.take(&message).is_none() {
                return Poll::Ready(End::Lost(Loss::Misbehaved));
            }
        }
        Poll::Pending
    }

    /// Nothing if the service broke the rules.
    fn take(&mut self, message: &Bytes) -> Option<()> {
        let (id, outcome) = match Answered::take(message).ok()? {
            Answered::Welcome {
                boot,
                calls_at_once,
            } => {
                let is_first = !std::mem::replace(&mut self.is_welcome, true);
                self.shared
                    .with_pump(|machine| machine.welcomed(boot, calls_at_once));
                return is_first.then_some(());
            }
            Answered::Answer { id, body } => (id, Ok(message.slice_ref(body))),
            Answered::Fault { id, fault } => (id, Err(CallError::Fault(fault))),
        };
        self.answers.push((id, outcome));
        self.is_welcome.then_some(())
    }

    /// Whether to let callers go first, who are about to ask again: requests that are written together
    /// cost far less than one by one. Each round of it must have brought more of them.
    fn gathers(&mut self) -> bool {
        let before = self.gathered.take();
        let growing = self.shared.with_pump(|machine| machine.growing());
        self.gathered = growing.filter(|&queued| {
            let has_grown = before.is_none_or(|before| queued > before);
            queued < GATHERED && has_grown
        });
        self.gathered.is_some()
    }

    /// Writes what the machine has to be written; ready when nothing can be.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if self.gathers() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut has_written = false;
        while self.shared.with_pump(|machine| machine.has_to_write()) {
            if let Err(error) = ready!(self.sender.poll_ready(context)) {
                return Poll::Ready(ended(error));
            }
            let (now, outgoing) = (self.shared.runtime.now(), &mut self.outgoing);
            self.shared
                .with_pump(|machine| machine.write(now, BATCH, outgoing));
            for outgoing in self.outgoing.drain(..) {
                match write(&mut self.sender, &outgoing) {
                    Ok(()) => has_written = true,
                    Err(ChannelError::TooLarge { length, max }) => {
                        let error = CallError::TooLarge { length, max };
                        self.shared
                            .with_pump(|machine| machine.unsendable(outgoing.id(), error));
                    }
                    Err(error) => return Poll::Ready(ended(error)),
                }
            }
        }
        if has_written && let Poll::Ready(Err(error)) = self.sender.poll_flush(context) {
            return Poll::Ready(ended(error));
        }
        Poll::Pending
    }
}

fn write(sender: &mut RawSender, outgoing: &Outgoing) -> Result<(), ChannelError> {
    let large = sender.start_send_with(|buffer| {
        match outgoing {
            Outgoing::Request {
                id,
                milliseconds,
                key,
                body,
            } => {
                put_request(buffer, *id, *milliseconds, *key);
                buffer.extend_from_slice(body);
            }
            Outgoing::Cancel(id) => put_cancel(buffer, *id),
        }
        Ok(())
    })?;
    match large {
        Some(message) => sender.start_send_message(&mut message.freeze()),
        None => Ok(()),
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
