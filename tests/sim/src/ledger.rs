//! What clients saw and were told: every transaction with its reads, writes and end, every raw call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::violation::{Invariant, Violation};

/// How a transaction ended, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its client is gone, or has dropped the commit: it may be committed or not.
    Unknown,
    /// Committed.
    Committed(u64),
    /// It failed, or was given up: it is not committed.
    Failed(String),
    /// Its client was told that nobody knows.
    Undetermined,
}

/// What a transaction read, beside what it wrote itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// One key.
    Key(Bytes, Option<Bytes>),
    /// The pairs of `[start, end)`, or the first or last `limit` of them.
    Range { start: Bytes, end: Bytes, limit: usize, reverse: bool, pairs: Vec<(Bytes, Bytes)> },
}

/// A transaction, or a snapshot (which writes nothing and ends at once).
#[derive(Clone, Debug)]
pub(crate) struct Txn {
    /// What it does, for people.
    pub(crate) what: &'static str,
    pub(crate) start_ts: u64,
    pub(crate) reads: Vec<Read>,
    /// `None`: a delete.
    pub(crate) writes: BTreeMap<Bytes, Option<Bytes>>,
    pub(crate) outcome: Outcome,
}

/// What a raw call did to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawOp {
    Get(Option<Bytes>),
    Put(Bytes),
    Delete,
}

/// A raw call.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) key: Bytes,
    pub(crate) op: RawOp,
    pub(crate) begun: u64,
    /// `None`: it failed, or was dropped: it may happen at any time.
    pub(crate) ended: Option<u64>,
}

#[derive(Debug, Default)]
struct Books {
    txns: Vec<Txn>,
    raw: Vec<Raw>,
    /// Timestamps that PD has given, and what for.
    given: BTreeMap<u64, &'static str>,
    /// When ends were known, and the newest timestamp of all until then.
    ends: Vec<(u64, u64)>,
}

impl Books {
    /// No timestamp is given to two.
    fn give(&mut self, ts: u64, what: &'static str) -> Result<(), Violation> {
        match self.given.insert(ts, what) {
            None => Ok(()),
            Some(other) => {
                let story = format!("{ts} was given to {other} and to {what}");
                Err(Violation::new(Invariant::UniqueTimestamp, story))
            }
        }
    }

    /// Whoever begins after another one's end was known reads at a later timestamp than that one's.
    fn in_order(&self, what: &'static str, start_ts: u64, begun: u64) -> Result<(), Violation> {
        let before = self.ends.partition_point(|(ended, _)| *ended < begun);
        match self.ends[..before].last() {
            Some((_, newest)) if start_ts <= *newest => {
                let story = format!("{what} begins at {start_ts}, behind an end at {newest}");
                Err(Violation::new(Invariant::ExternalConsistency, story))
            }
            _ => Ok(()),
        }
    }
}

/// The books of a run; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

impl Ledger {
    fn with<R>(&self, act: impl FnOnce(&mut Books) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A transaction has begun; the number names it.
    pub(crate) fn begin(
        &self,
        what: &'static str,
        start_ts: u64,
        begun: u64,
    ) -> (usize, Result<(), Violation>) {
        self.with(|books| {
            let right = books.in_order(what, start_ts, begun).and_then(|()| books.give(start_ts, what));
            let outcome = Outcome::Unknown;
            let (reads, writes) = (Vec::new(), BTreeMap::new());
            books.txns.push(Txn { what, start_ts, reads, writes, outcome });
            (books.txns.len() - 1, right)
        })
    }

    /// The client knows at `now` how a transaction ended.
    pub(crate) fn end(&self, txn: usize, outcome: Outcome, now: u64) -> Result<(), Violation> {
        self.with(|books| {
            let Some(page) = books.txns.get_mut(txn) else { return Ok(()) };
            let (what, start_ts) = (page.what, page.start_ts);
            let ts = if let Outcome::Committed(ts) = outcome { ts } else { start_ts };
            page.outcome = outcome;
            let newest = books.ends.last().map_or(0, |end| end.1);
            books.ends.push((now, newest.max(ts).max(start_ts)));
            // Who has written nothing commits at its own.
            if ts == start_ts { Ok(()) } else { books.give(ts, what) }
        })
    }

    pub(crate) fn change<R>(&self, txn: usize, change: impl FnOnce(&mut Txn) -> R) -> Option<R> {
        self.with(|books| books.txns.get_mut(txn).map(change))
    }

    /// A raw call begins; it may happen from now on.
    pub(crate) fn raw(&self, key: Bytes, op: RawOp, begun: u64) -> usize {
        self.with(|books| {
            books.raw.push(Raw { key, op, begun, ended: None });
            books.raw.len() - 1
        })
    }

    pub(crate) fn change_raw(&self, raw: usize, change: impl FnOnce(&mut Raw)) {
        self.with(|books| books.raw.get_mut(raw).map(change));
    }

    pub(crate) fn txns(&self) -> Vec<Txn> {
        self.with(|books| books.txns.clone())
    }

    pub(crate) fn raws(&self) -> Vec<Raw> {
        self.with(|books| books.raw.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(right: Result<(), Violation>) -> Option<Invariant> {
        right.err().map(|violation| violation.invariant)
    }

    #[test]
    fn a_begin_behind_an_end_in_time_but_not_in_timestamps_is_found() {
        let ledger = Ledger::default();
        let (first, right) = ledger.begin("first", 5, 10);
        assert_eq!(broken(right), None);
        // It has asked before the end was known.
        assert_eq!(broken(ledger.begin("beside", 6, 19).1), None);
        assert_eq!(broken(ledger.end(first, Outcome::Committed(9), 20)), None);
        assert_eq!(broken(ledger.begin("at once", 7, 20).1), None);
        let late = ledger.begin("late", 8, 21).1;
        assert_eq!(broken(late), Some(Invariant::ExternalConsistency));
        assert_eq!(broken(ledger.begin("later", 10, 22).1), None);
    }

    #[test]
    fn a_timestamp_that_two_were_given_is_found() {
        let ledger = Ledger::default();
        let (first, _) = ledger.begin("first", 5, 10);
        let (second, right) = ledger.begin("second", 6, 10);
        assert_eq!(broken(right), None);
        assert_eq!(broken(ledger.begin("third", 6, 10).1), Some(Invariant::UniqueTimestamp));
        // A reader ends at its own.
        assert_eq!(broken(ledger.end(first, Outcome::Committed(5), 20)), None);
        let commit = ledger.end(second, Outcome::Committed(5), 20);
        assert_eq!(broken(commit), Some(Invariant::UniqueTimestamp));
    }
}
