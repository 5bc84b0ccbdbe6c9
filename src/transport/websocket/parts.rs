use std::io::IoSlice;

/// A caller's buffers, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Parts<'a> {
    current: &'a [u8],
    rest: &'a [IoSlice<'a>],
}

impl<'a> Parts<'a> {
    pub(super) fn new(buffers: &'a [IoSlice<'a>]) -> Self {
        Self {
            current: &[],
            rest: buffers,
        }
    }

    pub(super) fn total(&self) -> usize {
        let lengths = self.rest.iter().map(|buffer| buffer.len());
        lengths.fold(self.current.len(), usize::saturating_add)
    }

    /// The next `count` bytes, as the pieces that they lie in.
    pub(super) fn take(&mut self, mut count: usize) -> impl Iterator<Item = &'a [u8]> {
        std::iter::from_fn(move || {
            while self.current.is_empty() {
                let (first, rest) = self.rest.split_first()?;
                self.current = first;
                self.rest = rest;
            }
            let (now, later) = self.current.split_at(count.min(self.current.len()));
            self.current = later;
            count = count.saturating_sub(now.len());
            (!now.is_empty()).then_some(now)
        })
    }
}
