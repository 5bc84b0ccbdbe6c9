use std::time::Duration;

/// How a call is made: by when it is to be answered, and what becomes of it when the connection is
/// lost before.
///
/// ```
/// use std::time::Duration;
/// use sessionwire::rpc::{CallOptions, Delivery};
///
/// let options = CallOptions::default()
///     .deadline(Duration::from_secs(2))
///     .delivery(Delivery::AtLeastOnce);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    pub(super) deadline: Duration,
    pub(super) delivery: Delivery,
}

/// What becomes of a call that was sent, and not answered, when the connection is lost.
///
/// A call that was not sent yet goes with the next connection in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// It fails at once with [`CallError::Unknown`](super::CallError::Unknown): the service may or may not
    /// have run it.
    #[default]
    AtMostOnce,
    /// It is sent again with the next connection: the service may run it more than once.
    AtLeastOnce,
    /// It is sent again, and the service answers it from memory if it ran it already: it is run at
    /// most once by a process of the service, and by no other process as long as it is not known what came of it.
    ///
    /// The key names the call; calls of one client with equal keys that go on at the same time are one call, whose request
    /// and deadline at the service are those of the first. Random keys never meet.
    /// The service remembers keys within its [`CallLimits`](super::CallLimits), by default for 60 s after the call
    /// has ended: the same call is not run again later either, but a new one with the key is. It runs such a call
    /// to its end or its deadline even when the caller gives it up, so that the key can be answered.
    ///
    /// **One call, not one for each try:** give the one call a deadline as long as the whole matter may take. If it is
    /// made again with its key, because nobody knows what came of it, the process that it went to answers from memory,
    /// and instead of another process that would run it again, the client does:
    /// [`Unknown`](super::CallError::Unknown), as before. It knows the last 1,024 such keys, and those of all calls that
    /// go on. Known is what came of a call by an answer or a fault that the handler chose
    /// ([`Refused`](crate::rpc::FaultKind::Refused), [`Application`](crate::rpc::FaultKind::Application)), and by no other one. Once it
    /// is known, or the service has forgotten the key, a new call with it is run by whichever process does not remember it.
    ///
    /// A client is one [`Client`](crate::rpc::Client) and its clones: another, or the same program started again, has
    /// keys of its own. What must survive that needs a number in the request that the service keeps with its data.
    Idempotent(u128),
}

impl Delivery {
    pub(super) fn key(self) -> Option<u128> {
        match self {
            Self::Idempotent(key) => Some(key),
            Self::AtMostOnce | Self::AtLeastOnce => None,
        }
    }
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            delivery: Delivery::default(),
        }
    }
}

impl CallOptions {
    /// How long the call may take, all waiting included. Default 10 s.
    ///
    /// The service is told what is left of it, and gives up after its own longest time at the latest.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// What becomes of the call when the connection is lost. Default [`Delivery::AtMostOnce`].
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }
}
