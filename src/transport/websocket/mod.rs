//! WebSocket as a stream of bytes: binary messages end to end, their boundaries without meaning.

pub use self::config::WsConfig;
pub use self::handshake::{OriginPolicy, WsClient, WsInfo, WsRefusal, WsServer};
pub(super) use self::handshake::{accept, connect};
pub use self::stream::WsStream;

mod config;
mod failure;
mod handshake;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
