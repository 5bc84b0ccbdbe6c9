use crate::measure::Contestant;

pub const TCP: &str = "ours-tcp";
pub const TCP_TOKIO: &str = "ours-tcp-tokio";
pub const WEBSOCKET: &str = "ours-websocket";
pub const WEBSOCKET_TOKIO: &str = "ours-websocket-tokio";
pub const MEMORY: &str = "ours-memory";
pub const BYTES: &str = "ours-bytes";

pub fn table() -> Vec<Box<dyn Contestant>> {
    Vec::new()
}
