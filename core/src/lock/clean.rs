//! Removes locks whose owners are decided: the owner's outcome is written at each key, in all regions side by side.
//!
//! client-go: `txnkv/txnlock/lock_resolver.go: resolveLock, resolveRegionLocks, resolvePessimisticLock`.

use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::classify::{Asked, classify};
use crate::error::Error;
use crate::machine::{Cx, Fanout, Machine};
use crate::region_call::spread::Batches;
use crate::region_call::{Cut, Reply};
use crate::request::{Profile, Request};
use crate::types::{Key, Timestamp};

const OPERATION: &str = "resolve locks";

/// Transactions whose locks are removed at a time, and regions of each.
const AT_ONCE: usize = 16;

/// What is to become of a transaction's locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// They are committed at this timestamp.
    Commit(Timestamp),
    /// They are rolled back.
    RollBack,
    /// Pessimistic locks up to this `for_update_ts` are released: nothing is said of the transaction.
    Release {
        /// Newer locks stay.
        for_update_ts: Timestamp,
    },
}

/// Locks of one transaction that are to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaning {
    /// The transaction.
    pub start_ts: Timestamp,
    /// What is to become of its locks.
    pub verdict: Verdict,
    /// The keys that have them.
    pub keys: Vec<Key>,
    /// All its locks in the regions of `keys` are meant: it is large, and each region is gone through once.
    pub whole_regions: bool,
    /// Whether it wrote through a transaction file.
    pub is_txn_file: bool,
}

/// Removes the locks of one transaction.
#[derive(Debug)]
struct CleanOne {
    cleaning: Cleaning,
    redacted: bool,
    batches: Batches<Key>,
}

impl CleanOne {
    fn new(mut cleaning: Cleaning, redacted: bool) -> Self {
        cleaning.keys.sort_unstable();
        cleaning.keys.dedup();
        let batches = Batches::new(OPERATION, std::mem::take(&mut cleaning.keys), Cut::TXN, AT_ONCE);
        Self { cleaning, redacted, batches }
    }

    fn check(&self, reply: Reply) -> Result<(), Error> {
        let error = match self.cleaning.verdict {
            Verdict::Commit(_) | Verdict::RollBack => {
                reply.decode::<pb::ResolveLockResponse>(OPERATION)?.error.map(|error| *error)
            }
            Verdict::Release { .. } => {
                reply.decode::<pb::PessimisticRollbackResponse>(OPERATION)?.errors.into_iter().next()
            }
        };
        let asked = Asked { operation: OPERATION, start_ts: self.cleaning.start_ts, redacted: self.redacted };
        error.map_or(Ok(()), |error| Err(asked.error(classify(error))))
    }
}

fn request(cleaning: &Cleaning, keys: &[Key]) -> Request {
    let start_version = cleaning.start_ts.0;
    let keys = match cleaning.whole_regions {
        true => Vec::new(),
        false => keys.iter().map(|key| key.0.clone()).collect(),
    };
    let commit_version = match cleaning.verdict {
        Verdict::Commit(ts) => ts.0,
        Verdict::RollBack => 0,
        Verdict::Release { for_update_ts } => {
            let message = pb::PessimisticRollbackRequest {
                start_version,
                for_update_ts: for_update_ts.0,
                keys,
                ..Default::default()
            };
            return Request::new(&message, Profile::default());
        }
    };
    let is_txn_file = cleaning.is_txn_file;
    let message =
        pb::ResolveLockRequest { start_version, commit_version, keys, is_txn_file, ..Default::default() };
    Request::new(&message, Profile::default())
}

impl Machine for CleanOne {
    type Output = Result<(), Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let cleaning = &self.cleaning;
        while let Some(end) = ready!(self.batches.next(cx, |keys| request(cleaning, keys))) {
            let (_, reply) = end?;
            self.check(reply)?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Removes the locks of some transactions; ends with the first error, when all are through.
#[derive(Debug)]
pub struct CleanLocks {
    transactions: Fanout<CleanOne>,
    failed: Option<Error>,
}

impl CleanLocks {
    /// Removes the locks of `cleanings`.
    #[must_use]
    pub fn new(cleanings: Vec<Cleaning>, redacted: bool) -> Self {
        let mut transactions = Fanout::new(AT_ONCE);
        for cleaning in cleanings {
            transactions.push(CleanOne::new(cleaning, redacted));
        }
        Self { transactions, failed: None }
    }
}

impl Machine for CleanLocks {
    type Output = Result<(), Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        while let Some(end) = ready!(self.transactions.next(cx)) {
            // One transaction's trouble does not keep the locks of the others.
            if let Err(error) = end {
                self.failed.get_or_insert(error);
            }
        }
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }
}
