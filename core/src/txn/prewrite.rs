//! The machine of one batch's prewrite.
//!
//! ```text
//! Ready ──> Calling ──> done | regroup | failed
//!   ^          |
//!   +--Meeting<+ (locks)
//! ```
//!
//! | phase | completion | next | effects |
//! |---|---|---|---|
//! | Ready | – | Calling | call |
//! | Calling | no errors | ends: done | – |
//! | Calling | locks only, all of older transactions | Meeting | those of `MeetLocks` |
//! | Calling | a lock of a younger transaction | ends: conflict | – |
//! | Calling | any other key error | ends: failed | – |
//! | Calling | region changed | ends: regroup | – |
//! | Meeting | free | Ready | – |
//!
//! client-go: `txnkv/transaction/prewrite.go: handleSingleBatch`.

use std::sync::Arc;
use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::mutation::{Mutation, lock_ttl_ms};
use crate::backoff::Attempts;
use crate::error::{ConflictReason, Error, TxnError};
use crate::lock::classify::Asked;
use crate::lock::{Lock, LockSets, MeetLocks, Purpose, Refusal, classify};
use crate::machine::{Cx, Machine};
use crate::region_call::{RegionCall, Reply, Route, Unanswered};
use crate::request::{Profile, Request};
use crate::types::{Instant, Key, RegionVersion, Timestamp};

pub(super) const OPERATION: &str = "prewrite";

/// What all batches of a transaction have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) start_ts: Timestamp,
    /// When the transaction began, on the client's clock.
    pub(super) begun: Instant,
    pub(super) primary: Key,
    /// Bytes of all mutations.
    pub(super) size: usize,
    pub(super) redacted: bool,
}

/// How a batch ended.
#[derive(Debug)]
pub(super) enum Prewritten {
    Done,
    /// The region is another one now.
    Regroup {
        mutations: Vec<Mutation>,
        attempts: Attempts,
    },
    Failed(Error),
}

#[derive(Debug)]
enum Phase {
    Ready,
    Calling(Box<RegionCall>),
    Meeting,
}

/// Mutations of one region. See the module for its phases.
#[derive(Debug)]
pub(super) struct Prewrite {
    shared: Arc<Shared>,
    mutations: Vec<Mutation>,
    region: RegionVersion,
    /// Keys that the transaction locks in the region, for others who resolve its locks.
    txn_size: u64,
    attempts: Attempts,
    /// These mutations may have been sent before: the store looks for what was left of that.
    repeats: bool,
    meeting: MeetLocks,
    phase: Phase,
}

impl Prewrite {
    pub(super) fn new(
        shared: &Arc<Shared>,
        mutations: Vec<Mutation>,
        region: RegionVersion,
        txn_size: u64,
        attempts: Attempts,
    ) -> Self {
        let asked = asked(shared);
        Self {
            shared: Arc::clone(shared),
            mutations,
            region,
            txn_size,
            attempts,
            repeats: false,
            meeting: MeetLocks::new(asked, Purpose::Write),
            phase: Phase::Ready,
        }
    }

    /// Says that (some of) the mutations may have been sent before. client-go: `prewrite.go: actionPrewrite.retry`.
    pub(super) fn repeating(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// Made anew for each attempt: the locks are to live on from when it is sent.
    fn call(&mut self, cx: &Cx<'_>) -> Phase {
        let Shared { start_ts, begun, primary, size, .. } = &*self.shared;
        let elapsed_ms = u64::try_from(cx.now().since(*begun).as_millis()).unwrap_or(u64::MAX);
        let message = pb::PrewriteRequest {
            mutations: self.mutations.iter().map(Mutation::message).collect(),
            primary_lock: primary.0.clone(),
            start_version: start_ts.0,
            lock_ttl: lock_ttl_ms(*size, elapsed_ms),
            txn_size: self.txn_size,
            min_commit_ts: start_ts.0.saturating_add(1),
            ..Default::default()
        };
        let key = self.mutations.first().map(|mutation| mutation.key.clone()).unwrap_or_default();
        let route = Route::Region { key, region: self.region };
        let request = Arc::new(Request::new(&message, Profile::default()));
        let mut call = RegionCall::new(OPERATION, route, request).resume(self.attempts.clone());
        if std::mem::replace(&mut self.repeats, true) {
            call = call.repeating();
        }
        Phase::Calling(Box::new(call))
    }

    /// The locks that are in the way.
    fn answered(&self, reply: Reply) -> Result<Vec<Lock>, Error> {
        let response: pb::PrewriteResponse = reply.decode(OPERATION)?;
        read(response.errors, &asked(&self.shared))
    }
}

fn asked(shared: &Shared) -> Asked {
    Asked { operation: OPERATION, start_ts: shared.start_ts, redacted: shared.redacted }
}

/// The locks of a prewrite's answer.
///
/// # Errors
/// Any key error that is no lock of an older transaction. A younger one is not resolved: if it commits, this transaction is in
/// conflict with it; waiting for that would only make both late.
pub(super) fn read(errors: Vec<pb::KeyError>, asked: &Asked) -> Result<Vec<Lock>, Error> {
    let mut met = Vec::new();
    for error in errors {
        let locks = match classify(error) {
            Refusal::Locked(locks) => locks,
            other => return Err(asked.error(other)),
        };
        if let Some(younger) = locks.iter().find(|lock| lock.start_ts > asked.start_ts) {
            return Err(TxnError::WriteConflict {
                key: asked.shown(&younger.key),
                start_ts: asked.start_ts,
                conflict_ts: younger.start_ts,
                conflict_commit_ts: Timestamp(0),
                reason: ConflictReason::Optimistic,
            }
            .into());
        }
        met.extend(locks);
    }
    Ok(met)
}

impl Machine for Prewrite {
    type Output = Prewritten;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Prewritten> {
        loop {
            self.phase = match &mut self.phase {
                Phase::Ready => self.call(cx),
                Phase::Calling(call) => {
                    let end = ready!(call.step(cx));
                    self.attempts = call.attempts().clone();
                    let reply = match end {
                        Ok(reply) => reply,
                        Err(Unanswered::Regroup { .. }) => {
                            let mutations = std::mem::take(&mut self.mutations);
                            let attempts = self.attempts.clone();
                            return Poll::Ready(Prewritten::Regroup { mutations, attempts });
                        }
                        Err(unanswered) => {
                            return Poll::Ready(Prewritten::Failed(unanswered.into_error(OPERATION)));
                        }
                    };
                    match self.answered(reply) {
                        Ok(locks) if locks.is_empty() => return Poll::Ready(Prewritten::Done),
                        Ok(locks) => self.meeting.meet(locks, cx),
                        Err(error) => return Poll::Ready(Prewritten::Failed(error)),
                    }
                    Phase::Meeting
                }
                Phase::Meeting => match ready!(self.meeting.step(&mut LockSets::default(), cx)) {
                    Ok(()) => Phase::Ready,
                    Err(error) => return Poll::Ready(Prewritten::Failed(error)),
                },
            };
        }
    }
}
