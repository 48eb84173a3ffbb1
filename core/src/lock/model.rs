//! A lock, as a store tells of it, and how long it lives.

use tikv_proto::kvrpcpb as pb;

use crate::types::{Key, Timestamp};

/// How a lock came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LockKind {
    /// By a prewrite: its owner may be committed already.
    Prewritten,
    /// Before the prewrite: its owner cannot be committed with it.
    Pessimistic,
}

/// A lock of some transaction.
///
/// A shared lock is told as its holders: one of these for each.
///
/// client-go: `txnkv/txnlock/lock_resolver.go: Lock`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lock {
    /// The locked key.
    pub key: Key,
    /// The key whose record decides about the owner.
    pub primary: Key,
    /// When the owner began: its name.
    pub start_ts: Timestamp,
    /// How long the lock lives after its owner's begin, in ms; 0: it is to be resolved whatever the time is.
    pub ttl_ms: u64,
    /// How many keys the owner locked in the region; `u64::MAX` when it does not know.
    pub txn_size: u64,
    /// How it came to be.
    pub kind: LockKind,
    /// The newest `for_update_ts` of a pessimistic lock; 0 for others.
    pub for_update_ts: Timestamp,
    /// Whether the owner wrote through a transaction file: told back as it came.
    pub is_txn_file: bool,
}

impl Lock {
    /// Reads what a store told: one lock, or the holders of a shared one.
    pub(crate) fn read(info: pb::LockInfo, into: &mut Vec<Self>) {
        if info.shared_lock_infos.is_empty() {
            into.push(Self::one(info));
            return;
        }
        let shared = info.key;
        for mut holder in info.shared_lock_infos {
            if holder.key.is_empty() {
                holder.key = shared.clone();
            }
            into.push(Self::one(holder));
        }
    }

    fn one(info: pb::LockInfo) -> Self {
        let kind = match info.lock_type() {
            pb::Op::PessimisticLock | pb::Op::SharedPessimisticLock => LockKind::Pessimistic,
            pb::Op::Put
            | pb::Op::Del
            | pb::Op::Lock
            | pb::Op::Rollback
            | pb::Op::Insert
            | pb::Op::CheckNotExists
            | pb::Op::SharedLock => LockKind::Prewritten,
        };
        Self {
            key: info.key.into(),
            primary: info.primary_lock.into(),
            start_ts: Timestamp(info.lock_version),
            ttl_ms: info.lock_ttl,
            txn_size: info.txn_size,
            kind,
            for_update_ts: Timestamp(info.lock_for_update_ts),
            is_txn_file: info.is_txn_file,
        }
    }

    /// Whether the owner's time was over at `now`, by what the lock itself says.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.ttl_ms == 0 || left_ms(self.start_ts, self.ttl_ms, now) == 0
    }

    /// The time to judge the owner by: a lock without time to live is over at any time.
    pub(crate) fn judged_at(&self, now: Timestamp) -> Timestamp {
        if self.ttl_ms == 0 { Timestamp::MAX } else { now }
    }
}

/// How many ms a transaction that began at `start_ts` with `ttl_ms` to live has left at `now`, both of PD's clock.
///
/// client-go: `oracle/oracles/pd.go: UntilExpired`.
pub(crate) fn left_ms(start_ts: Timestamp, ttl_ms: u64, now: Timestamp) -> u64 {
    start_ts.physical_ms().saturating_add(ttl_ms).saturating_sub(now.physical_ms())
}
