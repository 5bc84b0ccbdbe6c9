//! Messages that are fed: small ones gather in the handle before the connection is locked for them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_sink::Sink;

use super::gathered::{Gathered, send_gathered};
use super::handle::Handle;
use super::sender::RawSender;
use crate::mux::error::ChannelError;
use crate::mux::machine::Room;
use crate::mux::machine::batch::Batch;
use crate::mux::machine::transmit::COPY_UP_TO;
use crate::mux::pool::Pool;

/// So many bytes are handed over without a flush.
const GATHERED: usize = 16 * 1024;

impl Sink<Bytes> for RawSender {
    type Error = ChannelError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        Self::poll_ready(&mut self, context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> Result<(), ChannelError> {
        self.start_send_message(&mut { message })
    }

    /// Ready when everything sent has gone to the transport, which waits for the peer's credit.
    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        Self::poll_flush(&mut self, context)
    }

    /// Finishes the channel, then flushes.
    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.finish();
        Self::poll_flush(&mut self, context)
    }
}

impl RawSender {
    /// Ready when a message may be fed.
    pub(crate) fn poll_ready(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        match &self.gathered {
            Some(gathered) if (1..GATHERED).contains(&gathered.batch.len()) => {
                return Poll::Ready(Ok(()));
            }
            _ => {}
        }
        let mut max_message = 0;
        ready!(self.poll_queue(context, |state, key| {
            max_message = state.machine.max_message();
            state.machine.send_room(key)
        }))?;
        if let Some(gathered) = &mut self.gathered {
            gathered.max_message = max_message;
        }
        Poll::Ready(Ok(()))
    }

    /// Feeds a message of up to 4 KiB that `write` appends to the buffer; a longer one is handed
    /// back instead, for [`start_send_message`](Self::start_send_message).
    pub(crate) fn start_send_with(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<(), ChannelError>,
    ) -> Result<Option<BytesMut>, ChannelError> {
        let gathered = self.gathered()?;
        let max = gathered.max_message;
        let batch = &mut gathered.batch;
        batch.push_with(gathered.channel, COPY_UP_TO, |buffer| {
            let before = buffer.len();
            write(buffer)?;
            check_length(buffer.len().saturating_sub(before), max)
        })
    }

    /// Feeds a message after [`poll_ready`](Self::poll_ready), which found room for it.
    pub(crate) fn start_send_message(&mut self, message: &mut Bytes) -> Result<(), ChannelError> {
        if message.len() <= COPY_UP_TO {
            let gathered = self.gathered()?;
            check_length(message.len(), gathered.max_message)?;
            gathered.batch.push_copy(gathered.channel, message);
            return Ok(());
        }
        let Handle { shared, key } = &self.handle;
        let gathered = &mut self.gathered;
        let room = shared.with(|state| {
            let before = send_gathered(state, *key, gathered)?;
            let room = state.machine.send_anyway(*key, message)?;
            Ok::<_, ChannelError>(if room == Room::Free { before } else { room })
        })?;
        if room == Room::FreeWithBatch {
            shared.drive();
        }
        Ok(())
    }

    /// Hands over what was fed, without waiting; what is wrong with the channel shows elsewhere.
    pub(crate) fn hand_over(&mut self) {
        let is_empty = self
            .gathered
            .as_ref()
            .is_none_or(|gathered| gathered.batch.is_empty());
        if !is_empty {
            let Handle { shared, key } = &self.handle;
            let gathered = &mut self.gathered;
            let _room = shared.with(|state| send_gathered(state, *key, gathered));
        }
    }

    pub(in crate::mux) fn buffers(&self) -> &Pool<BytesMut> {
        &self.handle.shared.buffers
    }

    fn gathered(&mut self) -> Result<&mut Gathered, ChannelError> {
        if self.gathered.is_none() {
            let Handle { shared, key } = &self.handle;
            let (channel, max_message) = shared.with(|state| {
                let channel = state.machine.number(*key)?;
                Ok::<_, ChannelError>((channel, state.machine.max_message()))
            })?;
            self.gathered = Some(Box::new(Gathered {
                batch: Batch::default(),
                channel,
                max_message,
            }));
        }
        self.gathered.as_deref_mut().ok_or(ChannelError::Finished)
    }
}

fn check_length(length: usize, max: usize) -> Result<(), ChannelError> {
    if length > max {
        return Err(ChannelError::TooLarge { length, max });
    }
    Ok(())
}
