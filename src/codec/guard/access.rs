//! What a visitor pulls elements, entries and variants from.

use std::cell::Cell;
use std::mem::size_of;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::Guard;
use super::budget::{RESERVATION, Scope};
use super::visit::{FIXED, Watch};

/// What an element costs over its size in a collection that is not one array.
pub(super) const NODE: usize = 16;

/// The elements of a collection, charged one by one.
pub(super) struct Elements<'b, A> {
    inner: A,
    scope: Scope<'b>,
    collection: Cell<Collection>,
    /// So many more elements have room that is paid for.
    paid: usize,
}

/// What is known of the collection that a sequence goes to.
#[derive(Clone, Copy)]
enum Collection {
    /// Nobody asked how many elements there are, so room is not reserved in one array.
    Unasked,
    /// The answer was so many elements, and all that serde reserves for them is charged.
    Reserved(usize),
    /// An array that has to grow once the paid room is used up.
    Array,
}

impl<'b, A> Elements<'b, A> {
    #[inline]
    pub(super) fn new(inner: A, scope: Scope<'b>) -> Self {
        Self {
            inner,
            scope,
            collection: Cell::new(Collection::Unasked),
            paid: 0,
        }
    }

    /// Charges what was reserved for elements of this size instead of the most it could be.
    #[inline]
    fn settle(&mut self, size: usize) {
        if let Collection::Reserved(hint) = self.collection.get() {
            let reserved = hint.saturating_mul(size).min(RESERVATION);
            self.scope
                .budget
                .refund(RESERVATION.saturating_sub(reserved));
            self.collection.set(Collection::Array);
            self.paid = reserved.checked_div(size).unwrap_or(0);
        }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let size = size_of::<T::Value>();
        if self.paid == 0 {
            self.settle(size);
        }
        let scope = self.scope;
        let Some(element) = self.inner.next_element_seed(Seed { seed, scope })? else {
            return Ok(None);
        };
        if let Some(paid) = self.paid.checked_sub(1) {
            self.paid = paid;
        } else {
            scope.budget.charge(match self.collection.get() {
                Collection::Unasked => size.saturating_add(NODE),
                _ => size.saturating_mul(2).max(1),
            })?;
        }
        Ok(Some(element))
    }

    /// How many elements to reserve room for: none once the budget is short.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        match self.collection.get() {
            Collection::Unasked => {
                let budget = self.scope.budget;
                let hint = self.inner.size_hint().unwrap_or(0).min(budget.longest_hint);
                if hint > 0 && budget.try_charge(RESERVATION) {
                    self.collection.set(Collection::Reserved(hint));
                    Some(hint)
                } else {
                    self.collection.set(Collection::Array);
                    Some(0)
                }
            }
            Collection::Reserved(hint) => Some(hint),
            Collection::Array => None,
        }
    }
}

/// The fields of a value, free as long as they can lie within it.
pub(super) struct Fields<'b, A> {
    inner: A,
    scope: Scope<'b>,
    room: usize,
}

impl<'b, A> Fields<'b, A> {
    /// The fields of a `T`.
    #[inline]
    pub(super) fn new<T>(inner: A, scope: Scope<'b>) -> Self {
        Self {
            inner,
            scope,
            room: size_of::<T>(),
        }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Fields<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let size = size_of::<T::Value>();
        match self.room.checked_sub(size) {
            Some(room) => self.room = room,
            None => self.scope.budget.charge(size.saturating_mul(2))?,
        }
        let scope = self.scope;
        self.inner.next_element_seed(Seed { seed, scope })
    }

    fn size_hint(&self) -> Option<usize> {
        None
    }
}

/// The entries of a map, charged one by one.
pub(super) struct Entries<'b, A> {
    inner: A,
    scope: Scope<'b>,
}

impl<'b, A> Entries<'b, A> {
    #[inline]
    pub(super) fn new(inner: A, scope: Scope<'b>) -> Self {
        Self { inner, scope }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let scope = self.scope;
        let key = self.inner.next_key_seed(Seed { seed, scope })?;
        if key.is_some() {
            scope
                .budget
                .charge(size_in_map::<T::Value>().saturating_add(NODE))?;
        }
        Ok(key)
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let scope = self.scope;
        scope.budget.charge(size_in_map::<T::Value>())?;
        self.inner.next_value_seed(Seed { seed, scope })
    }

    fn size_hint(&self) -> Option<usize> {
        None
    }
}

/// A hash table leaves an eighth of its slots empty at least, hence the quarter more.
const fn size_in_map<T>() -> usize {
    size_of::<T>().saturating_add(size_of::<T>() / 4)
}

/// The variant of an enum, before its content.
pub(super) struct Choice<'b, A> {
    inner: A,
    scope: Scope<'b>,
}

impl<'b, A> Choice<'b, A> {
    #[inline]
    pub(super) fn new(inner: A, scope: Scope<'b>) -> Self {
        Self { inner, scope }
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Choice<'b, A> {
    type Error = A::Error;
    type Variant = Choice<'b, A::Variant>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let (name, inner) = self.inner.variant_seed(seed)?;
        Ok((name, Choice::new(inner, self.scope)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Choice<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let scope = self.scope;
        self.inner.newtype_variant_seed(Seed { seed, scope })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(
            length,
            Watch::<V, FIXED> {
                visitor,
                scope: self.scope,
            },
        )
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(
            fields,
            Watch::<V, FIXED> {
                visitor,
                scope: self.scope,
            },
        )
    }
}

/// A seed that is handed a guarded deserializer.
struct Seed<'b, S> {
    seed: S,
    scope: Scope<'b>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.seed
            .deserialize(Guard::<D, S::Value>::new(inner, self.scope))
    }
}
