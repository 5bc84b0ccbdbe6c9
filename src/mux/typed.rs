//! Channels of values: raw messages and the codec.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_sink::Sink;
use futures_util::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::code::Code;
use super::error::ChannelError;
use super::machine::transmit::COPY_UP_TO;
use super::raw::{RawChannel, RawReceiver, RawSender};
use crate::codec::{self, CodecError, MaxMessageSize};

/// A conversation over one connection: this end sends values of `Tx` and receives values of `Rx`.
///
/// Values arrive whole, once and in order, each with back-pressure of this channel alone.
///
/// Dropping it before [`finish`](Self::finish) resets the channel: the peer sees
/// [`Code::CANCELLED`]. As a [`Stream`] it yields what is received, as a [`Sink`] it sends.
///
/// ```
/// # futures::executor::block_on(async {
/// use serde::{Deserialize, Serialize};
/// use sessionwire::{Channel, Connection};
///
/// #[derive(Serialize, Deserialize)]
/// struct Add(u32, u32);
///
/// let (here, there) = Connection::pair();
/// let mut asking: Channel<Add, u32> = here.open("add/1").await?;
/// asking.send(&Add(2, 3)).await?;
///
/// let mut answering: Channel<u32, Add> = there.accept().await?.expect("a channel").accept();
/// let Add(left, right) = answering.recv().await?.expect("a question");
/// answering.send(&(left + right)).await?;
///
/// assert_eq!(asking.recv().await?, Some(5));
/// # Ok::<(), sessionwire::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Channel<Tx, Rx> {
    sender: Sender<Tx>,
    receiver: Receiver<Rx>,
}

/// The sending half of a [`Channel`].
///
/// Dropping it before [`finish`](Self::finish) resets the channel, both ways.
pub struct Sender<T> {
    raw: RawSender,
    max: MaxMessageSize,
    values: PhantomData<fn(T)>,
}

/// The receiving half of a [`Channel`].
///
/// Dropping it tells the peer that nobody reads: its sends fail with [`ChannelError::Stopped`].
pub struct Receiver<T> {
    raw: RawReceiver,
    max: MaxMessageSize,
    values: PhantomData<fn() -> T>,
}

impl<Tx, Rx> Channel<Tx, Rx> {
    /// Gives a raw channel types: both ends must agree on them.
    pub fn from_raw(raw: RawChannel) -> Self {
        let max = raw.max_message_size();
        let (sender, receiver) = raw.split();
        Self {
            sender: Sender {
                raw: sender,
                max,
                values: PhantomData,
            },
            receiver: Receiver {
                raw: receiver,
                max,
                values: PhantomData,
            },
        }
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
        self.sender.raw.accepted().await
    }

    /// Parts the two directions, for two tasks.
    pub fn split(self) -> (Sender<Tx>, Receiver<Rx>) {
        (self.sender, self.receiver)
    }
}

impl<Tx: Serialize, Rx: DeserializeOwned> Channel<Tx, Rx> {
    /// Sends a value: waits until there is room in the channel's send buffer.
    ///
    /// The value is on its way when this returns, not yet with the peer.
    ///
    /// # Errors
    ///
    /// What became of the channel. After [`ChannelError::TooLarge`] and [`ChannelError::Codec`], which
    /// are about this value alone, the channel can be used further.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `send` has sent nothing.
    pub async fn send(&mut self, value: &Tx) -> Result<(), ChannelError> {
        if self.receiver.raw.take_unanswered() {
            self.sender.raw.note_answering();
        }
        self.sender.send(value).await
    }

    /// Sends a value along with others: small ones gather here, up to 16 KiB of them, until
    /// [`flush`](Self::flush) or one of the other methods sends them. Faster than
    /// [`send`](Self::send) for many values in a row.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), though what became of the channel may show only later.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `feed` has sent nothing.
    pub async fn feed(&mut self, value: &Tx) -> Result<(), ChannelError> {
        self.sender.feed(value).await
    }

    /// Waits until everything sent has gone to the transport, which waits for the peer's credit.
    pub async fn flush(&mut self) -> Result<(), ChannelError> {
        self.sender.flush().await
    }

    /// Receives the next value, none when the peer has finished. What was fed before is sent.
    ///
    /// # Errors
    ///
    /// What became of the channel. After [`ChannelError::Codec`], which is about one message alone,
    /// receiving can go on.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `recv` has taken nothing.
    pub async fn recv(&mut self) -> Result<Option<Rx>, ChannelError> {
        self.sender.raw.hand_over();
        self.receiver.recv().await
    }
}

impl<T> Sender<T> {
    /// As [`Channel::finish`].
    pub fn finish(&mut self) {
        self.raw.finish();
    }

    /// As [`Channel::flush`].
    pub async fn flush(&mut self) -> Result<(), ChannelError> {
        self.raw.flush().await
    }

    /// As [`Channel::reset`].
    pub fn reset(self, code: Code, reason: &str) {
        self.raw.reset(code, reason);
    }
}

impl<T: Serialize> Sender<T> {
    /// As [`Channel::send`].
    pub async fn send(&mut self, value: &T) -> Result<(), ChannelError> {
        let mut large = Bytes::new();
        poll_fn(|context| {
            self.raw
                .poll_send_value(context, value, &mut large, self.max)
        })
        .await
    }

