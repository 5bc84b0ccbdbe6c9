use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tower")]
use super::calls::Call;
use super::calls::{CallOptions, Calls};
use super::interface::Interface;
use super::link::{Link, LinkConfig};
use super::topics::Front;
use crate::mux::Connection;
use crate::transport::{Endpoint, TransportError};

/// The limits of a [`Client`].
///
/// ```
/// let config = sessionwire::rpc::ClientConfig::default().calls_at_once(1024);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    calls_at_once: usize,
    subscriptions: usize,
    welcome_timeout: Duration,
    call_options: CallOptions,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            calls_at_once: 256,
            subscriptions: 1024,
            welcome_timeout: Duration::from_secs(5),
            call_options: CallOptions::default(),
        }
    }
}

impl ClientConfig {
    /// The calls that may be going on at once, those among them that wait for a connection. Default 256,
    /// at least 1; further ones wait, first come, first served, until their deadlines.
    ///
    /// No more than the service allows are sent to it at once, whatever this says.
    #[must_use]
    pub fn calls_at_once(mut self, calls: usize) -> Self {
        self.calls_at_once = calls.max(1);
        self
    }

    /// The subscriptions that may be on the wire at once. Default 1,024, as many as a service takes
    /// from a connection by default.
    ///
    /// Those that share one count once, and one counts until the service has confirmed its end.
    #[must_use]
    pub fn subscriptions(mut self, subscriptions: usize) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// How long a service may take to say that it takes calls, on each connection. Default 5 s, at most a
    /// day; then the channel of the calls is opened anew.
    ///
    /// Calls wait meanwhile, until their deadlines: then they fail with
    /// [`CallError::NoWelcome`](crate::rpc::CallError::NoWelcome).
    #[must_use]
    pub fn welcome_timeout(mut self, time: Duration) -> Self {
        self.welcome_timeout = time.min(Duration::from_hours(24));
        self
    }

    /// The options of calls that are made without any. Default [`CallOptions::default`].
    #[must_use]
    pub fn call_options(mut self, options: CallOptions) -> Self {
        self.call_options = options;
        self
    }
}

/// Asks a service and follows its topics, over a [`Link`]. A clone is another front end to the same.
pub struct Client<I> {
    link: Link,
    calls: Calls,
    front: Arc<Front>,
    call_options: CallOptions,
    /// What `tower` has reserved for the next call of this handle.
    #[cfg(feature = "tower")]
    pub(super) reserved: Option<Call>,
    interface: PhantomData<fn() -> I>,
}

impl<I: Interface> Client<I> {
    /// A client over a link, which other clients may use too.
    pub fn new(link: &Link) -> Self {
        Self::with_config(link, &ClientConfig::default())
    }

    /// A client over a link of its own to one endpoint, with the defaults of all; further clients may share
    /// its [`link`](Self::link).
    ///
    /// ```
    /// # use sessionwire::rpc::{Client, Interface, Never};
    /// # enum Double {}
    /// # impl Interface for Double {
    /// #     const NAME: &'static str = "double/1";
    /// #     type Request = u32;
    /// #     type Response = u32;
    /// #     type Topic = Never;
    /// #     type Item = Never;
    /// # }
    /// # futures::executor::block_on(async {
    /// let client: Client<Double> = Client::to("memory://shop")?;
    /// # Ok::<(), sessionwire::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Link::to`].
    pub fn to<E>(endpoint: E) -> Result<Self, TransportError>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Link::to(endpoint, LinkConfig::default()).map(|link| Self::new(&link))
    }

    /// A client over one connection, such as that to a [peer](crate::node::Peer::connection): when it ends,
    /// the client's link is down.
    pub fn over(connection: Connection) -> Self {
        Self::new(&Link::over(connection))
    }

    /// A client with limits of its own.
    pub fn with_config(link: &Link, config: &ClientConfig) -> Self {
        Self {
            link: link.clone(),
            calls: Calls::new(link, config.calls_at_once, config.welcome_timeout),
            front: Front::new(link, config.subscriptions),
            call_options: config.call_options,
            #[cfg(feature = "tower")]
            reserved: None,
            interface: PhantomData,
        }
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(super) fn call_options(&self) -> CallOptions {
        self.call_options
    }

    /// The link that it stands on.
    pub fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn front(&self) -> &Arc<Front> {
        &self.front
    }
}

impl<I> Clone for Client<I> {
    fn clone(&self) -> Self {
        Self {
            link: self.link.clone(),
            calls: self.calls.clone(),
            front: Arc::clone(&self.front),
            call_options: self.call_options,
            #[cfg(feature = "tower")]
            reserved: None,
            interface: PhantomData,
        }
    }
}

impl<I: Interface> fmt::Debug for Client<I> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("interface", &I::NAME)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
