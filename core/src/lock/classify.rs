//! What a store's key error says: the whole table as one pure function.

use std::sync::Arc;

use tikv_proto::deadlock::WaitForEntry;
use tikv_proto::kvrpcpb as pb;

use super::model::Lock;
use crate::error::{Assertion, ConflictReason, Error, KeyHistory, TxnError, WaitsFor};
use crate::types::{Key, ShownKey, Timestamp};

/// Why a store did not do what was asked at a key.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// The key is locked, by one transaction or (shared) by several.
    Locked(Vec<Lock>),
    /// Another transaction committed the key in between.
    Conflict {
        /// The key.
        key: Key,
        /// When the other began.
        conflict_ts: Timestamp,
        /// When the other committed; 0 when the store does not say.
        conflict_commit_ts: Timestamp,
        /// What found it. [`ConflictReason::SelfRolledBack`]: no other transaction, this one was rolled back before.
        reason: ConflictReason,
    },
    /// Transactions wait for each other in a circle, and this one is to give way.
    Deadlock {
        /// The key that was to be locked.
        key: Key,
        /// When the transaction began that was to be waited for.
        holder: Timestamp,
        /// Who waits for whom, as `kvrpcpb.Deadlock` has it.
        chain: Vec<WaitForEntry>,
    },
    /// What the transaction said of the key is not so.
    AssertionFailed(Box<pb::AssertionFailed>, Option<Box<pb::DebugInfo>>),
    /// A shared lock cannot become an exclusive one.
    LockUpgrade {
        /// The key.
        key: Key,
        /// The transaction that was first to ask for it.
        owner: Timestamp,
    },
    /// A shared lock of the transaction is gone.
    SharedLockLost {
        /// The key.
        key: Key,
    },
    /// The store would have to commit later than is allowed.
    CommitTsTooLarge {
        /// At this timestamp.
        commit_ts: Timestamp,
    },
    /// The key exists, and was to be new.
    AlreadyExists {
        /// The key.
        key: Key,
    },
    /// A reader came between: the commit is to take a newer timestamp.
    CommitTsExpired {
        /// The key whose lock refused.
        key: Key,
        /// What was asked for.
        attempted: Timestamp,
        /// What the lock accepts.
        min_commit_ts: Timestamp,
    },
    /// The lock to commit is gone, and no record says that it was committed: it was rolled back.
    LockNotFound {
        /// The key.
        key: Key,
    },
    /// The primary has neither lock nor record of the transaction.
    TxnNotFound,
    /// The key is not the primary of the transaction that has it locked.
    PrimaryMismatch,
    /// The transaction is to be run again; the store says why.
    Retryable(Arc<str>),
    /// No retry helps; the store says why.
    Refused(Arc<str>),
}

/// Reads a key error. One row a field, the first that is set wins:
///
/// | field | is |
/// |---|---|
/// | `locked` | locked; a shared lock is told as its holders |
/// | `already_exist` | already exists |
/// | `commit_ts_expired` | the commit needs a newer timestamp |
/// | `txn_lock_not_found` (with `retryable`) | lock not found |
/// | `conflict` (with `retryable`) | conflict |
/// | `primary_mismatch` | primary mismatch |
/// | `txn_not_found` | transaction not found |
/// | `retryable` | retryable |
/// | `deadlock`, `assertion_failed`, `commit_ts_too_large`, `lock_upgrade_conflict`, `shared_lock_lost` | what their name says |
/// | `abort` | refused |
/// | none | refused |
///
/// client-go: `error/error.go: ExtractKeyErr`; what its callers look at before that stands before here, too.
#[must_use]
pub fn classify(error: pb::KeyError) -> Refusal {
    // Every field is named: one that a newer schema adds must be given its row.
    let pb::KeyError {
        locked,
        retryable,
        abort,
        conflict,
        already_exist,
        deadlock,
        commit_ts_expired,
        txn_not_found,
        commit_ts_too_large,
        assertion_failed,
        primary_mismatch,
        txn_lock_not_found,
        lock_upgrade_conflict,
        shared_lock_lost,
        debug_info,
    } = error;
    if let Some(info) = locked {
        let mut locks = Vec::with_capacity(1);
        Lock::read(*info, &mut locks);
        return Refusal::Locked(locks);
    }
    if let Some(exists) = already_exist {
        return Refusal::AlreadyExists { key: exists.key.into() };
    }
    if let Some(expired) = commit_ts_expired {
        return Refusal::CommitTsExpired {
            key: expired.key.into(),
            attempted: Timestamp(expired.attempted_commit_ts),
            min_commit_ts: Timestamp(expired.min_commit_ts),
        };
    }
    if let Some(gone) = txn_lock_not_found {
        return Refusal::LockNotFound { key: gone.key.into() };
    }
    if let Some(conflict) = conflict {
        let reason = conflict_reason(&conflict);
        return Refusal::Conflict {
            key: conflict.key.into(),
            conflict_ts: Timestamp(conflict.conflict_ts),
            conflict_commit_ts: Timestamp(conflict.conflict_commit_ts),
            reason,
        };
    }
    if primary_mismatch.is_some() {
        return Refusal::PrimaryMismatch;
    }
    if txn_not_found.is_some() {
        return Refusal::TxnNotFound;
    }
    if !retryable.is_empty() {
        return Refusal::Retryable(retryable.into());
    }
    if let Some(deadlock) = deadlock {
        return Refusal::Deadlock {
            key: deadlock.lock_key.into(),
            holder: Timestamp(deadlock.lock_ts),
            chain: deadlock.wait_chain,
        };
    }
    if let Some(failed) = assertion_failed {
        return Refusal::AssertionFailed(Box::new(failed), debug_info.map(Box::new));
    }
    if let Some(large) = commit_ts_too_large {
        return Refusal::CommitTsTooLarge { commit_ts: Timestamp(large.commit_ts) };
    }
    if let Some(conflict) = lock_upgrade_conflict {
        return Refusal::LockUpgrade { key: conflict.key.into(), owner: Timestamp(conflict.owner_start_ts) };
    }
    if let Some(lost) = shared_lock_lost {
        return Refusal::SharedLockLost { key: lost.key.into() };
    }
    let text = if abort.is_empty() { "a key error without content".to_owned() } else { abort };
    Refusal::Refused(text.into())
}

