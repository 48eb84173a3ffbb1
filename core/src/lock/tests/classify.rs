//! The table of key errors.

use tikv_proto::deadlock::WaitForEntry;
use tikv_proto::kvrpcpb as pb;

use super::world::{abort, lock, locked, ts};
use crate::error::{Error, ErrorKind, KeyHistory, TxnError};
use crate::lock::classify::Asked;
use crate::lock::{LockKind, Refusal, classify};
use crate::types::Timestamp;

fn wait(txn: u64, wait_for_txn: u64, key: &'static str) -> WaitForEntry {
    WaitForEntry {
        txn,
        wait_for_txn,
        key: key.into(),
        resource_group_tag: "tag".into(),
        ..Default::default()
    }
}

/// What a store that was asked to has of `k`: a lock and two versions.
fn history() -> pb::DebugInfo {
    let lock = pb::MvccLock {
        start_ts: 8,
        primary: "kp".into(),
        short_value: "secret".into(),
        secondaries: vec!["ks".into()],
        ..Default::default()
    };
    let write = |kind: pb::Op, start_ts| pb::MvccWrite {
        r#type: kind.into(),
        start_ts,
        commit_ts: start_ts + 1,
        short_value: "secret".into(),
        ..Default::default()
    };
    let mvcc = pb::MvccInfo {
        lock: Some(lock),
        writes: vec![write(pb::Op::Del, 5), write(pb::Op::Put, 3)],
        values: vec![pb::MvccValue { start_ts: 3, value: "secret".into() }],
    };
    let info = pb::MvccDebugInfo { key: "k".into(), mvcc: Some(mvcc) };
    pb::DebugInfo { mvcc_info: vec![info, pb::MvccDebugInfo { key: "l".into(), mvcc: None }] }
}

/// Every key error that TiKV gives, alone or with the texts that come beside it (`cluster.md` 6).
fn errors() -> Vec<(&'static str, pb::KeyError)> {
    let none = pb::KeyError::default;
    let conflict = |reason: pb::write_conflict::Reason| pb::WriteConflict {
        start_ts: ts(10).0,
        conflict_ts: ts(11).0,
        conflict_commit_ts: ts(12).0,
        key: "k".into(),
        reason: reason.into(),
        ..Default::default()
    };
    let shared = pb::LockInfo {
        key: "k".into(),
        lock_type: pb::Op::SharedLock.into(),
        shared_lock_infos: vec![lock("", "p", ts(3), 1), lock("k", "q", ts(4), 1)],
        ..Default::default()
    };
    let pessimistic =
        pb::LockInfo { lock_type: pb::Op::PessimisticLock.into(), ..lock("k", "p", ts(5), 100) };
    let retryable = "Error(Txn(..))".to_owned();
    let upgrade =
        pb::LockUpgradeConflict { key: "k".into(), start_ts: 10, owner_start_ts: 9, ..Default::default() };
    vec![
        ("locked", locked(lock("k", "p", ts(5), 100))),
        ("locked, pessimistic", locked(pessimistic)),
        ("locked, shared", locked(shared)),
        (
            "conflict",
            pb::KeyError {
                conflict: Some(conflict(pb::write_conflict::Reason::Optimistic)),
                retryable: retryable.clone(),
                ..none()
            },
        ),
        (
            "conflict with itself",
            pb::KeyError {
                conflict: Some(conflict(pb::write_conflict::Reason::SelfRolledBack)),
                retryable: retryable.clone(),
                ..none()
            },
        ),
        (
            "already exists",
            pb::KeyError { already_exist: Some(pb::AlreadyExist { key: "k".into() }), ..none() },
        ),
        (
            "deadlock",
            pb::KeyError {
                deadlock: Some(pb::Deadlock {
                    lock_ts: 7,
                    lock_key: "k".into(),
                    wait_chain: vec![wait(7, 8, "q"), wait(8, 10, "k")],
                    ..Default::default()
                }),
                ..none()
            },
        ),
        (
            "commit ts expired",
            pb::KeyError {
                commit_ts_expired: Some(pb::CommitTsExpired {
                    start_ts: 1,
                    attempted_commit_ts: 5,
                    key: "k".into(),
                    min_commit_ts: 9,
                }),
                ..none()
            },
        ),
        (
            "txn not found",
            pb::KeyError {
                txn_not_found: Some(pb::TxnNotFound { start_ts: 1, primary_key: "p".into() }),
                ..none()
            },
        ),
        (
            "commit ts too large",
            pb::KeyError { commit_ts_too_large: Some(pb::CommitTsTooLarge { commit_ts: 9 }), ..none() },
        ),
        (
            "assertion failed",
            pb::KeyError {
                assertion_failed: Some(pb::AssertionFailed {
                    start_ts: 10,
                    key: "k".into(),
                    assertion: pb::Assertion::NotExist.into(),
                    existing_start_ts: 3,
                    existing_commit_ts: 4,
                }),
                debug_info: Some(history()),
                ..none()
            },
        ),
        (
            "primary mismatch",
            pb::KeyError { primary_mismatch: Some(pb::PrimaryMismatch::default()), ..none() },
        ),
        (
            "lock not found",
            pb::KeyError {
                txn_lock_not_found: Some(pb::TxnLockNotFound { key: "k".into() }),
                retryable: retryable.clone(),
                ..none()
            },
        ),
        ("lock upgrade", pb::KeyError { lock_upgrade_conflict: Some(upgrade), ..none() }),
        (
            "shared lock lost",
            pb::KeyError {
                shared_lock_lost: Some(pb::SharedLockLost { key: "k".into(), start_ts: 10 }),
                ..none()
            },
        ),
        ("retryable", pb::KeyError { retryable, ..none() }),
        ("abort", abort("Error(Committed)")),
        ("nothing", none()),
    ]
}

