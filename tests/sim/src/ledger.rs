//! What clients saw and were told: every transaction with its reads, writes and end, every raw call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

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
    /// When it was begun, and when its client knew its end; nanoseconds of the world.
    pub(crate) begun: u64,
    pub(crate) ended: u64,
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
}

/// The books of a run; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

impl Ledger {
    fn with<R>(&self, act: impl FnOnce(&mut Books) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A transaction has begun; the number names it.
    pub(crate) fn begin(&self, what: &'static str, start_ts: u64, begun: u64) -> usize {
        self.with(|books| {
            let outcome = Outcome::Unknown;
            let (reads, writes) = (Vec::new(), BTreeMap::new());
            books.txns.push(Txn { what, start_ts, begun, ended: u64::MAX, reads, writes, outcome });
            books.txns.len() - 1
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
