//! The records of the `write` column.
//!
//! Spec: `cluster.md` 5.3. TiKV: `txn_types/src/write.rs`. They are kept as values, not as bytes: nothing outside the
//! engine ever sees their encoding.

use bytes::Bytes;
use tikv_proto::kvrpcpb::{MvccWrite, Op};

use super::locks::Lock;

/// Values up to this many bytes live in the record itself, longer ones in the `default` column.
pub(super) const SHORT_VALUE_MAX: usize = 255;

/// Bits of a timestamp below its physical part.
pub(super) const LOGICAL_BITS: u32 = 18;

/// The physical part of a timestamp, in milliseconds.
pub(super) fn physical_ms(ts: u64) -> u64 {
    ts >> LOGICAL_BITS
}

/// What a row of the `write` column tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteKind {
    Put,
    Delete,
    /// The transaction locked the key without changing it.
    Lock,
    /// The transaction that started at this row's timestamp will never commit here.
    Rollback,
}

/// A row of the `write` column; its commit timestamp is part of the row's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) kind: WriteKind,
    pub(super) start_ts: u64,
    pub(super) short_value: Option<Bytes>,
    pub(super) txn_source: u64,
    /// A transaction that started at this row's commit timestamp was rolled back for good.
    pub(super) overlapped_rollback: bool,
    /// Set together with `overlapped_rollback`: the commit timestamp of the next newer version at that time, 0 for none.
    /// A reader at or above it does not see this row, as the newer version may have been collected in between.
    pub(super) gc_fence: Option<u64>,
}

/// Short value of a rollback record that must not be collapsed into a newer one.
pub(super) const PROTECTED: &[u8] = b"p";

impl Write {
    pub(super) fn rollback(start_ts: u64, protected: bool) -> Self {
        Self {
            kind: WriteKind::Rollback,
            start_ts,
            short_value: protected.then(|| Bytes::from_static(PROTECTED)),
            txn_source: 0,
            overlapped_rollback: false,
            gc_fence: None,
        }
    }

    /// The record that commits `lock` at `commit_ts`; none of a pessimistic lock, which changes nothing.
    pub(super) fn commit(lock: &Lock, commit_ts: u64) -> Option<Self> {
        Some(Self {
            kind: lock.kind.committed()?,
            start_ts: lock.start_ts,
            short_value: lock.short_value.clone(),
            txn_source: lock.txn_source,
            overlapped_rollback: lock.rolled_back.contains(&commit_ts),
            gc_fence: None,
        })
    }

    /// A rollback record that a late prewrite must find.
    pub(super) fn is_protected_rollback(&self) -> bool {
        self.kind == WriteKind::Rollback && self.short_value.as_deref() == Some(PROTECTED)
    }

    /// Whether a reader at `read_ts` must treat the row as absent.
    pub(super) fn fenced(&self, read_ts: u64) -> bool {
        self.gc_fence.is_some_and(|fence| fence != 0 && fence <= read_ts)
    }

    /// The row as MvccGetByKey shows it.
    pub(super) fn mvcc(&self, commit_ts: u64) -> MvccWrite {
        let op = match self.kind {
            WriteKind::Put => Op::Put,
            WriteKind::Delete => Op::Del,
            WriteKind::Lock => Op::Lock,
            WriteKind::Rollback => Op::Rollback,
        };
        MvccWrite {
            r#type: op.into(),
            start_ts: self.start_ts,
            commit_ts,
            short_value: self.short_value.clone().unwrap_or_default(),
            has_overlapped_rollback: self.overlapped_rollback,
            has_gc_fence: self.gc_fence.is_some(),
            gc_fence: self.gc_fence.unwrap_or_default(),
            ..MvccWrite::default()
        }
    }
}
