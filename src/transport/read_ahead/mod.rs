//! Streams whose readers ask for little at a time are read in larger pieces than they ask for.

#[cfg(feature = "tls")]
pub(super) use self::stream::ReadAhead;

#[cfg(feature = "tls")]
mod stream;

/// The least that one read of the stream below asks for, in bytes.
const LEAST_READ: usize = 1024;

/// Payload that was read ahead of the caller. It holds no memory while it is empty and nothing comes.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Inbox {
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.from = self.from.saturating_add(count).min(self.to);
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let unread = self.unread();
        let count = unread.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), unread.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        count
    }

    /// Room for `size` bytes behind what is unread.
    pub(super) fn room(&mut self, size: usize) -> &mut [u8] {
        if self.is_empty() {
            (self.from, self.to) = (0, 0);
        }
        let end = self.to.saturating_add(size);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.to..end).unwrap_or_default()
    }

    /// So many bytes of the room were filled.
    pub(super) fn fill(&mut self, count: usize) {
        self.to = self.to.saturating_add(count).min(self.bytes.len());
    }
}

/// How much a read of the stream below asks for, by what the last ones brought: a large buffer is
/// worth its memory only to who receives much.
#[derive(Debug)]
pub(super) struct ReadSize {
    size: usize,
    most: usize,
}

impl ReadSize {
    pub(super) fn new(most: usize) -> Self {
        Self {
            size: LEAST_READ,
            most: most.max(LEAST_READ),
        }
    }

    pub(super) fn get(&self) -> usize {
        self.size
    }

    /// A read asked for so many bytes and got so many.
    pub(super) fn learn(&mut self, asked: usize, got: usize) {
        if got >= asked {
            self.size = self.size.saturating_mul(4).min(self.most);
        } else if got < self.size / 8 {
            self.size = (self.size / 4).max(LEAST_READ);
        }
    }
}
