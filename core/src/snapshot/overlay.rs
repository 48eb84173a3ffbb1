//! A transaction's own writes, laid over what a snapshot reads.
//!
//! client-go: `internal/unionstore/union_iter.go`.

use std::collections::VecDeque;

use crate::codec::{KeyspaceError, Placed, Prefix};
use crate::types::{Key, KeyRange, KvPair, Value};

/// The writes within the range of a scan, in the scan's order: as they were when the scan was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overlay {
    writes: VecDeque<(Key, Option<Value>)>,
    reverse: bool,
}

impl Overlay {
    /// `writes` in ascending order; `None` is a delete.
    pub(crate) fn new(writes: impl Iterator<Item = (Key, Option<Value>)>) -> Self {
        Self { writes: writes.collect(), reverse: false }
    }

    /// `writes` in the scan's order.
    pub(crate) fn of(writes: impl Iterator<Item = (Key, Option<Value>)>, reverse: bool) -> Self {
        Self { writes: writes.collect(), reverse }
    }

    /// The writes in the scan's order; `None` is a delete.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (&Key, Option<&Value>)> {
        self.writes.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Whether the scan goes from the end of its range to the start.
    pub(crate) fn is_reverse(&self) -> bool {
        self.reverse
    }

    /// Turns it round for a reverse scan.
    pub(crate) fn reverse(&mut self) {
        self.reverse = !self.reverse;
        self.writes.make_contiguous().reverse();
    }

    /// Drops the values, for a scan of keys.
    pub(crate) fn keys_only(&mut self) {
        for value in self.writes.iter_mut().filter_map(|(_, value)| value.as_mut()) {
            *value = Value::new();
        }
    }

    /// How many writes are left.
    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Lays the writes over a page: `pairs` is all that the store has between the page before and `left`.
    pub(crate) fn lay_over(&mut self, pairs: Vec<KvPair>, left: Option<&KeyRange>) -> Vec<KvPair> {
        if self.writes.is_empty() {
            return pairs;
        }
        let mut out = Vec::with_capacity(pairs.len());
        for pair in pairs {
            while let Some((key, value)) = self.next_if(|key, reverse| comes_first(key, &pair.key, reverse)) {
                out.extend(value.map(|value| KvPair { key, value }));
            }
            match self.next_if(|key, _| *key == pair.key) {
                Some((key, value)) => out.extend(value.map(|value| KvPair { key, value })),
                None => out.push(pair),
            }
        }
        let covered = |key: &Key| left.is_none_or(|left| !left.contains(key.as_slice()));
        while let Some((key, value)) = self.next_if(|key, _| covered(key)) {
            out.extend(value.map(|value| KvPair { key, value }));
        }
        out
    }

    fn next_if(&mut self, wanted: impl Fn(&Key, bool) -> bool) -> Option<(Key, Option<Value>)> {
        let reverse = self.reverse;
        self.writes.front().is_some_and(|(key, _)| wanted(key, reverse)).then(|| self.writes.pop_front())?
    }
}

impl Placed for Overlay {
    fn enter(&mut self, keyspace: Prefix) {
        self.writes.iter_mut().for_each(|(key, _)| key.enter(keyspace));
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        self.writes.iter_mut().try_for_each(|(key, _)| key.leave(keyspace))
    }
}

fn comes_first(one: &Key, other: &Key, reverse: bool) -> bool {
    if reverse { one > other } else { one < other }
}
