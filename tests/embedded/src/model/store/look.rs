//! What the columns hold, told to one who checks them: a test, or the simulator. No command sees data this way.

use bytes::Bytes;

use super::Engine;
use super::key::EncodedKey;
use super::locks::Lock;
use super::mvcc::Fate;
use super::records::WriteKind;

/// The bound of a range of all keys.
static OPEN: Bytes = Bytes::new();

/// A lock of one transaction on a key, in the `lock` column or only in the leader's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockRow {
    /// The user key.
    pub key: Bytes,
    /// The user key of the transaction's primary.
    pub primary: Bytes,
    /// Its transaction.
    pub start_ts: u64,
    /// How long it lives from its start on, in ms.
    pub ttl_ms: u64,
    /// The least timestamp that it may be committed at; 0: any.
    pub min_commit_ts: u64,
    /// Whether its transaction is committed by all of its locks together.
    pub async_commit: bool,
    /// Whether it only keeps others away until its transaction prewrites.
    pub pessimistic: bool,
}

/// What a row of the `write` column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RowKind {
    /// The key has a new value.
    Put,
    /// The key has no value any more.
    Delete,
    /// The key was locked, and not changed.
    Lock,
    /// The transaction will never commit this key.
    Rollback,
}

/// A row of the `write` column.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteRow {
    /// The user key.
    pub key: Bytes,
    /// From when on it is seen.
    pub commit_ts: u64,
    /// Its transaction.
    pub start_ts: u64,
    /// What it says.
    pub kind: RowKind,
    /// The value of a put.
    pub value: Option<Bytes>,
}

fn row(key: &EncodedKey, lock: &Lock) -> LockRow {
    LockRow {
        key: key.user(),
        primary: lock.primary.clone(),
        start_ts: lock.start_ts,
        ttl_ms: lock.ttl_ms,
        min_commit_ts: lock.min_commit_ts,
        async_commit: lock.async_commit.is_some(),
        pessimistic: lock.is_pessimistic(),
    }
}

impl Engine {
    /// All locks by key, those of a key that several transactions share one after the other.
    #[must_use]
    pub fn lock_rows(&self) -> Vec<LockRow> {
        let locks = self.columns.locks(&OPEN, &OPEN);
        locks
            .flat_map(|(key, locks)| locks.holders().map(|lock| row(&key, lock)).collect::<Vec<_>>())
            .collect()
    }

    /// The lock of `key`, a user key; of several, the oldest.
    #[must_use]
    pub fn lock_row(&self, key: &[u8]) -> Option<LockRow> {
        let key = EncodedKey::of(key);
        self.columns.lock(&key).and_then(|locks| locks.holders().next().map(|lock| row(&key, lock)))
    }

    /// All rows of the `write` column by key, the newest of a key first.
    #[must_use]
    pub fn write_rows(&self) -> Vec<WriteRow> {
        let rows = self.columns.versions(&OPEN, &OPEN);
        rows.map(|(key, commit_ts, write)| {
            let kind = match write.kind {
                WriteKind::Put => RowKind::Put,
                WriteKind::Delete => RowKind::Delete,
                WriteKind::Lock => RowKind::Lock,
                WriteKind::Rollback => RowKind::Rollback,
            };
            let long = || self.columns.value(key, write.start_ts).cloned();
            let value = (kind == RowKind::Put).then(|| write.short_value.clone().or_else(long)).flatten();
            WriteRow { key: key.user(), commit_ts, start_ts: write.start_ts, kind, value }
        })
        .collect()
    }

    /// When the transaction of `start_ts` was committed at `key`, a user key; `None`: it was not.
    #[must_use]
    pub fn commit_ts(&self, key: &[u8], start_ts: u64) -> Option<u64> {
        match self.columns.fate(&EncodedKey::of(key), start_ts) {
            Fate::Committed(commit_ts) => Some(commit_ts),
            Fate::RolledBack | Fate::Unknown { .. } => None,
        }
    }
}
