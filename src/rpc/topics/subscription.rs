use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

use super::error::SubscribeError;
use super::event::{EndReason, Event};
use super::feed::encoded;
use super::machine::{Entry, Gap, Machine, Taken, Unwanted};
use super::options::SubscribeOptions;
use super::pump;
use super::serve::protocol;
use super::shared::Shared;
use super::wire::LONGEST_TOPIC;
use crate::codec::{self, MaxMessageSize};
use crate::rpc::client::Client;
use crate::rpc::interface::Interface;
use crate::rpc::link::{Link, LinkState};
use crate::runtime::timeout;

/// What comes on a topic, over as many connections as it takes: a [`Stream`] of [`Event`]s.
///
/// After the loss of a connection it goes on behind the last item that it has seen: no item comes
/// twice or out of order, and whatever is missing is said in its place, and counted wherever that is possible,
/// by an [`Event::Gap`]. After [`Event::End`] nothing comes.
///
/// Dropping it unsubscribes. It goes on while it lives, whether the client does or not.
///
/// ```
/// # futures::executor::block_on(async {
/// use std::sync::Arc;
/// use sessionwire::rpc::{Caller, Client, Event, Fault, Feed, Interface, Link, Never, Service, Topics};
/// use sessionwire::{Connection, Router};
///
/// enum Prices {}
/// impl Interface for Prices {
///     const NAME: &'static str = "prices/1";
///     type Request = Never;
///     type Response = Never;
///     type Topic = String;
///     type Item = u64;
/// }
///
/// struct Market(Topics<Prices>);
/// impl Service for Market {
///     type Interface = Prices;
///     async fn call(&self, _: Caller, request: Never) -> Result<Never, Fault> {
///         match request {}
///     }
///     async fn follow(&self, _: Caller, topic: String) -> Result<Feed<u64>, Fault> {
///         self.0.get(&topic).ok_or_else(|| Fault::refused("nobody trades that"))
///     }
/// }
///
/// let topics = Topics::new();
/// topics.open(&"bread".to_owned()).unwrap();
/// let (here, there) = Connection::pair();
/// let router = Router::new().on_service(Market(topics.clone()));
/// async_std::task::spawn(async move { router.serve(&there).await });
///
/// let client: Client<Prices> = Client::new(&Link::over(here));
/// let mut bread = client.subscribe(&"bread".to_owned()).await?;
/// topics.publish(&"bread".to_owned(), &3).unwrap();
/// let Some(Event::Item { value, .. }) = bread.recv().await else { panic!("an item") };
/// assert_eq!(value, 3);
/// # Ok::<(), sessionwire::rpc::SubscribeError>(())
/// # }).unwrap();
/// ```
pub struct Subscription<I> {
    front: Arc<Front>,
    seat: Seat,
    interface: PhantomData<fn() -> I>,
}

/// What a client and its subscriptions have in common: with the last of them it is over.
#[derive(Debug)]
pub(in crate::rpc) struct Front {
    link: Link,
    shared: Arc<Shared>,
}

/// A subscriber's number, given back when it is dropped.
#[derive(Debug)]
struct Seat {
    shared: Arc<Shared>,
    number: u64,
    is_over: bool,
}

impl<I: Interface> Client<I> {
    /// Follows a topic from now on; see [`subscribe_with`](Self::subscribe_with).
    pub async fn subscribe(&self, topic: &I::Topic) -> Result<Subscription<I>, SubscribeError> {
        self.subscribe_with(topic, SubscribeOptions::default())
            .await
    }

    /// Follows a topic, as `options` say.
    ///
    /// Waits until the service has accepted, so that what is published after this returns will come;
    /// a link that is not up is waited for too, within the options' deadline.
    ///
    /// Subscriptions to equal topics share what comes on the wire, and each gets what is published
    /// from its own beginning on.
    ///
    /// # Errors
    ///
    /// Why there is no subscription. The service has none either then, or will have none as soon as
    /// it hears of it.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `subscribe_with` has subscribed to nothing.
    pub async fn subscribe_with(
        &self,
        topic: &I::Topic,
        options: SubscribeOptions,
    ) -> Result<Subscription<I>, SubscribeError> {
        let topic = encoded(topic, LONGEST_TOPIC).map_err(SubscribeError::Unencodable)?;
        let seat = self.front().begin::<I>(&topic, &options)?;
        let accepted = seat.accepted();
        match timeout(&**self.link().runtime(), options.deadline, accepted).await {
            Some(Ok(())) => Ok(Subscription {
                front: Arc::clone(self.front()),
                seat,
                interface: PhantomData,
            }),
            Some(Err(reason)) => Err(reason.into()),
            None => Err(match self.link().state() {
                LinkState::Connecting { why, .. } | LinkState::Waiting { why, .. } => {
                    SubscribeError::NoConnection {
                        within: options.deadline,
                        why,
                    }
                }
                LinkState::Up { .. } | LinkState::Down(_) => {
                    SubscribeError::DeadlinePassed(options.deadline)
                }
            }),
        }
    }
}

