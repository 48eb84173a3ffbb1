//! The machine of a commit: two phases over many regions.
//!
//! ```text
//! Prewriting ──> AskingTs ──> Deciding ──> committed
//!     │             │  ^         │  │
//!     │             │  └─────────┘  │    a reader pushed the primary: a newer timestamp
//!     └─────────────┴──> failed <───┤    the locks are rolled back in the background
//!                                   └──> undetermined
//! ```
//!
//! | phase | completion | next | spawned |
//! |---|---|---|---|
//! | Prewriting | every batch done | AskingTs | – |
//! | Prewriting | region changed | Prewriting: that batch is grouped again | – |
//! | Prewriting | a batch failed | ends: its error | RollBack, if anything was sent |
//! | AskingTs | timestamp | Deciding | – |
//! | AskingTs | fault, or the transaction is too old | ends: error | RollBack |
//! | Deciding | committed | ends: committed | CommitSecondaries, if there are more keys |
//! | Deciding | commit timestamp expired | AskingTs | – |
//! | Deciding | lock not found | ends: rolled back | RollBack |
//! | Deciding | any other failure, no attempt was lost | ends: error | RollBack |
//! | Deciding | any other failure, an attempt was lost | ends: undetermined | – |
//!
//! Whoever drops the machine: before the primary's commit was sent it is rolled back, afterwards it is finished in the
//! background, at the same timestamp or not at all.
//!
//! "Lock not found" and "commit timestamp expired" hold for every earlier copy of the request, too: a rolled back primary is never
//! locked again, and what its lock accepts only grows. Any other error says nothing about a copy that got lost.
//!
//! client-go: `txnkv/transaction/2pc.go: execute`, `prewrite.go`, `commit.go`.

use std::sync::Arc;
use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::background::commit_request;
use super::mutation::Mutation;
use super::prewrite::{self, Prewrite, Prewritten, Shared};
use super::primary::{Failure, PrimaryCall};
use crate::backoff::Attempts;
use crate::error::{Error, TxnError};
use crate::lock::classify::Asked;
use crate::lock::{Refusal, classify};
use crate::machine::{Cx, Interrupt, Machine, Ticket};
use crate::region_call::group::Group;
use crate::region_call::spread::Spread;
use crate::region_call::{Cut, Keyed, Reply};
use crate::start::Start;
use crate::types::{Instant, Key, Timestamp};

const OPERATION: &str = "commit";

/// From its begin to its commit a transaction may take so long, in ms. client-go: `txnkv/transaction/txn.go: MaxTxnTimeUse`.
const OLDEST_MS: u64 = 24 * 60 * 60 * 1000;

/// A lock that wants a commit timestamp so much later than the one it was offered is broken, in ms.
///
/// client-go: `txnkv/transaction/commit.go: handleSingleBatch`.
const PUSHED_MOST_MS: u64 = 60 * 60 * 1000;

/// How a transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CommitInfo {
    /// From when on its writes are seen; of a transaction that wrote nothing the timestamp it read at.
    pub commit_ts: Timestamp,
}

/// What a commit begins with.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "the settings of a commit, built field by field")]
pub struct CommitPlan {
    /// When the transaction began.
    pub start_ts: Timestamp,
    /// The same on the client's clock.
    pub begun: Instant,
    /// What it writes, sorted by key and each key once.
    pub mutations: Vec<Mutation>,
    /// Requests at work at a time.
    pub limit: usize,
    /// Whether errors hide keys.
    pub redacted: bool,
}

#[derive(Debug)]
struct Prewriting {
    shared: Arc<Shared>,
    spread: Spread<Mutation, Prewrite>,
    /// What batches were set back before they were grouped again.
    attempts: Attempts,
    /// A batch was grouped again: sizes of regions are not known any more, and a request may repeat one that was sent.
    regrouped: bool,
    /// A batch was begun.
    begun: bool,
}

#[derive(Debug)]
enum Phase {
    Prewriting(Box<Prewriting>),
    AskingTs(Ticket<Timestamp>),
    Deciding {
        commit_ts: Timestamp,
        call: PrimaryCall,
    },
    /// The answer is out.
    Over,
}

/// Commits a transaction. See the module for its phases.
#[derive(Debug)]
pub struct CommitMachine {
    start_ts: Timestamp,
    /// The keys that get locks, in order; the first is the primary.
    keys: Arc<[Key]>,
    /// Whether a newer commit timestamp may be taken: not when the caller is gone and may have read meanwhile.
    renews: bool,
    redacted: bool,
    phase: Phase,
}

