//! Finds out what became of one transaction whose locks were met.
//!
//! ```text
//! Checking ──> fate
//!    | async commit, its time is over
//!    v
//! Recovering ──> fate
//!    | it fell back to a plain commit
//!    v
//! CheckingPlain ──> fate
//! ```
//!
//! client-go: `txnkv/txnlock/lock_resolver.go: resolveLocks` (its inner `resolve`).

use std::task::{Poll, ready};

use super::model::Lock;
use super::recover::{Recover, Recovered};
use super::status::{CheckStatus, Status};
use crate::error::Error;
use crate::machine::{Cx, Machine};
use crate::types::{Key, Timestamp};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Committed.
    Committed(Timestamp),
    /// Rolled back, for good.
    RolledBack,
    /// Its owner may go on.
    Alive {
        /// How long it lives after its begin, in ms.
        ttl_ms: u64,
        /// It can only commit behind the one who asked.
        pushed: bool,
    },
    /// Its primary has neither lock nor record: it is not there yet, or not any more.
    Missing,
    /// Nothing is decided; a pessimistic lock of it may be released all the same.
    Undecided,
}

/// A transaction and its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The lock that was asked about.
    pub(crate) lock: Lock,
    /// What became of its owner.
    pub(crate) fate: Fate,
    /// All keys of the owner, when they decided: its primary still has its lock then, too.
    pub(crate) recovered: Vec<Key>,
}

#[derive(Debug)]
enum Phase {
    Checking(CheckStatus),
    Recovering(Recover),
    CheckingPlain(CheckStatus),
}

/// Asks about the owner of one lock. See the module for its phases.
#[derive(Debug)]
pub(crate) struct Settle {
    lock: Lock,
    caller_ts: Timestamp,
    now: Timestamp,
    redacted: bool,
    phase: Box<Phase>,
}

impl Settle {
    /// Asks about the owner of `lock` for someone at `caller_ts`; `now` is a fresh timestamp.
    pub(crate) fn new(lock: Lock, caller_ts: Timestamp, now: Timestamp, redacted: bool) -> Self {
        let check = CheckStatus::new(lock.clone(), caller_ts, now, false, redacted);
        Self { lock, caller_ts, now, redacted, phase: Box::new(Phase::Checking(check)) }
    }

    fn settled(&self, fate: Fate, recovered: Vec<Key>) -> Poll<Result<Settled, Error>> {
        Poll::Ready(Ok(Settled { lock: self.lock.clone(), fate, recovered }))
    }
}

impl Machine for Settle {
    type Output = Result<Settled, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            let status = match &mut *self.phase {
                Phase::Checking(check) | Phase::CheckingPlain(check) => ready!(check.step(cx))?,
                Phase::Recovering(recover) => {
                    let recovered = ready!(recover.step(cx))?;
                    let keys = recover.keys();
                    match recovered {
                        Recovered::Committed(ts) => return self.settled(Fate::Committed(ts), keys),
                        Recovered::RolledBack => return self.settled(Fate::RolledBack, keys),
                        Recovered::NotAsync => {}
                    }
                    let Self { lock, caller_ts, now, redacted, .. } = self;
                    let check = CheckStatus::new(lock.clone(), *caller_ts, *now, true, *redacted);
                    *self.phase = Phase::CheckingPlain(check);
                    continue;
                }
            };
            let fate = match status {
                Status::Committed(ts) => Fate::Committed(ts),
                Status::RolledBack => Fate::RolledBack,
                Status::Alive { ttl_ms, pushed } => Fate::Alive { ttl_ms, pushed },
                Status::Undecided | Status::Mismatch => Fate::Undecided,
                Status::Async(primary) => {
                    let recover = Recover::new(self.lock.start_ts, primary, self.redacted);
                    *self.phase = Phase::Recovering(recover);
                    continue;
                }
                Status::NotFound => Fate::Missing,
            };
            return self.settled(fate, Vec::new());
        }
    }
}
