use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the application: none if it panics, which concerns only what it was called for.
///
/// No lock is held while it runs.
pub(super) fn guarded<T>(act: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(act)).ok();
    if result.is_none() {
        tracing::error!("the application's code panicked");
    }
    result
}

/// A value of the application, that a task drops if it ends before it is handed on.
pub(super) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(super) fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        guarded(|| drop(self.0.take()));
    }
}
