//! Streams within one process.

pub use self::pipe::{MemoryStream, pipe};

pub(super) use self::registry::{Listener, connect};

mod pipe;
mod registry;
