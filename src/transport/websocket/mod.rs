//! WebSocket as a stream of bytes: binary messages end to end, their boundaries without meaning.

pub use self::config::WsConfig;
pub use self::stream::WsStream;

mod config;
mod failure;
mod handshake;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
