//! The three columns, and a batch of changes to them.
//!
//! One engine holds the data of the whole cluster: regions are only views of it. Commands compute their changes from
//! what is stored and apply them at once at their end, so a command that fails has written nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::key::EncodedKey;
use super::locks::{KeyLock, Lock};
use super::records::Write;

/// The key of a row of the `write` column; newer versions of a key sort first.
type Version = (EncodedKey, Reverse<u64>);

/// All data of a cluster.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Long values of versions, and whatever raw clients write.
    default: BTreeMap<Bytes, Bytes>,
    lock: BTreeMap<EncodedKey, KeyLock>,
    /// Pessimistic locks that only the leaders know: not in the column, and gone when a leader crashes.
    memory: BTreeMap<EncodedKey, Lock>,
    write: BTreeMap<Version, Write>,
    /// What raw clients write to the other two columns. It lies apart because it is no record: a TiKV whose
    /// transactions meet such bytes stops.
    raw_lock: BTreeMap<Bytes, Bytes>,
    raw_write: BTreeMap<Bytes, Bytes>,
    /// When raw values end that do not live for ever, in seconds since the Unix epoch. They stay until they are
    /// overwritten, but nobody sees them.
    raw_ends: BTreeMap<(Column, Bytes), u64>,
}

/// A column that a raw request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Default,
    Lock,
    Write,
}

/// One change to the columns.
#[derive(Debug)]
pub(super) enum Change {
    /// Into the leader's memory.
    PutMemoryLock(EncodedKey, Lock),
    /// Into the column; it takes the place of one in memory.
    PutLock(EncodedKey, KeyLock),
    DeleteLock(EncodedKey),
    /// By commit timestamp.
    PutWrite(EncodedKey, u64, Write),
    /// By commit timestamp.
    DeleteWrite(EncodedKey, u64),
    /// By start timestamp.
    PutValue(EncodedKey, u64, Bytes),
    /// By start timestamp.
    DeleteValue(EncodedKey, u64),
}

