use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::BytesMut;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::vectors::{Example, examples};
use super::{MaxMessageSize, decode, encode};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    First,
    Second { number: u8, name: Option<String> },
}

#[test]
fn values_are_encoded_as_the_document_says() {
    let mut left: BTreeMap<_, _> = examples("value-vectors")
        .into_iter()
        .map(|example| (example.name, example))
        .collect();
    let mut check = Check(&mut left);
    check.value("value-unit", "unit", &());
    check.value("value-bool", "bool", &true);
    check.value("value-u8", "u8", &255_u8);
    check.value("value-u16", "u16", &251_u16);
    check.value("value-u64", "u64", &u64::MAX);
    check.value("value-u128", "u128", &(1_u128 << 64));
    check.value("value-i8", "i8", &-1_i8);
    check.value("value-i32", "i32", &1_i32);
    check.value("value-i32-negative", "i32", &-1_i32);
    check.value("value-i64-least", "i64", &i64::MIN);
    check.value("value-f32", "f32", &1.5_f32);
    check.value("value-f64", "f64", &-1.5_f64);
    check.value("value-character", "char", &'ö');
    check.value("value-text", "text", &String::from("größe"));
    check.value("value-nothing", "optional", &None::<u8>);
    check.value("value-something", "optional", &Some(5_u8));
    check.value("value-tuple", "tuple", &(1_u8, 300_u32));
    check.value("value-array", "array", &[1_u8, 2, 3]);
    check.value("value-list", "list", &vec![1_u64, 2, 300]);
    let map = BTreeMap::from([("a".to_owned(), 5_u8), ("b".to_owned(), 6)]);
    check.value("value-map", "map", &map);
    let (number, name) = (5, None);
    check.value("value-enum", "enum", &Choice::Second { number, name });
    let first = decode::<Choice>(&[0], MaxMessageSize::default());
    assert_eq!(first.unwrap(), Choice::First);
    let left: BTreeSet<_> = left.into_keys().collect();
    assert!(left.is_empty(), "not checked: {left:?}");
}

#[test]
fn a_value_may_have_longer_integers_and_nothing_behind_it() {
    let read = |bytes: &[u8]| decode::<u32>(bytes, MaxMessageSize::default()).ok();
    assert_eq!(read(&[0xfb, 5, 0]), Some(5));
    assert_eq!(read(&[5, 0]), None);
}

struct Check<'left>(&'left mut BTreeMap<&'static str, Example>);

impl Check<'_> {
    fn value<T>(&mut self, name: &str, kind: &str, value: &T)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let example = self.0.remove(name).expect(name);
        assert_eq!(format!("{kind} {value:?}"), example.meaning, "{name}");
        let max = MaxMessageSize::default();
        let mut bytes = BytesMut::new();
        encode(value, &mut bytes, max).expect(name);
        assert_eq!(bytes, example.bytes, "{name}");
        let decoded: T = decode(&example.bytes, max).expect(name);
        assert_eq!(decoded, *value, "{name}");
    }
}
