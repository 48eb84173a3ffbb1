//! What the columns say about the versions of a key.
//!
//! Spec: `cluster.md` 5.3, 8.1. TiKV: `mvcc/reader/{reader,point_getter}.rs`. A row whose fence a reader has passed hides
//! the key as a delete would.

use bytes::Bytes;

use super::columns::Columns;
use super::error::TxnError;
use super::key::EncodedKey;
use super::records::{Write, WriteKind};

/// A version with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) value: Bytes,
    pub(super) commit_ts: u64,
}

/// What became of a transaction on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Committed at this timestamp.
    Committed(u64),
    /// Rolled back, by a record of its own or by a mark on another one.
    RolledBack,
    /// Nothing tells.
    Unknown {
        /// The row that lies where the rollback record would.
        overlapped: Option<Overlapped>,
    },
}

/// A version that was committed at the start timestamp of a transaction that may be rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overlapped {
    pub(super) write: Write,
    /// The commit timestamp of the next newer put or delete; 0 for none.
    pub(super) gc_fence: u64,
}

impl Columns {
    /// The value of `key` for a reader at `ts`.
    pub(super) fn visible(&self, key: &EncodedKey, ts: u64) -> Result<Option<Version>, TxnError> {
        let Some((commit_ts, write)) = self.visible_put(key, ts) else { return Ok(None) };
        let value = self.load(key, write.start_ts, write.short_value.as_ref())?;
        Ok(Some(Version { value, commit_ts }))
    }

    /// The record of what a reader at `ts` sees; none when it sees nothing or a delete.
    pub(super) fn visible_put(&self, key: &EncodedKey, ts: u64) -> Option<(u64, &Write)> {
        self.newest_put(key, ts, ts)
    }

    /// The put that is the newest data of `key` at `ts`; `fence_limit` is how far the reader knows the fences.
    pub(super) fn newest_put(&self, key: &EncodedKey, ts: u64, fence_limit: u64) -> Option<(u64, &Write)> {
        for (commit_ts, write) in self.writes(key, ts) {
            if write.fenced(fence_limit) {
                return None;
            }
            match write.kind {
                WriteKind::Put => return Some((commit_ts, write)),
                WriteKind::Delete => return None,
                WriteKind::Lock | WriteKind::Rollback => {}
            }
        }
        None
    }

    /// The value that the transaction of `start_ts` put: from its record or, when it is long, from its own row.
    pub(super) fn load(
        &self,
        key: &EncodedKey,
        start_ts: u64,
        short: Option<&Bytes>,
    ) -> Result<Bytes, TxnError> {
        short
            .or_else(|| self.value(key, start_ts))
            .cloned()
            .ok_or_else(|| TxnError::DefaultNotFound { key: key.at(start_ts) })
    }

    /// The newest row of `key`, of any kind.
    pub(super) fn newest(&self, key: &EncodedKey) -> Option<(u64, &Write)> {
        self.writes(key, u64::MAX).next()
    }

    /// What became of the transaction of `start_ts` on `key`.
    ///
    /// A transaction may commit later than one that started after it, so the search goes from the newest row down.
    pub(super) fn fate(&self, key: &EncodedKey, start_ts: u64) -> Fate {
        let mut gc_fence = 0;
        for (commit_ts, write) in self.writes(key, u64::MAX) {
            if write.start_ts == start_ts {
                return match write.kind {
                    WriteKind::Rollback => Fate::RolledBack,
                    WriteKind::Put | WriteKind::Delete | WriteKind::Lock => Fate::Committed(commit_ts),
                };
            }
            if commit_ts == start_ts {
                if write.overlapped_rollback {
                    return Fate::RolledBack;
                }
                return Fate::Unknown { overlapped: Some(Overlapped { write: write.clone(), gc_fence }) };
            }
            if commit_ts < start_ts {
                break;
            }
            if matches!(write.kind, WriteKind::Put | WriteKind::Delete) {
                gc_fence = commit_ts;
            }
        }
        Fate::Unknown { overlapped: None }
    }
}
