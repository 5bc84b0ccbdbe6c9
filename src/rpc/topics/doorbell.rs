use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// Where feeds tell a connection which of its subscriptions have something to send: it is woken
/// once for all of them.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    rung: Mutex<Rung>,
}

#[derive(Debug, Default)]
struct Rung {
    ids: Vec<u64>,
    waker: Option<Waker>,
}

impl Doorbell {
    pub(super) fn ring(&self, id: u64) {
        let waker = {
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            rung.ids.push(id);
            rung.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Adds whoever rang to `ids`, and says whether anybody did; otherwise the task is woken when
    /// somebody does.
    pub(super) fn answer(&self, context: &mut Context<'_>, ids: &mut VecDeque<u64>) -> bool {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if !rung.ids.is_empty() {
            ids.extend(rung.ids.drain(..));
            return true;
        }
        let before = rung.waker.replace(context.waker().clone());
        drop(rung);
        drop(before);
        false
    }
}
