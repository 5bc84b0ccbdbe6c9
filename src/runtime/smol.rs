use async_io::Timer;

use super::{Instant, Runtime, Task};

/// Runs tasks on smol's global executor (its threads are counted by `SMOL_THREADS`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Smol;

impl Runtime for Smol {
    fn spawn(&self, task: Task) {
        smol::spawn(task).detach();
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(async move {
            Timer::at(deadline).await;
        })
    }
}
