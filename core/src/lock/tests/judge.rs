//! What a fate means for those who met the locks.

use tikv_proto::kvrpcpb as pb;

use super::world::{keys, lock, ts};
use crate::lock::resolve::{Resolved, judge};
use crate::lock::settle::{Fate, Settled};
use crate::lock::{Cleaning, Lock, Purpose, Verdict};
use crate::types::{Key, Timestamp};

const READ: Purpose = Purpose::Read { lite: false };
const LITE: Purpose = Purpose::Read { lite: true };

/// A lock at `key` of the transaction that began at 100 ms and lives for 50; its primary is "p".
fn at(key: &str, change: impl FnOnce(&mut pb::LockInfo)) -> Lock {
    let mut info = lock(key, "p", ts(100), 50);
    change(&mut info);
    let mut locks = Vec::new();
    Lock::read(info, &mut locks);
    locks.remove(0)
}

fn outcome(fate: Fate, locks: &[Lock], purpose: Purpose, recovered: Vec<Key>) -> Resolved {
    let settled = Settled { lock: locks[0].clone(), fate, recovered };
    let mut resolved = Resolved::default();
    judge(&settled, locks, ts(200), ts(120), purpose, &mut resolved);
    resolved
}

fn cleaning(verdict: Verdict, of: &[&str], whole_regions: bool) -> Cleaning {
    Cleaning { start_ts: ts(100), verdict, keys: keys(of), whole_regions, is_txn_file: false }
}

fn row(resolved: &Resolved) -> (Option<u64>, Vec<u64>, Vec<u64>) {
    let held = resolved.held.as_ref().map(|held| held.left_ms);
    let list = |set: &std::collections::BTreeSet<u64>| set.iter().copied().collect();
    (held, list(&resolved.sets.ignore), list(&resolved.sets.access))
}

#[test]
fn the_table_of_fates() {
    let met = [at("s", |_| ())];
    let owner = vec![ts(100).0];
    let alive = |pushed| Fate::Alive { ttl_ms: 50, pushed };
    let rows = [
        (alive(false), READ, (Some(30), vec![], vec![])),
        (alive(false), Purpose::Write, (Some(30), vec![], vec![])),
        (alive(true), READ, (None, owner.clone(), vec![])),
        (alive(true), Purpose::Write, (Some(30), vec![], vec![])),
        (Fate::Committed(ts(200)), READ, (None, vec![], owner.clone())),
        (Fate::Committed(ts(201)), READ, (None, owner.clone(), vec![])),
        (Fate::RolledBack, READ, (None, owner, vec![])),
        (Fate::Missing, READ, (Some(30), vec![], vec![])),
        (Fate::Undecided, READ, (Some(0), vec![], vec![])),
    ];
    for (fate, purpose, wanted) in rows {
        assert_eq!(row(&outcome(fate, &met, purpose, vec![])), wanted, "{fate:?} {purpose:?}");
    }
}

#[test]
fn of_several_live_owners_the_one_that_ends_first_is_waited_for() {
    for order in [[50, 40, 45], [40, 45, 50], [45, 50, 40]] {
        let mut resolved = Resolved::default();
        for ttl_ms in order {
            let met = [at("s", |info| info.lock_ttl = ttl_ms)];
            let settled = Settled {
                lock: met[0].clone(),
                fate: Fate::Alive { ttl_ms, pushed: false },
                recovered: vec![],
            };
            judge(&settled, &met, ts(200), ts(120), Purpose::Write, &mut resolved);
        }
        let held = resolved.held.unwrap();
        assert_eq!((held.left_ms, held.lock.ttl_ms), (20, 40));
    }
}

#[test]
fn only_decided_owners_have_their_locks_removed() {
    let met = [at("s", |_| ())];
    for fate in [Fate::Alive { ttl_ms: 50, pushed: true }, Fate::Missing, Fate::Undecided] {
        for purpose in [READ, Purpose::Write] {
            assert_eq!(outcome(fate, &met, purpose, vec![]).cleanings, [], "{fate:?}");
        }
    }
    let committed = outcome(Fate::Committed(ts(130)), &met, READ, vec![]);
    assert_eq!(committed.cleanings, [cleaning(Verdict::Commit(ts(130)), &["s"], false)]);
    let rolled_back = outcome(Fate::RolledBack, &met, Purpose::Write, vec![]);
    assert_eq!(rolled_back.cleanings, [cleaning(Verdict::RollBack, &["s"], false)]);
}

#[test]
fn the_question_about_a_primary_has_removed_its_lock() {
    let met = [at("p", |_| ())];
    assert_eq!(outcome(Fate::RolledBack, &met, READ, vec![]).cleanings, []);
}

// txn-read.md R2, R3: after a recovery nobody has removed the primary's lock yet.
#[test]
fn after_a_recovery_all_keys_are_cleaned_the_primary_with_them() {
    let met = [at("s", |_| ())];
    let resolved = outcome(Fate::Committed(ts(130)), &met, READ, keys(&["s", "z", "p"]));
    assert_eq!(resolved.cleanings, [cleaning(Verdict::Commit(ts(130)), &["s", "z", "p", "s"], false)]);
    let rolled_back = outcome(Fate::RolledBack, &met, READ, keys(&["s", "p"]));
    assert_eq!(row(&rolled_back), (None, vec![ts(100).0], vec![]));
    assert_eq!(rolled_back.cleanings, [cleaning(Verdict::RollBack, &["s", "p", "s"], false)]);
}

#[test]
fn of_a_large_transaction_the_region_is_gone_through_unless_a_point_get_asks() {
    let met = [at("s", |info| info.txn_size = 512), at("t", |info| info.txn_size = 511)];
    let verdict = Verdict::RollBack;
    let both = [cleaning(verdict, &["t"], false), cleaning(verdict, &["s"], true)];
    assert_eq!(outcome(Fate::RolledBack, &met, READ, vec![]).cleanings, both);
    assert_eq!(outcome(Fate::RolledBack, &met, Purpose::Write, vec![]).cleanings, both);
    let lite = outcome(Fate::RolledBack, &met, LITE, vec![]);
    assert_eq!(lite.cleanings, [cleaning(verdict, &["s", "t"], false)]);
}

#[test]
fn a_pessimistic_lock_is_released_whatever_its_dead_owner_came_to() {
    let pessimistic = |key: &str, for_update_ts: u64| {
        at(key, |info| {
            info.lock_type = pb::Op::PessimisticLock.into();
            info.lock_for_update_ts = for_update_ts;
        })
    };
    let met = [pessimistic("s", 7), pessimistic("t", 0), pessimistic("p", 7)];
    let release = |key: &str, ts| cleaning(Verdict::Release { for_update_ts: Timestamp(ts) }, &[key], false);
    for fate in [Fate::Undecided, Fate::RolledBack, Fate::Committed(ts(130))] {
        let resolved = outcome(fate, &met, Purpose::Write, vec![]);
        assert_eq!(resolved.cleanings, [release("s", 7), release("t", u64::MAX)], "{fate:?}");
    }
    let alive = Fate::Alive { ttl_ms: 50, pushed: false };
    assert_eq!(outcome(alive, &met, Purpose::Write, vec![]).cleanings, []);
}
