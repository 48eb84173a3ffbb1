//! Revisions, compaction and spans of the keys.

use proptest::prelude::*;

use super::*;

fn put(keys: &mut Keys, key: &'static str, value: &'static str) -> i64 {
    keys.put(key.into(), value.into(), 0).expect("a key");
    keys.revision()
}

fn values(keys: &Keys, span: &Span, revision: i64) -> String {
    let found = keys.get(span, revision, 0).expect("a revision that is there");
    found.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).collect()
}

#[test]
fn each_revision_can_be_read_until_it_is_compacted() {
    let mut keys = Keys::default();
    let all = Span::From(Bytes::new());
    let first = put(&mut keys, "a", "1");
    let second = put(&mut keys, "a", "2");
    keys.delete(&Span::One("a".into())).expect("a key");
    put(&mut keys, "b", "3");
    assert_eq!((values(&keys, &all, first), values(&keys, &all, second)), ("1".into(), "2".into()));
    assert_eq!((values(&keys, &all, second + 1), values(&keys, &all, 0)), (String::new(), "3".into()));
    keys.compact(second).expect("a new revision");
    assert_eq!(keys.get(&all, first, 0), Err(KvError::Compacted));
    assert_eq!(values(&keys, &all, second), "2", "the compacted revision itself is still there");
    assert_eq!(keys.compact(second), Err(KvError::Compacted));
    assert_eq!(keys.compact(99), Err(KvError::Future));
    assert_eq!(keys.get(&all, 99, 0), Err(KvError::Future));
}

#[test]
fn versions_count_up_and_begin_again_after_a_deletion() {
    let mut keys = Keys::default();
    put(&mut keys, "a", "1");
    put(&mut keys, "a", "2");
    keys.delete(&Span::One("a".into())).expect("a key");
    put(&mut keys, "a", "3");
    let span = Span::One("a".into());
    let mut from = 0;
    let mut seen = Vec::new();
    while let Some((revision, changes)) = keys.changes_from(from, &span) {
        seen.extend(changes.into_iter().map(|change| {
            (change.now.created, change.now.modified, change.now.version, change.before.map(|kv| kv.version))
        }));
        from = revision + 1;
    }
    assert_eq!(seen, [(2, 2, 1, None), (2, 3, 2, Some(1)), (0, 4, 0, Some(2)), (5, 5, 1, None)]);
}

#[test]
fn a_deletion_of_nothing_is_no_revision() {
    let mut keys = Keys::default();
    keys.delete(&Span::One("a".into())).expect("a key");
    keys.write(vec![("b".into(), None)]);
    assert_eq!(keys.revision(), 1);
}

#[test]
fn old_changes_are_forgotten_before_they_fill_the_memory() {
    let mut keys = Keys::default();
    for _ in 0..=MOST_CHANGES {
        put(&mut keys, "a", "1");
    }
    assert!(keys.log.len() <= MOST_CHANGES && keys.compacted() > 0);
    assert_eq!(values(&keys, &Span::One("a".into()), 0), "1");
}

#[test]
fn spans_are_what_etcd_means() {
    assert_eq!(Span::prefix("ab"), Span::Between("ab".into(), "ac".into()));
    let mut keys = Keys::default();
    put(&mut keys, "a", "1");
    put(&mut keys, "b", "2");
    assert_eq!(values(&keys, &Span::new("b".into(), "a".into()), 0), "", "upside down");
    assert_eq!(values(&keys, &Span::new("a".into(), "\0".into()), 0), "12");
    assert_eq!(keys.get(&Span::One(Bytes::new()), 0, 0), Err(KvError::NoKey));
    let cut = keys.get(&Span::From("a".into()), 0, 1).expect("there");
    assert_eq!((cut.kvs.len(), cut.more, cut.count), (1, true, 2));
}

/// What is done to the keys: a write, a deletion of a span, a compaction so many revisions back.
#[derive(Clone, Debug)]
enum Act {
    Put(u8, u8),
    Delete(u8, u8),
    Compact(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_u8, any::<u8>()).prop_map(|(key, value)| Act::Put(key, value)),
        2 => (0..5_u8, 0..5_u8).prop_map(|(from, to)| Act::Delete(from, to)),
        1 => (0..6_i64).prop_map(Act::Compact),
    ]
}

proptest! {
    /// The reference is a copy of all keys for each revision.
    #[test]
    fn every_revision_reads_as_it_was_until_it_is_forgotten(acts in prop::collection::vec(act(), 0..40)) {
        let mut keys = Keys::default();
        let mut copies: Vec<BTreeMap<u8, u8>> = vec![BTreeMap::new(), BTreeMap::new()];
        let mut oldest = 0;
        for act in acts {
            let mut now = copies.last().cloned().unwrap_or_default();
            match act {
                Act::Put(key, value) => {
                    keys.put(vec![key].into(), vec![value].into(), 0).expect("a key");
                    now.insert(key, value);
                    copies.push(now);
                }
                Act::Delete(from, to) => {
                    keys.delete(&Span::Between(vec![from].into(), vec![to].into())).expect("a span");
                    let before = now.len();
                    now.retain(|key, _| !(from..to).contains(key));
                    if now.len() < before {
                        copies.push(now);
                    }
                }
                Act::Compact(back) => {
                    let revision = keys.revision() - back;
                    prop_assert_eq!(keys.compact(revision).is_ok(), revision > oldest);
                    oldest = oldest.max(revision);
                }
            }
        }
        prop_assert_eq!(usize::try_from(keys.revision()), Ok(copies.len() - 1));
        let all = Span::From(Bytes::new());
        for (revision, copy) in (0_i64..).zip(&copies).skip(1) {
            let found = keys.get(&all, revision, 0);
            if revision < oldest {
                prop_assert_eq!(found, Err(KvError::Compacted));
                continue;
            }
            let found = found.expect("it is there").kvs;
            let found: BTreeMap<u8, u8> = found.into_iter().map(|kv| (kv.key[0], kv.value[0])).collect();
            prop_assert_eq!(&found, copy, "revision {}", revision);
        }
        // The log, from what is not forgotten on, leads from each copy to the next.
        let mut at = usize::try_from(oldest.max(1)).expect("positive");
        let mut state = copies[at].clone();
        while let Some((revision, changes)) = keys.changes_from(i64::try_from(at).expect("small") + 1, &all) {
            at = usize::try_from(revision).expect("positive");
            for change in changes {
                let key = change.now.key[0];
                prop_assert_eq!(change.before.map(|kv| kv.value[0]), state.get(&key).copied());
                if change.deleted { state.remove(&key); } else { state.insert(key, change.now.value[0]); }
            }
            prop_assert_eq!(&state, &copies[at]);
        }
        prop_assert_eq!(at, copies.len() - 1);
    }
}