impl Columns {
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::PutMemoryLock(key, lock) => {
                    self.memory.insert(key, lock);
                }
                Change::PutLock(key, lock) => {
                    self.memory.remove(&key);
                    self.lock.insert(key, lock);
                }
                Change::DeleteLock(key) => {
                    self.memory.remove(&key);
                    self.lock.remove(&key);
                }
                Change::PutWrite(key, commit_ts, write) => {
                    self.write.insert((key, Reverse(commit_ts)), write);
                }
                Change::DeleteWrite(key, commit_ts) => {
                    self.write.remove(&(key, Reverse(commit_ts)));
                }
                Change::PutValue(key, start_ts, value) => {
                    self.default.insert(key.at(start_ts), value);
                }
                Change::DeleteValue(key, start_ts) => {
                    self.default.remove(&key.at(start_ts));
                }
            }
        }
    }

    /// What locks `key`, in memory or in the column.
    pub(super) fn lock(&self, key: &EncodedKey) -> Option<KeyLock> {
        let memory = self.memory.get(key).map(|lock| KeyLock::Sole(lock.clone()));
        memory.or_else(|| self.lock.get(key).cloned())
    }

    /// The lock that a reader of `key` may have to mind: those in memory are pessimistic, and nobody reads past
    /// pessimistic and shared ones.
    pub(super) fn lock_to_read(&self, key: &EncodedKey) -> Option<&Lock> {
        self.lock.get(key).and_then(KeyLock::sole)
    }

    /// The rows of the column for the keys in `[start, end)`, ascending; an empty end is open.
    pub(super) fn stored_locks(
        &self,
        start: &Bytes,
        end: &Bytes,
    ) -> impl DoubleEndedIterator<Item = (&EncodedKey, &KeyLock)> {
        self.lock.range::<[u8], _>(span(start, end))
    }

    /// All locks of the keys in `[start, end)`, in memory or in the column, ascending; an empty end is open.
    ///
    /// Of a key that has both, the column's is told, as TiKV does.
    pub(super) fn locks(&self, start: &Bytes, end: &Bytes) -> impl Iterator<Item = (EncodedKey, KeyLock)> {
        let mut stored = self.stored_locks(start, end).peekable();
        let mut memory = self.memory.range::<[u8], _>(span(start, end)).peekable();
        std::iter::from_fn(move || {
            let from_memory = match (stored.peek(), memory.peek()) {
                (Some((stored_key, _)), Some((memory_key, _))) => memory_key < stored_key,
                (stored, _) => stored.is_none(),
            };
            if from_memory {
                return memory.next().map(|(key, lock)| (key.clone(), KeyLock::Sole(lock.clone())));
            }
            let (key, lock) = stored.next()?;
            if memory.peek().is_some_and(|(other, _)| *other == key) {
                memory.next();
            }
            Some((key.clone(), lock.clone()))
        })
    }

    /// Forgets the locks in memory for the keys in `[start, end)`; an empty end is open.
    pub(super) fn lose_memory_locks(&mut self, start: &Bytes, end: &Bytes) {
        let keys: Vec<_> =
            self.memory.range::<[u8], _>(span(start, end)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.memory.remove(&key);
        }
    }

    /// The long value that the transaction of `start_ts` wrote.
    pub(super) fn value(&self, key: &EncodedKey, start_ts: u64) -> Option<&Bytes> {
        self.default.get(&key.at(start_ts))
    }

    /// The rows of `key` that were written at `newest` or before, the newest first.
    pub(super) fn writes(&self, key: &EncodedKey, newest: u64) -> impl Iterator<Item = (u64, &Write)> {
        self.write
            .range((key.clone(), Reverse(newest))..=(key.clone(), Reverse(0)))
            .map(|((_, Reverse(commit_ts)), write)| (*commit_ts, write))
    }

    /// The keys of `[start, end)` that have a row in `write`, a key once for each of them; an empty end is open.
    pub(super) fn written_keys(
        &self,
        start: &Bytes,
        end: &Bytes,
    ) -> impl DoubleEndedIterator<Item = &EncodedKey> {
        self.write.range(version_span(start, end)).map(|((key, _), _)| key)
    }

    /// Rows in `write` of the keys in `[start, end)`, with their keys and commit timestamps.
    pub(super) fn versions(
        &self,
        start: &Bytes,
        end: &Bytes,
    ) -> impl Iterator<Item = (&EncodedKey, u64, &Write)> {
        self.write
            .range(version_span(start, end))
            .map(|((key, Reverse(commit_ts)), write)| (key, *commit_ts, write))
    }

    /// All rows of `default` that hold values of `key`, with the start timestamps of their transactions.
    pub(super) fn values(&self, key: &EncodedKey) -> impl Iterator<Item = (u64, &Bytes)> {
        self.default.range(key.at(u64::MAX)..=key.at(0)).filter_map(|(row, value)| {
            let (_, ts) = row.split_last_chunk()?;
            Some((!u64::from_be_bytes(*ts), value))
        })
    }

    /// Empties `[start, end)` of every column; an empty end is open. What is only in memory stays.
    pub(super) fn delete_range(&mut self, start: &Bytes, end: &Bytes) {
        for column in [Column::Default, Column::Lock, Column::Write] {
            self.raw_delete_range(column, start, end);
        }
        let locked: Vec<_> = self.stored_locks(start, end).map(|(key, _)| key.clone()).collect();
        for key in locked {
            self.lock.remove(&key);
        }
        let written: Vec<_> =
            self.write.range(version_span(start, end)).map(|(row, _)| row.clone()).collect();
        for row in written {
            self.write.remove(&row);
        }
    }

    /// What raw clients see of a column.
    fn raw(&self, column: Column) -> &BTreeMap<Bytes, Bytes> {
        match column {
            Column::Default => &self.default,
            Column::Lock => &self.raw_lock,
            Column::Write => &self.raw_write,
        }
    }

    fn raw_mut(&mut self, column: Column) -> &mut BTreeMap<Bytes, Bytes> {
        match column {
            Column::Default => &mut self.default,
            Column::Lock => &mut self.raw_lock,
            Column::Write => &mut self.raw_write,
        }
    }

    /// Writes a raw value that ends at `ends`, in seconds since the Unix epoch, or lives for ever.
    pub(super) fn put_raw(&mut self, column: Column, key: Bytes, value: Bytes, ends: Option<u64>) {
        match ends {
            Some(ends) => self.raw_ends.insert((column, key.clone()), ends),
            None if self.raw_ends.is_empty() => None,
            None => self.raw_ends.remove(&(column, key.clone())),
        };
        self.raw_mut(column).insert(key, value);
    }

    pub(super) fn delete_raw(&mut self, column: Column, key: &Bytes) {
        self.raw_mut(column).remove(key);
        self.raw_ends.remove(&(column, key.clone()));
    }

    /// The raw value of `key` at `now_s`, in seconds since the Unix epoch.
    pub(super) fn raw_value(&self, column: Column, key: &Bytes, now_s: u64) -> Option<&Bytes> {
        let value = self.raw(column).get(key)?;
        self.raw_lives(column, key, now_s).then_some(value)
    }

    /// When the raw value of `key` ends; one that lives for ever does not.
    pub(super) fn raw_expires(&self, column: Column, key: &Bytes) -> Option<u64> {
        self.raw_ends.get(&(column, key.clone())).copied()
    }

    fn raw_lives(&self, column: Column, key: &Bytes, now_s: u64) -> bool {
        self.raw_ends.is_empty() || self.raw_expires(column, key).is_none_or(|ends| ends > now_s)
    }

    /// Rows of `[start, end)` as raw clients see them at `now_s`, in seconds since the Unix epoch; an empty end is open.
    pub(super) fn raw_rows(
        &self,
        column: Column,
        start: &Bytes,
        end: &Bytes,
        now_s: u64,
    ) -> impl DoubleEndedIterator<Item = (&Bytes, &Bytes)> {
        let rows = self.raw(column).range::<[u8], _>(span(start, end));
        rows.filter(move |(key, _)| self.raw_lives(column, key, now_s))
    }

    pub(super) fn raw_delete_range(&mut self, column: Column, start: &Bytes, end: &Bytes) {
        let rows = self.raw(column).range::<[u8], _>(span(start, end));
        let keys: Vec<_> = rows.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.delete_raw(column, &key);
        }
    }
}

/// `[start, end)` as the bounds of a map: an empty end is open, an inverted range (which a map refuses) is empty.
fn span<'a>(start: &'a [u8], end: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end.max(start)) };
    (Bound::Included(start), upper)
}

/// [`span`] over the versions of the keys.
fn version_span(start: &Bytes, end: &Bytes) -> (Bound<Version>, Bound<Version>) {
    let newest = |key: &Bytes| (EncodedKey::from_encoded(key.clone()), Reverse(u64::MAX));
    let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(newest(end.max(start))) };
    (Bound::Included(newest(start)), upper)
}
