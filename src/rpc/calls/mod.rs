//! Requests and answers: all calls of one client share one channel of each connection.

mod channel;
mod client;
mod conversation;
mod error;
mod keyed;
mod limits;
mod machine;
mod message;
mod options;
mod pump;
mod running;
mod serve;
mod shared;
#[cfg(feature = "tower")]
mod tower;
mod window;

#[cfg(test)]
mod tests;

#[cfg(feature = "tower")]
pub(super) use self::client::Call;
pub(super) use self::client::Calls;
pub use self::error::{CallError, Loss};
pub use self::limits::CallLimits;
pub use self::options::{CallOptions, Delivery};
pub(super) use self::serve::serve;
#[cfg(feature = "tower")]
pub use self::tower::FromTower;
