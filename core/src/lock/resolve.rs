//! Resolves the locks of one answer: asks about each owner, removes what is decided, says what is left to wait for.
//!
//! ```text
//! AskingTime ──> Settling ──> Cleaning ──> resolved      (a writer: the way must be free)
//!                   └───────────────────> resolved       (a reader: spawns the cleaning, and goes round the lock)
//! ```
//!
//! | fate | reader | writer |
//! |---|---|---|
//! | committed up to the reader's timestamp | reads the lock's value; spawns its commit | waits for its commit |
//! | committed behind it, rolled back | ignores the lock; spawns its end | waits for its end |
//! | alive, pushed behind the reader | ignores the lock | waits for its time to live |
//! | alive | waits for its time to live | the same |
//! | missing | looks at the lock again | the same |
//! | undecided | asks again; spawns the release of a pessimistic lock | asks again, the pessimistic lock released |
//!
//! client-go: `txnkv/txnlock/lock_resolver.go: resolveLocks`.

use std::collections::BTreeMap;
use std::task::{Poll, ready};

use super::clean::{CleanLocks, Cleaning, Verdict};
use super::meet::LockSets;
use super::model::{Lock, LockKind, left_ms};
use super::settle::{Fate, Settle, Settled};
use crate::error::Error;
use crate::machine::{Cx, Fanout, Machine, Ticket};
use crate::start::Start;
use crate::types::{Key, Timestamp};

/// Transactions asked about at a time.
const AT_ONCE: usize = 16;

/// A transaction with fewer keys in the region has its locks removed key by key; of a larger one the region is gone through.
///
/// client-go: `config/client.go: ResolveLockLiteThreshold`.
const LITE: u64 = 512;

/// Why locks are to be got out of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A read goes round them.
    Read {
        /// Only the locks that were met are removed, however large their transactions are: a point get does no more.
        lite: bool,
    },
    /// A write needs the keys.
    Write,
}

/// What is to be waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The lock.
    pub(crate) lock: Lock,
    /// How long its owner has left, in ms.
    pub(crate) left_ms: u64,
    /// Its primary was not found: the lock itself may be gone any moment.
    pub(crate) missing: bool,
}

/// What resolving came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The lock to wait for that ends first.
    pub(crate) held: Option<Held>,
    /// Locks that a reader goes round.
    pub(crate) sets: LockSets,
    /// Locks to be removed.
    pub(crate) cleanings: Vec<Cleaning>,
}

impl Resolved {
    fn wait(&mut self, lock: &Lock, left_ms: u64, missing: bool) {
        if self.held.as_ref().is_none_or(|held| left_ms < held.left_ms) {
            self.held = Some(Held { lock: lock.clone(), left_ms, missing });
        }
    }
}

/// What the fate of one owner means for its `locks`, which were met at `caller_ts`.
pub(crate) fn judge(
    settled: &Settled,
    locks: &[Lock],
    caller_ts: Timestamp,
    now: Timestamp,
    purpose: Purpose,
    into: &mut Resolved,
) {
    let reads = matches!(purpose, Purpose::Read { .. });
    let Some(first) = locks.first() else { return };
    let start_ts = first.start_ts;
    let verdict = match settled.fate {
        Fate::Alive { pushed: true, .. } if reads => {
            into.sets.ignore.insert(start_ts.0);
            return;
        }
        Fate::Alive { ttl_ms, .. } => {
            into.wait(first, left_ms(start_ts, ttl_ms, first.judged_at(now)), false);
            return;
        }
        Fate::Missing => {
            into.wait(first, left_ms(start_ts, first.ttl_ms, first.judged_at(now)), true);
            return;
        }
        Fate::Committed(ts) => {
            let set = if ts <= caller_ts { &mut into.sets.access } else { &mut into.sets.ignore };
            set.insert(start_ts.0);
            Some(Verdict::Commit(ts))
        }
        Fate::RolledBack => {
            into.sets.ignore.insert(start_ts.0);
            Some(Verdict::RollBack)
        }
        Fate::Undecided => {
            into.wait(first, 0, false);
            None
        }
    };
    into.cleanings.extend(locks.iter().filter(|lock| lock.kind == LockKind::Pessimistic).filter_map(release));
    if let Some(verdict) = verdict {
        plan(settled, locks, verdict, purpose, &mut into.cleanings);
    }
}

/// A pessimistic lock of the primary was released by the question about it.
fn release(lock: &Lock) -> Option<Cleaning> {
    let for_update_ts = if lock.for_update_ts == Timestamp(0) { Timestamp::MAX } else { lock.for_update_ts };
    (lock.key != lock.primary).then(|| Cleaning {
        start_ts: lock.start_ts,
        verdict: Verdict::Release { for_update_ts },
        keys: vec![lock.key.clone()],
        whole_regions: false,
        is_txn_file: lock.is_txn_file,
    })
}

