//! A pessimistic lock on one key: may the transaction have it, and what does it see there?
//!
//! Spec: `cluster.md` 7.2, 7.15. TiKV: `txn/actions/acquire_pessimistic_lock.rs`.

use bytes::Bytes;
use tikv_proto::kvrpcpb::LockInfo;
use tikv_proto::kvrpcpb::write_conflict::Reason;

use super::columns::Columns;
use super::constraint::{has_value, is_void};
use super::error::TxnError;
use super::key::EncodedKey;
use super::locks::{KeyLock, Lock, LockKind, SharedLocks};
use super::records::{Write, WriteKind};
use super::txn::Txn;

/// What a transaction wants of the keys that it locks.
#[derive(Clone, Debug)]
pub(super) struct LockWish {
    pub(super) start_ts: u64,
    pub(super) primary: Bytes,
    pub(super) ttl_ms: u64,
    pub(super) for_update_ts: u64,
    pub(super) min_commit_ts: u64,
    pub(super) return_values: bool,
    pub(super) check_existence: bool,
    pub(super) only_if_exists: bool,
    /// A newer version does not matter: the lock is granted at its timestamp (fair locking).
    pub(super) force: bool,
    /// A lock is kept in the leader's memory.
    pub(super) in_memory: bool,
}

/// A key to be locked.
#[derive(Clone, Debug)]
pub(super) struct LockKey {
    pub(super) key: EncodedKey,
    pub(super) must_be_absent: bool,
    pub(super) shared: bool,
}

/// What a transaction that got its lock is told of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It did not ask.
    Nothing,
    Value(Option<Bytes>),
    Existence(bool),
    /// It was locked at the timestamp of a version that the transaction had not seen.
    Conflict {
        value: Option<Bytes>,
        conflict_ts: u64,
    },
}

/// Why a key was not locked.
#[derive(Debug)]
pub(super) enum NotLocked {
    Failed(TxnError),
    /// Another transaction has it; it may be waited for.
    Held(Box<LockInfo>),
    /// Shared locks lie on it, and more may join until they are told not to.
    Growing(SharedLocks),
}

impl From<TxnError> for NotLocked {
    fn from(error: TxnError) -> Self {
        Self::Failed(error)
    }
}

/// A value that was looked for: the bytes only if they are wanted.
type Found = Option<Bytes>;

impl LockWish {
    /// Whether the transaction reads the key, so that later commits must come after its read.
    pub(super) fn reads(&self, must_be_absent: bool) -> bool {
        must_be_absent || self.return_values || self.check_existence
    }

    fn seen(&self, value: Found, conflict_ts: Option<u64>) -> Seen {
        match conflict_ts {
            Some(conflict_ts) => Seen::Conflict { value, conflict_ts },
            None if self.return_values => Seen::Value(value),
            None if self.check_existence => Seen::Existence(value.is_some()),
            None => Seen::Nothing,
        }
    }

    fn lock(&self, for_update_ts: u64, with_conflict: bool) -> Lock {
        Lock {
            kind: LockKind::Pessimistic,
            primary: self.primary.clone(),
            start_ts: self.start_ts,
            ttl_ms: self.ttl_ms,
            txn_size: 0,
            txn_source: 0,
            short_value: None,
            for_update_ts,
            min_commit_ts: self.min_commit_ts,
            async_commit: None,
            rolled_back: Vec::new(),
            generation: 0,
            with_conflict,
        }
    }

    fn conflict(&self, key: &EncodedKey, commit_ts: u64, write: &Write) -> TxnError {
        TxnError::WriteConflict {
            start_ts: self.start_ts,
            conflict_start_ts: write.start_ts,
            conflict_commit_ts: commit_ts,
            key: key.user(),
            primary: self.primary.clone(),
            reason: Reason::PessimisticRetry,
        }
    }
}

