//! Asks the primary of a lock what became of its transaction.
//!
//! ```text
//!    +-- not found, its time is over: roll back what is not there --+
//!    v                                                              |
//! Calling ---------------------------------------------------------+--> status
//! ```
//!
//! | completion | next | effects |
//! |---|---|---|
//! | a status | ends: it | – |
//! | not found, the lock's time is over | once more, rolling back what is not there | call |
//! | not found, a live pessimistic lock | ends: alive, its owner may have rolled a statement back | – |
//! | not found else | ends: not found | – |
//!
//! A live owner whose primary is not found has not prewritten it yet, or was rolled back and the record of that was collapsed
//! into a newer one. client-go asks the primary again until the lock's time is over, though the lock may be gone long since;
//! here whoever met the lock looks at it again.
//!
//! client-go: `txnkv/txnlock/lock_resolver.go: getTxnStatus, getTxnStatusFromLock`.

use std::sync::Arc;
use std::task::{Poll, ready};

use tikv_proto::kvrpcpb as pb;

use super::classify::{Asked, Refusal, classify};
use super::model::{Lock, LockKind, left_ms};
use crate::error::Error;
use crate::machine::Cx;
use crate::region_call::{RegionCall, Route};
use crate::request::{Profile, Request};
use crate::types::{Key, Timestamp};

/// What errors of these requests name.
pub(crate) const OPERATION: &str = "check transaction status";

/// The primary lock of an async commit whose time is over: its secondaries decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AsyncPrimary {
    /// The primary.
    pub(crate) key: Key,
    /// The least that the primary lets the transaction commit at.
    pub(crate) min_commit_ts: Timestamp,
    /// Every other key of the transaction.
    pub(crate) secondaries: Vec<Key>,
}

/// What the primary says of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Committed.
    Committed(Timestamp),
    /// Rolled back, for good.
    RolledBack,
    /// Locked; the owner may go on.
    Alive {
        /// How long it lives after its begin, in ms.
        ttl_ms: u64,
        /// It can only commit behind the one who asked.
        pushed: bool,
    },
    /// The owner's time is over; whether it is committed its secondaries know.
    Async(AsyncPrimary),
    /// A pessimistic lock of the primary was released, or there never was one: nothing is decided.
    Undecided,
    /// The pessimistic lock names a primary that is not its transaction's.
    Mismatch,
    /// Neither lock nor record.
    NotFound,
}

/// Reads the primary's answer about the owner of `lock`, judged at `now`.
///
/// # Errors
/// The store refused to answer.
pub(crate) fn read_status(
    response: pb::CheckTxnStatusResponse,
    lock: &Lock,
    now: Timestamp,
    forced: bool,
    asked: &Asked,
) -> Result<Status, Error> {
    let action = pb::Action::try_from(response.action);
    if let Some(error) = response.error {
        return match classify(*error) {
            Refusal::TxnNotFound => Ok(Status::NotFound),
            Refusal::PrimaryMismatch if lock.kind == LockKind::Pessimistic => Ok(Status::Mismatch),
            other => Err(asked.error(other)),
        };
    }
    let ttl_ms = response.lock_ttl;
    // A store that tells of the primary's lock still has it, whatever time it has left.
    let primary = response.lock_info;
    if ttl_ms > 0 || primary.is_some() {
        return Ok(match primary {
            Some(info) if info.use_async_commit && !forced && left_ms(lock.start_ts, ttl_ms, now) == 0 => {
                Status::Async(AsyncPrimary {
                    key: lock.primary.clone(),
                    min_commit_ts: Timestamp(info.min_commit_ts),
                    secondaries: info.secondaries.into_iter().map(Key).collect(),
                })
            }
            _ => Status::Alive { ttl_ms, pushed: action == Ok(pb::Action::MinCommitTsPushed) },
        });
    }
    if response.commit_version > 0 {
        return Ok(Status::Committed(Timestamp(response.commit_version)));
    }
    Ok(match action {
        Ok(pb::Action::NoAction | pb::Action::TtlExpireRollback | pb::Action::LockNotExistRollback) => {
            Status::RolledBack
        }
        Ok(
            pb::Action::MinCommitTsPushed
            | pb::Action::TtlExpirePessimisticRollback
            | pb::Action::LockNotExistDoNothing,
        )
        // An action of a newer store decides nothing here.
        | Err(_) => Status::Undecided,
    })
}

/// Asks until there is a status. See the module.
#[derive(Debug)]
pub(crate) struct CheckStatus {
    lock: Lock,
    /// Who is not to be overtaken: the owner commits behind it, if it can be pushed.
    caller_ts: Timestamp,
    now: Timestamp,
    forced: bool,
    roll_back_if_missing: bool,
    asked: Asked,
    call: Box<RegionCall>,
}

impl CheckStatus {
    /// Asks about the owner of `lock` at `now`; `forced` treats an async commit as a plain one: it is known to be none.
    pub(crate) fn new(
        lock: Lock,
        caller_ts: Timestamp,
        now: Timestamp,
        forced: bool,
        redacted: bool,
    ) -> Self {
        let asked = Asked { operation: OPERATION, start_ts: lock.start_ts, redacted };
        let now = lock.judged_at(now);
        let call = Box::new(call(&lock, caller_ts, now, forced, false));
        Self { lock, caller_ts, now, forced, roll_back_if_missing: false, asked, call }
    }

    /// Goes one step; see [`Machine::step`](crate::machine::Machine::step).
    pub(crate) fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Result<Status, Error>> {
        loop {
            let reply = match ready!(self.call.step(cx)) {
                Ok(reply) => reply,
                Err(unanswered) => return Poll::Ready(Err(unanswered.into_error(OPERATION))),
            };
            let response = reply.decode(OPERATION)?;
            let status = read_status(response, &self.lock, self.now, self.forced, &self.asked)?;
            let expired = self.lock.is_expired(self.now);
            match status {
                Status::NotFound if expired && !self.roll_back_if_missing => {
                    self.roll_back_if_missing = true;
                    *self.call = call(&self.lock, self.caller_ts, self.now, self.forced, true);
                }
                Status::NotFound if !expired && self.lock.kind == LockKind::Pessimistic => {
                    return Poll::Ready(Ok(Status::Alive { ttl_ms: self.lock.ttl_ms, pushed: false }));
                }
                status => return Poll::Ready(Ok(status)),
            }
        }
    }
}

fn call(lock: &Lock, caller_ts: Timestamp, now: Timestamp, forced: bool, roll_back: bool) -> RegionCall {
    let message = pb::CheckTxnStatusRequest {
        primary_key: lock.primary.0.clone(),
        lock_ts: lock.start_ts.0,
        caller_start_ts: caller_ts.0,
        current_ts: now.0,
        rollback_if_not_exist: roll_back,
        force_sync_commit: forced,
        resolving_pessimistic_lock: lock.kind == LockKind::Pessimistic,
        verify_is_primary: true,
        is_txn_file: lock.is_txn_file,
        ..Default::default()
    };
    let request = Arc::new(Request::new(&message, Profile::default()));
    RegionCall::new(OPERATION, Route::Key(lock.primary.clone()), request)
}
