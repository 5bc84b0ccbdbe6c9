//! Many typed channels over one connection.

pub mod runtime;
pub mod transport;
pub mod codec;
pub mod mux;
