//! Channels of raw messages: what all other kinds of channels are made of.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_util::Stream;

use super::code::Code;
use super::error::ChannelError;
use super::feed::{Gathered, send_gathered};
use super::machine::inbox::Inbox;
use super::machine::window::FRAME_COST;
use super::machine::{Received, Room};
use super::shared::{Shared, State};
use super::stream::ChannelStream;
use crate::codec::MaxMessageSize;
use crate::runtime::SharedRuntime;

/// A conversation of raw messages over one connection: both directions of it.
///
/// Messages arrive whole, once and in order, each with back-pressure of this channel alone.
///
/// Dropping it before [`finish`](Self::finish) resets the channel: the peer sees
/// [`Code::CANCELLED`]. As a [`Stream`] it yields what is received, as a [`Sink`](futures_util::Sink) it sends.
///
/// ```
/// # futures::executor::block_on(async {
/// # let (here, there) = sessionwire::Connection::pair();
/// let mut asking = here.open_raw("echo/1").await?;
/// asking.send("hello".into()).await?;
/// asking.finish();
///
/// let mut answering = there.accept().await?.expect("a channel").accept_raw();
/// while let Some(message) = answering.recv().await? {
///     answering.send(message).await?;
/// }
/// answering.finish();
///
/// assert_eq!(asking.recv().await?.as_deref(), Some(&b"hello"[..]));
/// assert_eq!(asking.recv().await?, None);
/// # Ok::<(), sessionwire::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct RawChannel {
    pub(super) sender: RawSender,
    receiver: RawReceiver,
}

/// The sending half of a [`RawChannel`].
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
    pub(super) expected: usize,
}

/// The receiving half of a [`RawChannel`].
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

/// A channel's place in a connection.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) key: usize,
}

impl RawChannel {
    pub(super) fn new(shared: &Arc<Shared>, key: usize) -> Self {
        let report_at = shared.with(|state| state.machine.config().window / 4);
        Self {
            sender: RawSender {
                handle: Handle::new(shared, key),
                answering: false,
                gathered: None,
                expected: 0,
            },
            receiver: RawReceiver {
                handle: Handle::new(shared, key),
                inbox: Inbox::default(),
                consumed: 0,
                report_at,
                unanswered: false,
            },
        }
    }

    /// Sends a message: waits until there is room in the channel's send buffer.
    ///
    /// The message is on its way when this returns, not yet with the peer. Messages of up to 4 KiB
    /// are copied, larger ones are sent from where they are.
    ///
    /// # Errors
    ///
    /// What became of the channel, and the message. [`ChannelError::TooLarge`] if one of the two ends
    /// does not take so large a message; the channel can be used further.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `send` has sent nothing.
    pub async fn send(&mut self, message: Bytes) -> Result<(), SendError> {
        if self.receiver.take_unanswered() {
            self.sender.answering = true;
        }
        self.sender.send(message).await
    }

    /// Sends a message along with others: small ones gather here, up to 16 KiB of them, until
    /// [`flush`](Self::flush) or one of the other methods sends them. Faster than
    /// [`send`](Self::send) for many messages in a row.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), though what became of the channel may show only later.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `feed` has sent nothing.
    pub async fn feed(&mut self, message: Bytes) -> Result<(), SendError> {
        self.sender.feed(message).await
    }

    /// Waits until everything sent has gone to the transport, which waits for the peer's credit.
    pub async fn flush(&mut self) -> Result<(), ChannelError> {
        self.sender.flush().await
    }

