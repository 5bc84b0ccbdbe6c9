//! What waits to be asked, in its order.

use std::collections::BTreeMap;

/// Questions that wait for their turn, each with how many bytes it weighs.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: BTreeMap<u64, (usize, T)>,
    next: u64,
    most: usize,
    bytes: usize,
}

impl<T> Queue<T> {
    /// Of which at most `most`, that weigh at most `bytes` together, are taken at once.
    pub(super) fn new(most: usize, bytes: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            next: 0,
            most,
            bytes,
        }
    }

    /// Adds one behind all others, and answers its place, which no other ever has.
    pub(super) fn push(&mut self, weight: usize, question: T) -> u64 {
        let place = self.next;
        self.next = place.saturating_add(1);
        self.waiting.insert(place, (weight, question));
        place
    }

    /// Takes back the question of that place, if it waits still.
    pub(super) fn withdraw(&mut self, place: u64) -> Option<T> {
        self.waiting.remove(&place).map(|(_, question)| question)
    }

    /// Takes the first ones: as many as may be taken at once, but one at least, whatever it weighs.
    pub(super) fn take(&mut self) -> Vec<T> {
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        while let Some(first) = self.waiting.first_entry() {
            bytes = bytes.saturating_add(first.get().0);
            let is_too_much = taken.len() >= self.most || bytes > self.bytes;
            if is_too_much && !taken.is_empty() {
                break;
            }
            taken.push(first.remove().1);
        }
        taken
    }

    /// Takes all.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let all = std::mem::take(&mut self.waiting);
        all.into_values().map(|(_, question)| question).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(weights: &[usize]) -> Queue<usize> {
        let mut queue = Queue::new(3, 10);
        for (number, weight) in weights.iter().enumerate() {
            queue.push(*weight, number);
        }
        queue
    }

    #[test]
    fn as_many_are_taken_as_may_be_at_once_and_the_next_one_waits() {
        assert_eq!(queue(&[0; 3]).take(), [0, 1, 2]);
        let mut queue = queue(&[0; 4]);
        assert_eq!(queue.take(), [0, 1, 2]);
        assert!(!queue.is_empty());
        assert_eq!(queue.take(), [3]);
        assert!(queue.is_empty());
        assert_eq!(queue.take(), [0; 0]);
    }

    #[test]
    fn as_many_bytes_are_taken_as_may_be_at_once_and_one_more_waits() {
        assert_eq!(queue(&[5, 5]).take(), [0, 1]);
        assert_eq!(queue(&[5, 6]).take(), [0]);
    }

    #[test]
    fn one_that_weighs_too_much_goes_alone_and_nothing_overtakes_it() {
        let mut queue = queue(&[1, usize::MAX, 1]);
        assert_eq!(queue.take(), [0]);
        assert_eq!(queue.take(), [1]);
        assert_eq!(queue.take(), [2]);
    }

    #[test]
    fn one_that_is_withdrawn_is_not_taken() {
        let mut queue = queue(&[0, 0, 0, 0]);
        assert_eq!(queue.withdraw(1), Some(1));
        assert_eq!(queue.withdraw(1), None);
        assert_eq!(queue.take(), [0, 2, 3]);
        assert_eq!(queue.withdraw(2), None, "it was taken");
        assert_eq!(queue.push(0, 9), 4, "a place is never used again");
        assert_eq!(queue.take_all(), [9]);
    }

    #[test]
    fn a_queue_that_may_take_nothing_takes_one() {
        let mut queue = Queue::new(0, 0);
        queue.push(1, 'a');
        queue.push(0, 'b');
        assert_eq!(queue.take(), ['a']);
        assert_eq!(queue.take(), ['b']);
    }
}
