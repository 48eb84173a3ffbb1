//! What an operation does that met locks: resolves them, then pauses while their owners live.
//!
//! ```text
//! free ──(met locks)──> Resolving ──> Pausing ──> free
//!   ^                       └── the way is free ──^
//! ```
//!
//! A pause is that of its kind, but never longer than the owner has left to live. Rounds without a pause are bounded: a store
//! that shows the same lock for ever is not asked as fast as it answers.
//!
//! client-go: `txnkv/txnsnapshot/snapshot.go: get`, `txnkv/transaction/prewrite.go: handleSingleBatch`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tikv_proto::kvrpcpb as pb;

use super::classify::Asked;
use super::model::Lock;
use super::resolve::{Held, Purpose, ResolveLocks};
use crate::backoff::{Attempts, Kind};
use crate::error::{Error, TxnError};
use crate::machine::{Cx, Fault, Fired, Ticket, Why};
use crate::request::Profile;

/// Rounds one after the other without a pause.
const AT_ONCE: u32 = 8;

/// The locks that a read goes round, by the start timestamps of their owners. They hold for one timestamp of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LockSets {
    /// Their owners are rolled back, or will not be committed up to the reader's timestamp.
    pub(crate) ignore: BTreeSet<u64>,
    /// Their owners are committed up to the reader's timestamp: the lock's value is the one to read.
    pub(crate) access: BTreeSet<u64>,
}

crate::codec::keyless!(LockSets);

impl LockSets {
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.ignore.append(&mut other.ignore);
        self.access.append(&mut other.access);
    }

    /// The context that tells stores of them.
    pub(crate) fn profile(&self) -> Profile {
        if self.ignore.is_empty() && self.access.is_empty() {
            return Profile::default();
        }
        Profile::new(&pb::Context {
            resolved_locks: self.ignore.iter().copied().collect(),
            committed_locks: self.access.iter().copied().collect(),
            ..Default::default()
        })
    }
}

#[derive(Debug)]
enum Phase {
    Free,
    Resolving(Box<ResolveLocks>),
    /// The text is what is waited for.
    Pausing(Ticket<Fired>, Arc<str>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct MeetLocks {
    asked: Asked,
    purpose: Purpose,
    attempts: Attempts,
    at_once: u32,
    phase: Phase,
}

impl MeetLocks {
    /// For `asked`, who reads or writes at its `start_ts`.
    pub(crate) fn new(asked: Asked, purpose: Purpose) -> Self {
        Self { asked, purpose, attempts: Attempts::default(), at_once: 0, phase: Phase::Free }
    }

    /// Met `locks`: to be stepped until it is ready.
    pub(crate) fn meet(&mut self, locks: Vec<Lock>, cx: &mut Cx<'_>) {
        let Asked { operation, start_ts, redacted } = self.asked;
        let resolve = ResolveLocks::new(operation, locks, start_ts, self.purpose, redacted, cx);
        self.phase = Phase::Resolving(Box::new(resolve));
    }

    /// Ready when the request can be made again; `sets` then know what it goes round.
    pub(crate) fn step(&mut self, sets: &mut LockSets, cx: &mut Cx<'_>) -> Poll<Result<(), Error>> {
        loop {
            match &mut self.phase {
                Phase::Free => return Poll::Ready(Ok(())),
                Phase::Resolving(resolve) => {
                    let resolved = ready!(resolve.step(cx))?;
                    sets.merge(resolved.sets);
                    self.phase = self.pause(resolved.held, cx)?;
                }
                Phase::Pausing(timer, reason) => match ready!(cx.take(timer)) {
                    Ok(_) => self.phase = Phase::Free,
                    Err(Fault::Interrupted(why)) => {
                        let (operation, last) = (self.asked.operation, Some(Arc::clone(reason)));
                        return Poll::Ready(Err(Error::Interrupted { operation, why, last }));
                    }
                    Err(fault) => return Poll::Ready(Err(Error::of_fault(self.asked.operation, fault))),
                },
            }
        }
    }

    fn pause(&mut self, held: Option<Held>, cx: &mut Cx<'_>) -> Result<Phase, Error> {
        let left_ms = held.as_ref().map_or(0, |held| held.left_ms);
        let missing = held.as_ref().is_some_and(|held| held.missing);
        if left_ms == 0 && !missing && self.at_once < AT_ONCE {
            self.at_once += 1;
            return Ok(Phase::Free);
        }
        self.at_once = 0;
        // A writer pauses no longer than a reader: most owners are in the middle of their commit. client-go waits ten times as
        // long there (`txnLock`), which halves what transactions that meet each other get done.
        let kind = if missing { Kind::TxnNotFound } else { Kind::TxnLockFast };
        let reason: Arc<str> = match &held {
            Some(Held { lock, .. }) => {
                format!("key {} is locked by transaction {}", self.asked.shown(&lock.key), lock.start_ts)
                    .into()
            }
            None => "locks that were resolved are met again".into(),
        };
        if (1..shortest_ms(kind, &self.attempts)).contains(&left_ms) {
            let at = cx.now() + Duration::from_millis(left_ms);
            return Ok(Phase::Pausing(cx.timer(at, Why::LockTtl), reason));
        }
        match cx.back_off(kind, &mut self.attempts, Arc::clone(&reason)) {
            Ok(timer) => Ok(Phase::Pausing(timer, reason)),
            Err(account) => Err(match held {
                Some(Held { lock, .. }) => {
                    let (key, holder) = (self.asked.shown(&lock.key), lock.start_ts);
                    TxnError::Locked { key, holder, account }.into()
                }
                None => Error::Exhausted { operation: self.asked.operation, account },
            }),
        }
    }
}

/// The shortest that the next pause of `kind` may be, in ms.
fn shortest_ms(kind: Kind, attempts: &Attempts) -> u64 {
    let law = kind.law();
    let factor = 1_u64.checked_shl(u32::from(attempts.of(kind))).unwrap_or(u64::MAX);
    law.base_ms.saturating_mul(factor).min(law.cap_ms) / 2
}
