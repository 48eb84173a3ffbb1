//! The records of the `lock` column: a lock, or the shared locks that several transactions hold on one key.
//!
//! Spec: `cluster.md` 5.2, 7.15. TiKV: `txn_types/src/lock.rs`. They are kept as values, not as bytes: nothing outside
//! the engine ever sees their encoding.

use std::collections::BTreeMap;

use bytes::Bytes;
use tikv_proto::kvrpcpb::{LockInfo, MvccLock, Op};

use super::key::EncodedKey;
use super::records::{WriteKind, physical_ms};

/// What a lock will become when it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockKind {
    Put,
    Delete,
    Lock,
    /// Nothing: it only keeps others from the key until its transaction prewrites.
    Pessimistic,
}

impl LockKind {
    pub(super) fn op(self) -> Op {
        match self {
            Self::Put => Op::Put,
            Self::Delete => Op::Del,
            Self::Lock => Op::Lock,
            Self::Pessimistic => Op::PessimisticLock,
        }
    }

    /// The record that a commit makes of it; none of a pessimistic lock.
    pub(super) fn committed(self) -> Option<WriteKind> {
        match self {
            Self::Put => Some(WriteKind::Put),
            Self::Delete => Some(WriteKind::Delete),
            Self::Lock => Some(WriteKind::Lock),
            Self::Pessimistic => None,
        }
    }
}

/// A lock of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) kind: LockKind,
    pub(super) primary: Bytes,
    pub(super) start_ts: u64,
    pub(super) ttl_ms: u64,
    /// How many keys the transaction has, as its client says.
    pub(super) txn_size: u64,
    pub(super) txn_source: u64,
    pub(super) short_value: Option<Bytes>,
    /// Up to which timestamp the transaction knows what was written here; 0: it is optimistic.
    pub(super) for_update_ts: u64,
    /// 0: not used.
    pub(super) min_commit_ts: u64,
    pub(super) async_commit: Option<AsyncCommit>,
    /// Transactions that were rolled back for good at a timestamp at which this lock may be committed: their record
    /// would have the same key as the commit record, so the lock remembers them for it.
    pub(super) rolled_back: Vec<u64>,
    /// Which flush of a pipelined transaction wrote it; 0: none.
    pub(super) generation: u64,
    /// A pessimistic lock that was granted although the key was written after the transaction last looked.
    pub(super) with_conflict: bool,
}

/// What a lock of an async-commit transaction knows besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AsyncCommit {
    /// User keys of the other locks; only the primary lock has them.
    pub(super) secondaries: Vec<Bytes>,
}

impl Lock {
    /// What a client is told of this lock on `key`.
    pub(super) fn info(&self, key: &EncodedKey) -> LockInfo {
        LockInfo {
            primary_lock: self.primary.clone(),
            lock_version: self.start_ts,
            key: key.user(),
            lock_ttl: self.ttl_ms,
            txn_size: self.txn_size,
            lock_type: self.kind.op().into(),
            lock_for_update_ts: self.for_update_ts,
            use_async_commit: self.async_commit.is_some(),
            min_commit_ts: self.min_commit_ts,
            secondaries: self
                .async_commit
                .as_ref()
                .map(|known| known.secondaries.clone())
                .unwrap_or_default(),
            ..LockInfo::default()
        }
    }

    /// The lock as MvccGetByKey shows it: without times to live and commit details.
    fn mvcc(&self) -> MvccLock {
        MvccLock {
            r#type: self.kind.op().into(),
            start_ts: self.start_ts,
            primary: self.primary.clone(),
            short_value: self.short_value.clone().unwrap_or_default(),
            ..MvccLock::default()
        }
    }

    pub(super) fn is_pessimistic(&self) -> bool {
        self.kind == LockKind::Pessimistic
    }

    /// Whether its time to live is over at `current_ts`, as far as the physical parts tell.
    pub(super) fn expired(&self, current_ts: u64) -> bool {
        physical_ms(self.start_ts).saturating_add(self.ttl_ms) < physical_ms(current_ts)
    }
}

