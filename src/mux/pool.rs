//! Large buffers that come back when the last message in them is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Buffers for one use, at most so many of them.
///
/// Without it the memory of every large message would go back to the operating system and be asked
/// for again, page by page.
#[derive(Debug)]
pub(crate) struct Pool<B> {
    free: Arc<Mutex<Vec<B>>>,
    most: usize,
}

impl<B> Pool<B> {
    /// A pool that keeps at most `most` buffers.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            free: Arc::default(),
            most,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free().is_empty()
    }

    /// The buffer that came back last, as it was lent.
    pub(crate) fn take(&self) -> Option<B> {
        self.free().pop()
    }

    /// Gives the memory of all free buffers back to the system.
    pub(crate) fn clear(&self) {
        let freed = std::mem::take(&mut *self.free());
        drop(freed);
    }

    fn put(&self, buffer: B) {
        let mut free = self.free();
        if free.len() < self.most {
            free.push(buffer);
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<B>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: AsRef<[u8]> + Default + Send + 'static> Pool<B> {
    /// The content of a buffer, which comes back with the last reference to it.
    pub(crate) fn lend(&self, buffer: B) -> Bytes {
        Bytes::from_owner(Lent {
            buffer,
            pool: self.clone(),
        })
    }
}

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self {
            free: Arc::clone(&self.free),
            most: self.most,
        }
    }
}

struct Lent<B: Default> {
    buffer: B,
    pool: Pool<B>,
}

impl<B: AsRef<[u8]> + Default> AsRef<[u8]> for Lent<B> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl<B: Default> Drop for Lent<B> {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_reference() {
        let pool = Pool::new(2);
        let message = pool.lend(vec![1, 2, 3]);
        let part = message.slice(1..);
        drop(message);
        assert!(pool.is_empty());
        assert_eq!(part, [2, 3][..]);
        drop(part);
        assert_eq!(pool.take(), Some(vec![1, 2, 3]));
        assert!(pool.is_empty());
    }

    #[test]
    fn it_keeps_so_many_and_not_one_more() {
        let pool = Pool::new(2);
        let lent: Vec<Bytes> = (0..3).map(|number| pool.lend(vec![number])).collect();
        drop(lent);
        assert_eq!(pool.free().len(), 2);
        pool.clear();
        assert!(pool.is_empty());
    }
}
