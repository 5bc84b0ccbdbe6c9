//! A service on the calls of its clients.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::conversation::Conversation;
use super::keyed::Keyed;
use super::limits::CallLimits;
use crate::codec::CodecError;
use crate::mux::{Code, IncomingChannel, Place, Router};
use crate::rpc::fault::{Fault, FaultKind};
use crate::rpc::interface::Interface;
use crate::rpc::service::{Caller, Service};
use crate::runtime::Task;

pub(super) type Request<S> = <<S as Service>::Interface as Interface>::Request;
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
pub(super) struct Server<S> {
    service: Arc<S>,
    pub(super) limits: CallLimits,
    /// Another one for each start of the service.
    pub(super) boot: u128,
    pub(super) keyed: Arc<Keyed>,
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
        let mut conversation = Conversation::new(Arc::clone(self), connection, channel);
        Some(Box::pin(async move {
            let end = poll_fn(|context| conversation.poll(context)).await;
            conversation.end(&end);
            drop(place);
        }))
    }

    /// Runs the handler; a panic in it is a fault of this call alone.
    pub(super) fn handle(
        self: &Arc<Self>,
        caller: Caller,
        request: Request<S>,
        place: Option<Place>,
    ) -> Handler<Outcome<S>> {
        let service = Arc::clone(&self.service);
        let handled = AssertUnwindSafe(async move {
            // For as long as the request may be there.
            let _place = place;
            service.call(caller, request).await
        });
        Box::pin(handled.catch_unwind().map(|result| match result {
            Ok(Ok(response)) => Ok(Answer::Value(response)),
            Ok(Err(fault)) => Err(fault),
            Err(_) => {
                let interface = <S::Interface as Interface>::NAME;
                tracing::error!(interface, "the handler of a call panicked");
                Err(Fault::new(FaultKind::Panicked, ""))
            }
        }))
    }
}

/// Encodes or decodes by the application's own code, in which a panic costs this call alone.
pub(super) fn guarded<T>(act: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(CodecError::Unserializable {
            reason: "its code for serde panicked".into(),
        })
    })
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