impl Front {
    /// At most `most` subscriptions are on the wire.
    pub(in crate::rpc) fn new(link: &Link, most: usize) -> Arc<Self> {
        Arc::new(Self {
            link: link.clone(),
            shared: Arc::new(Shared::new(Machine::new(most))),
        })
    }

    fn begin<I: Interface>(
        &self,
        topic: &Bytes,
        options: &SubscribeOptions,
    ) -> Result<Seat, SubscribeError> {
        let begun = self
            .shared
            .with(|machine| machine.subscribe(topic, options));
        let number = begun.map_err(|unwanted| match unwanted {
            Unwanted::TooMany { limit } => SubscribeError::TooMany { limit },
            Unwanted::Down(error) => SubscribeError::Down(error),
        })?;
        if self.shared.start_pump() {
            let runtime = self.link.runtime();
            let (shared, watch) = (Arc::clone(&self.shared), self.link.watch());
            let pump = pump::run(shared, watch, protocol::<I>(), Arc::clone(runtime));
            runtime.spawn(Box::pin(pump));
        }
        Ok(Seat {
            shared: Arc::clone(&self.shared),
            number,
            is_over: false,
        })
    }
}

impl Seat {
    async fn accepted(&self) -> Result<(), EndReason> {
        poll_fn(|context| {
            let number = self.number;
            self.shared
                .poll_with(context, number, |machine| machine.is_accepted(number))
        })
        .await
    }

    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Option<Taken>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let number = self.number;
        self.shared
            .poll_with(context, number, |machine| match machine.take(number) {
                Taken::Nothing => None,
                taken => Some(Some(taken)),
            })
    }
}

impl<I: Interface> Subscription<I> {
    /// A number of its own, which no other subscription of the client has or will have. It stays
    /// the same from one connection to the next.
    pub fn id(&self) -> u64 {
        self.seat.number
    }

    /// Waits for what comes next; none when nothing will come any more.
    ///
    /// # Cancel safety
    ///
    /// A cancelled `recv` has taken nothing.
    pub async fn recv(&mut self) -> Option<Event<I::Item>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// Ends the subscription, and waits until the server has confirmed it, or the connection to it is
    /// lost, with which the subscription ends there too.
    ///
    /// It returns at once if others share what comes on the wire.
    ///
    /// # Cancel safety
    ///
    /// The subscription ends when this is cancelled, too.
    pub async fn unsubscribe(self) {
        let Self { front, seat, .. } = self;
        let Some(id) = front.shared.leave(seat.number) else {
            return;
        };
        loop {
            let listener = front.shared.confirmed.listen();
            if !front.shared.with(|machine| machine.is_on_wire(id)) {
                return;
            }
            listener.await;
        }
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Event<I::Item>>> {
        self.seat
            .poll_take(context)
            .map(|taken| taken.and_then(|taken| self.event(taken)))
    }

    fn event(&mut self, taken: Taken) -> Option<Event<I::Item>> {
        match taken {
            Taken::Nothing => None,
            Taken::End(reason) => {
                self.seat.is_over = true;
                Some(Event::End(reason))
            }
            Taken::Entry(Entry::Gap(Gap { missed, why })) => Some(Event::Gap { missed, why }),
            Taken::Entry(Entry::Item(cursor, bytes)) => {
                // What the connection took is not too large.
                let max = MaxMessageSize::new(bytes.len()).unwrap_or_default();
                let max = max.max(MaxMessageSize::default());
                Some(match codec::decode(&bytes, max) {
                    Ok(value) => Event::Item { cursor, value },
                    Err(error) => Event::Other {
                        cursor,
                        bytes,
                        error,
                    },
                })
            }
        }
    }
}

impl<I: Interface> Stream for Subscription<I> {
    type Item = Event<I::Item>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context)
    }
}

impl<I: Interface> fmt::Debug for Subscription<I> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("interface", &I::NAME)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.leave(self.number);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.close();
    }
}