    /// As [`Channel::feed`].
    pub async fn feed(&mut self, value: &T) -> Result<(), ChannelError> {
        poll_fn(|context| self.raw.poll_ready(context)).await?;
        self.start(value)
    }

    fn start(&mut self, value: &T) -> Result<(), ChannelError> {
        self.raw.start_send_value(value, self.max)
    }
}

impl<T> Receiver<T> {
    /// Reads no more: the peer's sends fail with `code`.
    pub fn stop(self, code: Code) {
        self.raw.stop(code);
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// As [`Channel::recv`].
    pub async fn recv(&mut self) -> Result<Option<T>, ChannelError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<T>, ChannelError>> {
        let max = self.max;
        let decoded = ready!(
            self.raw
                .poll_recv_with(context, |body| codec::decode(body, max))
        )?;
        Poll::Ready(decoded.transpose().map_err(Into::into))
    }
}

impl RawSender {
    /// Sends a value; one that is `large` is encoded once and kept there while it waits for room.
    pub(crate) fn poll_send_value<T: Serialize>(
        &mut self,
        context: &mut Context<'_>,
        value: &T,
        large: &mut Bytes,
        max: MaxMessageSize,
    ) -> Poll<Result<(), ChannelError>> {
        if !large.is_empty() {
            return self.poll_send(context, large);
        }
        let mut buffer = self.encoding_buffer();
        encode(value, &mut buffer, max)?;
        if buffer.len() <= COPY_UP_TO {
            self.expected = 0;
            let sent = self.poll_send_copy(context, &buffer);
            give_back(buffer);
            return sent;
        }
        *large = self.lend(buffer);
        self.poll_send(context, large)
    }

    /// Feeds a value after `poll_ready`, which found room for it.
    fn start_send_value<T: Serialize>(
        &mut self,
        value: &T,
        max: MaxMessageSize,
    ) -> Result<(), ChannelError> {
        if self.expected > 0 {
            let mut buffer = self.encoding_buffer();
            encode(value, &mut buffer, max)?;
            let mut message = self.lend(buffer);
            return self.start_send_message(&mut message);
        }
        if let Some(large) = self.start_send_with(|buffer| encode(value, buffer, max))? {
            self.expected = large.len();
            self.start_send_message(&mut large.freeze())?;
        }
        Ok(())
    }

    /// An empty buffer that is likely to be large enough for the next value.
    fn encoding_buffer(&self) -> BytesMut {
        if self.expected == 0 {
            return SCRATCH.take();
        }
        match self.buffers().take() {
            Some(mut buffer) => {
                buffer.clear();
                buffer
            }
            None => BytesMut::with_capacity(self.expected),
        }
    }

    /// A large value's encoding, whose buffer is used again when it has been sent.
    fn lend(&mut self, encoding: BytesMut) -> Bytes {
        self.expected = match encoding.len() {
            ..=COPY_UP_TO => 0,
            length => length,
        };
        self.buffers().lend(encoding)
    }
}

fn encode<T: Serialize>(
    value: &T,
    scratch: &mut BytesMut,
    max: MaxMessageSize,
) -> Result<(), ChannelError> {
    match codec::encode(value, scratch, max) {
        Ok(_) => Ok(()),
        Err(CodecError::TooLargeToSend { at_least, limit }) => Err(ChannelError::TooLarge {
            length: at_least,
            max: limit,
        }),
        Err(error) => Err(error.into()),
    }
}

thread_local! {
    /// Where values are encoded before they are queued.
    static SCRATCH: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// A thread keeps a scratch buffer of at most this many bytes.
const KEPT: usize = 64 * 1024;

fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() <= KEPT {
        SCRATCH.set(buffer);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Sender").field(&self.raw).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Receiver").field(&self.raw).finish()
    }
}

impl<T: DeserializeOwned> Stream for Receiver<T> {
    type Item = Result<T, ChannelError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context).map(Result::transpose)
    }
}

impl<T: Serialize> Sink<T> for Sender<T> {
    type Error = ChannelError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.raw.poll_ready(context)
    }

    fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), ChannelError> {
        self.start(&value)
    }

    /// Ready when everything sent has gone to the transport, which waits for the peer's credit.
    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.raw.poll_flush(context)
    }

    /// Finishes the channel, then flushes.
    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.raw.finish();
        self.raw.poll_flush(context)
    }
}

impl<Tx, Rx: DeserializeOwned> Stream for Channel<Tx, Rx> {
    type Item = Result<Rx, ChannelError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(Result::transpose)
    }
}

impl<Tx: Serialize, Rx> Sink<Tx> for Channel<Tx, Rx> {
    type Error = ChannelError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        Pin::new(&mut self.sender).poll_ready(context)
    }

    fn start_send(mut self: Pin<&mut Self>, value: Tx) -> Result<(), ChannelError> {
        Pin::new(&mut self.sender).start_send(value)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        Pin::new(&mut self.sender).poll_flush(context)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        Pin::new(&mut self.sender).poll_close(context)
    }
}
