//! What a prewrite checks of a key before it locks it: locks, newer versions, presence, assertions.
//!
//! Spec: `cluster.md` 7.1. TiKV: `txn/actions/{prewrite,check_data_constraint}.rs`.

use tikv_proto::kvrpcpb::prewrite_request::PessimisticAction;
use tikv_proto::kvrpcpb::write_conflict::Reason;
use tikv_proto::kvrpcpb::{Assertion, AssertionLevel};

use super::columns::Columns;
use super::error::{LockLost, TxnError};
use super::key::EncodedKey;
use super::locks::{KeyLock, Lock, LockKind, SharedLocks};
use super::records::{Write, WriteKind};
use super::txn::Txn;
use super::wish::{Change, TxnKind, Wish};

/// How a key stands to the transaction that may lock it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has locked it.
    Free {
        /// The transaction had locked it, as its client knows, and nothing was written since.
        amended: bool,
    },
    /// The transaction holds it for the time before the prewrite.
    Pessimistic {
        lock: Lock,
        /// With whom, if not alone.
        shared: Option<SharedLocks>,
    },
    /// The transaction has prewritten it before.
    Prewritten {
        /// 0 when not for async commit.
        min_commit_ts: u64,
    },
}

/// A row and its commit timestamp.
type Row<'a> = (u64, &'a Write);

/// Checks all of a mutation.
pub(super) fn check_mutation(txn: &Txn<'_>, wish: &Wish, change: &Change) -> Result<Standing, TxnError> {
    let standing = check_locks(txn, wish, change)?;
    if matches!(standing, Standing::Prewritten { .. }) && wish.generation == 0 {
        return Ok(standing);
    }
    let newest = if skips_newer(wish, change) { None } else { Some(check_newer(txn, wish, change)?) };
    // An amended lock has had its assertion checked; of a key that is flushed again, only the first one counts.
    let unchecked = matches!(standing, Standing::Free { amended: false } | Standing::Pessimistic { .. });
    if unchecked {
        check_assertion(txn, wish, change, newest)?;
    }
    Ok(standing)
}

/// Who has locked the key.
fn check_locks(txn: &Txn<'_>, wish: &Wish, change: &Change) -> Result<Standing, TxnError> {
    let key = &change.key;
    let must_have_lock = change.action == PessimisticAction::DoPessimisticCheck;
    match txn.lock(key) {
        None if must_have_lock => {
            amend(txn, wish, change)?;
            Ok(Standing::Free { amended: true })
        }
        None => Ok(Standing::Free { amended: false }),
        Some(found @ KeyLock::Sole(_)) if change.shared => Err(TxnError::Locked(Box::new(found.info(key)))),
        Some(KeyLock::Sole(lock)) => check_lock(wish, change, lock, None),
        Some(KeyLock::Shared(shared)) => match shared.holders.get(&wish.start_ts) {
            Some(lock) if change.shared => check_lock(wish, change, lock.clone(), Some(shared)),
            Some(_) => Err(TxnError::Other("use Op::SharedLock to prewrite on a shared lock")),
            None if change.shared => Err(lost(wish, key, LockLost::LockMissingAmendFail)),
            None => Err(TxnError::Locked(Box::new(shared.info(key)))),
        },
    }
}

fn check_lock(
    wish: &Wish,
    change: &Change,
    lock: Lock,
    shared: Option<SharedLocks>,
) -> Result<Standing, TxnError> {
    let key = &change.key;
    if lock.start_ts != wish.start_ts {
        if change.action == PessimisticAction::DoPessimisticCheck {
            return Err(lost(wish, key, LockLost::LockTsMismatch));
        }
        let mut info = lock.info(key);
        // The holder did not lock this key before its prewrite, nor did we: the client is to resolve it at once.
        if wish.is_pessimistic() {
            info.lock_ttl = 0;
        }
        return Err(TxnError::Locked(Box::new(info)));
    }
    if lock.is_pessimistic() {
        if !wish.is_pessimistic() {
            let key = key.user();
            return Err(TxnError::LockTypeNotMatch { start_ts: wish.start_ts, key, pessimistic: true });
        }
        if change.expected_for_update_ts.is_some_and(|expected| expected != lock.for_update_ts) {
            return Err(lost(wish, key, LockLost::LockForUpdateTsMismatch));
        }
        return Ok(Standing::Pessimistic { lock, shared });
    }
    if wish.generation > 0 && lock.generation >= wish.generation {
        return Err(TxnError::GenerationOutOfOrder { key: key.user() });
    }
    if lock.generation > 0 && change.must_be_absent && lock.kind == LockKind::Put {
        return Err(TxnError::AlreadyExists { key: key.user() });
    }
    let min_commit_ts = if lock.async_commit.is_some() { lock.min_commit_ts } else { 0 };
    Ok(Standing::Prewritten { min_commit_ts })
}

fn lost(wish: &Wish, key: &EncodedKey, reason: LockLost) -> TxnError {
    TxnError::PessimisticLockNotFound { start_ts: wish.start_ts, key: key.user(), reason }
}

/// A pessimistic lock that is not there may never have been written; if the key is as it was, it is not needed.
fn amend(txn: &Txn<'_>, wish: &Wish, change: &Change) -> Result<(), TxnError> {
    if change.shared {
        return Err(lost(wish, &change.key, LockLost::LockMissingAmendFail));
    }
    let newest = txn.columns.newest(&change.key);
    if newest.is_some_and(|(commit_ts, _)| commit_ts >= wish.start_ts) {
        return Err(lost(wish, &change.key, LockLost::LockMissingAmendFail));
    }
    check_assertion(txn, wish, change, Some(newest))
}

