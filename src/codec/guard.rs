//! Keeps any decoder, and any `Deserialize` implementation, within a memory budget and a depth.
//!
//! A [`Guard`] wraps a deserializer and everything that the deserializer lends out, so that it sees
//! each value before or just after it comes to be. It charges what is about to be allocated:
//!
//! - An element of a sequence costs its size: the elements for which room was reserved up front
//!   once, all others twice, as a collection that grows by doubling allocates up to four times its
//!   final size in all. Elements of no size cost 1, which bounds loops over nothing.
//! - A sequence whose size hint nobody asked for goes to a collection with a node per element or
//!   so: an element costs its size and [`NODE`] bytes.
//! - An entry of a map costs its size, a quarter of it, and [`NODE`] bytes.
//! - Strings and bytes cost their length.
//! - A value larger than the place it is for must be behind a pointer, so it costs its size.
//!   Fields of structs and tuples are free, as the place of the whole is paid for.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::size_of;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// The levels of nesting allowed.
pub(super) const DEEPEST: u32 = 128;

/// The memory that one value may still take while it is decoded.
pub(super) struct Budget {
    limit: usize,
    longest_hint: usize,
    left: Cell<usize>,
    refusal: Cell<Option<Refusal>>,
}

/// Why a [`Guard`] ended decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Memory { needed: usize, limit: usize },
    Depth { limit: u32 },
}

impl Budget {
    /// Allows `limit` bytes of memory for a value decoded from `input` bytes.
    #[inline]
    pub(super) fn new(limit: usize, input: usize) -> Self {
        Self {
            limit,
            longest_hint: input.min(RESERVATION),
            left: Cell::new(limit),
            refusal: Cell::new(None),
        }
    }

    /// Why decoding was ended, if it was a guard of this budget that did it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    #[inline]
    fn try_charge(&self, bytes: usize) -> bool {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                true
            }
            None => false,
        }
    }

    #[inline]
    fn charge<E: Error>(&self, bytes: usize) -> Result<(), E> {
        if self.try_charge(bytes) {
            Ok(())
        } else {
            Err(self.refuse_memory(bytes))
        }
    }

    fn refund(&self, bytes: usize) {
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

/// A deserializer held to a [`Budget`].
pub(super) struct Guard<'b, D> {
    inner: D,
    scope: Scope<'b>,
}

impl<'b, D> Guard<'b, D> {
    /// Holds `inner`, from which a `T` is to be read, to `budget`.
    #[inline]
    pub(super) fn new<T>(inner: D, budget: &'b Budget) -> Self {
        let scope = Scope {
            budget,
            levels: DEEPEST,
            place: size_of::<T>(),
        };
        Self { inner, scope }
    }
}

/// What serde's `cautious` reserves at most for one collection, in bytes.
const RESERVATION: usize = 1024 * 1024;

/// What an element costs over its size in a collection that is not one array.
const NODE: usize = 16;

/// Where in the value decoding stands.
#[derive(Clone, Copy)]
struct Scope<'b> {
    budget: &'b Budget,
    /// The levels of nesting left.
    levels: u32,
    /// The bytes that are paid for and that the next value can lie in.
    place: usize,
}

impl Scope<'_> {
    /// Pays for a `T` unless it can lie in the place that is paid for.
    #[inline]
    fn house<T, E: Error>(self) -> Result<(), E> {
        if size_of::<T>() > self.place {
            self.budget.charge(size_of::<T>())
        } else {
            Ok(())
        }
    }

    /// One level further down, in a place for a `T`, which is paid for.
    #[inline]
    fn enter<T, E: Error>(self) -> Result<Self, E> {
        self.house::<T, E>()?;
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self {
                levels,
                ..self.place_for::<T>()
            }),
            None => Err(self.budget.refuse_depth()),
        }
    }

    #[inline]
    fn place_for<T>(self) -> Self {
        Self {
            place: size_of::<T>(),
            ..self
        }
    }
}

macro_rules! forward_plain {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            self.scope.house::<V::Value, _>()?;
            self.inner.$method(visitor)
        }
    )*};
}