impl Txn<'_> {
    /// Locks `key` if nothing is in the way.
    pub(super) fn acquire(&mut self, wish: &LockWish, key: &LockKey) -> Result<Seen, NotLocked> {
        if wish.only_if_exists && !wish.return_values {
            let (start_ts, key) = (wish.start_ts, key.key.user());
            return Err(TxnError::LockIfExistsFailed { start_ts, key }.into());
        }
        // As the command found the key: a key that it names twice is locked twice alike.
        match self.columns.lock(&key.key) {
            None => self.acquire_free(wish, key, None),
            Some(found @ KeyLock::Sole(_)) if key.shared => {
                Err(NotLocked::Held(Box::new(found.info(&key.key))))
            }
            Some(KeyLock::Sole(lock)) => self.acquire_again(wish, key, &lock),
            Some(KeyLock::Shared(shared)) if !key.shared => {
                if shared.shrink_only {
                    Err(NotLocked::Held(Box::new(shared.info(&key.key))))
                } else {
                    Err(NotLocked::Growing(shared))
                }
            }
            Some(KeyLock::Shared(shared)) => {
                if shared.holders.contains_key(&wish.start_ts) {
                    Ok(self.share_again(wish, key, shared))
                } else if shared.shrink_only {
                    Err(NotLocked::Held(Box::new(shared.info(&key.key))))
                } else {
                    self.acquire_free(wish, key, Some(shared))
                }
            }
        }
    }

    /// The key is locked by nobody, or by those who `shared` it.
    fn acquire_free(
        &mut self,
        wish: &LockWish,
        key: &LockKey,
        shared: Option<SharedLocks>,
    ) -> Result<Seen, NotLocked> {
        let columns = self.columns;
        let LockKey { key, must_be_absent, shared: share } = key;
        let mut for_update_ts = wish.for_update_ts;
        let mut conflict = None;
        let mut value = None;
        if let Some((commit_ts, write)) = columns.newest(key) {
            if commit_ts > wish.for_update_ts {
                if !wish.force {
                    return Err(wish.conflict(key, commit_ts, write).into());
                }
                conflict = Some((commit_ts, write));
                for_update_ts = commit_ts;
            }
            if columns.is_rolled_back(key, wish.start_ts) {
                let (start_ts, key) = (wish.start_ts, key.user());
                return Err(TxnError::PessimisticLockRolledBack { start_ts, key }.into());
            }
            if *must_be_absent && has_value(columns, key, wish.start_ts, (commit_ts, write)) {
                return Err(match conflict {
                    // The client has not seen that version yet.
                    Some((commit_ts, write)) => wish.conflict(key, commit_ts, write),
                    None => TxnError::AlreadyExists { key: key.user() },
                }
                .into());
            }
            if wish.reads(false) || conflict.is_some() {
                let load = wish.return_values || conflict.is_some();
                value = columns.newest_value(key, wish.start_ts, (commit_ts, write), load)?;
            }
        }
        let lock = wish.lock(for_update_ts, conflict.is_some());
        let key = key.clone();
        if *share {
            let new = shared.is_none();
            let locks = KeyLock::Shared(shared.unwrap_or_default().with(lock));
            if new {
                self.put_new_lock(key, locks);
            } else {
                self.put_lock(key, locks);
            }
        } else if !wish.only_if_exists || value.is_some() {
            self.put_pessimistic(wish, key, lock, true);
        } else if let Some((commit_ts, write)) = conflict {
            return Err(wish.conflict(&key, commit_ts, write).into());
        }
        Ok(wish.seen(value, conflict.map(|(commit_ts, _)| commit_ts)))
    }

    /// The key is locked by one transaction alone: if by this one, the request came before, or another statement of
    /// the transaction locks the key again.
    fn acquire_again(&mut self, wish: &LockWish, key: &LockKey, lock: &Lock) -> Result<Seen, NotLocked> {
        let LockKey { key, must_be_absent, .. } = key;
        if lock.start_ts != wish.start_ts {
            return Err(NotLocked::Held(Box::new(lock.info(key))));
        }
        if !lock.is_pessimistic() {
            let (start_ts, key) = (wish.start_ts, key.user());
            return Err(TxnError::LockTypeNotMatch { start_ts, key, pessimistic: false }.into());
        }
        let granted_later = wish.force && wish.for_update_ts < lock.for_update_ts;
        let for_update_ts = if granted_later { lock.for_update_ts } else { wish.for_update_ts };
        let load = wish.return_values || granted_later;
        let mut value = None;
        if load || wish.reads(*must_be_absent) {
            let found = self.columns.newest_put(key, for_update_ts, wish.start_ts);
            if let Some((commit_ts, write)) = found {
                if *must_be_absent && !is_void(write) {
                    let unseen = commit_ts > wish.for_update_ts;
                    return Err(if unseen {
                        wish.conflict(key, commit_ts, write)
                    } else {
                        TxnError::AlreadyExists { key: key.user() }
                    }
                    .into());
                }
                if load {
                    value = Some(self.columns.load(key, write.start_ts, write.short_value.as_ref())?);
                } else if wish.check_existence {
                    value = Some(Bytes::new());
                }
            }
        }
        if for_update_ts > lock.for_update_ts {
            let renewed = wish.lock(for_update_ts, lock.with_conflict);
            self.put_pessimistic(wish, key.clone(), renewed, false);
        }
        Ok(wish.seen(value, granted_later.then_some(lock.for_update_ts)))
    }

    /// The transaction is one of those that share the key; its value is not read again.
    fn share_again(&mut self, wish: &LockWish, key: &LockKey, shared: SharedLocks) -> Seen {
        let held = shared.holders.get(&wish.start_ts);
        let with_conflict = held.is_some_and(|lock| lock.with_conflict);
        if held.is_some_and(|lock| wish.for_update_ts > lock.for_update_ts) {
            let renewed = wish.lock(wish.for_update_ts, with_conflict);
            self.put_lock(key.key.clone(), KeyLock::Shared(shared.with(renewed)));
        }
        wish.seen(None, None)
    }

    fn put_pessimistic(&mut self, wish: &LockWish, key: EncodedKey, lock: Lock, new: bool) {
        if wish.in_memory {
            self.put_memory_lock(key, lock, new);
        } else if new {
            self.put_new_lock(key, KeyLock::Sole(lock));
        } else {
            self.put_lock(key, KeyLock::Sole(lock));
        }
    }
}

