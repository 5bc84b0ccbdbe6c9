//! What is left to spend, and where in the value it is spent.

use std::cell::Cell;
use std::mem::size_of;

use serde::de::Error;

/// The levels of nesting allowed.
pub(in crate::codec) const DEEPEST: u32 = 128;

/// The memory that one value may still take while it is decoded.
pub(in crate::codec) struct Budget {
    limit: usize,
    /// No collection is told to reserve room for more elements.
    pub(super) longest_hint: usize,
    left: Cell<usize>,
    refusal: Cell<Option<Refusal>>,
}

/// Why a guard ended decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) enum Refusal {
    Memory { needed: usize, limit: usize },
    Depth { limit: u32 },
}

impl Budget {
    /// Allows `limit` bytes of memory for a value decoded from `input` bytes.
    #[inline]
    pub(in crate::codec) fn new(limit: usize, input: usize) -> Self {
        Self {
            limit,
            longest_hint: input.min(RESERVATION),
            left: Cell::new(limit),
            refusal: Cell::new(None),
        }
    }

    /// Why decoding was ended, if it was a guard of this budget that did it.
    pub(in crate::codec) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    #[inline]
    pub(super) fn try_charge(&self, bytes: usize) -> bool {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                true
            }
            None => false,
        }
    }

    #[inline]
    pub(super) fn charge<E: Error>(&self, bytes: usize) -> Result<(), E> {
        if self.try_charge(bytes) {
            Ok(())
        } else {
            Err(self.refuse_memory(bytes))
        }
    }

    pub(super) fn refund(&self, bytes: usize) {
        self.left.set(self.left.get().saturating_add(bytes));
    }

    #[cold]
    fn refuse_memory<E: Error>(&self, bytes: usize) -> E {
        let used = self.limit.saturating_sub(self.left.get());
        self.refusal.set(Some(Refusal::Memory {
            needed: used.saturating_add(bytes),
            limit: self.limit,
        }));
        E::custom("too much memory")
    }

    #[cold]
    fn refuse_depth<E: Error>(&self) -> E {
        self.refusal.set(Some(Refusal::Depth { limit: DEEPEST }));
        E::custom("nested too deeply")
    }
}

/// What serde's `cautious` reserves at most for one collection, in bytes.
pub(super) const RESERVATION: usize = 1024 * 1024;

/// Where in the value decoding stands.
#[derive(Clone, Copy)]
pub(super) struct Scope<'b> {
    pub(super) budget: &'b Budget,
    /// The levels of nesting left.
    pub(super) levels: u32,
}

impl Scope<'_> {
    /// Pays for a `T` unless it can lie in the `Place` that is paid for.
    #[inline]
    pub(super) fn house<T, Place, E: Error>(self) -> Result<(), E> {
        if size_of::<T>() > size_of::<Place>() {
            self.budget.charge(size_of::<T>())
        } else {
            Ok(())
        }
    }

    /// One level further down, with a `T` paid for.
    #[inline]
    pub(super) fn enter<T, Place, E: Error>(self) -> Result<Self, E> {
        self.house::<T, Place, E>()?;
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels, ..self }),
            None => Err(self.budget.refuse_depth()),
        }
    }
}
