//! Laws of whole commits in a world that plays along by itself: splits at any time, answers in any order.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;
use prost::Message;
use tikv_proto::kvrpcpb as pb;

use super::*;
use crate::error::TxnError;
use crate::lock::tests::world::World;
use crate::request::{Command, Request};
use crate::start::Start;
use crate::txn::transact::{Pause, runs_again};
use crate::txn::{CommitSecondaries, RollBack};
use crate::types::KeyRange;

/// What stores saw, in order.
#[derive(Debug, Default)]
struct Seen {
    prewritten: Vec<Key>,
    committed: Vec<Key>,
    rolled_back: Vec<Key>,
    /// Primaries that requests named.
    primaries: BTreeSet<Key>,
    /// A secondary was committed or rolled back before its primary.
    too_early: bool,
}

/// Stores that do what they are told, except for a conflict at one key.
fn stores(seen: &Rc<RefCell<Seen>>, conflict_at: Option<Key>) -> impl FnMut(&Request, &KeyRange) -> Vec<u8> {
    let seen = Rc::clone(seen);
    move |request, span| {
        let mut seen = seen.borrow_mut();
        let body = request.body().clone();
        let inside = |keys: Vec<bytes::Bytes>| -> Vec<Key> {
            assert!(keys.iter().all(|key| span.contains(key)), "{keys:?} are not of {span:?}");
            assert!(keys.is_sorted(), "{keys:?}");
            keys.into_iter().map(Key).collect()
        };
        match request.command() {
            Command::Prewrite => {
                let message = pb::PrewriteRequest::decode(body).unwrap();
                let keys = inside(message.mutations.into_iter().map(|mutation| mutation.key).collect());
                seen.primaries.insert(message.primary_lock.into());
                if let Some(key) = conflict_at.as_ref().filter(|key| keys.contains(key)) {
                    let conflict = pb::WriteConflict { key: key.0.clone(), ..Default::default() };
                    let error = pb::KeyError { conflict: Some(conflict), ..Default::default() };
                    return pb::PrewriteResponse { errors: vec![error], ..Default::default() }
                        .encode_to_vec();
                }
                seen.prewritten.extend(keys);
            }
            Command::Commit => {
                let message = pb::CommitRequest::decode(body).unwrap();
                let primary = Key(message.primary_key);
                let keys = inside(message.keys);
                seen.too_early |= !keys.contains(&primary) && !seen.committed.contains(&primary);
                seen.primaries.insert(primary);
                seen.committed.extend(keys);
            }
            Command::BatchRollback => {
                let message = pb::BatchRollbackRequest::decode(body).unwrap();
                let keys = inside(message.keys);
                let primary = seen.primaries.first().cloned().unwrap_or_default();
                seen.too_early |= !keys.contains(&primary) && !seen.rolled_back.contains(&primary);
                seen.rolled_back.extend(keys);
            }
            other => panic!("a commit sends no {other:?}"),
        }
        Vec::new()
    }
}

fn world<A>(regions: &Regions, answer: A, splits: &[Key], seed: u64) -> World<A> {
    World { regions: regions.clone(), answer, splits: splits.to_vec().into(), seed }
}

