use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::Runtime;

/// The output of `future`, or `None` if `duration` passes before it has one.
///
/// A duration beyond what the clock can count to never passes. Dropping the returned future drops
/// `future`.
pub async fn timeout<F: Future>(
    runtime: &dyn Runtime,
    duration: Duration,
    future: F,
) -> Option<F::Output> {
    let Some(deadline) = runtime.now().checked_add(duration) else {
        return Some(future.await);
    };
    match select(pin!(future), runtime.sleep_until(deadline)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}
