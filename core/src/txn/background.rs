//! What is left to do when the caller has its answer: the rest of a commit, and the end of a transaction that failed.

use std::sync::Arc;
use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::primary::PrimaryCall;
use crate::error::Error;
use crate::lock::classify;
use crate::lock::classify::Asked;
use crate::machine::{Cx, Machine};
use crate::region_call::spread::Batches;
use crate::region_call::{Cut, Reply};
use crate::request::{Profile, Request};
use crate::types::{Key, Timestamp};

/// The request that commits some keys.
pub(super) fn commit_request(
    start_ts: Timestamp,
    commit_ts: Timestamp,
    primary: &Key,
    keys: &[Key],
    role: pb::CommitRole,
) -> Request {
    let message = pb::CommitRequest {
        start_version: start_ts.0,
        keys: keys.iter().map(|key| key.0.clone()).collect(),
        commit_version: commit_ts.0,
        commit_role: role.into(),
        primary_key: primary.0.clone(),
        ..Default::default()
    };
    Request::new(&message, Profile::default())
}

/// Commits the other keys of a transaction whose primary is committed; returns how many batches failed.
///
/// The transaction is committed whatever comes of this: a lock that stays is committed by whoever meets it.
///
/// client-go: `txnkv/transaction/2pc.go: doActionOnGroupMutations` (the part in the background), `commit.go`.
#[derive(Debug)]
pub struct CommitSecondaries {
    start_ts: Timestamp,
    commit_ts: Timestamp,
    primary: Key,
    batches: Batches<Key>,
    failed: usize,
}

impl CommitSecondaries {
    /// Commits `keys`, with at most `limit` requests at work at a time.
    #[must_use]
    pub fn new(
        start_ts: Timestamp,
        commit_ts: Timestamp,
        primary: Key,
        keys: Vec<Key>,
        limit: usize,
    ) -> Self {
        let batches = Batches::new("commit secondaries", keys, Cut::TXN, limit);
        Self { start_ts, commit_ts, primary, batches, failed: 0 }
    }
}

impl Machine for CommitSecondaries {
    type Output = usize;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<usize> {
        let Self { start_ts, commit_ts, primary, batches, failed } = self;
        let role = pb::CommitRole::Secondary;
        let request = |keys: &[Key]| commit_request(*start_ts, *commit_ts, primary, keys, role);
        while let Some(end) = ready!(batches.next(cx, request)) {
            let response =
                end.and_then(|(_, reply)| reply.decode::<pb::CommitResponse>("commit secondaries"));
            let committed = response.is_ok_and(|response| response.error.is_none());
            *failed += usize::from(!committed);
        }
        Poll::Ready(*failed)
    }
}

const ROLL_BACK: &str = "roll back";

#[derive(Debug)]
enum Phase {
    Primary(PrimaryCall),
    Others(Batches<Key>),
}

/// Rolls a transaction back that will never be committed: its primary first, so that nobody who meets another of its locks
/// finds it undecided.
///
/// ```text
/// Primary ──> Others ──> done
///    └──> ended: the primary would not; its locks stay to those who meet them
/// ```
///
/// client-go: `txnkv/transaction/cleanup.go`, `2pc.go: cleanup`.
#[derive(Debug)]
pub struct RollBack {
    start_ts: Timestamp,
    keys: Arc<[Key]>,
    limit: usize,
    redacted: bool,
    phase: Phase,
}

impl RollBack {
    /// Rolls `keys` back, in order and the primary first, with at most `limit` requests at work at a time.
    #[must_use]
    pub fn new(start_ts: Timestamp, keys: Vec<Key>, limit: usize, redacted: bool) -> Self {
        let keys: Arc<[Key]> = keys.into();
        let phase = Phase::Primary(PrimaryCall::new(ROLL_BACK, Arc::clone(&keys)));
        Self { start_ts, keys, limit, redacted, phase }
    }

    fn check(&self, reply: Reply) -> Result<(), Error> {
        let response: pb::BatchRollbackResponse = reply.decode(ROLL_BACK)?;
        let asked = Asked { operation: ROLL_BACK, start_ts: self.start_ts, redacted: self.redacted };
        response.error.map_or(Ok(()), |error| Err(asked.error(classify(*error))))
    }
}

fn roll_back_request(start_ts: Timestamp, keys: &[Key]) -> Request {
    let keys = keys.iter().map(|key| key.0.clone()).collect();
    let message = pb::BatchRollbackRequest { start_version: start_ts.0, keys, ..Default::default() };
    Request::new(&message, Profile::default())
}

impl Machine for RollBack {
    type Output = Result<(), Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let start_ts = self.start_ts;
        let request = |keys: &[Key]| roll_back_request(start_ts, keys);
        loop {
            match &mut self.phase {
                Phase::Primary(call) => {
                    let (reply, count, _) =
                        ready!(call.step(cx, request)).map_err(|failure| failure.error)?;
                    self.check(reply)?;
                    let others = self.keys.get(count..).unwrap_or_default().to_vec();
                    self.phase = Phase::Others(Batches::new(ROLL_BACK, others, Cut::TXN, self.limit));
                }
                Phase::Others(batches) => match ready!(batches.next(cx, request)) {
                    Some(end) => {
                        let (_, reply) = end?;
                        self.check(reply)?;
                    }
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}
