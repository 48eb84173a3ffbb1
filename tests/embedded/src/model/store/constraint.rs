//! What a prewrite checks of a key before it locks it: locks, newer versions, presence, assertions.
//!
//! Spec: `cluster.md` 7.1. TiKV: `txn/actions/{prewrite,check_data_constraint}.rs`.

use tikv_proto::kvrpcpb::write_conflict::Reason;
use tikv_proto::kvrpcpb::{Assertion, AssertionLevel};

use super::error::TxnError;
use super::prewrite::{Change, Wish};
use super::records::{Write, WriteKind};
use super::txn::Txn;

/// A mutation that may be written, or has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// The key may be locked.
    Free,
    /// The same request came before.
    LockedBefore {
        /// 0 when the key was not locked for async commit.
        min_commit_ts: u64,
    },
}

/// A row and its commit timestamp.
type Row<'a> = (u64, &'a Write);

pub(super) fn check_mutation(txn: &Txn<'_>, wish: &Wish, change: &Change) -> Result<Checked, TxnError> {
    if let Some(lock) = txn.lock(&change.key) {
        if lock.start_ts != wish.start_ts {
            return Err(TxnError::Locked(Box::new(lock.info(&change.key))));
        }
        let min_commit_ts = if lock.async_commit.is_some() { lock.min_commit_ts } else { 0 };
        return Ok(Checked::LockedBefore { min_commit_ts });
    }
    let newest = if wish.skip_constraint_check { None } else { Some(check_newer(txn, wish, change)?) };
    if change.assertion != Assertion::None
        && let Err(failed) = check_assertion(txn, wish, change, newest)
    {
        // The wrong picture may come from a rollback: that, if so, is the better answer.
        if wish.skip_constraint_check {
            check_newer(txn, wish, change)?;
        }
        return Err(failed);
    }
    Ok(Checked::Free)
}

/// Refuses a key that was written since the transaction began, whose own rollback lies there, or that must be absent
/// and is not; otherwise its newest row.
fn check_newer<'a>(txn: &Txn<'a>, wish: &Wish, change: &Change) -> Result<Option<Row<'a>>, TxnError> {
    let Some((commit_ts, write)) = txn.columns.newest(&change.key) else { return Ok(None) };
    let reason = if commit_ts > wish.start_ts {
        Some(Reason::Optimistic)
    } else if commit_ts == wish.start_ts && (write.kind == WriteKind::Rollback || write.overlapped_rollback) {
        Some(Reason::SelfRolledBack)
    } else {
        None
    };
    if let Some(reason) = reason {
        return Err(TxnError::WriteConflict {
            start_ts: wish.start_ts,
            conflict_start_ts: write.start_ts,
            conflict_commit_ts: commit_ts,
            key: change.key.user(),
            primary: wish.primary.clone(),
            reason,
        });
    }
    if change.must_be_absent && has_value(txn, change, commit_ts, write) {
        return Err(TxnError::AlreadyExists { key: change.key.user() });
    }
    Ok(Some((commit_ts, write)))
}

/// Whether the key has a value, its newest row being `write`.
fn has_value(txn: &Txn<'_>, change: &Change, commit_ts: u64, write: &Write) -> bool {
    if is_void(write) {
        return false;
    }
    match write.kind {
        WriteKind::Put => true,
        WriteKind::Delete => false,
        WriteKind::Lock | WriteKind::Rollback => {
            txn.columns.newest_put(&change.key, commit_ts.saturating_sub(1), txn.start_ts).is_some()
        }
    }
}

/// A newest row with a fence: the version in front of it is gone already, so the key has no value.
fn is_void(write: &Write) -> bool {
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
    if !enough {
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
    Err(TxnError::AssertionFailed {
        start_ts: wish.start_ts,
        key: change.key.user(),
        assertion: change.assertion,
        existing_start_ts,
        existing_commit_ts,
    })
}
