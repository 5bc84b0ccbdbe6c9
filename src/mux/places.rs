//! How much of a kind of work goes on for a connection at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places that are taken, by kind: no more kinds than the program knows.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<BTreeMap<&'static str, usize>>);

/// One of a number of places, or some of them, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    kind: &'static str,
    count: usize,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes `count` places, none if more than `most` of the kind would be taken.
    pub(super) fn take(
        places: &Arc<Places>,
        kind: &'static str,
        count: usize,
        most: usize,
    ) -> Option<Self> {
        let mut all = places.lock();
        let taken = all.entry(kind).or_default();
        *taken = taken.checked_add(count).filter(|taken| *taken <= most)?;
        drop(all);
        Some(Self {
            places: Arc::clone(places),
            kind,
            count,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(taken) = self.places.lock().get_mut(self.kind) {
            *taken = taken.saturating_sub(self.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_was_given_back() {
        let places = Arc::default();
        let first = Place::take(&places, "one", 1, 2).expect("a place");
        let _second = Place::take(&places, "one", 1, 2).expect("the last place");
        assert!(Place::take(&places, "one", 1, 2).is_none());
        let _other = Place::take(&places, "other", 1, 1).expect("a place of another kind");
        drop(first);
        Place::take(&places, "one", 1, 2).expect("the place that was given back");
    }

    #[test]
    fn several_places_are_taken_and_given_back_at_once() {
        let places = Arc::default();
        let most = Place::take(&places, "one", 9, 10).expect("nine places");
        assert!(Place::take(&places, "one", 2, 10).is_none());
        assert!(Place::take(&places, "one", usize::MAX, usize::MAX).is_none());
        let last = Place::take(&places, "one", 1, 10).expect("the last place");
        drop((most, last));
        Place::take(&places, "one", 10, 10).expect("all of them");
    }
}