impl Columns {
    /// Whether the transaction of `start_ts` was rolled back on `key`, by a record of its own or by a mark on one.
    fn is_rolled_back(&self, key: &EncodedKey, start_ts: u64) -> bool {
        let row = self.writes(key, start_ts).next();
        row.is_some_and(|(commit_ts, write)| {
            commit_ts == start_ts && (write.kind == WriteKind::Rollback || write.overlapped_rollback)
        })
    }

    /// The newest value of `key`, whose newest row is `row`; empty bytes stand for it unless it is to be loaded.
    fn newest_value(
        &self,
        key: &EncodedKey,
        start_ts: u64,
        row: (u64, &Write),
        load: bool,
    ) -> Result<Found, TxnError> {
        let (commit_ts, write) = row;
        let put = match write.kind {
            WriteKind::Put if !write.fenced(start_ts) => Some(write),
            WriteKind::Put | WriteKind::Delete => None,
            WriteKind::Lock | WriteKind::Rollback => {
                self.newest_put(key, commit_ts.saturating_sub(1), start_ts).map(|(_, put)| put)
            }
        };
        match put {
            None => Ok(None),
            Some(_) if !load => Ok(Some(Bytes::new())),
            Some(put) => self.load(key, put.start_ts, put.short_value.as_ref()).map(Some),
        }
    }
}
