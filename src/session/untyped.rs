//! A session without its types: a channel, and the time.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::error::SessionError;
use super::protocol::{Carries, Encoded, Listens, State, Undecoded};
use crate::codec::{CodecError, MaxMessageSize};
use crate::mux::{ChannelError, Code, RawChannel};
use crate::runtime::{Instant, Task};

/// Longer than any session lives, and short enough to be added to the time. About 68 years.
const NEVER: Duration = Duration::from_secs(1 << 31);

pub(super) struct Untyped {
    channel: RawChannel,
    /// The end of the wait in the present state, once one has begun.
    deadline: Option<Instant>,
    /// Kept from one wait to the next, as deadlines mostly move away: one that fires too early is
    /// set again then.
    timer: Option<(Instant, Task)>,
}

impl Untyped {
    pub(super) fn new(channel: RawChannel) -> Self {
        Self {
            channel,
            deadline: None,
            timer: None,
        }
    }

    /// Sends a message of the state `S`.
    pub(super) async fn send<S: Carries<M>, M: Serialize>(
        &mut self,
        message: M,
    ) -> Result<(), SessionError> {
        let max = MaxMessageSize::new(S::MAX_SIZE.saturating_add(1)).unwrap_or_default();
        let tagged = (S::TAG, message);
        let mut large = Bytes::new();
        let untyped = &mut *self;
        // The message moves in: borrowed, it would have to be `Sync`.
        let sent = poll_fn(move |context| {
            let (sender, receiver) = untyped.channel.halves();
            // The last message is not written at once: the FINISH that follows can go with it.
            if receiver.take_unanswered() && !S::Next::IS_END {
                sender.note_answering();
            }
            if let Poll::Ready(sent) = sender.poll_send_value(context, &tagged, &mut large, max) {
                return Poll::Ready(sent.map_err(|error| unsent::<S>(S::TAG, error)));
            }
            untyped.poll_late(context, S::NAME, S::DEADLINE).map(Err)
        });
        sent.await?;
        self.deadline = None;
        Ok(())
    }

    /// Receives a message of the state `S`, within a time that may be shorter than the state's.
    pub(super) async fn receive<S: Listens>(
        &mut self,
        within: Option<Duration>,
    ) -> Result<S, SessionError> {
        let limit = within.map_or(S::DEADLINE, |within| within.min(S::DEADLINE));
        let mut tightens = within.is_some();
        let received = poll_fn(|context| {
            let (_, receiver) = self.channel.halves();
            let polled = receiver.poll_recv_with(context, |message| {
                S::decode(Encoded::new(message, S::MAX_SIZE)?)
            });
            match polled {
                Poll::Ready(Ok(Some(decoded))) => Poll::Ready(decoded.map_err(undecoded::<S>)),
                Poll::Ready(Ok(None)) => {
                    Poll::Ready(Err(SessionError::Finished { state: S::NAME }))
                }
                Poll::Ready(Err(error)) => {
                    Poll::Ready(Err(SessionError::from_channel(error, S::NAME)))
                }
                Poll::Pending => {
                    if std::mem::take(&mut tightens) {
                        self.tighten(limit);
                    }
                    self.poll_late(context, S::NAME, limit).map(Err)
                }
            }
        });
        let state = received.await?;
        self.deadline = None;
        Ok(state)
    }

    /// Waits until [`receive`](Self::receive) need not wait.
    pub(super) async fn ready<S: Listens>(&mut self) -> Result<(), SessionError> {
        poll_fn(|context| {
            let (_, receiver) = self.channel.halves();
            match receiver.poll_messages(context) {
                Poll::Ready(Ok(true)) => Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {
                    Poll::Ready(Err(SessionError::Finished { state: S::NAME }))
                }
                Poll::Ready(Err(error)) => {
                    Poll::Ready(Err(SessionError::from_channel(error, S::NAME)))
                }
                Poll::Pending => self.poll_late(context, S::NAME, S::DEADLINE).map(Err),
            }
        })
        .await
    }

    /// Nothing follows in either direction.
    pub(super) fn close(mut self) {
        self.channel.finish();
    }

    /// Ends the session, and says why.
    pub(super) fn reset(self, code: Code, reason: &str) {
        self.channel.reset(code, reason);
    }

    /// Tells the peer why the session is over, if it does not know.
    pub(super) fn ended(self, error: SessionError) -> SessionError {
        if let Some(code) = error.last_word() {
            self.reset(code, &error.to_string());
        }
        error
    }

    /// Ready, with the error that it is, when the time in the state is up.
    fn poll_late(
        &mut self,
        context: &mut Context<'_>,
        state: &'static str,
        limit: Duration,
    ) -> Poll<SessionError> {
        ready!(self.poll_deadline(context, limit));
        Poll::Ready(SessionError::TimedOut { state, limit })
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>, limit: Duration) -> Poll<()> {
        if self.deadline.is_none() && limit >= NEVER {
            return Poll::Pending;
        }
        let runtime = self.channel.runtime();
        let deadline = *self
            .deadline
            .get_or_insert_with(|| runtime.now() + limit.min(NEVER));
        loop {
            if self.timer.as_ref().is_none_or(|(at, _)| *at > deadline) {
                self.timer = Some((deadline, runtime.sleep_until(deadline)));
            }
            let Some((_, timer)) = &mut self.timer else {
                return Poll::Pending;
            };
            ready!(timer.as_mut().poll(context));
            self.timer = None;
            if runtime.now() >= deadline {
                return Poll::Ready(());
            }
        }
    }

    /// The present wait ends after `limit`, if not before.
    fn tighten(&mut self, limit: Duration) {
        let sooner = self.channel.runtime().now() + limit.min(NEVER);
        let deadline = self
            .deadline
            .map_or(sooner, |deadline| deadline.min(sooner));
        self.deadline = Some(deadline);
    }
}

fn unsent<S: State>(tag: u8, error: ChannelError) -> SessionError {
    let state = S::NAME;
    match error {
        ChannelError::TooLarge { length, max } => SessionError::TooLargeToSend {
            state,
            tag,
            length: length.saturating_sub(1),
            max: max.saturating_sub(1),
        },
        ChannelError::Codec(cause) => SessionError::Unencodable { state, tag, cause },
        error => SessionError::from_channel(error, state),
    }
}

fn undecoded<S: State>(undecoded: Undecoded) -> SessionError {
    let (state, max) = (S::NAME, S::MAX_SIZE);
    match undecoded {
        Undecoded::Empty => SessionError::Untagged { state },
        Undecoded::Unexpected { tag } => SessionError::Unexpected { state, tag },
        Undecoded::TooLarge { tag, length } => SessionError::TooLarge {
            state,
            tag,
            length,
            max,
        },
        Undecoded::Malformed { tag, error } => {
            let cause: CodecError = error;
            SessionError::Undecodable { state, tag, cause }
        }
    }
}
