use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use futures_io::{AsyncRead, AsyncWrite};

use super::WsStream;
use super::failure::closed;
use super::frame::WsClose;
use super::receive::Incoming;
use crate::runtime::Task;

/// Bytes kept for later reads while closing waits for the peer.
const MAX_BACKLOG: usize = 256 * 1024;
/// Bytes without payload, or that are discarded, that one call takes before other tasks run.
const BUDGET: usize = 256 * 1024;
/// Bytes that are read and dropped after a breach. Mostly the peer is in the middle of a message then, and
/// many can read only once they have sent it.
const MAX_DRAINED: usize = 128 * 1024 * 1024;

/// How far this end is with closing.
pub(super) struct Closing {
    step: Step,
    timeout: Duration,
    deadline: Option<Task>,
    close: WsClose,
    error: Option<io::Error>,
    discarded: bool,
    drained: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Not,
    /// What was written goes first.
    Sending,
    /// The Close is on its way.
    Flushing,
    /// The peer's is awaited.
    Waiting,
    /// The stream below closes.
    Below,
    /// What the peer still sends is dropped: a stream that is dropped with bytes unread may be reset,
    /// and the peer would never see what it did wrong.
    Draining,
    Done,
}

impl Closing {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            step: Step::Not,
            timeout,
            deadline: None,
            close: WsClose::new(CloseCode::Normal.into(), ""),
            error: None,
            discarded: false,
            drained: 0,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.step != Step::Not
    }

    /// Whether bytes are missing behind those that the inbox has.
    pub(super) fn has_discarded(&self) -> bool {
        self.discarded
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    /// Chooses what the peer is told, unless closing has begun.
    pub(super) fn close_because(&mut self, close: WsClose) {
        if !self.closing.has_begun() {
            self.closing.close = close;
        }
    }

    fn begin_closing(&mut self) {
        if self.closing.has_begun() {
            return;
        }
        let deadline = self.runtime.now().checked_add(self.closing.timeout);
        self.closing.deadline = deadline.map(|deadline| self.runtime.sleep_until(deadline));
        self.closing.step = Step::Sending;
    }

    pub(super) fn poll_closing(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.begin_closing();
        if let Some(deadline) = &mut self.closing.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            self.closing.deadline = None;
            self.give_up_closing();
        }
        loop {
            let step = match self.closing.step {
                Step::Sending => self.poll_send_close(),
                Step::Flushing => self.poll_send_sealed().map_ok(|()| Step::Waiting),
                Step::Waiting => self.poll_answer().map(|()| Ok(Step::Below)),
                Step::Below => Pin::new(&mut self.stream)
                    .poll_close(&mut Context::from_waker(&self.waker))
                    .map_ok(|()| Step::Draining),
                Step::Draining => self.poll_drain().map(|()| Ok(Step::Done)),
                Step::Not | Step::Done => {
                    self.closing.deadline = None;
                    return Poll::Ready(self.closing.error.take().map_or(Ok(()), Err));
                }
            };
            match ready!(step) {
                Ok(next) => self.closing.step = next,
                Err(error) => self.fail_closing(error),
            }
        }
    }

    fn poll_send_close(&mut self) -> Poll<io::Result<Step>> {
        if self.lost {
            self.closing.error.get_or_insert_with(closed);
            return Poll::Ready(Ok(Step::Flushing));
        }
        ready!(self.poll_send())?;
        self.output.close(&self.closing.close);
        Poll::Ready(Ok(Step::Flushing))
    }

    /// Ready when no more can come. The peer may send on until it has read our Close.
    fn poll_answer(&mut self) -> Poll<()> {
        let mut budget = BUDGET;
        while matches!(self.incoming, Incoming::Open) {
            let mut inbox = std::mem::take(&mut self.inbox);
            let held = inbox.unread().len();
            let room = MAX_BACKLOG.saturating_sub(held).min(self.read_size.get());
            let mut scratch = [0; 4096];
            let keeps = room > 0 && !self.closing.discarded;
            let buffer = if keeps {
                inbox.room(room)
            } else {
                &mut scratch[..]
            };
            let polled = self.poll_receive(buffer, &mut budget);
            if let Poll::Ready(count @ 1..) = polled {
                if keeps {
                    inbox.fill(count);
                    budget = BUDGET;
                } else {
                    self.closing.discarded = true;
                }
                self.wakers.reader.wake();
            }
            self.inbox = inbox;
            ready!(polled);
        }
        Poll::Ready(())
    }

    fn poll_drain(&mut self) -> Poll<()> {
        if !matches!(&self.incoming, Incoming::Failed(failure) if failure.code.is_some()) {
            return Poll::Ready(());
        }
        let mut rubbish = [0; 8 * 1024];
        let mut budget = BUDGET;
        while self.closing.drained < MAX_DRAINED {
            if budget == 0 {
                self.waker.wake_by_ref();
                return Poll::Pending;
            }
            let mut context = Context::from_waker(&self.waker);
            let stream = Pin::new(&mut self.stream);
            let Ok(count @ 1..) = ready!(stream.poll_read(&mut context, &mut rubbish)) else {
                break;
            };
            self.closing.drained = self.closing.drained.saturating_add(count);
            budget = budget.saturating_sub(count);
        }
        Poll::Ready(())
    }

    fn give_up_closing(&mut self) {
        match self.closing.step {
            Step::Sending | Step::Flushing => self.fail_closing(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer did not take what was left to send before close_timeout",
            )),
            Step::Waiting => {
                tracing::debug!("the peer did not answer the websocket close in time");
                self.closing.step = Step::Below;
            }
            Step::Draining => self.closing.step = Step::Done,
            Step::Not | Step::Below | Step::Done => {}
        }
    }

    /// The stream below is closed all the same.
    fn fail_closing(&mut self, error: io::Error) {
        let closing = &mut self.closing;
        // Once the peer has ended it, it may be gone, and nothing of it is missed.
        if closing.step == Step::Sending || matches!(self.incoming, Incoming::Open) {
            closing.error.get_or_insert(error);
        }
        closing.step = match closing.step {
            Step::Below | Step::Draining | Step::Done => Step::Done,
            _ => Step::Below,
        };
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.fmt(formatter)
    }
}
