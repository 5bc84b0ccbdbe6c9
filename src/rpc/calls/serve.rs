//! The service's side of the calls of one client over one connection: one task.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream};
use rustc_hash::FxHashMap;

use super::keyed::{Keyed, Present, Terms};
use super::limits::CallLimits;
use super::message::{Asked, Malformed, put_answer, put_fault, put_welcome};
use crate::codec::{self, CodecError, MaxMessageSize};
use crate::mux::{ChannelError, Code, Connection, IncomingChannel, RawReceiver, RawSender, Router};
use crate::rpc::fault::{Fault, FaultKind};
use crate::rpc::interface::Interface;
use crate::rpc::service::{Caller, Service};
use crate::runtime::{Instant, SharedRuntime, Task};

type Request<S> = <<S as Service>::Interface as Interface>::Request;
pub(super) type Response<S> = <<S as Service>::Interface as Interface>::Response;

/// Adds the calls of a service to a router.
pub(in crate::rpc) fn serve<S: Service>(
    router: Router,
    service: &Arc<S>,
    limits: CallLimits,
) -> Router {
    let protocol = super::pump::protocol(S::Interface::NAME);
    let server = Arc::new(Server {
        service: Arc::clone(service),
        limits,
        boot: rand::random(),
        keyed: Arc::new(Keyed::new(limits)),
    });
    router.on_incoming(&protocol, move |channel| server.converse(channel))
}

/// What all conversations of a service share.
struct Server<S> {
    service: Arc<S>,
    limits: CallLimits,
    /// Another one for each start of the service.
    boot: u128,
    keyed: Arc<Keyed>,
}

/// So many clients may call over one connection.
const CONVERSATIONS: usize = 64;

impl<S: Service> Server<S> {
    fn converse(self: &Arc<Self>, channel: IncomingChannel) -> Option<Task> {
        let connection = channel.connection();
        let Some(place) = connection.occupy("calls", CONVERSATIONS) else {
            let reason = format!("{CONVERSATIONS} clients call over this connection already");
            channel.refuse(Code::REFUSED, &reason);
            return None;
        };
        let channel = channel.accept_raw();
        let (max, runtime) = (channel.max_message_size(), connection.runtime().clone());
        let (sender, receiver) = channel.split();
        let mut conversation = Conversation {
            server: Arc::clone(self),
            connection: Arc::new(connection),
            runtime,
            sender,
            receiver,
            max,
            client: None,
            last_id: 0,
            running: FuturesUnordered::new(),
            open: FxHashMap::default(),
            deadlines: BTreeSet::new(),
            timer: None,
            finished: VecDeque::new(),
        };
        Some(Box::pin(async move {
            let end = poll_fn(|context| conversation.poll(context)).await;
            conversation.end(&end);
            drop(place);
        }))
    }

    /// Runs the handler; a panic in it is a fault of this call alone.
    fn handle(self: &Arc<Self>, caller: Caller, request: Request<S>) -> Handler<Outcome<S>> {
        let service = Arc::clone(&self.service);
        let handled = AssertUnwindSafe(async move { service.call(caller, request).await });
        Box::pin(handled.catch_unwind().map(|result| match result {
            Ok(Ok(response)) => Ok(Answer::Value(response)),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::new(FaultKind::Panicked, "")),
        }))
    }
}

/// A handler of a call, or what waits for one.
#[cfg(not(target_family = "wasm"))]
pub(super) type Handler<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// A handler of a call, or what waits for one.
#[cfg(target_family = "wasm")]
pub(super) type Handler<T> = Pin<Box<dyn Future<Output = T>>>;

pub(super) type Outcome<S> = Result<Answer<Response<S>>, Fault>;

pub(super) enum Answer<Value> {
    Value(Value),
    /// Encoded already.
    Body(Bytes),
}

/// The calls of one client over one connection.
struct Conversation<S: Service> {
    server: Arc<Server<S>>,
    connection: Arc<Connection>,
    runtime: SharedRuntime,
    sender: RawSender,
    receiver: RawReceiver,
    max: MaxMessageSize,
    /// Who it is, once it said hello.
    client: Option<Present>,
    last_id: u64,
    running: FuturesUnordered<Running<Outcome<S>>>,
    /// The calls that are running, by id.
    open: FxHashMap<u64, Open>,
    deadlines: BTreeSet<(Instant, u64)>,
    timer: Option<(Instant, Task)>,
    /// Outcomes that wait for room to be sent.
    finished: VecDeque<(u64, Outcome<S>)>,
}

struct Open {
    handle: AbortHandle,
    deadline: Instant,
}

/// A handler on its own way, which can be aborted.
struct Running<T> {
    id: u64,
    handler: Abortable<Handler<T>>,
}