impl CommitMachine {
    /// Commits what `plan` has.
    #[must_use]
    pub fn new(plan: CommitPlan) -> Self {
        let CommitPlan { start_ts, begun, mutations, limit, redacted } = plan;
        let keys: Arc<[Key]> = mutations
            .iter()
            .filter(|mutation| mutation.locks())
            .map(|mutation| mutation.key.clone())
            .collect();
        // A transaction that only checks has no primary; requests must name one.
        let first = mutations.first().map(|mutation| mutation.key.clone());
        let primary = keys.first().cloned().or(first).unwrap_or_default();
        let size = mutations.iter().map(Keyed::bytes).sum();
        let shared = Arc::new(Shared { start_ts, begun, primary, size, redacted });
        let phase = Phase::Prewriting(Box::new(Prewriting {
            shared,
            spread: Spread::new(mutations, limit),
            attempts: Attempts::default(),
            regrouped: false,
            begun: false,
        }));
        Self { start_ts, keys, renews: true, redacted, phase }
    }

    /// Carries a commit to its end whose caller is gone: the commit of its primary, the first of `keys`, was sent at
    /// `commit_ts`. If a reader has pushed the primary meanwhile, it is rolled back: the caller may have seen that nothing was
    /// committed, and done it all again.
    #[must_use]
    pub fn finishing(start_ts: Timestamp, commit_ts: Timestamp, keys: Vec<Key>, redacted: bool) -> Self {
        let keys: Arc<[Key]> = keys.into();
        let call = PrimaryCall::new(OPERATION, Arc::clone(&keys));
        Self { start_ts, keys, renews: false, redacted, phase: Phase::Deciding { commit_ts, call } }
    }

    /// What comes after the prewrite: nothing, if it left no locks.
    fn prewritten(&self, cx: &mut Cx<'_>) -> Result<Phase, Poll<Result<CommitInfo, Error>>> {
        if self.keys.is_empty() {
            return Err(Poll::Ready(Ok(CommitInfo { commit_ts: self.start_ts })));
        }
        Ok(Phase::AskingTs(cx.timestamp()))
    }

    /// Sends the decision, unless it comes too late to be one.
    fn decide(&self, commit_ts: Timestamp, cx: &Cx<'_>) -> Result<Phase, Error> {
        let start_ts = self.start_ts;
        if commit_ts <= start_ts {
            let detail =
                format!("the commit timestamp {commit_ts} is not behind the start timestamp {start_ts}");
            return Err(Error::Corrupt { operation: OPERATION, detail: detail.into() });
        }
        if commit_ts.physical_ms().saturating_sub(start_ts.physical_ms()) > OLDEST_MS {
            return Err(TxnError::TooOld { start_ts, commit_ts }.into());
        }
        // Nothing has decided yet: better a clear end than one that nobody knows.
        if cx.now() >= cx.deadline() {
            return Err(Error::Interrupted { operation: OPERATION, why: Interrupt::Deadline, last: None });
        }
        let call = PrimaryCall::new(OPERATION, Arc::clone(&self.keys));
        Ok(Phase::Deciding { commit_ts, call })
    }

    /// What the primary's answer means: done, or the next phase.
    fn decided(&self, reply: Reply, lost: bool, cx: &mut Cx<'_>) -> Result<Option<Phase>, Failure> {
        let known = |error| Failure { error, may_have_happened: false };
        let response: pb::CommitResponse =
            reply.decode(OPERATION).map_err(|error| Failure { error, may_have_happened: true })?;
        let Some(error) = response.error else { return Ok(None) };
        let asked = Asked { operation: OPERATION, start_ts: self.start_ts, redacted: self.redacted };
        match classify(*error) {
            Refusal::CommitTsExpired { key, attempted, min_commit_ts } => {
                let pushed_ms = min_commit_ts.physical_ms().saturating_sub(attempted.physical_ms());
                let is_primary = Some(&key) == self.keys.first();
                if self.renews && is_primary && pushed_ms <= PUSHED_MOST_MS {
                    return Ok(Some(Phase::AskingTs(cx.timestamp())));
                }
                let error = asked.error(Refusal::CommitTsExpired { key, attempted, min_commit_ts });
                // The refusal of a neighbour says nothing of an earlier copy of the request.
                Err(Failure { error, may_have_happened: lost && !is_primary })
            }
            gone @ Refusal::LockNotFound { .. } => Err(known(asked.error(gone))),
            other => Err(Failure { error: asked.error(other), may_have_happened: lost }),
        }
    }

    fn committed(&self, commit_ts: Timestamp, count: usize, cx: &mut Cx<'_>) -> CommitInfo {
        let keys = self.keys.get(count..).unwrap_or_default().to_vec();
        if !keys.is_empty() {
            let primary = self.keys.first().cloned().unwrap_or_default();
            cx.spawn(Start::CommitSecondaries { start_ts: self.start_ts, commit_ts, primary, keys });
        }
        CommitInfo { commit_ts }
    }

