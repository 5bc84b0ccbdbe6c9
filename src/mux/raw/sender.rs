use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::gathered::{Gathered, send_gathered};
use super::handle::Handle;
use crate::mux::code::Code;
use crate::mux::error::{ChannelError, SendError};
use crate::mux::machine::Room;
use crate::mux::shared::{Shared, State};
use crate::runtime::SharedRuntime;

/// The sending half of a [`RawChannel`](crate::RawChannel).
///
/// Dropping it before [`finish`](Self::finish) resets the channel, both ways.
pub struct RawSender {
    pub(super) handle: Handle,
    /// A message came and the answer to it was not sent yet: the next message is written at once
    /// by the task that sends it, without the driver's detour.
    answering: bool,
    /// What was fed and not handed over yet; made for the first message that is fed.
    pub(super) gathered: Option<Box<Gathered>>,
    /// The length of the last value if it was a large one, a guess for the next.
    pub(in crate::mux) expected: usize,
}

impl RawSender {
    pub(super) fn new(shared: &Arc<Shared>, key: usize) -> Self {
        Self {
            handle: Handle::new(shared, key),
            answering: false,
            gathered: None,
            expected: 0,
        }
    }

    /// As [`RawChannel::send`](crate::RawChannel::send).
    pub async fn send(&mut self, message: Bytes) -> Result<(), SendError> {
        let mut message = message;
        let sent = poll_fn(|context| self.poll_send(context, &mut message)).await;
        sent.map_err(|error| SendError { error, message })
    }

    /// As [`RawChannel::feed`](crate::RawChannel::feed).
    pub async fn feed(&mut self, message: Bytes) -> Result<(), SendError> {
        let mut message = message;
        let ready = poll_fn(|context| self.poll_ready(context)).await;
        let fed = ready.and_then(|()| self.start_send_message(&mut message));
        fed.map_err(|error| SendError { error, message })
    }

    /// As [`RawChannel::flush`](crate::RawChannel::flush).
    pub async fn flush(&mut self) -> Result<(), ChannelError> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// As [`RawChannel::finish`](crate::RawChannel::finish).
    pub fn finish(&mut self) {
        self.hand_over();
        let key = self.handle.key;
        self.handle.shared.with(|state| state.machine.finish(key));
    }

    /// As [`RawChannel::reset`](crate::RawChannel::reset).
    pub fn reset(self, code: Code, reason: &str) {
        self.handle.reset(code, reason);
    }

    /// As [`RawChannel::accepted`](crate::RawChannel::accepted).
    pub async fn accepted(&self) -> Result<(), ChannelError> {
        let Handle { shared, key } = &self.handle;
        loop {
            let listener = shared.events.accepted.listen();
            if shared.with(|state| state.machine.is_accepted(*key))? {
                return Ok(());
            }
            listener.await;
        }
    }

    /// Takes the message once there is room for it.
    pub(in crate::mux) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        message: &mut Bytes,
    ) -> Poll<Result<(), ChannelError>> {
        self.poll_queue(context, |state, key| state.machine.send(key, message))
    }

    /// Sends a message of up to 4 KiB by copying it.
    pub(in crate::mux) fn poll_send_copy(
        &mut self,
        context: &mut Context<'_>,
        message: &[u8],
    ) -> Poll<Result<(), ChannelError>> {
        self.poll_queue(context, |state, key| state.machine.send_copy(key, message))
    }

    pub(in crate::mux) fn poll_queue(
        &mut self,
        context: &mut Context<'_>,
        mut queue: impl FnMut(&mut State, usize) -> Result<Room, ChannelError>,
    ) -> Poll<Result<(), ChannelError>> {
        let Handle { shared, key } = &self.handle;
        let answering = std::mem::take(&mut self.answering);
        let gathered = &mut self.gathered;
        // The waker is left only at the last attempt: what this task does itself must not wake it.
        let mut attempt = |state: &mut State, waker: Option<&Waker>| {
            let before = send_gathered(state, *key, gathered)?;
            let room = queue(state, *key)?;
            if let Some(waker) = waker.filter(|_| room == Room::Full) {
                state.wait_to_write(*key, waker);
            }
            Ok::<_, ChannelError>(match room {
                Room::Free => before,
                other => other,
            })
        };
        let room = if answering {
            shared.with_quietly(|state| attempt(state, None))?
        } else {
            shared.with(|state| attempt(state, None))?
        };
        match room {
            Room::Free if !answering => return Poll::Ready(Ok(())),
            Room::Free | Room::FreeWithBatch => {
                shared.drive();
                return Poll::Ready(Ok(()));
            }
            // Rather than wait for the driver, write some of what fills the buffer.
            Room::Full => shared.drive(),
        }
        match shared.with(|state| attempt(state, Some(context.waker())))? {
            Room::Full => Poll::Pending,
            Room::Free | Room::FreeWithBatch => Poll::Ready(Ok(())),
        }
    }

    /// Ready when everything sent has gone to the transport.
    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        let Handle { shared, key } = &self.handle;
        let gathered = &mut self.gathered;
        let mut flushed = |state: &mut State, waker: Option<&Waker>| {
            send_gathered(state, *key, gathered)?;
            if state.machine.is_flushed(*key)? {
                return Poll::Ready(Ok(()));
            }
            if let Some(waker) = waker {
                state.wait_to_write(*key, waker);
            }
            Poll::Pending
        };
        if let Poll::Ready(result) = shared.with_quietly(|state| flushed(state, None)) {
            return Poll::Ready(result);
        }
        shared.drive();
        shared.with(|state| flushed(state, Some(context.waker())))
    }

    pub(super) fn runtime(&self) -> &SharedRuntime {
        &self.handle.shared.runtime
    }

    pub(crate) fn note_answering(&mut self) {
        self.answering = true;
    }
}

impl Drop for RawSender {
    fn drop(&mut self) {
        let key = self.handle.key;
        self.handle
            .shared
            .with(|state| state.machine.drop_sender(key));
    }
}

impl fmt::Debug for RawSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RawSender")
            .field("key", &self.handle.key)
            .finish_non_exhaustive()
    }
}