impl<T> Future for Running<T> {
    type Output = (u64, Result<T, Aborted>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.handler.poll_unpin(context));
        Poll::Ready((self.id, outcome))
    }
}

/// How the conversation ended.
enum End {
    /// The client finished, or the channel is gone.
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
        request: Result<Request<S>, CodecError>,
    },
    Cancel(u64),
}

/// So many outcomes are gathered before they are sent.
const GATHERED: usize = 64;

/// So many messages are read before other tasks have their turn.
const TURN: usize = 1024;

impl<S: Service> Conversation<S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        match self.turn(context) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn end(mut self, end: &End) {
        match end {
            End::Over => self.sender.finish(),
            End::Broken(reason) => self.sender.reset(Code::PROTOCOL_ERROR, reason),
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
        Ok(())
    }

    /// Ends the calls whose time is up.
    fn poll_deadlines(&mut self, context: &mut Context<'_>) {
        while let Some((first, _)) = self.deadlines.first() {
            let first = *first;
            if self.timer.as_ref().is_none_or(|(at, _)| *at > first) {
                self.timer = Some((first, self.runtime.sleep_until(first)));
            }
            if let Some((_, timer)) = &mut self.timer
                && timer.as_mut().poll(context).is_pending()
            {
                return;
            }
            self.timer = None;
            let now = self.runtime.now();
            while let Some((deadline, id)) = self.deadlines.first().copied()
                && deadline <= now
            {
                if self.abort(id) {
                    self.finished.push_back((id, Err(late())));
                }
            }
        }
    }

    /// Collects the outcomes of handlers.
    fn poll_running(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some((id, outcome))) = Pin::new(&mut self.running).poll_next(context)
        {
            if let Some(open) = self.open.remove(&id)
                && let Ok(outcome) = outcome
            {
                self.deadlines.remove(&(open.deadline, id));
                self.finished.push_back((id, outcome));
            }
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
        // Without room, what is read must not add to what waits: not even that the service is busy.
        while *left > 0 && self.finished.len() < GATHERED && (has_room || !self.is_full()) {
            let max = self.max;
            let heard = match self
                .receiver
                .poll_recv_with(context, |message| hear::<S>(message, max))
            {
                Poll::Pending => break,
                Poll::Ready(heard) => heard?.ok_or(End::Over)??,
            };
            has_read = true;
            *left -= 1;
            let runtime = &self.runtime;
            let now = *now.get_or_insert_with(|| runtime.now());
            self.heard(heard, now, context)?;
        }
        Ok(has_read)
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
                if self.abort(id) {
                    // Drops the handler, which makes room.
                    self.poll_running(context);
                }
                Ok(())
            }
            Heard::Request {
                id,
                milliseconds,
                key,
                request,
            } => {
                if id <= self.last_id {
                    return Err(End::Broken("ids that do not ascend"));
                }
                self.last_id = id;
                let time = Duration::from_millis(milliseconds.into());
                let deadline = now + time.min(self.server.limits.longest_deadline);
                self.begin(id, key, request, deadline, context);
                Ok(())
            }
        }
    }

    /// Begins a call; most are finished at once.
    fn begin(
        &mut self,
        id: u64,
        key: Option<u128>,
        request: Result<Request<S>, CodecError>,
        deadline: Instant,
        context: &mut Context<'_>,
    ) {
        if self.is_full() {
            let fault = Fault::new(FaultKind::Busy, "too many calls at once");
            return self.finished.push_back((id, Err(fault)));
        }
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                let fault = Fault::new(FaultKind::Undecodable, error.to_string());
                return self.finished.push_back((id, Err(fault)));
            }
        };
        let caller = Caller::new(Arc::clone(&self.connection), deadline);
        let handle = || self.server.handle(caller, request);
        let mut handler = match (key, &self.client) {
            (Some(key), Some(client)) => {
                let max = self.max;
                let terms = Terms {
                    id,
                    key,
                    deadline,
                    max,
                };
                client.begin::<S>(terms, handle, context)
            }
            _ => handle(),
        };
        if let Poll::Ready(outcome) = handler.as_mut().poll(context) {
            return self.finished.push_back((id, outcome));
        }
        let (handle, registration) = AbortHandle::new_pair();
        let handler = Abortable::new(handler, registration);
        self.open.insert(id, Open { handle, deadline });
        self.deadlines.insert((deadline, id));
        self.running.push(Running { id, handler });
    }

    /// Ends a running call without an outcome; false if there is none of that id.
    fn abort(&mut self, id: u64) -> bool {
        let Some(open) = self.open.remove(&id) else {
            return false;
        };
        self.deadlines.remove(&(open.deadline, id));
        open.handle.abort();
        true
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
                codec::encode(&value, buffer, max)?;
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
            request: codec::decode(body, max),
        },
    })
}

fn late() -> Fault {
    Fault::new(FaultKind::DeadlinePassed, "")
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
