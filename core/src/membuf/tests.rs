//! The buffer against a naive model, and its limits.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::{Error, InputError};
use crate::types::{Key, KeyRange, Value};

const LIMITS: Limits = Limits { key: 4, entry: 10, total: 20, redacted: false };

fn buffer() -> MemBuf {
    MemBuf::new(LIMITS)
}

fn entry(change: Change, must_be_new: bool) -> Entry {
    Entry { change, must_be_new }
}

#[test]
fn a_write_over_a_limit_changes_nothing() {
    let mut buffer = buffer();
    buffer.put("a".into(), "1".into()).unwrap();
    let key: Key = "12345".into();
    let too_long = buffer.put(key, "1".into()).unwrap_err();
    assert!(matches!(too_long, Error::Input(InputError::KeyTooLarge { size: 5, limit: 4, .. })));
    let too_large = buffer.put("a".into(), "0123456789".into()).unwrap_err();
    assert!(matches!(too_large, Error::Input(InputError::EntryTooLarge { size: 11, limit: 10, .. })));
    buffer.put("b".into(), "12345678".into()).unwrap();
    // client-go keeps the write that was too much (`membuffer.md` 11): here it is refused as a whole.
    let too_much = buffer.put("c".into(), "123456789".into()).unwrap_err();
    assert!(matches!(too_much, Error::Input(InputError::TxnTooLarge { size: 21, limit: 20 })));
    assert_eq!(buffer.get(&"c".into()), None);
    assert_eq!((buffer.len(), buffer.size()), (2, 11));
}

#[test]
fn an_overwritten_value_counts_once() {
    let mut buffer = buffer();
    for value in ["123456789", "1", "12345"] {
        buffer.put("a".into(), value.into()).unwrap();
    }
    assert_eq!(buffer.size(), 6);
    buffer.delete("a".into()).unwrap();
    assert_eq!(buffer.size(), 1);
}

#[test]
fn empty_keys_and_values_are_refused() {
    let mut buffer = buffer();
    assert!(matches!(buffer.put("".into(), "1".into()), Err(Error::Input(InputError::EmptyKey { .. }))));
    assert!(matches!(buffer.put("a".into(), "".into()), Err(Error::Input(InputError::EmptyValue { .. }))));
    assert!(matches!(buffer.delete("".into()), Err(Error::Input(InputError::EmptyKey { .. }))));
    assert!(buffer.is_empty());
}

#[test]
fn an_insert_stays_one_whatever_is_written_over_it() {
    let mut buffer = buffer();
    assert_eq!(buffer.insert("a".into(), "1".into()), Ok(true));
    buffer.put("a".into(), "2".into()).unwrap();
    assert_eq!(buffer.get(&"a".into()), Some(&entry(Change::Put("2".into()), true)));
    buffer.delete("a".into()).unwrap();
    assert_eq!(buffer.get(&"a".into()), Some(&entry(Change::Delete, true)));
    assert_eq!(buffer.insert("a".into(), "3".into()), Ok(true));
    assert_eq!(buffer.get(&"a".into()), Some(&entry(Change::Put("3".into()), true)));
}

#[test]
fn an_insert_over_the_own_value_is_refused_and_over_the_own_delete_needs_no_check() {
    let mut buffer = buffer();
    buffer.put("a".into(), "1".into()).unwrap();
    assert_eq!(buffer.insert("a".into(), "2".into()), Ok(false));
    assert_eq!(buffer.get(&"a".into()), Some(&entry(Change::Put("1".into()), false)));
    buffer.delete("b".into()).unwrap();
    assert_eq!(buffer.insert("b".into(), "2".into()), Ok(true));
    assert_eq!(buffer.get(&"b".into()), Some(&entry(Change::Put("2".into()), false)));
}

#[test]
fn a_range_the_wrong_way_round_is_empty() {
    let mut buffer = buffer();
    buffer.put("b".into(), "1".into()).unwrap();
    assert_eq!(buffer.range(&KeyRange::new("c", "a")).count(), 0);
    assert_eq!(buffer.range(&KeyRange::new("b", "b")).count(), 0);
}

#[derive(Clone, Debug)]
enum Write {
    Put(u8, u8),
    Insert(u8, u8),
    Delete(u8),
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = prop_oneof![
        (0..8_u8, 1..9_u8).prop_map(|(key, size)| Write::Put(key, size)),
        (0..8_u8, 1..9_u8).prop_map(|(key, size)| Write::Insert(key, size)),
        (0..8_u8).prop_map(Write::Delete),
    ];
    proptest::collection::vec(write, 0..40)
}

fn key(n: u8) -> Key {
    Key::from(vec![n])
}

fn value(size: u8) -> Value {
    vec![size; size.into()].into()
}

proptest! {
    #[test]
    fn it_holds_what_a_map_holds(writes in writes(), start in 0..9_u8, end in 0..9_u8) {
        let mut buffer = MemBuf::new(Limits { key: 4, entry: 100, total: 1000, redacted: false });
        let mut model: BTreeMap<Key, Option<Value>> = BTreeMap::new();
        for write in writes {
            match write {
                Write::Put(n, size) => {
                    buffer.put(key(n), value(size)).unwrap();
                    model.insert(key(n), Some(value(size)));
                }
                Write::Insert(n, size) => {
                    let free = model.get(&key(n)).is_none_or(|value| value.is_none());
                    prop_assert_eq!(buffer.insert(key(n), value(size)), Ok(free));
                    if free {
                        model.insert(key(n), Some(value(size)));
                    }
                }
                Write::Delete(n) => {
                    buffer.delete(key(n)).unwrap();
                    model.insert(key(n), None);
                }
            }
        }
        let size: usize = model.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, |v| v.len())).sum();
        prop_assert_eq!((buffer.len(), buffer.size()), (model.len(), size));
        let range = KeyRange { start: key(start), end: key(end) };
        let seen: Vec<_> = buffer.range(&range).map(|(k, e)| (k.clone(), e.change.value().cloned())).collect();
        let wanted: Vec<_> =
            model.clone().into_iter().filter(|(key, _)| range.contains(key.as_slice())).collect();
        prop_assert_eq!(seen, wanted);
        let all: Vec<_> = buffer.take().map(|(k, e)| (k, e.change.value().cloned())).collect();
        prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        prop_assert_eq!((buffer.len(), buffer.size()), (0, 0));
    }
}