/// How the prewritten locks of a decided owner are removed.
fn plan(settled: &Settled, locks: &[Lock], verdict: Verdict, purpose: Purpose, into: &mut Vec<Cleaning>) {
    let recovered = !settled.recovered.is_empty();
    let lite = purpose == Purpose::Read { lite: true };
    let (mut small, mut large) = (settled.recovered.clone(), Vec::new());
    for lock in locks.iter().filter(|lock| lock.kind == LockKind::Prewritten) {
        if recovered || lite || lock.txn_size < LITE {
            // The question about the primary has removed its lock; when the secondaries decided, it is among their keys.
            if lock.key != lock.primary {
                small.push(lock.key.clone());
            }
        } else {
            large.push(lock.key.clone());
        }
    }
    let Lock { start_ts, is_txn_file, .. } = settled.lock;
    let mut push = |keys: Vec<Key>, whole_regions: bool| {
        if !keys.is_empty() {
            into.push(Cleaning { start_ts, verdict, keys, whole_regions, is_txn_file });
        }
    };
    push(small, false);
    push(large, true);
}

#[derive(Debug)]
enum Phase {
    AskingTime(Ticket<Timestamp>),
    Settling { now: Timestamp, owners: Fanout<Settle> },
    Cleaning(CleanLocks),
}

/// Owners are told apart by their name, and by what is to be asked about them.
type Owner = (Timestamp, Key, LockKind);

fn owner(lock: &Lock) -> Owner {
    (lock.start_ts, lock.primary.clone(), lock.kind)
}

/// Resolves locks. See the module for its phases.
#[derive(Debug)]
pub(crate) struct ResolveLocks {
    operation: &'static str,
    caller_ts: Timestamp,
    purpose: Purpose,
    redacted: bool,
    locks: BTreeMap<Owner, Vec<Lock>>,
    resolved: Resolved,
    phase: Phase,
}

impl ResolveLocks {
    /// Resolves `locks`, which `operation` met at `caller_ts`.
    pub(crate) fn new(
        operation: &'static str,
        locks: Vec<Lock>,
        caller_ts: Timestamp,
        purpose: Purpose,
        redacted: bool,
        cx: &mut Cx<'_>,
    ) -> Self {
        let mut owners: BTreeMap<Owner, Vec<Lock>> = BTreeMap::new();
        for lock in locks {
            owners.entry(owner(&lock)).or_default().push(lock);
        }
        Self {
            operation,
            caller_ts,
            purpose,
            redacted,
            locks: owners,
            resolved: Resolved::default(),
            phase: Phase::AskingTime(cx.timestamp()),
        }
    }

    fn settle(&self, now: Timestamp) -> Phase {
        let mut owners = Fanout::new(AT_ONCE);
        for lock in self.locks.values().filter_map(|locks| locks.first()) {
            owners.push(Settle::new(lock.clone(), self.caller_ts, now, self.redacted));
        }
        Phase::Settling { now, owners }
    }

    /// Goes one step; see [`Machine::step`].
    pub(crate) fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<Resolved, Error>> {
        loop {
            match &mut self.phase {
                Phase::AskingTime(ticket) => match ready!(cx.take(ticket)) {
                    Ok(now) => self.phase = self.settle(now),
                    Err(fault) => return Poll::Ready(Err(Error::of_fault(self.operation, fault))),
                },
                Phase::Settling { now, owners } => {
                    let now = *now;
                    while let Some(settled) = ready!(owners.next(cx)) {
                        let settled = settled?;
                        let locks = self.locks.get(&owner(&settled.lock)).map_or(&[][..], Vec::as_slice);
                        judge(&settled, locks, self.caller_ts, now, self.purpose, &mut self.resolved);
                    }
                    let cleanings = std::mem::take(&mut self.resolved.cleanings);
                    match self.purpose {
                        Purpose::Read { .. } => {
                            if !cleanings.is_empty() {
                                cx.spawn(Start::CleanLocks { cleanings });
                            }
                            return Poll::Ready(Ok(std::mem::take(&mut self.resolved)));
                        }
                        Purpose::Write => {
                            self.phase = Phase::Cleaning(CleanLocks::new(cleanings, self.redacted))
                        }
                    }
                }
                Phase::Cleaning(cleaning) => {
                    ready!(cleaning.step(cx))?;
                    return Poll::Ready(Ok(std::mem::take(&mut self.resolved)));
                }
            }
        }
    }
}
