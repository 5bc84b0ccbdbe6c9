//! Keeps any decoder, and any `Deserialize` implementation, within a memory budget and a depth.
//!
//! A [`Guard`] wraps a deserializer and everything that the deserializer lends out, so that it sees
//! each value before or just after it comes to be. It charges what is about to be allocated:
//!
//! - An element of a sequence costs its size: the elements for which room was reserved up front
//!   once, all others twice, as a collection that grows by doubling allocates up to four times its
//!   final size in all. Elements of no size cost 1, which bounds loops over nothing.
//! - A sequence whose size hint nobody asked for goes to a collection with a node per element or
//!   so: an element costs its size and [`NODE`](access::NODE) bytes.
//! - An entry of a map costs its size, a quarter of it, and [`NODE`](access::NODE) bytes.
//! - Strings and bytes cost their length.
//! - A value larger than the place it is for must be behind a pointer, so it costs its size.
//!   Fields of structs and tuples are free, as the place of the whole is paid for.

use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Visitor};

pub(super) use self::budget::{Budget, Refusal};
use self::budget::{DEEPEST, Scope};
use self::visit::{FIXED, GROWING, Watch};

mod access;
mod budget;
mod visit;

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

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Root<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T, D::Error> {
        let scope = Scope {
            budget: self.budget,
            levels: DEEPEST,
        };
        T::deserialize(Guard::<D, T>::new(inner, scope))
    }
}

/// A deserializer held to a [`Budget`], of a value for which there is a `Place`.
struct Guard<'b, D, Place> {
    inner: D,
    scope: Scope<'b>,
    place: PhantomData<fn() -> Place>,
}

impl<'b, D, Place> Guard<'b, D, Place> {
    #[inline]
    fn new(inner: D, scope: Scope<'b>) -> Self {
        Self {
            inner,
            scope,
            place: PhantomData,
        }
    }
}

macro_rules! forward_plain {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            self.scope.house::<V::Value, Place, _>()?;
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
            let scope = self.scope.enter::<V::Value, Place, _>()?;
            self.inner.$inner($($argument,)* Watch::<V, $grows> { visitor, scope })
        }
    )*};
}

impl<'de, D: Deserializer<'de>, Place> Deserializer<'de> for Guard<'_, D, Place> {
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
        self.scope.house::<V::Value, Place, _>()?;
        self.inner.deserialize_unit_struct(name, visitor)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}
