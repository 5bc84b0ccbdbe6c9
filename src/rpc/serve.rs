use std::sync::Arc;

use super::calls::{self, CallLimits};
use super::service::Service;
use super::topics::{self, TopicLimits};
use crate::mux::Router;

/// How much a service does at once, and what it remembers.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ServiceLimits {
    calls: CallLimits,
    topics: TopicLimits,
}

impl ServiceLimits {
    /// The limits of its calls.
    #[must_use]
    pub fn calls(mut self, limits: CallLimits) -> Self {
        self.calls = limits;
        self
    }

    /// The limits of its topics.
    #[must_use]
    pub fn topics(mut self, limits: TopicLimits) -> Self {
        self.topics = limits;
        self
    }
}

impl Router {
    /// Serves an interface, with the default limits.
    ///
    /// All calls of a connection are answered in one task, cheap ones without a detour: a handler
    /// that computes for long belongs on a thread of its own.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use sessionwire::rpc::{Caller, Client, Fault, Interface, Link, Never, Service};
    /// use sessionwire::{Connection, Router};
    ///
    /// /// Doubles numbers.
    /// struct Double;
    ///
    /// impl Interface for Double {
    ///     const NAME: &'static str = "double/1";
    ///     type Request = u32;
    ///     type Response = u32;
    ///     type Topic = Never;
    ///     type Item = Never;
    /// }
    ///
    /// impl Service for Double {
    ///     type Interface = Self;
    ///
    ///     async fn call(&self, _: Caller, number: u32) -> Result<u32, Fault> {
    ///         number.checked_mul(2).ok_or_else(|| Fault::refused("too large"))
    ///     }
    /// }
    ///
    /// let router = Router::new().on_service(Double);
    /// let (here, there) = Connection::pair();
    /// async_std::task::spawn(async move { router.serve(&there).await });
    ///
    /// let client: Client<Double> = Client::new(&Link::over(here));
    /// assert_eq!(client.call(&21).await?, 42);
    /// println!("{}", client.call(&u32::MAX).await.unwrap_err());
    /// # Ok::<(), sessionwire::rpc::CallError>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn on_service<S: Service>(self, service: S) -> Self {
        self.on_service_with(service, ServiceLimits::default())
    }

    /// Serves an interface within limits.
    #[must_use]
    pub fn on_service_with<S: Service>(self, service: S, limits: ServiceLimits) -> Self {
        let service = Arc::new(service);
        let router = calls::serve(self, &service, limits.calls);
        topics::serve(router, &service, limits.topics)
    }
}
