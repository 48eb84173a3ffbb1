//! Finds out from the secondaries of an async commit whether its transaction is committed.
//!
//! An async commit is committed once all its keys are locked, at the largest `min_commit_ts` of these locks; nobody need have
//! written that down. So when its time is over every secondary is asked. A key that has no lock gets a rollback record by the
//! very question, which makes what was found final: whoever asks later comes to the same.
//!
//! | answers | outcome |
//! |---|---|
//! | any that is an error | none: the recovery fails and decides nothing |
//! | any lock that is no async commit's | not async: the transaction fell back, its primary alone decides |
//! | some keys without lock, all of one commit timestamp | committed at it |
//! | some keys without lock and without commit timestamp | rolled back |
//! | all locked | committed at the largest `min_commit_ts`, the primary's with them |
//!
//! client-go: `txnkv/txnlock/lock_resolver.go: checkAllSecondaries, addKeys`.

use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::classify::{Asked, classify};
use super::status::AsyncPrimary;
use crate::error::Error;
use crate::machine::Cx;
use crate::region_call::spread::Batches;
use crate::region_call::{Cut, Reply};
use crate::request::{Profile, Request};
use crate::types::{Key, Timestamp};

const OPERATION: &str = "check secondary locks";

/// Regions asked at a time.
const AT_ONCE: usize = 16;

/// What the secondaries say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// Committed at this timestamp.
    Committed(Timestamp),
    /// Rolled back, for good.
    RolledBack,
    /// The transaction fell back to a plain commit.
    NotAsync,
}

/// What the secondaries of one region answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// How many keys were asked for.
    pub(crate) keys: usize,
    /// `min_commit_ts` of each lock that is there.
    pub(crate) min_commit_ts: Vec<Timestamp>,
    /// A lock is no async commit's.
    pub(crate) plain: bool,
    /// When it was committed, if a key says so.
    pub(crate) commit_ts: Timestamp,
}

/// Folds the answers of all regions; the order of answers does not matter.
///
/// # Errors
/// The answers contradict each other: nothing is decided.
pub(crate) fn fold(
    primary: Timestamp,
    start_ts: Timestamp,
    answers: &[Answered],
) -> Result<Recovered, Error> {
    let corrupt = |detail: String| Error::Corrupt { operation: OPERATION, detail: detail.into() };
    if answers.iter().any(|answer| answer.plain) {
        return Ok(Recovered::NotAsync);
    }
    let locked = answers.iter().flat_map(|answer| &answer.min_commit_ts).copied();
    let least = locked.fold(primary, Timestamp::max);
    let mut missing = answers.iter().filter(|answer| answer.min_commit_ts.len() < answer.keys);
    let commit_ts = match missing.next() {
        None => least,
        Some(first) => {
            if let Some(other) = missing.find(|answer| answer.commit_ts != first.commit_ts) {
                return Err(corrupt(format!(
                    "transaction {start_ts} is committed at {} and at {}",
                    first.commit_ts, other.commit_ts
                )));
            }
            if first.commit_ts == Timestamp(0) {
                return Ok(Recovered::RolledBack);
            }
            first.commit_ts
        }
    };
    if commit_ts < least || commit_ts <= start_ts {
        return Err(corrupt(format!("transaction {start_ts} is committed at {commit_ts}, below {least}")));
    }
    Ok(Recovered::Committed(commit_ts))
}

/// Asks every secondary, then decides.
#[derive(Debug)]
pub(crate) struct Recover {
    start_ts: Timestamp,
    primary: AsyncPrimary,
    redacted: bool,
    batches: Batches<Key>,
    answers: Vec<Answered>,
}

impl Recover {
    pub(crate) fn new(start_ts: Timestamp, primary: AsyncPrimary, redacted: bool) -> Self {
        let mut keys = primary.secondaries.clone();
        keys.sort_unstable();
        keys.dedup();
        let batches = Batches::new(OPERATION, keys, Cut::TXN, AT_ONCE);
        Self { start_ts, primary, redacted, batches, answers: Vec::new() }
    }

    /// All keys of the transaction, for who removes its locks.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = self.primary.secondaries.clone();
        keys.push(self.primary.key.clone());
        keys
    }

    /// Goes one step; see [`Machine::step`](crate::machine::Machine::step).
    pub(crate) fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<Recovered, Error>> {
        let start_ts = self.start_ts;
        let request = |keys: &[Key]| {
            let keys = keys.iter().map(|key| key.0.clone()).collect();
            let message =
                pb::CheckSecondaryLocksRequest { keys, start_version: start_ts.0, ..Default::default() };
            Request::new(&message, Profile::default())
        };
        while let Some(end) = ready!(self.batches.next(cx, request)) {
            let (keys, reply) = end?;
            let answered = self.read(keys.len(), reply)?;
            self.answers.push(answered);
        }
        Poll::Ready(fold(self.primary.min_commit_ts, start_ts, &self.answers))
    }

    fn read(&self, keys: usize, reply: Reply) -> Result<Answered, Error> {
        let response: pb::CheckSecondaryLocksResponse = reply.decode(OPERATION)?;
        if let Some(error) = response.error {
            // Without locks and commit timestamp it looks just like a rollback: it is none.
            let asked = Asked { operation: OPERATION, start_ts: self.start_ts, redacted: self.redacted };
            return Err(asked.error(classify(*error)));
        }
        if let Some(other) = response.locks.iter().find(|lock| lock.lock_version != self.start_ts.0) {
            let detail = format!("a lock of {} for transaction {}", other.lock_version, self.start_ts);
            return Err(Error::Corrupt { operation: OPERATION, detail: detail.into() });
        }
        Ok(Answered {
            keys,
            plain: response.locks.iter().any(|lock| !lock.use_async_commit),
            min_commit_ts: response.locks.iter().map(|lock| Timestamp(lock.min_commit_ts)).collect(),
            commit_ts: Timestamp(response.commit_ts),
        })
    }
}
