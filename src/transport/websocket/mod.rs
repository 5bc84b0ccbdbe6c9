//! WebSocket as a stream of bytes: binary messages end to end, their boundaries without meaning.

pub use self::config::{WsConfig, WsText};
pub use self::events::WsEvent;
pub use self::frame::{WsClose, WsRole};
pub use self::handshake::{OriginPolicy, WsClient, WsInfo, WsRefusal, WsServer};
pub(super) use self::handshake::{accept, connect};
pub use self::stream::WsStream;

mod closing;
mod config;
mod events;
mod failure;
mod frame;
mod handshake;
mod output;
mod parts;
mod receive;
mod send;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(feature = "tokio")]
mod tokio;
mod wakers;
