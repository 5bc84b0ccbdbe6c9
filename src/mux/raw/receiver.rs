use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_util::Stream;

use super::handle::Handle;
use crate::codec::MaxMessageSize;
use crate::mux::code::Code;
use crate::mux::error::ChannelError;
use crate::mux::machine::Received;
use crate::mux::machine::inbox::Inbox;
use crate::mux::machine::window::FRAME_COST;
use crate::mux::shared::{Shared, State};

/// The receiving half of a [`RawChannel`](crate::RawChannel).
///
/// Dropping it tells the peer that nobody reads: its sends fail with [`ChannelError::Stopped`].
pub struct RawReceiver {
    handle: Handle,
    inbox: Inbox,
    /// What was read since the machine was last told.
    consumed: u32,
    /// Told when that much was read.
    report_at: u32,
    /// The last message that came was read, and nothing was sent since.
    unanswered: bool,
}

impl RawReceiver {
    pub(super) fn new(shared: &Arc<Shared>, key: usize) -> Self {
        let report_at = shared.with(|state| state.machine.config().window / 4);
        Self {
            handle: Handle::new(shared, key),
            inbox: Inbox::default(),
            consumed: 0,
            report_at,
            unanswered: false,
        }
    }

    /// As [`RawChannel::recv`](crate::RawChannel::recv).
    pub async fn recv(&mut self) -> Result<Option<Bytes>, ChannelError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// Reads no more: the peer's sends fail with `code`.
    pub fn stop(self, code: Code) {
        let key = self.handle.key;
        self.handle
            .shared
            .with(|state| state.machine.stop(key, code));
    }

    pub(super) fn limit_first(&self, messages: u32, most: u32) {
        let key = self.handle.key;
        self.handle
            .shared
            .with(|state| state.machine.limit_first(key, messages, most));
    }

    pub(super) fn max_message_size(&self) -> MaxMessageSize {
        let shared = &self.handle.shared;
        let max = shared.with(|state| state.machine.config().max_message_size);
        MaxMessageSize::new(max as usize).unwrap_or_default()
    }

    pub(crate) fn poll_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, ChannelError>> {
        if !ready!(self.poll_messages(context))? {
            return Poll::Ready(Ok(None));
        }
        let message = self.inbox.next();
        self.count(message.as_ref().map_or(0, Bytes::len));
        Poll::Ready(Ok(message))
    }

    /// Receives a message by looking at it.
    pub(crate) fn poll_recv_with<T>(
        &mut self,
        context: &mut Context<'_>,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Poll<Result<Option<T>, ChannelError>> {
        if !ready!(self.poll_messages(context))? {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(self.inbox.next_with(look).map(|(length, seen)| {
            self.count(length);
            seen
        })))
    }

    /// Whether a message that is sent now is the first after the last one that came: its answer,
    /// most likely, for which someone waits. What is sent after it is left to gather.
    pub(crate) fn take_unanswered(&mut self) -> bool {
        std::mem::take(&mut self.unanswered) && self.inbox.is_empty()
    }

    /// Ready with true when the inbox holds a message, with false at the end.
    pub(crate) fn poll_messages(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<bool, ChannelError>> {
        if !self.inbox.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let Handle { shared, key } = &self.handle;
        let (inbox, consumed) = (&mut self.inbox, &mut self.consumed);
        let mut receive = |state: &mut State, waker: Option<&Waker>| {
            let received = state
                .machine
                .receive(*key, std::mem::take(consumed), inbox)?;
            if let Some(waker) = waker.filter(|_| received == Received::Nothing) {
                state.wait_to_read(*key, waker);
            }
            Ok::<_, ChannelError>(received)
        };
        let waker = context.waker();
        let (mut received, is_alone) = shared.with(|state| {
            let is_alone = !state.others_wait_to_read(*key);
            let received = receive(state, Some(waker).filter(|_| !is_alone))?;
            Ok::<_, ChannelError>((received, is_alone))
        })?;
        if received == Received::Nothing && is_alone {
            // Before it waits, the task looks for itself whether something is there.
            shared.drive();
            received = shared.with(|state| receive(state, Some(waker)))?;
        }
        match received {
            Received::Messages => Poll::Ready(Ok(true)),
            Received::End => Poll::Ready(Ok(false)),
            Received::Nothing => Poll::Pending,
        }
    }

    fn count(&mut self, length: usize) {
        self.unanswered = true;
        let cost = u32::try_from(length)
            .unwrap_or(u32::MAX)
            .saturating_add(FRAME_COST);
        self.consumed = self.consumed.saturating_add(cost);
        if self.consumed >= self.report_at {
            let (shared, key, consumed) = (&self.handle.shared, self.handle.key, self.consumed);
            let report = |state: &mut State| state.machine.consumed(key, consumed);
            // The next refill of the inbox reports it at the latest, so a little is not worth
            // waiting for.
            if consumed >= 2 * self.report_at {
                shared.with(report);
                self.consumed = 0;
            } else if shared.try_with(report).is_some() {
                self.consumed = 0;
            }
        }
    }
}

impl Drop for RawReceiver {
    fn drop(&mut self) {
        let key = self.handle.key;
        let waker = self.handle.shared.with(|state| {
            state.machine.drop_receiver(key);
            state.take_reader(key)
        });
        drop(waker);
    }
}

impl fmt::Debug for RawReceiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RawReceiver")
            .field("key", &self.handle.key)
            .finish_non_exhaustive()
    }
}

impl Stream for RawReceiver {
    type Item = Result<Bytes, ChannelError>;

    /// Yields messages, then none once the peer has finished; an error is the last item but for
    /// itself: it is yielded again by every later call.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context).map(Result::transpose)
    }
}
