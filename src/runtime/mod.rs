//! Who runs tasks and tells the time.
//!
//! [`current`] finds the [`Runtime`] of the caller; an explicit choice always wins over it. The
//! features `async-std`, `smol` and `tokio` add up: inside a tokio runtime tokio is used, otherwise
//! async-std, otherwise smol, otherwise [`Portable`].

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

pub use web_time::Instant;

#[cfg(feature = "async-std")]
pub use self::async_std::AsyncStd;
pub use self::portable::Portable;
pub use self::send::{MaybeSend, MaybeSync};
#[cfg(feature = "smol")]
pub use self::smol::Smol;
pub use self::timeout::timeout;
#[cfg(feature = "tokio")]
pub use self::tokio::Tokio;
pub use self::virtual_clock::VirtualClock;

#[cfg(feature = "async-std")]
mod async_std;
mod portable;
mod send;
#[cfg(feature = "smol")]
mod smol;
mod timeout;
#[cfg(feature = "tokio")]
mod tokio;
mod virtual_clock;

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

/// The runtime that this call happens in, as the module says.
#[allow(
    unreachable_code,
    clippy::needless_return,
    reason = "the first feature that is on answers"
)]
pub fn current() -> SharedRuntime {
    #[cfg(feature = "tokio")]
    if let Some(tokio) = Tokio::current() {
        return Arc::new(tokio);
    }
    #[cfg(feature = "async-std")]
    return Arc::new(AsyncStd);
    #[cfg(feature = "smol")]
    return Arc::new(Smol);
    Arc::new(Portable)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn runs_a_task_after_a_sleep(runtime: &SharedRuntime) {
        let (sender, receiver) = mpsc::channel();
        let deadline = runtime.now() + Duration::from_millis(5);
        let (sleep, clock) = (runtime.sleep_until(deadline), runtime.clone());
        runtime.spawn(Box::pin(async move {
            sleep.await;
            sender.send(clock.now()).unwrap();
        }));
        let woken = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(woken >= deadline, "{runtime:?} woke too early");
    }

    #[test]
    fn portable_runs_tasks() {
        runs_a_task_after_a_sleep(&(Arc::new(Portable) as SharedRuntime));
    }

    #[cfg(feature = "async-std")]
    #[test]
    fn async_std_runs_tasks() {
        runs_a_task_after_a_sleep(&(Arc::new(AsyncStd) as SharedRuntime));
    }

    #[cfg(feature = "smol")]
    #[test]
    fn smol_runs_tasks() {
        runs_a_task_after_a_sleep(&(Arc::new(Smol) as SharedRuntime));
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn tokio_runs_tasks_also_from_outside() {
        let runtime = ::tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let inside = runtime.block_on(async { Tokio::current() }).unwrap();
        runs_a_task_after_a_sleep(&(Arc::new(inside) as SharedRuntime));
        assert!(Tokio::current().is_none());
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn inside_tokio_tokio_is_current() {
        let runtime = ::tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let name = runtime.block_on(async { format!("{:?}", current()) });
        assert!(name.starts_with("Tokio"), "{name}");
        assert!(!format!("{:?}", current()).starts_with("Tokio"));
    }

    #[test]
    fn a_timeout_gives_the_output_or_gives_up() {
        let clock = VirtualClock::new();
        let (sender, receiver) = mpsc::channel();
        let inside = clock.clone();
        clock.spawn(Box::pin(async move {
            let second = Duration::from_secs(1);
            sender
                .send(timeout(&inside, second, async { 7 }).await)
                .unwrap();
            sender
                .send(timeout(&inside, second, std::future::pending()).await)
                .unwrap();
        }));
        clock.advance(Duration::from_secs(2));
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [Some(7), None]);
    }
}
