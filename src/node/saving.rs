//! Saves the book of addresses: one save after another, so that the last one is the newest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::{Event, listener};

use super::app::App;
use super::book::{self, SaveError, Store};
use super::shared::Shared;
use crate::runtime::timeout;

/// How long the last save may go on when the last peer is gone.
const LAST_SAVE: Duration = Duration::from_secs(5);

/// What is to be saved, and what became of the last save.
#[derive(Debug, Default)]
pub(super) struct Saving {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Debug, Default)]
struct State {
    runs: bool,
    is_due: bool,
    is_last: bool,
    /// Of the last save, once that is over.
    outcome: Option<Result<(), SaveError>>,
}

impl Saving {
    /// The book is to be saved.
    pub(super) fn request(&self) {
        self.lock().is_due = true;
        self.changed.notify(usize::MAX);
    }

    /// The book is to be saved for the last time.
    pub(super) fn end(&self) {
        self.lock().is_last = true;
        self.changed.notify(usize::MAX);
    }

    /// Whether to save now, and whether that is the last time.
    fn take(&self) -> Option<bool> {
        let mut state = self.lock();
        let is_due = std::mem::take(&mut state.is_due) || state.is_last;
        is_due.then_some(state.is_last)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to save whenever that is due, until the node stops.
pub(super) fn start<A: App>(shared: &Arc<Shared<A>>, store: Arc<dyn Store>) {
    shared.saving.lock().runs = true;
    let saving = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        loop {
            listener!(saving.saving.changed => changed);
            match saving.saving.take() {
                Some(is_last) => {
                    let saved = save(&saving, &store).await;
                    if is_last {
                        saving.saving.lock().outcome = Some(saved);
                        saving.saving.changed.notify(usize::MAX);
                        return;
                    }
                }
                None => changed.await,
            }
        }
    }));
}

/// Waits for the last save, and answers what became of it.
pub(super) async fn finish<A: App>(shared: &Shared<A>) -> Result<(), SaveError> {
    let saving = &shared.saving;
    let over = async {
        loop {
            listener!(saving.changed => changed);
            {
                let state = saving.lock();
                if !state.runs {
                    return Ok(());
                }
                if let Some(outcome) = &state.outcome {
                    return outcome.clone();
                }
            }
            changed.await;
        }
    };
    let outcome = timeout(&*shared.runtime, LAST_SAVE, over).await;
    outcome.unwrap_or(Err(SaveError::TimedOut { after: LAST_SAVE }))
}

async fn save<A: App>(shared: &Shared<A>, store: &Arc<dyn Store>) -> Result<(), SaveError> {
    let now = shared.runtime.now();
    let snapshot = shared.lock().book.snapshot(now);
    let saved = book::save(Arc::clone(store), snapshot).await;
    saved.map_err(|error| {
        tracing::warn!(%error, "the address book was not saved");
        SaveError::Store(Arc::new(error))
    })
}
