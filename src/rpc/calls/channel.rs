//! One channel to the service, at the client: hello, requests and answers.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use super::error::{CallError, Loss};
use super::machine::{ChannelNumber, Machine, Outcome, Outgoing};
use super::message::{Answered, put_cancel, put_hello, put_request};
use super::shared::Shared;
use crate::mux::{ChannelError, Code, Connection, OpenError, Priority, RawReceiver, RawSender};

/// What comes after a conversation with the service.
pub(super) enum Next<'s> {
    /// Another one on the same connection, after a pause.
    Again,
    /// Another one on the next connection.
    Elsewhere,
    /// Another one on the same connection, while this one waits for answers.
    Beside(Conversation<'s>),
    /// Another one on the next connection, while this one waits for answers.
    Leave(Conversation<'s>),
}

/// How a conversation ends.
pub(super) enum End {
    Lost(Loss),
    NotServed(Code, Arc<str>),
    /// The service did not say its welcome in time, so that nothing was sent.
    Silent,
    /// All that was written is answered.
    Idle,
}

impl End {
    /// Whether the connection has ended, and the conversation with it.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Self::Lost(Loss::Channel(ChannelError::Connection(_))))
    }
}

/// Until when a conversation was held.
enum Held {
    Ended(End),
    /// The connection takes no more channels.
    Spent,
    /// What is to be written next cannot be, behind what was.
    Overtaken,
}

/// Speaks with the service until something else comes next.
pub(super) async fn converse<'s>(
    shared: &'s Shared,
    connection: &Connection,
    protocol: &str,
    client: u128,
) -> Next<'s> {
    let opened = connection.open_raw_with(protocol, Priority::High).await;
    let channel = match opened {
        Ok(channel) => channel,
        Err(error @ OpenError::NameTooLong(_)) => {
            let reason = error.to_string().into();
            shared.with(|machine| machine.not_served(Code::UNKNOWN_PROTOCOL, &reason));
            return Next::Elsewhere;
        }
        Err(_) => {
            shared.with(|machine| machine.away(None));
            return Next::Elsewhere;
        }
    };
    shared.raise_max_message(channel.max_message_size());
    let (sender, receiver) = channel.split();
    let mut conversation = Conversation {
        shared,
        channel: shared.with(Machine::opened),
        sender,
        receiver,
        is_welcome: false,
        answers: Vec::new(),
        outgoing: Vec::new(),
        gathered: None,
    };
    let end = match conversation.hold(connection, client).await {
        Held::Ended(end) => end,
        Held::Spent => return Next::Leave(conversation),
        Held::Overtaken => return Next::Beside(conversation),
    };
    conversation.close(&end);
    match end {
        _ if end.is_of_connection() => Next::Elsewhere,
        End::Lost(_) | End::Silent | End::Idle => Next::Again,
        End::NotServed(code, reason) => {
            shared.with(|machine| machine.not_served(code, &reason));
            Next::Elsewhere
        }
    }
}

/// A conversation with the service, over one channel.
pub(super) struct Conversation<'s> {
    shared: &'s Shared,
    channel: ChannelNumber,
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
    /// Says hello, then moves requests and answers for as long as new requests may go over the channel.
    async fn hold(&mut self, connection: &Connection, client: u128) -> Held {
        let channel = self.channel;
        let mut hello = BytesMut::new();
        let sent_up_to = self.shared.with(|machine| machine.sent_up_to());
        put_hello(&mut hello, client, sent_up_to);
        if let Err(error) = self.sender.send(hello.freeze()).await {
            return Held::Ended(ended(error.error));
        }
        let mut welcomed_by = Some(self.shared.welcome_deadline());
        let mut spent = pin!(connection.spent());
        let held = poll_fn(|context| {
            if let Poll::Ready(end) = self.poll(context) {
                return Poll::Ready(Held::Ended(end));
            }
            if spent.as_mut().poll(context).is_ready() {
                return Poll::Ready(Held::Spent);
            }
            if self
                .shared
                .with_pump(|machine| machine.is_overtaken(channel))
            {
                return Poll::Ready(Held::Overtaken);
            }
            if self.is_welcome {
                welcomed_by = None;
            }
            match &mut welcomed_by {
                Some(late) => late
                    .as_mut()
                    .poll(context)
                    .map(|()| Held::Ended(End::Silent)),
                None => Poll::Pending,
            }
        })
        .await;
        self.shared.with_pump(|machine| machine.retire(channel));
        held
    }

    /// Goes on until what was written is answered; ready when this is to be [closed](Self::close).
    pub(super) fn poll_answered(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if let Poll::Ready(end) = self.poll(context) {
            return Poll::Ready(end);
        }
        let channel = self.channel;
        let is_idle = self.shared.with_pump(|machine| machine.is_idle(channel));
        if is_idle {
            Poll::Ready(End::Idle)
        } else {
            Poll::Pending
        }
    }

    /// Nothing more comes or goes.
    pub(super) fn close(mut self, end: &End) {
        let channel = self.channel;
        match end {
            End::Lost(loss) => {
                if matches!(loss, Loss::Misbehaved) {
                    let reason = "no message of the protocol";
                    self.sender.reset(Code::PROTOCOL_ERROR, reason);
                }
                return self.shared.with_pump(|machine| machine.lost(channel, loss));
            }
            End::Silent => self.sender.reset(Code::TIMED_OUT, "no welcome"),
            End::Idle => self.sender.finish(),
            End::NotServed(..) => {}
        }
        self.shared.with_pump(|machine| machine.left(channel));
    }

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
                let (channel, answers) = (self.channel, &mut self.answers);
                self.shared.with_pump(|machine| {
                    for (id, outcome) in answers.drain(..) {
                        machine.answered(channel, id, outcome);
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
                let channel = self.channel;
                self.shared
                    .with_pump(|machine| machine.welcomed(channel, boot, calls_at_once));
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
        let growing = self
            .shared
            .with_pump(|machine| machine.growing(self.channel));
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
        let (channel, mut has_written) = (self.channel, false);
        while self
            .shared
            .with_pump(|machine| machine.has_to_write_on(channel))
        {
            if let Err(error) = ready!(self.sender.poll_ready(context)) {
                return Poll::Ready(ended(error));
            }
            let (now, outgoing) = (self.shared.runtime.now(), &mut self.outgoing);
            self.shared
                .with_pump(|machine| machine.write(channel, now, BATCH, outgoing));
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

fn ended(error: ChannelError) -> End {
    match error {
        ChannelError::Refused {
            code: code @ Code::UNKNOWN_PROTOCOL,
            reason,
        } => End::NotServed(code, reason),
        error => End::Lost(error.into()),
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