fn some_keys(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = BTreeSet<Key>> {
    proptest::collection::btree_set("[a-h]{1,2}".prop_map(Key::from), count)
}

fn regions(bounds: BTreeSet<Key>, known: bool) -> Regions {
    let regions = Regions::cut(bounds);
    if !known {
        regions.forget();
    }
    regions
}

fn mutations(keys: &BTreeSet<Key>, size: usize) -> Vec<Mutation> {
    let put = |key: &Key| Mutation { key: key.clone(), op: Op::Put(vec![0; size].into()) };
    keys.iter().map(put).collect()
}

proptest! {
    #[test]
    fn every_key_is_prewritten_and_committed_exactly_once_the_primary_first(
        wanted in some_keys(1..30),
        (bounds, splits) in (some_keys(0..8), some_keys(0..8)),
        size in prop_oneof![Just(1_usize), Just(9000)],
        known: bool,
        seed: u64,
    ) {
        let seen: Rc<RefCell<Seen>> = Rc::default();
        let regions = regions(bounds, known);
        let splits: Vec<Key> = splits.into_iter().collect();
        let machine = CommitMachine::new(plan(mutations(&wanted, size)));
        let (result, spawned) = world(&regions, stores(&seen, None), &splits, seed).run(machine);
        prop_assert!(result.is_ok());
        for start in spawned {
            let Start::CommitSecondaries { start_ts, commit_ts, primary, keys } = start else {
                panic!("a commit that went well spawns no {start:?}")
            };
            let machine = CommitSecondaries::new(start_ts, commit_ts, primary, keys, 3);
            let (failed, _) = world(&regions, stores(&seen, None), &splits, seed).run(machine);
            prop_assert_eq!(failed, 0);
        }
        let mut seen = Rc::try_unwrap(seen).unwrap().into_inner();
        prop_assert!(!seen.too_early);
        prop_assert_eq!(seen.primaries.iter().collect::<Vec<_>>(), vec![wanted.first().unwrap()]);
        let wanted: Vec<Key> = wanted.into_iter().collect();
        seen.prewritten.sort_unstable();
        seen.committed.sort_unstable();
        prop_assert_eq!(&seen.prewritten, &wanted);
        prop_assert_eq!(&seen.committed, &wanted);
    }

    #[test]
    fn a_commit_that_fails_commits_nothing_and_every_key_is_rolled_back_the_primary_first(
        wanted in some_keys(1..20),
        (bounds, splits) in (some_keys(0..8), some_keys(0..8)),
        at: prop::sample::Index,
        known: bool,
        seed: u64,
    ) {
        let seen: Rc<RefCell<Seen>> = Rc::default();
        let regions = regions(bounds, known);
        let splits: Vec<Key> = splits.into_iter().collect();
        let conflict = wanted.iter().nth(at.index(wanted.len())).cloned();
        let machine = CommitMachine::new(plan(mutations(&wanted, 9000)));
        let (result, spawned) = world(&regions, stores(&seen, conflict), &splits, seed).run(machine);
        let conflicted = matches!(result, Err(Error::Txn(TxnError::WriteConflict { .. })));
        prop_assert!(conflicted);
        prop_assert_eq!(spawned.len(), 1);
        for start in spawned {
            let Start::RollBack { start_ts, keys } = start else { panic!("a failed commit spawns no {start:?}") };
            let machine = RollBack::new(start_ts, keys, 3, false);
            let (result, _) = world(&regions, stores(&seen, None), &splits, seed).run(machine);
            prop_assert_eq!(result, Ok(()));
        }
        let mut seen = Rc::try_unwrap(seen).unwrap().into_inner();
        prop_assert!(!seen.too_early);
        prop_assert_eq!(seen.committed, vec![]);
        seen.rolled_back.sort_unstable();
        prop_assert_eq!(seen.rolled_back, wanted.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn only_what_is_certain_to_have_failed_is_run_again() {
    let again = |error: TxnError| runs_again(&Error::from(error));
    assert!(again(TxnError::RolledBack { start_ts: START }));
    assert!(!again(TxnError::Over { start_ts: START }));
    let cause = Box::new(Error::Overloaded { operation: "commit" });
    assert!(runs_again(&cause));
    assert!(!again(TxnError::Undetermined { start_ts: START, cause }));
}

#[test]
fn pauses_between_attempts_grow_to_a_bound() {
    for (attempt, most_ms) in [(1, 4), (2, 8), (5, 64), (8, 500), (u32::MAX, 500)] {
        let mut s = Script::given(Pause::new(attempt), two_regions());
        let timer = s.expect_timer();
        assert!(timer.1.since(s.now()).as_millis() <= most_ms, "{attempt}");
        s.fire(timer);
        assert_eq!(s.done().0, Ok(()));
    }
}
