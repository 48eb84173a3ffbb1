//! The table of key errors.

use tikv_proto::kvrpcpb as pb;

use super::world::{abort, lock, locked, ts};
use crate::error::ErrorKind;
use crate::lock::classify::Asked;
use crate::lock::{LockKind, Refusal, classify};
use crate::types::Timestamp;

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
            pb::KeyError { deadlock: Some(pb::Deadlock { lock_ts: 7, ..Default::default() }), ..none() },
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
                assertion_failed: Some(pb::AssertionFailed { existing_commit_ts: 4, ..Default::default() }),
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
        (
            "lock upgrade",
            pb::KeyError { lock_upgrade_conflict: Some(pb::LockUpgradeConflict::default()), ..none() },
        ),
        (
            "shared lock lost",
            pb::KeyError { shared_lock_lost: Some(pb::SharedLockLost::default()), ..none() },
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
    assert_eq!(conflicts, ["conflict", "conflict with itself", "lock not found", "retryable"]);
}
