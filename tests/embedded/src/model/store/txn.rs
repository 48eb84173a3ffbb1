//! One transaction's changes to the columns, and how a transaction is rolled back on a key.
//!
//! Rows are read as they are stored; only locks are read with the changes of the same command over them, so that a key
//! that a request names twice has its lock taken away once.
//!
//! Spec: `cluster.md` 5.3, 7.6, 7.10. TiKV: `mvcc/txn.rs`, `txn/actions/{check_txn_status,cleanup}.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;
use tikv_proto::kvrpcpb::LockInfo;

use super::columns::{Change, Columns};
use super::error::TxnError;
use super::key::EncodedKey;
use super::locks::{KeyLock, Lock, LockKind, SharedLocks};
use super::mvcc::{Fate, Overlapped};
use super::records::{Write, WriteKind};

/// A transaction at work on the columns.
#[derive(Debug)]
pub(super) struct Txn<'a> {
    pub(super) columns: &'a Columns,
    /// Changed by commands that work on several transactions, one after the other.
    pub(super) start_ts: u64,
    locks: BTreeMap<EncodedKey, Option<KeyLock>>,
    effects: Effects,
}

/// What a command does: changes to the columns, and what those who wait for locks must hear of them.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) changes: Vec<Change>,
    pub(super) released: Vec<Released>,
    /// Locks on keys that had none of their transaction.
    pub(super) acquired: Vec<(EncodedKey, LockInfo)>,
    /// Start and commit timestamps of transactions that turned out to be committed.
    pub(super) committed: Vec<(u64, u64)>,
}

/// A key that is no longer locked.
#[derive(Clone, Debug)]
pub(super) struct Released {
    pub(super) key: EncodedKey,
    pub(super) start_ts: u64,
    /// 0: rolled back.
    pub(super) commit_ts: u64,
}

/// Whether the record of a rollback may be collapsed into a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rollback {
    /// It stays, so that a late prewrite finds it.
    Protected,
    /// It may go, and lets the unprotected one before it go.
    Collapsing,
}

/// What to do about a transaction that has neither lock nor record on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfMissing {
    /// Roll it back.
    RollBack(Rollback),
    /// Leave all as it is; a pessimistic lock is being resolved, whose transaction may yet come to this key.
    Ignore,
    /// Say so.
    Fail,
}

/// What a transaction without a lock on a key turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Committed(u64),
    RolledBack,
    /// It was unknown; [`IfMissing`] was done.
    Unknown,
}

impl<'a> Txn<'a> {
    pub(super) fn new(columns: &'a Columns, start_ts: u64) -> Self {
        Self { columns, start_ts, locks: BTreeMap::new(), effects: Effects::default() }
    }

    /// The changes, to be applied at once.
    pub(super) fn into_effects(self) -> Effects {
        let mut effects = self.effects;
        let locks = self.locks.into_iter().map(|(key, lock)| match lock {
            Some(lock) => Change::PutLock(key, lock),
            None => Change::DeleteLock(key),
        });
        effects.changes.splice(0..0, locks);
        effects
    }

    /// What locks `key`, with the changes that this command has made so far.
    pub(super) fn lock(&self, key: &EncodedKey) -> Option<KeyLock> {
        self.locks.get(key).map_or_else(|| self.columns.lock(key), Clone::clone)
    }

    /// Changes a lock that is there.
    pub(super) fn put_lock(&mut self, key: EncodedKey, lock: KeyLock) {
        self.locks.insert(key, Some(lock));
    }

    /// Locks a key that was not locked.
    pub(super) fn put_new_lock(&mut self, key: EncodedKey, lock: KeyLock) {
        self.effects.acquired.push((key.clone(), lock.info(&key)));
        self.put_lock(key, lock);
    }

    /// Puts a pessimistic lock into the leader's memory.
    pub(super) fn put_memory_lock(&mut self, key: EncodedKey, lock: Lock, new: bool) {
        if new {
            self.effects.acquired.push((key.clone(), lock.info(&key)));
        }
        self.effects.changes.push(Change::PutMemoryLock(key, lock));
    }

    /// Takes the last lock from `key`; whoever waits for it is told the commit timestamp, 0 of a rollback.
    pub(super) fn unlock(&mut self, key: EncodedKey, commit_ts: u64) {
        self.effects.released.push(Released { key: key.clone(), start_ts: self.start_ts, commit_ts });
        self.locks.insert(key, None);
    }

    /// Takes this transaction out of the shared locks on `key`.
    pub(super) fn leave(&mut self, key: EncodedKey, shared: &SharedLocks, commit_ts: u64) {
        match shared.without(self.start_ts) {
            None => self.unlock(key, commit_ts),
            Some(rest) => self.put_lock(key, KeyLock::Shared(rest)),
        }
    }

    /// Takes this transaction's lock from `key`, be it alone or one of several in `found`.
    pub(super) fn give_back(&mut self, key: EncodedKey, found: &KeyLock, commit_ts: u64) {
        match found {
            KeyLock::Sole(_) => self.unlock(key, commit_ts),
            KeyLock::Shared(shared) => self.leave(key, shared, commit_ts),
        }
    }

    pub(super) fn put_write(&mut self, key: EncodedKey, commit_ts: u64, write: Write) {
        self.effects.changes.push(Change::PutWrite(key, commit_ts, write));
    }

