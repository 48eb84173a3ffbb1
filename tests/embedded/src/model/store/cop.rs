//! Coprocessor requests, as far as clients can tell: where they belong and which locks are in their way.
//!
//! What a request computes is the business of TiDB's plans, which this cluster does not run: it says so.
//!
//! Spec: `cluster.md` 9.4. TiKV: `src/coprocessor/endpoint.rs`.

use bytes::Bytes;
use tikv_proto::coprocessor::{KeyRange, Request, Response, StoreBatchTask, StoreBatchTaskResponse};
use tikv_proto::kvrpcpb::{Context, LockInfo};

use super::answer::Failure;
use super::error::TxnError;
use super::key::encoded_bound;
use super::{Engine, Place};

/// A plan over rows.
const SELECT: i64 = 103;
/// Statistics of rows.
const ANALYSE: i64 = 104;
/// A sum over rows.
const CHECKSUM: i64 = 105;

/// Why a request has no result.
#[derive(Debug)]
enum NoResult {
    Failure(Failure),
    Locked(Box<LockInfo>),
    Other(String),
}

impl From<Failure> for NoResult {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Engine {
    pub(super) fn coprocessor(&mut self, at: Place<'_>, request: &Request) -> Response {
        let why = self.compute(at, request, request.context.as_ref(), &request.ranges);
        let mut told = Response::default();
        (told.region_error, told.locked, told.other_error) = told_parts(why);
        told.batch_responses = request.tasks.iter().map(|task| self.batch_task(at, request, task)).collect();
        told
    }

    fn batch_task(
        &mut self,
        at: Place<'_>,
        request: &Request,
        task: &StoreBatchTask,
    ) -> StoreBatchTaskResponse {
        let whole = request.context.clone().unwrap_or_default();
        let context =
            Context { region_id: task.region_id, region_epoch: task.region_epoch, peer: task.peer, ..whole };
        let why = self.compute(at, request, Some(&context), &task.ranges);
        let mut told = StoreBatchTaskResponse { task_id: task.task_id, ..Default::default() };
        (told.region_error, told.locked, told.other_error) = told_parts(why);
        told
    }

    /// Why there is no result of `ranges` in the region that `context` names.
    fn compute(
        &mut self,
        at: Place<'_>,
        request: &Request,
        context: Option<&Context>,
        ranges: &[KeyRange],
    ) -> NoResult {
        let tp = request.tp;
        if !matches!(tp, SELECT | ANALYSE | CHECKSUM) {
            return NoResult::Other(format!("[src/coprocessor/endpoint.rs:500]: unsupported tp {tp}"));
        }
        match self.check_ranges(at, context, request.start_ts, ranges) {
            Ok(()) => NoResult::Other("unsupported: this cluster keeps data and runs no plans".to_owned()),
            Err(Failure::Command(TxnError::Locked(lock))) => NoResult::Locked(lock),
            Err(failure) => failure.into(),
        }
    }

    fn check_ranges(
        &mut self,
        at: Place<'_>,
        context: Option<&Context>,
        start_ts: u64,
        ranges: &[KeyRange],
    ) -> Result<(), Failure> {
        let place = self.admit_read(at, context, start_ts)?;
        let snapshot = self.snapshot(&place, context, start_ts);
        for range in ranges {
            let (start, end): (Bytes, Bytes) =
                place.clip(&encoded_bound(&range.start), &encoded_bound(&range.end));
            for (key, lock) in self.columns.stored_locks(&start, &end) {
                if let Some(lock) = lock.sole() {
                    snapshot.check_lock(key, lock)?;
                }
            }
        }
        Ok(())
    }
}

/// The region error, the lock, and the text of a response.
fn told_parts(why: NoResult) -> (Option<Box<tikv_proto::errorpb::Error>>, Option<LockInfo>, String) {
    match why {
        NoResult::Failure(Failure::Region(error)) => (Some(error), None, String::new()),
        NoResult::Failure(Failure::Command(error)) => (None, None, error.to_string()),
        NoResult::Locked(lock) => (None, Some(*lock), String::new()),
        NoResult::Other(text) => (None, None, text),
    }
}
