//! The buffer itself.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::error::{Error, InputError};
use crate::types::{Key, KeyRange, ShownKey, Value};

/// What a transaction does to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Gives it this value.
    Put(Value),
    /// Takes its value away.
    Delete,
}

impl Change {
    /// The value that the transaction sees.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Put(value) => Some(value),
            Self::Delete => None,
        }
    }
}

/// A key's entry in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// What is done to the key.
    pub change: Change,
    /// The key must have no value before: the commit fails if it has.
    pub must_be_new: bool,
}

/// How much fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain settings of the buffer")]
pub struct Limits {
    /// The longest key.
    pub key: usize,
    /// The largest key with its value.
    pub entry: usize,
    /// The most bytes of all keys and values.
    pub total: usize,
    /// Whether errors hide keys.
    pub redacted: bool,
}

/// Puts and deletes of one transaction, in key order.
#[derive(Clone, Debug)]
pub struct MemBuf {
    entries: BTreeMap<Key, Entry>,
    /// Bytes of all keys and values.
    size: usize,
    limits: Limits,
}

impl MemBuf {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { entries: BTreeMap::new(), size: 0, limits }
    }

    /// How many keys are changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// What is done to `key`, if anything is.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Gives `key` a value.
    ///
    /// # Errors
    /// [`InputError`]: an empty key or value, or one of the limits. Nothing is changed then.
    pub fn put(&mut self, key: Key, value: Value) -> Result<(), Error> {
        let must_be_new = self.entries.get(&key).is_some_and(|entry| entry.must_be_new);
        self.write("put", key, Entry { change: Change::Put(value), must_be_new })
    }

    /// Gives `key` a value; it must have none before. Says false, and changes nothing, when the buffer itself has given it one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn insert(&mut self, key: Key, value: Value) -> Result<bool, Error> {
        let must_be_new = match self.entries.get(&key) {
            None => true,
            // A key that this transaction deletes is free, whatever it has in the store.
            Some(Entry { change: Change::Delete, must_be_new }) => *must_be_new,
            Some(Entry { change: Change::Put(_), .. }) => return Ok(false),
        };
        self.write("insert", key, Entry { change: Change::Put(value), must_be_new }).map(|()| true)
    }

    /// Takes the value of `key` away.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: Key) -> Result<(), Error> {
        let must_be_new = self.entries.get(&key).is_some_and(|entry| entry.must_be_new);
        self.write("delete", key, Entry { change: Change::Delete, must_be_new })
    }

    fn write(&mut self, operation: &'static str, key: Key, entry: Entry) -> Result<(), Error> {
        let shown = || ShownKey::new(key.clone(), self.limits.redacted);
        if key.is_empty() {
            return Err(InputError::EmptyKey { operation }.into());
        }
        if key.len() > self.limits.key {
            return Err(
                InputError::KeyTooLarge { key: shown(), size: key.len(), limit: self.limits.key }.into()
            );
        }
        let value = entry.change.value();
        if value.is_some_and(|value| value.is_empty()) {
            // TiKV's answer to a read of such a value is that of a key without one.
            return Err(InputError::EmptyValue { operation, key: shown() }.into());
        }
        let size = key.len() + value.map_or(0, |value| value.len());
        if size > self.limits.entry {
            return Err(InputError::EntryTooLarge { key: shown(), size, limit: self.limits.entry }.into());
        }
        let before = self.entries.get(&key).map_or(0, |entry| entry_size(&key, entry));
        let total = self.size - before + size;
        if total > self.limits.total {
            return Err(InputError::TxnTooLarge { size: total, limit: self.limits.total }.into());
        }
        self.size = total;
        self.entries.insert(key, entry);
        Ok(())
    }

    /// The entries of a range, in key order.
    pub fn range(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&Key, &Entry)> + '_ {
        // The tree refuses bounds that are the wrong way round.
        let bounds = (!range.is_empty()).then(|| {
            let end =
                if range.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(range.end.clone()) };
            (Bound::Included(range.start.clone()), end)
        });
        bounds.into_iter().flat_map(|bounds| self.entries.range(bounds))
    }

    /// Every entry, in key order; the buffer is empty afterwards.
    pub fn take(&mut self) -> impl Iterator<Item = (Key, Entry)> + use<> {
        self.size = 0;
        std::mem::take(&mut self.entries).into_iter()
    }
}

fn entry_size(key: &Key, entry: &Entry) -> usize {
    key.len() + entry.change.value().map_or(0, |value| value.len())
}
