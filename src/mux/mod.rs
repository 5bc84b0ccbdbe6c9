//! One stream of frames → many channels.

mod code;
mod config;
mod connection;
mod driver;
mod error;
mod frame;
#[cfg(feature = "__fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod input;
mod listen;
mod machine;
mod places;
mod pool;
mod priority;
mod raw;
mod role;
mod router;
mod serving;
mod shared;
mod statistics;
mod stream;
mod typed;

pub use self::code::Code;
pub use self::config::Config;
pub use self::connection::{Connection, IncomingChannel};
pub use self::driver::Driver;
pub(crate) use self::error::reason_text;
pub use self::error::{ChannelError, ConnectionError, OpenError, SendError, Timeout, Violation};
pub use self::frame::FrameError;
pub(crate) use self::frame::MAX_PROTOCOL_NAME;
pub use self::listen::{Listener, connect, connect_with, listen};
pub(crate) use self::places::Place;
pub use self::priority::Priority;
pub use self::raw::{RawChannel, RawReceiver, RawSender};
pub use self::role::Role;
pub use self::router::Router;
pub use self::statistics::{FrameCounts, RoundTrip, Statistics};
pub use self::stream::ChannelStream;
pub use self::typed::{Channel, Receiver, Sender};
