use futures_timer::Delay;

use super::{Instant, Runtime, Task};

/// Works wherever this crate compiles, with no executor of its own.
///
/// It is what [`current`](super::current) answers when no runtime is compiled in, so that whoever
/// drives connections with their own executor still has timers. [`spawn`](Runtime::spawn) does run
/// the task: on the web, on the browser's event loop; elsewhere, on **one new thread per task**, which
/// is right for a handful of connections and wrong for thousands. A thread that the operating system
/// refuses is logged as an error and its task is dropped, which whoever waits for it sees as a closed
/// connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Runtime for Portable {
    fn spawn(&self, task: Task) {
        platform::spawn(task);
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let left = deadline.saturating_duration_since(self.now());
        Box::pin(Delay::new(left))
    }
}

#[cfg(target_family = "wasm")]
mod platform {
    use super::Task;

    pub(super) fn spawn(task: Task) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

#[cfg(not(target_family = "wasm"))]
mod platform {
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};
    use std::thread::{self, Thread};

    use super::Task;

    pub(super) fn spawn(task: Task) {
        let thread = thread::Builder::new().name("sessionwire".to_owned());
        if let Err(error) = thread.spawn(move || block_on(task)) {
            tracing::error!(%error, "no thread for a task: it is dropped; enable a runtime feature");
        }
    }

    fn block_on(mut task: Task) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        while task.as_mut().poll(&mut context).is_pending() {
            thread::park();
        }
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
}