/// Whether the versions of the key are not looked at.
fn skips_newer(wish: &Wish, change: &Change) -> bool {
    match wish.kind {
        TxnKind::Optimistic { skip_constraint_check } => skip_constraint_check,
        TxnKind::Pessimistic { .. } => match change.action {
            PessimisticAction::DoPessimisticCheck => true,
            // What is sent again may meet its own commit or rollback.
            PessimisticAction::SkipPessimisticCheck => !wish.is_retry,
            PessimisticAction::DoConstraintCheck => false,
        },
    }
}

/// Refuses a key that was written since the transaction looked at it, whose own rollback lies there, or that must be
/// absent and is not; otherwise its newest row (for a pessimistic transaction: that is no newer rollback).
fn check_newer<'a>(txn: &Txn<'a>, wish: &Wish, change: &Change) -> Result<Option<Row<'a>>, TxnError> {
    for (commit_ts, write) in txn.columns.writes(&change.key, u64::MAX) {
        let rolled_back = write.kind == WriteKind::Rollback || write.overlapped_rollback;
        if commit_ts == wish.start_ts && rolled_back {
            return Err(conflict(wish, change, commit_ts, write, Reason::SelfRolledBack));
        }
        match wish.kind {
            TxnKind::Optimistic { .. } => {
                if commit_ts > wish.start_ts {
                    return Err(conflict(wish, change, commit_ts, write, Reason::Optimistic));
                }
            }
            TxnKind::Pessimistic { for_update_ts } => {
                let constrained = change.action == PessimisticAction::DoConstraintCheck;
                if constrained && commit_ts > wish.start_ts {
                    return Err(conflict(wish, change, commit_ts, write, Reason::LazyUniquenessCheck));
                }
                if commit_ts > for_update_ts {
                    if write.kind == WriteKind::Rollback {
                        continue;
                    }
                    return Err(lost(wish, &change.key, LockLost::NonLockKeyConflict));
                }
            }
        }
        if change.must_be_absent && has_value(txn.columns, &change.key, wish.start_ts, (commit_ts, write)) {
            return Err(TxnError::AlreadyExists { key: change.key.user() });
        }
        return Ok(Some((commit_ts, write)));
    }
    Ok(None)
}

fn conflict(wish: &Wish, change: &Change, commit_ts: u64, write: &Write, reason: Reason) -> TxnError {
    TxnError::WriteConflict {
        start_ts: wish.start_ts,
        conflict_start_ts: write.start_ts,
        conflict_commit_ts: commit_ts,
        key: change.key.user(),
        primary: wish.primary.clone(),
        reason,
    }
}

/// Whether the key has a value for the transaction of `start_ts`, `row` being its newest row.
pub(super) fn has_value(columns: &Columns, key: &EncodedKey, start_ts: u64, row: Row<'_>) -> bool {
    let (commit_ts, write) = row;
    if is_void(write) {
        return false;
    }
    match write.kind {
        WriteKind::Put => true,
        WriteKind::Delete => false,
        WriteKind::Lock | WriteKind::Rollback => {
            columns.newest_put(key, commit_ts.saturating_sub(1), start_ts).is_some()
        }
    }
}

/// A newest row with a fence: the version in front of it is gone already, so the key has no value.
pub(super) fn is_void(write: &Write) -> bool {
    write.gc_fence.is_some_and(|fence| fence != 0)
}

/// Compares the assertion with the newest data of the key. `newest` is its newest row if that has been looked at;
/// otherwise only the strict level looks.
fn check_assertion(
    txn: &Txn<'_>,
    wish: &Wish,
    change: &Change,
    newest: Option<Option<Row<'_>>>,
) -> Result<(), TxnError> {
    let enough = match wish.assertion_level {
        AssertionLevel::Off => false,
        AssertionLevel::Fast => newest.is_some(),
        AssertionLevel::Strict => true,
    };
    if !enough || change.assertion == Assertion::None {
        return Ok(());
    }
    let found = match newest {
        Some(None) => None,
        Some(Some((_, write))) if is_void(write) => None,
        Some(Some(row @ (_, write))) if matches!(write.kind, WriteKind::Put | WriteKind::Delete) => Some(row),
        Some(Some((commit_ts, _))) => txn.columns.newest_put(&change.key, commit_ts, wish.start_ts),
        None => txn.columns.newest_put(&change.key, u64::MAX, wish.start_ts),
    };
    let (existing_start_ts, existing_commit_ts) = match (change.assertion, found) {
        (Assertion::Exist, None) => (0, 0),
        (Assertion::Exist, Some((commit_ts, write))) if write.kind == WriteKind::Delete => {
            (write.start_ts, commit_ts)
        }
        (Assertion::NotExist, Some((commit_ts, write))) if write.kind == WriteKind::Put => {
            (write.start_ts, commit_ts)
        }
        (Assertion::None | Assertion::Exist | Assertion::NotExist, _) => return Ok(()),
    };
    // The wrong picture may come from a rollback: that, if so, is the better answer.
    if skips_newer(wish, change) {
        check_newer(txn, wish, change)?;
    }
    Err(TxnError::AssertionFailed {
        start_ts: wish.start_ts,
        key: change.key.user(),
        assertion: change.assertion,
        existing_start_ts,
        existing_commit_ts,
    })
}
