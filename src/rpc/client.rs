use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::interface::Interface;
use super::link::Link;
use super::topics::Front;

/// Asks a service and follows its topics, over a [`Link`]. A clone is another front end to the same.
pub struct Client<I> {
    link: Link,
    front: Arc<Front>,
    interface: PhantomData<fn() -> I>,
}

impl<I: Interface> Client<I> {
    /// A client over a link, which other clients may use too.
    pub fn new(link: &Link) -> Self {
        Self {
            link: link.clone(),
            front: Front::new(link),
            interface: PhantomData,
        }
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
            front: Arc::clone(&self.front),
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
            .finish()
    }
}
