//! A transaction that writes down what it reads, writes and comes to.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use tikv_client_core::error::Error;
use tikv_client_core::txn::Transaction;
use tikv_client_core::types::{Key, KeyRange};

use super::{Ctx, Missed, Worker};
use crate::ledger::{Outcome, Read};

/// The page of a transaction in the ledger.
#[derive(Clone)]
pub(crate) struct Book {
    ctx: Ctx,
    page: usize,
}

impl Book {
    /// A page for what began (it asked for its timestamp) at `begun`.
    pub(crate) fn new(ctx: &Ctx, what: &'static str, start_ts: u64, begun: u64) -> Self {
        let (page, right) = ctx.ledger.begin(what, start_ts, begun);
        ctx.verdict.check(right);
        Self { page, ctx: ctx.clone() }
    }

    pub(crate) fn read(&self, key: impl Into<Bytes>, value: Option<Bytes>) {
        self.ctx.ledger.change(self.page, |txn| txn.reads.push(Read::Key(key.into(), value)));
    }

    pub(crate) fn scanned(&self, read: Read) {
        self.ctx.ledger.change(self.page, |txn| txn.reads.push(read));
    }

    /// Whether the transaction had not written the key before.
    pub(crate) fn write(&self, key: impl Into<Bytes>, value: Option<Bytes>) -> bool {
        self.ctx.ledger.change(self.page, |txn| txn.writes.insert(key.into(), value).is_none()) == Some(true)
    }

    fn unwrite(&self, key: &str) {
        self.ctx.ledger.change(self.page, |txn| txn.writes.remove(key.as_bytes()));
    }

    /// Its client knows how it ended.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.ctx.verdict.check(self.ctx.ledger.end(self.page, outcome, self.ctx.executor.now()));
    }

    /// Its client knows from `result` how it ended: the answer of a commit, or of a transaction with its retries.
    pub(crate) fn settle(&self, result: Result<u64, &Missed>) {
        match result {
            Ok(commit_ts) => {
                self.ctx.tally.count("txn.committed");
                self.ctx.check_committed(self.page, commit_ts);
                self.end(Outcome::Committed(commit_ts));
            }
            Err(Missed::Error(error)) if error.is_undetermined() => {
                self.ctx.check_undetermined(error);
                self.end(Outcome::Undetermined);
            }
            Err(Missed::Error(error)) => {
                self.ctx.tally.count("txn.failed");
                self.end(Outcome::Failed(error.to_string()));
            }
            // Its page says already that nobody knows.
            Err(Missed::Dropped) => self.ctx.tally.count("txn.dropped"),
        }
    }
}

/// The pairs of a scan, as bytes.
pub(crate) fn pairs(pairs: Vec<tikv_client_core::types::KvPair>) -> Vec<(Bytes, Bytes)> {
    pairs.into_iter().map(|pair| (pair.key.0, pair.value)).collect()
}

/// A transaction with its book. Reads of keys are to come before their writes.
pub(super) struct Booked {
    pub(super) txn: Transaction,
    book: Book,
    ctx: Ctx,
    deadline: Duration,
    drops: Rng,
    /// Its commit was begun.
    decides: bool,
    /// Keys that must have no value before it. Deleted again they are checked, and not written.
    new: BTreeSet<String>,
}

impl Drop for Booked {
    /// What it wrote was in its buffer, and nothing was sent.
    fn drop(&mut self) {
        if !self.decides {
            self.book.end(Outcome::Failed("dropped before its commit".to_owned()));
        }
    }
}

impl Worker {
    /// Begins a transaction.
    pub(super) async fn begin(&mut self, what: &'static str) -> Result<Booked, Missed> {
        let begun = self.ctx.executor.now();
        let deadline = self.ctx.plan.deadline;
        let drops = self.rng.fork();
        let txn = self.ctx.call("begin", deadline, Some(&mut self.rng), self.client.begin()).await?;
        let book = Book::new(&self.ctx, what, txn.start_ts().0, begun);
        Ok(Booked { txn, book, ctx: self.ctx.clone(), deadline, drops, decides: false, new: BTreeSet::new() })
    }
}

impl Booked {
    pub(super) async fn get(&mut self, key: &str) -> Result<Option<Bytes>, Missed> {
        let call = self.txn.get(key);
        let value = self.ctx.call("get", self.deadline, Some(&mut self.drops), call).await?;
        self.book.read(key.to_owned(), value.clone());
        Ok(value)
    }

