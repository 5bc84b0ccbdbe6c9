//! Channels of raw messages: what all other kinds of channels are made of.

mod feed;
mod gathered;
mod handle;
mod receiver;
mod sender;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_sink::Sink;
use futures_util::Stream;

pub use self::receiver::RawReceiver;
pub use self::sender::RawSender;
use super::code::Code;
use super::error::{ChannelError, SendError};
use super::shared::Shared;
use crate::codec::MaxMessageSize;
use crate::runtime::SharedRuntime;

/// A conversation of raw messages over one connection: both directions of it.
///
/// Messages arrive whole, once and in order, each with back-pressure of this channel alone.
///
/// Dropping it before [`finish`](Self::finish) resets the channel: the peer sees
/// [`Code::CANCELLED`]. As a [`Stream`] it yields what is received, as a [`Sink`] it sends.
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
    sender: RawSender,
    receiver: RawReceiver,
}

impl RawChannel {
    pub(super) fn new(shared: &Arc<Shared>, key: usize) -> Self {
        Self {
            sender: RawSender::new(shared, key),
            receiver: RawReceiver::new(shared, key),
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
            self.sender.note_answering();
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
        self.sender.reset(code, reason);
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

    pub(crate) fn runtime(&self) -> &SharedRuntime {
        self.sender.runtime()
    }

    /// Makes the first so many messages that come no larger than `most`: a larger one resets the channel
    /// when so much of it has come.
    pub(crate) fn limit_first(&self, messages: u32, most: u32) {
        self.receiver.limit_first(messages, most);
    }

    pub(crate) fn max_message_size(&self) -> MaxMessageSize {
        self.receiver.max_message_size()
    }

    pub(crate) fn halves(&mut self) -> (&mut RawSender, &mut RawReceiver) {
        (&mut self.sender, &mut self.receiver)
    }
}

impl Stream for RawChannel {
    type Item = Result<Bytes, ChannelError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(Result::transpose)
    }
}

impl Sink<Bytes> for RawChannel {
    type Error = ChannelError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.sender.poll_ready(context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> Result<(), ChannelError> {
        self.sender.start_send_message(&mut { message })
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.sender.poll_flush(context)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.sender.finish();
        self.sender.poll_flush(context)
    }
}