    pub(super) fn put_value(&mut self, key: EncodedKey, value: Bytes) {
        self.effects.changes.push(Change::PutValue(key, self.start_ts, value));
    }

    /// Remembers that this transaction is committed.
    pub(super) fn note_commit(&mut self, commit_ts: u64) {
        self.effects.committed.push((self.start_ts, commit_ts));
    }

    pub(super) fn fate(&self, key: &EncodedKey) -> Fate {
        self.columns.fate(key, self.start_ts)
    }

    /// Takes this transaction's lock away from `key`, where `found` lies, and leaves a rollback record.
    ///
    /// The record is protected on the primary key, whose state decides about the transaction, and where a pipelined
    /// transaction flushed. `how` says whether the unprotected record before it goes.
    pub(super) fn roll_back_lock(&mut self, key: EncodedKey, found: &KeyLock, how: Rollback) {
        if let Fate::Unknown { overlapped } = self.fate(&key)
            && let Some(lock) = found.of(self.start_ts)
        {
            if lock.kind == LockKind::Put && lock.short_value.is_none() {
                self.effects.changes.push(Change::DeleteValue(key.clone(), lock.start_ts));
            }
            let protected = EncodedKey::of(&lock.primary) == key || lock.generation > 0;
            self.put_rollback(&key, protected, overlapped);
            if how == Rollback::Collapsing {
                self.collapse_rollback(&key);
            }
        }
        self.give_back(key, found, 0);
    }

    /// Finds out about this transaction on `key`, where it holds no lock, and does what `action` says if there is
    /// nothing to find. `other` is the lock of another transaction that lies there.
    pub(super) fn settle_missing(
        &mut self,
        key: &EncodedKey,
        other: Option<KeyLock>,
        action: IfMissing,
    ) -> Result<Missing, TxnError> {
        let overlapped = match self.fate(key) {
            Fate::Committed(commit_ts) => return Ok(Missing::Committed(commit_ts)),
            Fate::RolledBack => return Ok(Missing::RolledBack),
            Fate::Unknown { overlapped } => overlapped,
        };
        match action {
            IfMissing::Fail => {
                return Err(TxnError::TxnNotFound { start_ts: self.start_ts, key: key.user() });
            }
            IfMissing::Ignore => {}
            IfMissing::RollBack(how) => {
                if how == Rollback::Collapsing {
                    self.collapse_rollback(key);
                }
                if overlapped.is_none() {
                    self.remember_rollback(key, other, how);
                }
                self.put_rollback(key, how == Rollback::Protected, overlapped);
            }
        }
        Ok(Missing::Unknown)
    }

    /// Rolls this transaction back on `key`, unless its lock is still alive at `current_ts` (0: whether alive or not).
    pub(super) fn clean_up(
        &mut self,
        key: EncodedKey,
        current_ts: u64,
        how: Rollback,
    ) -> Result<(), TxnError> {
        let found = self.lock(&key);
        if let Some(found) = &found
            && let Some(lock) = found.of(self.start_ts)
        {
            if current_ts != 0 && !lock.expired(current_ts) {
                return Err(TxnError::Locked(Box::new(found.info(&key))));
            }
            self.roll_back_lock(key, found, how);
            return Ok(());
        }
        match self.settle_missing(&key, found, IfMissing::RollBack(how))? {
            Missing::Committed(commit_ts) => {
                Err(TxnError::Committed { start_ts: self.start_ts, commit_ts, key: key.user() })
            }
            Missing::RolledBack | Missing::Unknown => Ok(()),
        }
    }

    /// Writes the record of a rollback, or its mark on the row that lies in its place.
    pub(super) fn put_rollback(&mut self, key: &EncodedKey, protected: bool, overlapped: Option<Overlapped>) {
        let record = match overlapped {
            None => Write::rollback(self.start_ts, protected),
            Some(Overlapped { write, gc_fence }) if protected => {
                Write { overlapped_rollback: true, gc_fence: Some(gc_fence), ..write }
            }
            // The row stays: who needs this rollback to be found asks for a protected one.
            Some(_) => return,
        };
        self.put_write(key.clone(), self.start_ts, record);
    }

    /// Takes away the rollback record that lies next before this transaction, unless it is protected: what it keeps
    /// a late prewrite from, a newer record does as well.
    pub(super) fn collapse_rollback(&mut self, key: &EncodedKey) {
        if let Some((commit_ts, write)) = self.columns.writes(key, self.start_ts).next()
            && write.kind == WriteKind::Rollback
            && !write.is_protected_rollback()
        {
            self.effects.changes.push(Change::DeleteWrite(key.clone(), commit_ts));
        }
    }

    /// Makes the lock of an async-commit transaction remember this rollback, whose record its commit could overwrite:
    /// it may be committed at any timestamp from its minimum on.
    pub(super) fn remember_rollback(&mut self, key: &EncodedKey, lock: Option<KeyLock>, how: Rollback) {
        if let Some(KeyLock::Sole(mut lock)) = lock
            && how == Rollback::Protected
            && lock.async_commit.is_some()
            && self.start_ts >= lock.min_commit_ts
        {
            lock.rolled_back.push(self.start_ts);
            self.put_lock(key.clone(), KeyLock::Sole(lock));
        }
    }
}