/// The locks of several transactions that only keep a key from being changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SharedLocks {
    /// Someone wants the key alone: no transaction joins any more.
    pub(super) shrink_only: bool,
    /// By start timestamp.
    pub(super) holders: BTreeMap<u64, Lock>,
}

impl SharedLocks {
    /// What a client is told of these locks on `key`.
    pub(super) fn info(&self, key: &EncodedKey) -> LockInfo {
        LockInfo {
            key: key.user(),
            lock_type: Op::SharedLock.into(),
            shared_lock_infos: self.holders.values().map(|lock| lock.info(key)).collect(),
            ..LockInfo::default()
        }
    }

    /// The one of these locks that stands for all where only one is shown: the first in the hash table that TiKV
    /// reads the row into. It has no random seed, so clients see the same one each time.
    // TiKV: txn_types/src/lock.rs: SharedLocks::parse; hashbrown: raw: capacity_to_buckets; fxhash
    fn shown(&self) -> Option<&Lock> {
        const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
        let room = self.holders.len() + 1;
        let slots = match room {
            ..4 => 4,
            4..8 => 8,
            _ => (room * 8 / 7).next_power_of_two(),
        };
        let mut table = vec![None; slots];
        for lock in self.holders.values() {
            let wanted = usize::try_from(lock.start_ts.wrapping_mul(FACTOR) & 0xffff).unwrap_or_default();
            let free = (wanted..wanted + slots).map(|slot| slot % slots).find(|&slot| table[slot].is_none());
            if let Some(slot) = free {
                table[slot] = Some(lock);
            }
        }
        table.into_iter().flatten().next()
    }

    /// These locks without `start_ts`; nothing when nobody else holds one.
    pub(super) fn without(&self, start_ts: u64) -> Option<Self> {
        let mut rest = self.clone();
        rest.holders.remove(&start_ts);
        (!rest.holders.is_empty()).then_some(rest)
    }

    /// These locks with the one of `lock`'s transaction being `lock`.
    pub(super) fn with(mut self, lock: Lock) -> Self {
        self.holders.insert(lock.start_ts, lock);
        self
    }
}

/// A row of the `lock` column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyLock {
    /// Held by one transaction alone.
    Sole(Lock),
    Shared(SharedLocks),
}

impl KeyLock {
    pub(super) fn info(&self, key: &EncodedKey) -> LockInfo {
        match self {
            Self::Sole(lock) => lock.info(key),
            Self::Shared(shared) => shared.info(key),
        }
    }

    /// The row as MvccGetByKey shows it: of shared locks, one.
    pub(super) fn mvcc(&self) -> Option<MvccLock> {
        match self {
            Self::Sole(lock) => Some(lock.mvcc()),
            Self::Shared(shared) => shared.shown().map(Lock::mvcc),
        }
    }

    /// The lock that keeps everyone else out, if it is one.
    pub(super) fn sole(&self) -> Option<&Lock> {
        match self {
            Self::Sole(lock) => Some(lock),
            Self::Shared(_) => None,
        }
    }

    /// The lock of the transaction of `start_ts`, alone or among others.
    pub(super) fn of(&self, start_ts: u64) -> Option<&Lock> {
        match self {
            Self::Sole(lock) => Some(lock).filter(|lock| lock.start_ts == start_ts),
            Self::Shared(shared) => shared.holders.get(&start_ts),
        }
    }

    /// All locks of the row, the oldest first.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Lock> {
        let (sole, shared) = match self {
            Self::Sole(lock) => (Some(lock), None),
            Self::Shared(shared) => (None, Some(shared.holders.values())),
        };
        sole.into_iter().chain(shared.into_iter().flatten())
    }

    /// The row with only those locks that `keep` takes; nothing when there are none.
    pub(super) fn filtered(&self, keep: impl Fn(&Lock) -> bool) -> Option<Self> {
        match self {
            Self::Sole(lock) => keep(lock).then(|| self.clone()),
            Self::Shared(shared) => {
                let mut left = shared.clone();
                left.holders.retain(|_, lock| keep(lock));
                (!left.holders.is_empty()).then_some(Self::Shared(left))
            }
        }
    }
}