fn conflict_reason(conflict: &pb::WriteConflict) -> ConflictReason {
    use pb::write_conflict::Reason;
    match conflict.reason() {
        Reason::Unknown => ConflictReason::Unknown,
        Reason::Optimistic => ConflictReason::Optimistic,
        Reason::PessimisticRetry => ConflictReason::PessimisticRetry,
        Reason::SelfRolledBack => ConflictReason::SelfRolledBack,
        Reason::RcCheckTs => ConflictReason::RcCheckTs,
        Reason::LazyUniquenessCheck => ConflictReason::LazyUniquenessCheck,
        Reason::NotLockedKeyConflict => ConflictReason::NotLockedKey,
    }
}

/// Who asked, for the error of a refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// What was under way.
    pub(crate) operation: &'static str,
    /// The transaction (or the snapshot) that asked.
    pub(crate) start_ts: Timestamp,
    /// Whether keys are hidden.
    pub(crate) redacted: bool,
}

impl Asked {
    /// `key` as errors show it.
    pub(crate) fn shown(&self, key: &Key) -> ShownKey {
        ShownKey::new(key.clone(), self.redacted)
    }

    fn edge(&self, edge: WaitForEntry) -> WaitsFor {
        let key = self.shown(&edge.key.into());
        WaitsFor::new(Timestamp(edge.txn), Timestamp(edge.wait_for_txn), key, edge.resource_group_tag)
    }

    /// The error of a refusal that its reader has no better answer to.
    pub(crate) fn error(&self, refusal: Refusal) -> Error {
        let &Self { operation, start_ts, .. } = self;
        let refused = |message: &str| TxnError::Refused { operation, start_ts, message: message.into() };
        let error = match refusal {
            Refusal::Conflict { reason: ConflictReason::SelfRolledBack, .. }
            | Refusal::LockNotFound { .. } => TxnError::RolledBack { start_ts },
            Refusal::Conflict { key, conflict_ts, conflict_commit_ts, reason } => {
                let key = self.shown(&key);
                TxnError::WriteConflict { key, start_ts, conflict_ts, conflict_commit_ts, reason }
            }
            Refusal::Deadlock { key, holder, chain } => TxnError::Deadlock {
                key: self.shown(&key),
                start_ts,
                holder,
                chain: chain.into_iter().map(|edge| self.edge(edge)).collect(),
            },
            Refusal::AssertionFailed(failed, history) => TxnError::AssertionFailed {
                key: self.shown(&failed.key.clone().into()),
                start_ts,
                assertion: match failed.assertion() {
                    pb::Assertion::None => Assertion::None,
                    pb::Assertion::Exist => Assertion::Exists,
                    pb::Assertion::NotExist => Assertion::NotExists,
                },
                existing_start_ts: Timestamp(failed.existing_start_ts),
                existing_commit_ts: Timestamp(failed.existing_commit_ts),
                history: history.map(|info| Arc::new(KeyHistory::read(&info, self.redacted))),
            },
            Refusal::LockUpgrade { key, owner } => {
                TxnError::LockUpgrade { key: self.shown(&key), start_ts, owner }
            }
            Refusal::SharedLockLost { key } => TxnError::SharedLockLost { key: self.shown(&key), start_ts },
            Refusal::CommitTsTooLarge { commit_ts } => TxnError::CommitTsTooLarge { start_ts, commit_ts },
            Refusal::AlreadyExists { key } => TxnError::AlreadyExists { key: self.shown(&key) },
            Refusal::Retryable(message) => TxnError::Retryable { operation, start_ts, message },
            Refusal::Refused(message) => TxnError::Refused { operation, start_ts, message },
            Refusal::Locked(_) => refused("a lock that was not to be met"),
            Refusal::CommitTsExpired { .. } => refused("the commit timestamp was refused"),
            Refusal::TxnNotFound => refused("the transaction was not found"),
            Refusal::PrimaryMismatch => refused("the key is not the primary of its transaction"),
        };
        error.into()
    }
}
