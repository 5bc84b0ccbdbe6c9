//! The service's side of the calls of one client over one channel: one task.

use std::any::type_name;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::keyed::{Present, Terms};
use super::message::{Asked, Malformed, put_answer, put_fault, put_welcome};
use super::running::Running;
use super::serve::{Answer, Outcome, Request, Server, guarded};
use crate::codec::{self, CodecError, MaxMessageSize};
use crate::mux::{ChannelError, Code, Connection, Place, RawChannel, RawReceiver, RawSender};
use crate::rpc::fault::{Fault, FaultKind};
use crate::rpc::interface::Interface;
use crate::rpc::service::{Caller, Service};
use crate::runtime::{Instant, SharedRuntime};

/// The calls of one client over one channel.
pub(super) struct Conversation<S: Service> {
    server: Arc<Server<S>>,
    connection: Arc<Connection>,
    runtime: SharedRuntime,
    sender: RawSender,
    receiver: RawReceiver,
    max: MaxMessageSize,
    /// Who it is, once it said hello.
    client: Option<Present>,
    last_id: u64,
    /// The client says nothing more.
    is_finishing: bool,
    running: Running<Outcome<S>>,
    /// Outcomes that wait for room to be sent.
    finished: VecDeque<(u64, Outcome<S>)>,
}

