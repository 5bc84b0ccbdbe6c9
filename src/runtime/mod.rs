//! Who runs tasks and tells the time.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

pub use web_time::Instant;

pub use self::send::{MaybeSend, MaybeSync};

mod send;

/// A future that a [`Runtime`] can run.
#[cfg(not(target_family = "wasm"))]
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
/// A future that a [`Runtime`] can run.
#[cfg(target_family = "wasm")]
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What a connection needs from its surroundings: tasks, and the time.
pub trait Runtime: Debug + MaybeSend + MaybeSync + 'static {
    /// Runs `task` to its end in the background.
    fn spawn(&self, task: Task);

    /// Resolves once `deadline` has passed.
    fn sleep_until(&self, deadline: Instant) -> Task;

    /// The time now.
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A [`Runtime`] to share.
pub type SharedRuntime = Arc<dyn Runtime>;