#[test]
fn the_table_of_key_errors() {
    let asked = Asked { operation: "prewrite", start_ts: Timestamp(10), redacted: false };
    let mut table = String::new();
    for (name, error) in errors() {
        let refusal = classify(error);
        let error = asked.error(refusal.clone());
        table += &format!("{name}\n  is  {refusal:?}\n  to  {:?}: {error}\n", error.kind());
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_shared_lock_is_told_as_its_holders_and_each_has_a_key() {
    let shared = errors().into_iter().find(|(name, _)| *name == "locked, shared").unwrap().1;
    let Refusal::Locked(locks) = classify(shared) else { panic!("locked") };
    let holders: Vec<_> = locks.iter().map(|lock| (lock.key.as_slice(), lock.start_ts, lock.kind)).collect();
    let (key, kind) = (&b"k"[..], LockKind::Prewritten);
    assert_eq!(holders, [(key, ts(3), kind), (key, ts(4), kind)]);
}

#[test]
fn keys_are_hidden_in_errors_when_the_client_redacts() {
    let asked = Asked { operation: "prewrite", start_ts: Timestamp(10), redacted: true };
    for (_, error) in errors() {
        let error = asked.error(classify(error));
        assert!(!format!("{error} {error:?}").contains("6B"), "{error:?}");
    }
}

#[test]
fn only_what_another_try_of_the_transaction_can_change_is_a_conflict() {
    let asked = Asked { operation: "prewrite", start_ts: Timestamp(10), redacted: true };
    let conflicts: Vec<_> = errors()
        .into_iter()
        .filter(|(_, error)| asked.error(classify(error.clone())).kind() == ErrorKind::Conflict)
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "conflict",
        "conflict with itself",
        "deadlock",
        "lock not found",
        "lock upgrade",
        "shared lock lost",
        "retryable",
    ];
    assert_eq!(conflicts, expected);
}

// client-go: error/error_test.go: TestExtractDebugInfoStrFromKeyErr.
#[test]
fn what_a_store_has_of_a_key_is_told_without_values_and_hides_its_keys() {
    let shown = |redacted| KeyHistory::read(&history(), redacted);
    insta::assert_snapshot!(shown(false), @"key 6B: locked by 8, primary 6B70, Del of 5 at 6, Put of 3 at 4, value of 3 with 6 bytes; key 6C: not locked");
    insta::assert_snapshot!(shown(true), @"key ?: locked by 8, primary ?, Del of 5 at 6, Put of 3 at 4, value of 3 with 6 bytes; key ?: not locked");
    assert!(!format!("{:?}", shown(true)).contains("6B"));
    assert!(!format!("{:?}", shown(false)).contains("secret"));
    // It comes with the error that needs it.
    let asked = Asked { operation: "prewrite", start_ts: Timestamp(10), redacted: false };
    let failed = errors().into_iter().find(|(name, _)| *name == "assertion failed").unwrap().1;
    let Error::Txn(TxnError::AssertionFailed { history: Some(told), .. }) = asked.error(classify(failed))
    else {
        panic!("an assertion failed");
    };
    assert_eq!(*told, shown(false));
}