/// How the conversation ended.
pub(super) enum End {
    /// The client finished and has all its answers, or the channel is gone.
    Over,
    Broken(&'static str),
}

impl From<ChannelError> for End {
    fn from(_: ChannelError) -> Self {
        Self::Over
    }
}

impl From<Malformed> for End {
    fn from(_: Malformed) -> Self {
        Self::Broken("no message of the protocol")
    }
}

/// What a client said, decoded.
enum Heard<S: Service> {
    Hello {
        client: u128,
        sent_up_to: u64,
    },
    Request {
        id: u64,
        milliseconds: u32,
        key: Option<u128>,
        length: usize,
        request: Result<Request<S>, CodecError>,
    },
    Cancel(u64),
}

/// A request, but for its value.
#[derive(Clone, Copy)]
struct Call {
    id: u64,
    key: Option<u128>,
    length: usize,
    deadline: Instant,
}

/// Requests of up to so many bytes are bounded by their number alone.
const SMALL: usize = 4 * 1024;

/// So many outcomes are gathered before they are sent.
const GATHERED: usize = 64;

/// So many messages are read before other tasks have their turn.
const TURN: usize = 1024;

impl<S: Service> Conversation<S> {
    pub(super) fn new(server: Arc<Server<S>>, connection: Connection, channel: RawChannel) -> Self {
        let (max, runtime) = (channel.max_message_size(), connection.runtime().clone());
        let (sender, receiver) = channel.split();
        Self {
            server,
            connection: Arc::new(connection),
            running: Running::new(runtime.clone()),
            runtime,
            sender,
            receiver,
            max,
            client: None,
            last_id: 0,
            is_finishing: false,
            finished: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        match self.turn(context) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    pub(super) fn end(mut self, end: &End) {
        match end {
            End::Over => self.sender.finish(),
            End::Broken(reason) => {
                tracing::debug!(reason, "a client of calls broke the protocol");
                self.sender.reset(Code::PROTOCOL_ERROR, reason);
            }
        }
    }

    /// Reads, runs and answers, until it would have to wait.
    fn turn(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        let mut left = TURN;
        let mut has_sent = false;
        loop {
            self.poll_deadlines(context);
            self.poll_running(context);
            let has_room = self.poll_finished(context, &mut has_sent)?;
            let running = self.running.len();
            let has_read = self.poll_requests(context, has_room, &mut left)?;
            let is_new = self.running.len() > running;
            if left == 0 {
                context.waker().wake_by_ref();
                break;
            }
            if !is_new && !has_read && (self.finished.is_empty() || !has_room) {
                break;
            }
        }
        if has_sent && let Poll::Ready(sent) = self.sender.poll_flush(context) {
            sent?;
        }
        if self.is_finishing && self.running.len() == 0 && self.finished.is_empty() {
            return Err(End::Over);
        }
        Ok(())
    }

    /// Ends the calls whose time is up.
    fn poll_deadlines(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(id) = self.running.poll_late(context) {
            let late = Fault::new(FaultKind::DeadlinePassed, "");
            self.finished.push_back((id, Err(late)));
        }
    }

    /// Collects the outcomes of handlers.
    fn poll_running(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(ended) = self.running.poll_ended(context) {
            self.finished.push_back(ended);
        }
    }

    /// Sends what is finished; false when there is no room for more.
    fn poll_finished(
        &mut self,
        context: &mut Context<'_>,
        has_sent: &mut bool,
    ) -> Result<bool, End> {
        while !self.finished.is_empty() {
            match self.sender.poll_ready(context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready?,
            }
            if let Some((id, outcome)) = self.finished.pop_front() {
                self.send(id, outcome)?;
                *has_sent = true;
            }
        }
        Ok(true)
    }

    /// Reads messages until enough outcomes are gathered; false when there were none.
    fn poll_requests(
        &mut self,
        context: &mut Context<'_>,
        has_room: bool,
        left: &mut usize,
    ) -> Result<bool, End> {
        let mut has_read = false;
        let mut now = None;
        while *left > 0 && self.reads_on(has_room) {
            let max = self.max;
            let heard = match self
                .receiver
                .poll_recv_with(context, |message| hear::<S>(message, max))
            {
                Poll::Pending => break,
                Poll::Ready(heard) => heard?,
            };
            let Some(heard) = heard.transpose()? else {
                self.is_finishing = true;
                break;
            };
            has_read = true;
            *left -= 1;
            let runtime = &self.runtime;
            let now = *now.get_or_insert_with(|| runtime.now());
            self.heard(heard, now, context)?;
        }
        Ok(has_read)
    }

    /// Without room, what is read must not add to what waits: not even that the service is busy.
    fn reads_on(&self, has_room: bool) -> bool {
        let may_add = if has_room {
            self.finished.len() < GATHERED
        } else {
            !self.is_full()
        };
        may_add && !self.is_finishing
    }

    fn is_full(&self) -> bool {
        self.running.len().saturating_add(self.finished.len())
            >= self.server.limits.calls_at_once as usize
    }

    fn heard(
        &mut self,
        heard: Heard<S>,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Result<(), End> {
        match heard {
            Heard::Hello { client, sent_up_to } => {
                if self.client.is_some() {
                    return Err(End::Broken("a second hello"));
                }
                let keyed = &self.server.keyed;
                self.client = Some(keyed.enter(&self.runtime, client, sent_up_to));
                self.welcome()
            }
            _ if self.client.is_none() => Err(End::Broken("the first message is no hello")),
            Heard::Cancel(id) => {
                if self.running.abort(id) {
                    // Drops the handler, which makes room.
                    self.poll_running(context);
                }
                Ok(())
            }
            Heard::Request {
                id,
                milliseconds,
                key,
                length,
                request,
            } => {
                if id <= self.last_id {
                    return Err(End::Broken("ids that do not ascend"));
                }
                self.last_id = id;
                let time = Duration::from_millis(milliseconds.into());
                let deadline = now + time.min(self.server.limits.longest_deadline);
                let call = Call {
                    id,
                    key,
                    length,
                    deadline,
                };
                self.begin(call, request, context);
                Ok(())
            }
        }
    }

    /// Begins a call; most are finished at once.
    fn begin(
        &mut self,
        call: Call,
        request: Result<Request<S>, CodecError>,
        context: &mut Context<'_>,
    ) {
        let Call {
            id,
            key,
            length,
            deadline,
        } = call;
        if self.is_full() {
            let fault = Fault::new(FaultKind::Busy, "too many calls at once");
            return self.finished.push_back((id, Err(fault)));
        }
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                let interface = <S::Interface as Interface>::NAME;
                tracing::debug!(interface, %error, "a request cannot be decoded");
                let fault = Fault::new(FaultKind::Undecodable, error.to_string());
                return self.finished.push_back((id, Err(fault)));
            }
        };
        let place = match self.make_place(length) {
            Ok(place) => place,
            Err(fault) => return self.finished.push_back((id, Err(fault))),
        };
        let caller = Caller::new(Arc::clone(&self.connection), deadline);
        let handle = || self.server.handle(caller, request, place);
        let mut handler = match (key, &self.client) {
            (Some(key), Some(client)) => {
                let max = self.max;
                let terms = Terms {
                    id,
                    key,
                    deadline,
                    request: length,
                    max,
                };
                client.begin::<S>(terms, handle, context)
            }
            _ => handle(),
        };
        if let Poll::Ready(outcome) = handler.as_mut().poll(context) {
            return self.finished.push_back((id, outcome));
        }
        self.running.push(id, handler, deadline);
    }

    /// A request that is large takes as many places as it has bytes.
    fn make_place(&self, length: usize) -> Result<Option<Place>, Fault> {
        if length <= SMALL {
            return Ok(None);
        }
        let most = self.server.limits.request_bytes;
        let kind = type_name::<S::Interface>();
        let place = self.connection.occupy_some(kind, length, most.max(length));
        let place = place.ok_or_else(|| {
            let reason =
                format!("requests of {most} bytes are worked on, which is `request_bytes`");
            Fault::new(FaultKind::Busy, reason)
        });
        place.map(Some)
    }

    fn welcome(&mut self) -> Result<(), End> {
        let Server { boot, limits, .. } = &*self.server;
        let calls_at_once = limits.calls_at_once;
        let mut message = BytesMut::new();
        put_welcome(&mut message, *boot, calls_at_once);
        // Nothing is queued before it, so there is room.
        self.sender.start_send_message(&mut message.freeze())?;
        self.sender.hand_over();
        Ok(())
    }

    /// Sends an outcome, for which there is room.
    fn send(&mut self, id: u64, outcome: Outcome<S>) -> Result<(), End> {
        let max = self.max;
        let written = match outcome {
            Ok(Answer::Value(value)) => write(&mut self.sender, |buffer| {
                put_answer(buffer, id);
                guarded(|| codec::encode(&value, buffer, max))?;
                Ok(())
            }),
            Ok(Answer::Body(body)) => write(&mut self.sender, |buffer| {
                put_answer(buffer, id);
                buffer.extend_from_slice(&body);
                Ok(())
            }),
            Err(fault) => write(&mut self.sender, |buffer| {
                put_fault(buffer, id, &fault);
                Ok(())
            }),
        };
        match written {
            Err(error @ (ChannelError::TooLarge { .. } | ChannelError::Codec(_))) => {
                let fault = Fault::new(FaultKind::Unencodable, error.to_string());
                write(&mut self.sender, |buffer| {
                    put_fault(buffer, id, &fault);
                    Ok(())
                })?;
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

fn hear<S: Service>(message: &[u8], max: MaxMessageSize) -> Result<Heard<S>, Malformed> {
    Ok(match Asked::take(message)? {
        Asked::Hello { client, sent_up_to } => Heard::Hello { client, sent_up_to },
        Asked::Cancel { id } => Heard::Cancel(id),
        Asked::Request {
            id,
            milliseconds,
            key,
            body,
        } => Heard::Request {
            id,
            milliseconds,
            key,
            length: body.len(),
            request: guarded(|| codec::decode(body, max)),
        },
    })
}

/// Feeds one message, of whatever length.
fn write(
    sender: &mut RawSender,
    write: impl FnOnce(&mut BytesMut) -> Result<(), ChannelError>,
) -> Result<(), ChannelError> {
    match sender.start_send_with(write)? {
        Some(large) => sender.start_send_message(&mut large.freeze()),
        None => Ok(()),
    }
}