    /// Receives the next message, none when the peer has finished. What was fed before is sent.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `recv` has taken nothing.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, ChannelError> {
        self.sender.hand_over();
        poll_fn(|context| self.receiver.poll_recv(context)).await
    }

    /// Says that nothing more will be sent; what was sent still goes. The other direction goes on.
    pub fn finish(&mut self) {
        self.sender.finish();
    }

    /// Ends the channel at once, both ways, with a reason for the peer (at most 128 bytes of it go).
    pub fn reset(self, code: Code, reason: &str) {
        self.sender.handle.reset(code, reason);
    }

    /// Waits until the peer has accepted the channel. One that the peer opened is accepted already.
    ///
    /// There is no need to wait before sending: messages that fit in 64 KiB go at once.
    pub async fn accepted(&self) -> Result<(), ChannelError> {
        self.sender.accepted().await
    }

    /// Parts the two directions, for two tasks.
    pub fn split(self) -> (RawSender, RawReceiver) {
        (self.sender, self.receiver)
    }

    /// The channel as a stream of bytes, for code that wants `AsyncRead + AsyncWrite`.
    pub fn into_stream(self) -> ChannelStream {
        ChannelStream::new(self)
    }

    pub(crate) fn runtime(&self) -> &SharedRuntime {
        &self.sender.handle.shared.runtime
    }

    /// Makes the first so many messages that come no larger than `most`: a larger one resets the channel
    /// when so much of it has come.
    pub(crate) fn limit_first(&self, messages: u32, most: u32) {
        let Handle { shared, key } = &self.sender.handle;
        shared.with(|state| state.machine.limit_first(*key, messages, most));
    }

    pub(crate) fn max_message_size(&self) -> MaxMessageSize {
        let max = self
            .sender
            .handle
            .shared
            .with(|state| state.machine.config().max_message_size);
        MaxMessageSize::new(max as usize).unwrap_or_default()
    }

    pub(crate) fn halves(&mut self) -> (&mut RawSender, &mut RawReceiver) {
        (&mut self.sender, &mut self.receiver)
    }
}

impl RawSender {
    /// As [`RawChannel::send`].
    pub async fn send(&mut self, message: Bytes) -> Result<(), SendError> {
        let mut message = message;
        let sent = poll_fn(|context| self.poll_send(context, &mut message)).await;
        sent.map_err(|error| SendError { error, message })
    }

    /// As [`RawChannel::feed`].
    pub async fn feed(&mut self, message: Bytes) -> Result<(), SendError> {
        let mut message = message;
        let ready = poll_fn(|context| self.poll_ready(context)).await;
        let fed = ready.and_then(|()| self.start_send_message(&mut message));
        fed.map_err(|error| SendError { error, message })
    }

    /// As [`RawChannel::flush`].
    pub async fn flush(&mut self) -> Result<(), ChannelError> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// As [`RawChannel::finish`].
    pub fn finish(&mut self) {
        self.hand_over();
        let key = self.handle.key;
        self.handle.shared.with(|state| state.machine.finish(key));
    }

    /// As [`RawChannel::reset`].
    pub fn reset(self, code: Code, reason: &str) {
        self.handle.reset(code, reason);
    }

    /// As [`RawChannel::accepted`].
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
    pub(super) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        message: &mut Bytes,
    ) -> Poll<Result<(), ChannelError>> {
        self.poll_queue(context, |state, key| state.machine.send(key, message))
    }

    /// Sends a message of up to 4 KiB by copying it.
    pub(super) fn poll_send_copy(
        &mut self,
        context: &mut Context<'_>,
        message: &[u8],
    ) -> Poll<Result<(), ChannelError>> {
        self.poll_queue(context, |state, key| state.machine.send_copy(key, message))
    }

    pub(super) fn poll_queue(
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

    pub(crate) fn note_answering(&mut self) {
        self.answering = true;
    }
}

impl RawReceiver {
    /// As [`RawChannel::recv`].
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

impl Handle {
    fn new(shared: &Arc<Shared>, key: usize) -> Self {
        shared.add_handle();
        Self {
            shared: Arc::clone(shared),
            key,
        }
    }

    fn reset(&self, code: Code, reason: &str) {
        self.shared
            .with(|state| state.machine.reset(self.key, code, reason));
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

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.drop_handle();
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

impl Stream for RawChannel {
    type Item = Result<Bytes, ChannelError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(Result::transpose)
    }
}

/// A message that was not sent, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a message was not sent")]
pub struct SendError {
    /// What became of the channel.
    #[source]
    pub error: ChannelError,
    /// The message.
    pub message: Bytes,
}

impl From<SendError> for ChannelError {
    fn from(error: SendError) -> Self {
        error.error
    }
}
