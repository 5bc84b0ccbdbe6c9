#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod codec;
pub mod mux;
pub mod node;
pub mod rpc;
pub mod runtime;
pub mod session;
pub mod transport;

mod error;

pub use self::error::Error;
#[cfg(feature = "__fuzzing")]
#[doc(hidden)]
pub use self::mux::fuzzing as __fuzzing;
pub use self::mux::{
    Channel, ChannelError, ChannelStream, Code, Config, Connection, ConnectionError, Driver,
    IncomingChannel, Listener, OpenError, Priority, RawChannel, Role, Router, connect,
    connect_with, listen,
};
pub use self::session::{Session, SessionError};

/// Its examples are tried like those of README.
#[cfg(all(doctest, feature = "websocket"))]
#[doc = include_str!("../docs/proxies.md")]
struct Proxies;
