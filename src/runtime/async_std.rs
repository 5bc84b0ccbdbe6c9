use async_io::Timer;

use super::{Instant, Runtime, Task};

/// Runs tasks on async-std's threads and takes the time from the reactor that it shares with smol.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    fn spawn(&self, task: Task) {
        async_std::task::spawn(task);
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(async move {
            Timer::at(deadline).await;
        })
    }
}