    /// It failed, and nothing that was sent can commit it any more.
    fn roll_back(&self, cx: &mut Cx<'_>) {
        if !self.keys.is_empty() {
            cx.spawn(Start::RollBack { start_ts: self.start_ts, keys: self.keys.to_vec() });
        }
    }

    fn failed(&self, failure: Failure, cx: &mut Cx<'_>) -> Error {
        if !failure.may_have_happened {
            self.roll_back(cx);
            return failure.error;
        }
        TxnError::Undetermined { start_ts: self.start_ts, cause: Box::new(failure.error) }.into()
    }
}

impl Prewriting {
    /// Ready when every mutation is prewritten.
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Error>> {
        loop {
            let Self { shared, spread, attempts, regrouped, begun } = self;
            let end = ready!(spread.next(cx, |group| {
                *begun = true;
                batches(group, shared, *regrouped, attempts)
            }));
            match end {
                Ok(None) => return Poll::Ready(Ok(())),
                Ok(Some(Prewritten::Done)) => {}
                Ok(Some(Prewritten::Regroup { mutations, attempts })) => {
                    self.regrouped = true;
                    self.attempts = attempts;
                    self.spread.again(mutations);
                }
                Ok(Some(Prewritten::Failed(error))) => return Poll::Ready(Err(error)),
                Err(fault) => return Poll::Ready(Err(Error::of_fault(prewrite::OPERATION, fault))),
            }
        }
    }
}

fn batches(
    group: Group<Mutation>,
    shared: &Arc<Shared>,
    regrouped: bool,
    attempts: &Attempts,
) -> Vec<Prewrite> {
    // Others go key by key through the locks of a transaction that is small here, which only the first grouping knows.
    let txn_size = if regrouped { u64::MAX } else { u64::try_from(group.items.len()).unwrap_or(u64::MAX) };
    let region = group.to.region;
    Cut::TXN
        .apply(group.items)
        .into_iter()
        .map(|mutations| {
            let prewrite = Prewrite::new(shared, mutations, region, txn_size, attempts.clone());
            if regrouped { prewrite.repeating() } else { prewrite }
        })
        .collect()
}

impl Machine for CommitMachine {
    type Output = Result<CommitInfo, Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            let next = match &mut self.phase {
                Phase::Over => return Poll::Pending,
                Phase::Prewriting(prewriting) => match ready!(prewriting.step(cx)) {
                    Ok(()) => match self.prewritten(cx) {
                        Ok(next) => Ok(next),
                        Err(done) => {
                            self.phase = Phase::Over;
                            return done;
                        }
                    },
                    Err(error) => {
                        if prewriting.begun {
                            self.roll_back(cx);
                        }
                        self.phase = Phase::Over;
                        return Poll::Ready(Err(error));
                    }
                },
                Phase::AskingTs(ticket) => {
                    let ts = ready!(cx.take(ticket)).map_err(|fault| Error::of_fault(OPERATION, fault));
                    ts.and_then(|ts| self.decide(ts, cx))
                        .map_err(|error| Failure { error, may_have_happened: false })
                }
                Phase::Deciding { commit_ts, call } => {
                    let (start_ts, commit_ts) = (self.start_ts, *commit_ts);
                    let primary = self.keys.first().cloned().unwrap_or_default();
                    let role = pb::CommitRole::Primary;
                    let request = |keys: &[Key]| commit_request(start_ts, commit_ts, &primary, keys, role);
                    match ready!(call.step(cx, request)) {
                        Ok((reply, count, lost)) => match self.decided(reply, lost, cx) {
                            Ok(Some(next)) => Ok(next),
                            Ok(None) => {
                                self.phase = Phase::Over;
                                return Poll::Ready(Ok(self.committed(commit_ts, count, cx)));
                            }
                            Err(failure) => Err(failure),
                        },
                        Err(failure) => Err(failure),
                    }
                }
            };
            match next {
                Ok(phase) => self.phase = phase,
                Err(failure) => {
                    self.phase = Phase::Over;
                    return Poll::Ready(Err(self.failed(failure, cx)));
                }
            }
        }
    }

    fn abandon(&mut self, cx: &mut Cx<'_>) {
        match &self.phase {
            Phase::Prewriting(prewriting) if !prewriting.begun => {}
            Phase::Over => {}
            Phase::Deciding { commit_ts, call } if call.was_sent() => {
                let (start_ts, commit_ts) = (self.start_ts, *commit_ts);
                cx.spawn(Start::FinishCommit { start_ts, commit_ts, keys: self.keys.to_vec() });
            }
            Phase::Prewriting(_) | Phase::AskingTs(_) | Phase::Deciding { .. } => self.roll_back(cx),
        }
    }
}
