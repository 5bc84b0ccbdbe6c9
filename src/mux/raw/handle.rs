use std::sync::Arc;

use crate::mux::code::Code;
use crate::mux::shared::Shared;

/// A channel's place in a connection.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) key: usize,
}

impl Handle {
    pub(super) fn new(shared: &Arc<Shared>, key: usize) -> Self {
        shared.add_handle();
        Self {
            shared: Arc::clone(shared),
            key,
        }
    }

    pub(super) fn reset(&self, code: Code, reason: &str) {
        self.shared
            .with(|state| state.machine.reset(self.key, code, reason));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}
