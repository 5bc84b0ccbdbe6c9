//! How much of a kind of work goes on for a connection at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places that are taken, by kind: no more kinds than the program knows.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<BTreeMap<&'static str, usize>>);

/// One of a number of places, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    kind: &'static str,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes a place, none if `most` of the kind are taken.
    pub(super) fn take(places: &Arc<Places>, kind: &'static str, most: usize) -> Option<Self> {
        let mut taken = places.lock();
        let count = taken.entry(kind).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Self {
            places: Arc::clone(places),
            kind,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(count) = self.places.lock().get_mut(self.kind) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_was_given_back() {
        let places = Arc::default();
        let first = Place::take(&places, "one", 2).expect("a place");
        let _second = Place::take(&places, "one", 2).expect("the last place");
        assert!(Place::take(&places, "one", 2).is_none());
        let _other = Place::take(&places, "other", 1).expect("a place of another kind");
        drop(first);
        Place::take(&places, "one", 2).expect("the place that was given back");
    }
}
