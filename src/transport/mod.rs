//! From an [`Endpoint`] to a stream of bytes.
pub use self::config::TransportConfig;
pub use self::endpoint::{Endpoint, Scheme};
pub use self::error::TransportError;
pub use self::memory::{MemoryStream, pipe};
mod config;
mod endpoint;
mod error;
mod memory;