macro_rules! forward_watched {
    ($($method:ident($($argument:ident: $type:ty),*) => $inner:ident, $grows:ident;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            let scope = self.scope.enter::<V::Value, _>()?;
            self.inner.$inner($($argument,)* Watch::<V, $grows> { visitor, scope })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guard<'_, D> {
    type Error = D::Error;

    forward_plain! {
        deserialize_bool
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_unit
    }

    // Owned strings and bytes are asked for as borrowed ones: those are checked against the input
    // before the visitor copies them, the others may be allocated at the length that is claimed.
    forward_watched! {
        deserialize_any() => deserialize_any, GROWING;
        deserialize_ignored_any() => deserialize_ignored_any, GROWING;
        deserialize_identifier() => deserialize_identifier, GROWING;
        deserialize_str() => deserialize_str, GROWING;
        deserialize_string() => deserialize_str, GROWING;
        deserialize_bytes() => deserialize_bytes, GROWING;
        deserialize_byte_buf() => deserialize_bytes, GROWING;
        deserialize_option() => deserialize_option, FIXED;
        deserialize_newtype_struct(name: &'static str) => deserialize_newtype_struct, FIXED;
        deserialize_seq() => deserialize_seq, GROWING;
        deserialize_map() => deserialize_map, GROWING;
        deserialize_tuple(length: usize) => deserialize_tuple, FIXED;
        deserialize_tuple_struct(name: &'static str, length: usize) => deserialize_tuple_struct, FIXED;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) => deserialize_struct, FIXED;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) => deserialize_enum, FIXED;
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.scope.house::<V::Value, _>()?;
        self.inner.deserialize_unit_struct(name, visitor)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A visitor is given the elements of a collection, which grows with them.
const GROWING: bool = true;

/// A visitor is given the fields of a value of fixed size.
const FIXED: bool = false;

/// A visitor that guards what it is given before it passes it on.
struct Watch<'b, V, const GROWS: bool> {
    visitor: V,
    scope: Scope<'b>,
}

macro_rules! visit_plain {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

macro_rules! visit_copied {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        #[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.scope.budget.charge(value.len())?;
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>, const GROWS: bool> Visitor<'de> for Watch<'_, V, GROWS> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.visitor.expecting(formatter)
    }

    visit_plain! {
        visit_bool: bool,
        visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128,
        visit_f32: f32, visit_f64: f64, visit_char: char,
    }

    visit_copied! {
        visit_str: &str, visit_borrowed_str: &'de str, visit_string: String,
        visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Guard {
            inner,
            scope: self.scope,
        })
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Guard {
            inner,
            scope: self.scope,
        })
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let scope = self.scope;
        if GROWS {
            self.visitor.visit_seq(Elements {
                inner,
                scope,
                room: Cell::new(Room::Unasked),
            })
        } else {
            self.visitor.visit_seq(Fields {
                inner,
                scope,
                room: scope.place,
            })
        }
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Entries {
            inner,
            scope: self.scope,
        })
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Choice {
            inner,
            scope: self.scope,
        })
    }
}

/// The elements of a collection, charged one by one.
struct Elements<'b, A> {
    inner: A,
    scope: Scope<'b>,
    room: Cell<Room>,
}

/// What is known of the collection that a sequence goes to.
#[derive(Clone, Copy)]
enum Room {
    /// Nobody asked how many elements there are: no array to reserve room in.
    Unasked,
    /// The answer was so many elements, and all that serde reserves for them is paid for.
    Reserved(usize),
    /// So many more elements have room that is paid for, then the array has to grow.
    Paid(usize),
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let size = size_of::<T::Value>();
        if let Room::Reserved(hint) = self.room.get() {
            let reserved = hint.saturating_mul(size).min(RESERVATION);
            self.scope
                .budget
                .refund(RESERVATION.saturating_sub(reserved));
            self.room
                .set(Room::Paid(reserved.checked_div(size).unwrap_or(0)));
        }
        let scope = self.scope.place_for::<T::Value>();
        let Some(element) = self.inner.next_element_seed(Seed { seed, scope })? else {
            return Ok(None);
        };
        match self.room.get() {
            Room::Paid(0) => scope.budget.charge(size.saturating_mul(2).max(1))?,
            Room::Paid(elements) => self.room.set(Room::Paid(elements.saturating_sub(1))),
            _ => scope.budget.charge(size.saturating_add(NODE))?,
        }
        Ok(Some(element))
    }

    /// How many elements to reserve room for: none once the budget is short.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        match self.room.get() {
            Room::Unasked => {
                let hint = self
                    .inner
                    .size_hint()
                    .unwrap_or(0)
                    .min(self.scope.budget.longest_hint);
                if hint > 0 && self.scope.budget.try_charge(RESERVATION) {
                    self.room.set(Room::Reserved(hint));
                    Some(hint)
                } else {
                    self.room.set(Room::Paid(0));
                    Some(0)
                }
            }
            Room::Reserved(hint) => Some(hint),
            Room::Paid(_) => None,
        }
    }
}

/// The fields of a value, free as long as they can lie within it.
struct Fields<'b, A> {
    inner: A,
    scope: Scope<'b>,
    room: usize,
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
        let scope = self.scope.place_for::<T::Value>();
        self.inner.next_element_seed(Seed { seed, scope })
    }

    fn size_hint(&self) -> Option<usize> {
        None
    }
}

/// The entries of a map, charged one by one.
struct Entries<'b, A> {
    inner: A,
    scope: Scope<'b>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let scope = self.scope.place_for::<T::Value>();
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
        let scope = self.scope.place_for::<T::Value>();
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
struct Choice<'b, A> {
    inner: A,
    scope: Scope<'b>,
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
        Ok((
            name,
            Choice {
                inner,
                scope: self.scope,
            },
        ))
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
        let scope = self.scope.place_for::<T::Value>();
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
        self.seed.deserialize(Guard {
            inner,
            scope: self.scope,
        })
    }
}

/// The seed of a whole value that is held to a budget.
pub(super) struct Root<'b, T> {
    budget: &'b Budget,
    value: PhantomData<fn() -> T>,
}

impl<'b, T> Root<'b, T> {
    #[inline]
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self {
            budget,
            value: PhantomData,
        }
    }
}

impl<'de, T: serde::Deserialize<'de>> DeserializeSeed<'de> for Root<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T, D::Error> {
        T::deserialize(Guard::new::<T>(inner, self.budget))
    }
}
