use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument as _;

use super::code::Code;
use super::connection::{Connection, IncomingChannel};
use super::error::ConnectionError;
use super::raw::RawChannel;
use super::typed::Channel;
use crate::runtime::{MaybeSend, MaybeSync, Task};

/// Which handler speaks which protocol, by name.
///
/// ```
/// # futures::executor::block_on(async {
/// use sessionwire::{Channel, ChannelError, Connection, Router};
///
/// async fn double(mut channel: Channel<u64, u64>) -> Result<(), ChannelError> {
///     while let Some(number) = channel.recv().await? {
///         channel.send(&(number * 2)).await?;
///     }
///     channel.finish();
///     Ok(())
/// }
///
/// let router = Router::new().on("double/1", double);
/// let (here, there) = Connection::pair();
/// async_std::task::spawn(async move { router.serve(&there).await });
///
/// let mut channel: Channel<u64, u64> = here.open("double/1").await?;
/// channel.send(&21).await?;
/// assert_eq!(channel.recv().await?, Some(42));
///
/// let mut unknown: Channel<u64, u64> = here.open("treble/1").await?;
/// println!("{}", unknown.recv().await.unwrap_err());
/// # Ok::<(), sessionwire::Error>(())
/// # }).unwrap();
/// ```
#[derive(Default, Clone)]
pub struct Router {
    handlers: BTreeMap<String, Arc<dyn Handle>>,
    /// By what stands before the `#` in a protocol's name.
    families: BTreeMap<String, Arc<dyn Handle>>,
}

impl Router {
    /// A router that knows no protocol.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands channels of `protocol` to `handler`, as channels of values.
    ///
    /// Each channel's handler runs in a task of its own; an error that it returns is logged.
    #[must_use]
    pub fn on<Tx, Rx, Handler, Running, Error>(self, protocol: &str, handler: Handler) -> Self
    where
        Tx: Serialize + 'static,
        Rx: DeserializeOwned + 'static,
        Handler: Fn(Channel<Tx, Rx>) -> Running + MaybeSend + MaybeSync + 'static,
        Running: Future<Output = Result<(), Error>> + MaybeSend + 'static,
        Error: fmt::Display,
    {
        self.on_raw(protocol, move |channel| handler(Channel::from_raw(channel)))
    }

    /// Hands channels of `protocol` to `handler`, as channels of raw messages.
    #[must_use]
    pub fn on_raw<Handler, Running, Error>(self, protocol: &str, handler: Handler) -> Self
    where
        Handler: Fn(RawChannel) -> Running + MaybeSend + MaybeSync + 'static,
        Running: Future<Output = Result<(), Error>> + MaybeSend + 'static,
        Error: fmt::Display,
    {
        self.on_incoming(protocol, move |channel| {
            let running = handler(channel.accept_raw());
            Some(Box::pin(async move {
                if let Err(error) = running.await {
                    tracing::debug!(%error, "a handler failed");
                }
            }))
        })
    }

    /// Hands channels of `protocol` to `handle`, which may refuse them.
    #[must_use]
    pub(crate) fn on_incoming<Handler>(mut self, protocol: &str, handle: Handler) -> Self
    where
        Handler: Fn(IncomingChannel) -> Option<Task> + MaybeSend + MaybeSync + 'static,
    {
        self.handlers.insert(protocol.to_owned(), Arc::new(handle));
        self
    }

    /// Hands channels whose protocol is called `family`, or that and more after a `#`, to `handle`.
    #[must_use]
    pub(crate) fn on_family<Handler>(mut self, family: &str, handle: Handler) -> Self
    where
        Handler: Fn(IncomingChannel) -> Option<Task> + MaybeSend + MaybeSync + 'static,
    {
        self.families.insert(family.to_owned(), Arc::new(handle));
        self
    }

    /// Accepts the channels of a connection until it ends; handlers run on the connection's runtime.
    ///
    /// A channel for another protocol is refused with [`Code::UNKNOWN_PROTOCOL`].
    ///
    /// # Errors
    ///
    /// Why the connection ended, unless someone wanted it to.
    ///
    /// # Cancel safety
    ///
    /// Channels that were accepted go on when this is cancelled.
    pub async fn serve(&self, connection: &Connection) -> Result<(), ConnectionError> {
        let runtime = connection.runtime();
        while let Some(channel) = connection.accept().await? {
            if let Some(task) = self.handle(channel) {
                runtime.spawn(task);
            }
        }
        Ok(())
    }

    /// Hands one channel to its handler, answers the handler's task; none if the channel was refused.
    pub fn handle(&self, channel: IncomingChannel) -> Option<Task> {
        let span = channel.span().clone();
        let task = span.in_scope(|| self.handle_within(channel))?;
        Some(if span.is_disabled() {
            task
        } else {
            Box::pin(task.instrument(span))
        })
    }

    fn handle_within(&self, channel: IncomingChannel) -> Option<Task> {
        let Some(handler) = self.find(channel.protocol()) else {
            let reason = format!("no protocol {:?} here", channel.protocol());
            tracing::debug!(reason, "a channel is refused");
            channel.refuse(Code::UNKNOWN_PROTOCOL, &reason);
            return None;
        };
        handler.handle(channel)
    }

    fn find(&self, protocol: &str) -> Option<&Arc<dyn Handle>> {
        let family = || protocol.split('#').next().unwrap_or_default();
        self.handlers
            .get(protocol)
            .or_else(|| self.families.get(family()))
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.handlers.keys().chain(self.families.keys()))
            .finish()
    }
}

/// Accepts a channel and answers the task that serves it, or refuses it.
trait Handle: MaybeSend + MaybeSync {
    fn handle(&self, channel: IncomingChannel) -> Option<Task>;
}

impl<Handler> Handle for Handler
where
    Handler: Fn(IncomingChannel) -> Option<Task> + MaybeSend + MaybeSync,
{
    fn handle(&self, channel: IncomingChannel) -> Option<Task> {
        self(channel)
    }
}
