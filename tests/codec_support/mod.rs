//! Values of many shapes, and hostile encodings of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, LinkedList, VecDeque};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use sessionwire::codec::varint;

mod varints;

/// One of every shape that serde knows.
#[expect(clippy::linkedlist, reason = "a peer's message may hold one")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Zoo {
    pub(crate) flag: bool,
    pub(crate) integers: (i8, i16, i32, i64, i128, u8, u16, u32, u64, u128),
    pub(crate) real: (f32, f64),
    pub(crate) letter: char,
    pub(crate) text: String,
    pub(crate) boxed: Box<str>,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
    pub(crate) slow_bytes: Vec<u8>,
    pub(crate) array: [u16; 5],
    pub(crate) nested: Vec<Vec<Option<String>>>,
    pub(crate) queue: VecDeque<u64>,
    pub(crate) list: LinkedList<i32>,
    pub(crate) map: HashMap<String, Animal>,
    pub(crate) sorted: BTreeMap<u32, Vec<u8>>,
    pub(crate) sets: (HashSet<u64>, BTreeSet<String>),
    pub(crate) animal: Animal,
    pub(crate) tree: Tree,
    pub(crate) wrapped: Wrapped,
    pub(crate) nothing: Nothing,
    pub(crate) nothings: Vec<()>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Animal {
    Ant,
    Bee(u64),
    Cat(String, Option<Box<u32>>),
    Dog { name: String, legs: u8 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Tree {
    Leaf,
    Branch(Box<Self>),
    Fork { left: Box<Self>, right: Box<Self> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wrapped(pub(crate) Vec<i64>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Nothing;

pub(crate) fn zoo() -> impl Strategy<Value = Zoo> {
    let plain = (
        any::<bool>(),
        any::<(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128)>(),
        (-1e9_f32..1e9, -1e99_f64..1e99),
        any::<char>(),
        ".{0,20}",
        ".{0,9}",
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(any::<u8>(), 0..300),
        any::<[u16; 5]>(),
    );
    let collections = (
        prop::collection::vec(
            prop::collection::vec(prop::option::of(".{0,9}"), 0..5),
            0..5,
        ),
        prop::collection::vec_deque(any::<u64>(), 0..40),
        prop::collection::linked_list(any::<i32>(), 0..40),
        prop::collection::hash_map(".{0,9}", animal(), 0..20),
        prop::collection::btree_map(
            any::<u32>(),
            prop::collection::vec(any::<u8>(), 0..9),
            0..20,
        ),
        prop::collection::hash_set(any::<u64>(), 0..20),
        prop::collection::btree_set(".{0,9}", 0..20),
        animal(),
        tree(),
        prop::collection::vec(any::<i64>(), 0..20),
        0..100_usize,
    );
    (plain, collections).prop_map(|(plain, collections)| {
        let (flag, integers, real, letter, text, boxed, bytes, slow_bytes, array) = plain;
        let (nested, queue, list, map, sorted, hashed, ordered, animal, tree, wrapped, nothings) =
            collections;
        Zoo {
            flag,
            integers,
            real,
            letter,
            text,
            boxed: boxed.into(),
            bytes,
            slow_bytes,
            array,
            nested,
            queue,
            list,
            map,
            sorted,
            sets: (hashed, ordered),
            animal,
            tree,
            wrapped: Wrapped(wrapped),
            nothing: Nothing,
            nothings: vec![(); nothings],
        }
    })
}

fn animal() -> impl Strategy<Value = Animal> {
    prop_oneof![
        Just(Animal::Ant),
        any::<u64>().prop_map(Animal::Bee),
        (".{0,9}", any::<Option<Box<u32>>>()).prop_map(|(name, toys)| Animal::Cat(name, toys)),
        (".{0,9}", any::<u8>()).prop_map(|(name, legs)| Animal::Dog { name, legs }),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    Just(Tree::Leaf).prop_recursive(6, 30, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Branch(tree.into())),
            (inner.clone(), inner).prop_map(|(left, right)| Tree::Fork {
                left: left.into(),
                right: right.into()
            }),
        ]
    })
}

/// Bodies of at most `max` bytes made to cost the decoder of a collection as much as can be.
pub(crate) fn hostile_bodies(max: usize) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let claims = [u64::MAX, max as u64, 40_000, 1 << 40, 1 << 20, 3];
    // Large bodies are slow to decode, and the last claims tell little more there.
    let worthwhile = if max > 64 * 1024 { 1 } else { claims.len() };
    for claimed in claims.into_iter().take(worthwhile) {
        let mut head = Vec::new();
        varint::put_u64(&mut head, claimed);
        // Elements of zeros (None, 0, empty) and of ones (Some, 1, one long).
        for filler in [0, 1, 2] {
            let mut body = head.clone();
            body.resize(max, filler);
            bodies.push(body);
        }
        // The same claim in every place, for collections of collections.
        bodies.push(head.iter().copied().cycle().take(max).collect());
        // Few and truthful-looking outer elements, each with a large claim.
        let mut nested = vec![200];
        while nested.len() < max {
            nested.extend_from_slice(&head);
        }
        nested.truncate(max);
        bodies.push(nested);
        bodies.push(head);
    }
    // Distinct elements, which sets and maps keep.
    let mut distinct = vec![253, 255, 255, 255, 255, 255, 255, 255, 255];
    for number in 0_u32.. {
        if distinct.len() + 5 > max {
            break;
        }
        varint::put_u32(&mut distinct, number);
    }
    bodies.push(distinct);
    // As many elements as a body of zeros holds, and just past where a growing array doubles.
    for count in [
        max / 2 + 1,
        max / 8 + 1,
        max / 3,
        (max / 32).next_power_of_two() + 1,
    ] {
        let mut body = Vec::new();
        varint::put_u64(&mut body, count as u64);
        body.resize(body.len() + count, 0);
        body.truncate(max);
        bodies.push(body);
    }
    bodies
}
