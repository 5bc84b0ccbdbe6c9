use tokio::runtime::Handle;

use super::{Instant, Runtime, Task};

/// Runs tasks on one tokio runtime, also when it is called from outside of it.
///
/// The runtime needs its timer (`enable_time` or `enable_all`): without it, tokio panics on the first
/// [`sleep_until`](Runtime::sleep_until). A clock that was paused with `tokio::time::pause` is
/// honoured.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
}

impl Tokio {
    /// The runtime that this call happens in, or `None` outside of any.
    pub fn current() -> Option<Self> {
        Handle::try_current().ok().map(Self::from)
    }
}

impl From<Handle> for Tokio {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

impl Runtime for Tokio {
    fn spawn(&self, task: Task) {
        drop(self.handle.spawn(task));
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let _inside = self.handle.enter();
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}