    pub(super) async fn batch_get(&mut self, keys: &[String]) -> Result<Vec<Option<Bytes>>, Missed> {
        let call = self.txn.batch_get(keys.iter().map(String::as_str));
        let got = pairs(self.ctx.call("batch-get", self.deadline, Some(&mut self.drops), call).await?);
        let value =
            |key: &String| got.iter().find(|pair| pair.0 == key.as_bytes()).map(|pair| pair.1.clone());
        let values: Vec<_> = keys.iter().map(value).collect();
        for (key, value) in keys.iter().zip(&values) {
            self.book.read(key.clone(), value.clone());
        }
        Ok(values)
    }

    /// Scans; before anything was written.
    pub(super) async fn scan(
        &mut self,
        range: KeyRange,
        rng: &mut Rng,
    ) -> Result<Vec<(Bytes, Bytes)>, Missed> {
        let (reverse, page) = (rng.bool(), rng.u32(1..=5));
        let limit = if rng.bool() { usize::MAX } else { rng.usize(1..8) };
        let mut scan = self.txn.scan(&range).batch_size(page).limit(limit);
        if reverse {
            scan = scan.reverse();
        }
        let found = if rng.bool() {
            pairs(self.ctx.call("scan", self.deadline, Some(&mut self.drops), scan).await?)
        } else {
            let mut found = Vec::new();
            let mut cursor = scan.cursor();
            // A batch that finds nothing goes on to the next, each with the whole deadline: regions may be empty.
            let patience = self.deadline * 64;
            while let Some(batch) =
                self.ctx.call("next-batch", patience, Some(&mut self.drops), cursor.next_batch()).await?
            {
                found.extend(pairs(batch));
            }
            found
        };
        let (start, end) = (range.start.0, range.end.0);
        let pairs = found.clone();
        self.book.scanned(Read::Range { start, end, limit, reverse, pairs });
        Ok(found)
    }

    pub(super) fn put(&mut self, key: &str, value: impl Into<Bytes>) -> Result<(), Missed> {
        let value = value.into();
        self.txn.put(key, value.clone()).map_err(Missed::Error)?;
        self.book.write(key.to_owned(), Some(value));
        Ok(())
    }

    pub(super) fn insert(&mut self, key: &str, value: impl Into<Bytes>) -> Result<(), Missed> {
        let value = value.into();
        self.txn.insert(key, value.clone()).map_err(Missed::Error)?;
        if self.book.write(key.to_owned(), Some(value)) {
            self.new.insert(key.to_owned());
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &str) -> Result<(), Missed> {
        self.txn.delete(key).map_err(Missed::Error)?;
        self.book.write(key.to_owned(), None);
        if self.new.contains(key) {
            self.book.unwrite(key);
        }
        Ok(())
    }

    /// Commits, or gives up.
    pub(super) async fn commit(mut self) -> Result<(), Missed> {
        self.decides = true;
        let call = self.txn.commit();
        let done = self.ctx.call("commit", self.deadline, Some(&mut self.drops), call).await;
        self.book.settle(done.as_ref().map(|info| info.commit_ts.0));
        if done.is_ok() {
            self.new.iter().for_each(|key| self.book.read(key.clone(), None));
        }
        done.map(drop)
    }

    /// Gives up; nothing of it may ever be seen.
    pub(super) async fn rollback(mut self) -> Result<(), Missed> {
        self.ctx.call("rollback", self.deadline, None, self.txn.rollback()).await
    }
}

/// Any range of keys with a prefix; its ends may be open within it.
pub(super) fn range(prefix: &str, most: usize, rng: &mut Rng) -> KeyRange {
    let whole = KeyRange::prefix(Key::from(prefix));
    let bound = |rng: &mut Rng| Key::from(format!("{prefix}{:02}", rng.usize(..=most)));
    let (mut start, mut end) = (whole.start, whole.end);
    if rng.bool() {
        start = bound(rng);
    }
    if rng.bool() {
        end = bound(rng);
    }
    if end < start { KeyRange { start: end, end: start } } else { KeyRange { start, end } }
}

/// The error of a call that is no call: buffers refuse only bad input.
impl From<Error> for Missed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
