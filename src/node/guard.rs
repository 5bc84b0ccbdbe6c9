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
