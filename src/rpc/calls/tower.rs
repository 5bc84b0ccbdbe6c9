//! The two ends of calls as services of tower.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, mem};

use crate::rpc::client::Client;
use crate::rpc::fault::Fault;
use crate::rpc::interface::Interface;
use crate::rpc::service::{Caller, Service};
use crate::runtime::{MaybeSend, MaybeSync};

use super::CallError;

/// What a call of a client comes to, in a box.
#[cfg(not(target_family = "wasm"))]
type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// What a call of a client comes to, in a box.
#[cfg(target_family = "wasm")]
type Answering<T> = Pin<Box<dyn Future<Output = T>>>;

/// A client makes its calls with its [`call_options`](crate::rpc::ClientConfig::call_options).
///
/// `poll_ready` reserves one of the [`calls_at_once`](crate::rpc::ClientConfig::calls_at_once) for the handle
/// that it is polled on, until that handle's next call, or its drop. A clone has nothing reserved: whoever
/// moves a ready client into a future leaves a clone behind, not the other way round.
///
/// The deadline of a call counts from `call`. Without anything reserved, the call waits for that first.
///
/// ```
/// # futures::executor::block_on(async {
/// # use sessionwire::rpc::{Caller, Client, Fault, FromTower, Interface, Link, Never};
/// # use sessionwire::{Connection, Router};
/// use std::future::{Ready, poll_fn, ready};
/// use std::task::{Context, Poll};
/// use tower_service::Service;
///
/// # enum Double {}
/// # impl Interface for Double {
/// #     const NAME: &'static str = "double/1";
/// #     type Request = u32;
/// #     type Response = u32;
/// #     type Topic = Never;
/// #     type Item = Never;
/// # }
/// /// A service of tower.
/// #[derive(Clone)]
/// struct Doubling;
///
/// impl Service<u32> for Doubling {
///     type Response = u32;
///     type Error = Fault;
///     type Future = Ready<Result<u32, Fault>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, number: u32) -> Self::Future {
///         ready(number.checked_mul(2).ok_or_else(|| Fault::refused("too large")))
///     }
/// }
///
/// let router = Router::new().on_service(FromTower::<Double, _>::new(Doubling));
/// let (here, there) = Connection::pair();
/// async_std::task::spawn(async move { router.serve(&there).await });
///
/// let mut client: Client<Double> = Client::new(&Link::over(here));
/// poll_fn(|context| client.poll_ready(context)).await?;
/// assert_eq!(Service::call(&mut client, 21).await?, 42);
/// # Ok::<(), sessionwire::rpc::CallError>(())
/// # }).unwrap();
/// ```
impl<I: Interface> tower_service::Service<I::Request> for Client<I> {
    type Response = I::Response;
    type Error = CallError;
    type Future = Answering<Result<I::Response, CallError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let call = match self.reserved.take() {
            Some(call) => call,
            None => self.calls().begin(self.link(), I::NAME),
        };
        self.reserved.insert(call).poll_permit(context, None)
    }

    fn call(&mut self, request: I::Request) -> Self::Future {
        let call = match mem::take(&mut self.reserved) {
            Some(call) => call,
            None => self.calls().begin(self.link(), I::NAME),
        };
        let options = self.call_options();
        Box::pin(async move { call.make(&request, options).await })
    }
}

/// Serves an interface by a service of tower, of which each call has a clone.
///
/// A clone that is not ready makes its call wait, as far as the deadline goes. Who calls is not told to
/// it; see [`Client`]'s implementation of `tower_service::Service` for an example.
pub struct FromTower<I, T> {
    inner: T,
    interface: PhantomData<fn() -> I>,
}

impl<I, T> FromTower<I, T> {
    /// Serves by `inner`.
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            interface: PhantomData,
        }
    }
}

impl<I, T> fmt::Debug for FromTower<I, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FromTower").finish_non_exhaustive()
    }
}

impl<I, T> Service for FromTower<I, T>
where
    I: Interface,
    T: tower_service::Service<I::Request, Response = I::Response>,
    T: Clone + MaybeSend + MaybeSync + 'static,
    T::Error: Into<Fault>,
    T::Future: MaybeSend,
{
    type Interface = I;

    async fn call(&self, _: Caller, request: I::Request) -> Result<I::Response, Fault> {
        let answering = {
            let mut ready = self.inner.clone();
            poll_fn(|context| ready.poll_ready(context))
                .await
                .map_err(Into::into)?;
            ready.call(request)
        };
        answering.await.map_err(Into::into)
    }
}
