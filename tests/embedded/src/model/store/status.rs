//! What became of a transaction: CheckTxnStatus, TxnHeartBeat, CheckSecondaryLocks.
//!
//! Whoever asks also settles: an expired or missing transaction is rolled back, a living one may be told to commit
//! above the asker.
//!
//! Spec: `cluster.md` 7.9 to 7.11. TiKV: `txn/actions/check_txn_status.rs`, `txn/commands/check_secondary_locks.rs`.

use tikv_proto::kvrpcpb::*;

use super::admission::Access;
use super::answer::Failure;
use super::error::TxnError;
use super::key::EncodedKey;
use super::locks::{KeyLock, Lock};
use super::mvcc::Fate;
use super::txn::{IfMissing, Missing, Rollback, Txn};
use super::{Engine, Place};

impl Engine {
    pub(super) fn check_txn_status(
        &mut self,
        at: Place<'_>,
        request: CheckTxnStatusRequest,
    ) -> Result<CheckTxnStatusResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        let key = EncodedKey::of(&request.primary_key);
        place.check_point(key.as_bytes())?;
        for ts in [request.lock_ts, request.current_ts, request.caller_start_ts] {
            self.raise_max_ts(ts);
        }
        let mut txn = Txn::new(&self.columns, request.lock_ts);
        let response = match txn.lock(&key) {
            Some(shared @ KeyLock::Shared(_)) => {
                return Err(TxnError::PrimaryMismatch(Box::new(shared.info(&key))).into());
            }
            Some(KeyLock::Sole(lock)) if lock.start_ts == request.lock_ts => {
                txn.status_of_lock(key, lock, &request)?
            }
            other => txn.status_without_lock(&key, other, &request)?,
        };
        if response.commit_version != 0 {
            txn.note_commit(response.commit_version);
        }
        let effects = txn.into_effects();
        self.apply(at, effects);
        Ok(response)
    }

    pub(super) fn txn_heart_beat(
        &mut self,
        at: Place<'_>,
        request: TxnHeartBeatRequest,
    ) -> Result<TxnHeartBeatResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        let key = EncodedKey::of(&request.primary_lock);
        place.check_point(key.as_bytes())?;
        let mut txn = Txn::new(&self.columns, request.start_version);
        let found = txn.lock(&key);
        let own = found.as_ref().and_then(|found| found.of(request.start_version));
        let mut lock = match (&found, own) {
            (Some(KeyLock::Sole(_)), Some(lock)) => lock.clone(),
            // No transaction has its primary lock among shared ones.
            (Some(shared @ KeyLock::Shared(_)), Some(_)) => {
                return Err(TxnError::PrimaryMismatch(Box::new(shared.info(&key))).into());
            }
            (_, None) | (None, Some(_)) => {
                return Err(TxnError::TxnNotFound { start_ts: request.start_version, key: key.user() }.into());
            }
        };
        let pipelined = lock.generation > 0 && lock.async_commit.is_none();
        let min_commit_ts =
            if pipelined { lock.min_commit_ts.max(request.min_commit_ts) } else { lock.min_commit_ts };
        let lock_ttl = lock.ttl_ms.max(request.advise_lock_ttl);
        if (min_commit_ts, lock_ttl) != (lock.min_commit_ts, lock.ttl_ms) {
            lock.min_commit_ts = min_commit_ts;
            lock.ttl_ms = lock_ttl;
            txn.put_lock(key, KeyLock::Sole(lock));
        }
        let effects = txn.into_effects();
        self.apply(at, effects);
        Ok(TxnHeartBeatResponse { lock_ttl, ..Default::default() })
    }

    pub(super) fn check_secondary_locks(
        &mut self,
        at: Place<'_>,
        request: CheckSecondaryLocksRequest,
    ) -> Result<CheckSecondaryLocksResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        // No commit at a computed timestamp may overwrite a rollback record that is written here.
        self.raise_max_ts(request.start_version);
        let mut txn = Txn::new(&self.columns, request.start_version);
        let mut response = CheckSecondaryLocksResponse::default();
        for user in &request.keys {
            let key = EncodedKey::of(user);
            place.check_point(key.as_bytes())?;
            match txn.check_secondary(&key) {
                Secondary::Locked(info) => response.locks.push(*info),
                Secondary::Committed(commit_ts) => {
                    response = CheckSecondaryLocksResponse { commit_ts, ..Default::default() };
                    break;
                }
                Secondary::RolledBack => {
                    response = CheckSecondaryLocksResponse::default();
                    break;
                }
            }
        }
        if response.commit_ts != 0 {
            txn.note_commit(response.commit_ts);
        }
        let effects = txn.into_effects();
        self.apply(at, effects);
        Ok(response)
    }
}

/// What a secondary key says about its transaction.
#[derive(Debug)]
enum Secondary {
    /// Nothing yet.
    Locked(Box<LockInfo>),
    Committed(u64),
    RolledBack,
}

impl Txn<'_> {
    /// The status of a transaction that holds `lock` on the key said to be its primary.
    fn status_of_lock(
        &mut self,
        key: EncodedKey,
        mut lock: Lock,
        request: &CheckTxnStatusRequest,
    ) -> Result<CheckTxnStatusResponse, TxnError> {
        if request.verify_is_primary && lock.primary != request.primary_key {
            if !lock.is_pessimistic() || request.resolving_pessimistic_lock {
                return Err(TxnError::PrimaryMismatch(Box::new(lock.info(&key))));
            }
            // A lock that was left from before the transaction changed its primary: as good as missing.
            let response = self.status_without_lock(&key, None, request)?;
            self.unlock(key, 0);
            return Ok(response);
        }
        // The secondaries decide about an async-commit transaction.
        if lock.async_commit.is_some() && !request.force_sync_commit {
            return Ok(alive(&lock, Action::NoAction));
        }
        if lock.is_pessimistic() && lock.with_conflict {
            // It may have been granted to a late request of a transaction that is over.
            let over = match self.fate(&key) {
                Fate::Committed(commit_version) => Some(commit_version),
                Fate::RolledBack => Some(0),
                Fate::Unknown { .. } => None,
            };
            if let Some(commit_version) = over {
                self.unlock(key, 0);
                return Ok(CheckTxnStatusResponse { commit_version, ..Default::default() });
            }
        }
        if lock.expired(request.current_ts) {
            let action = if lock.is_pessimistic() && request.resolving_pessimistic_lock {
                self.unlock(key, 0);
                Action::TtlExpirePessimisticRollback
            } else {
                self.roll_back_lock(key, &KeyLock::Sole(lock), Rollback::Collapsing);
                Action::TtlExpireRollback
            };
            return Ok(CheckTxnStatusResponse { action: action.into(), ..Default::default() });
        }
        let caller = request.caller_start_ts;
        // 0: the client of this transaction does not expect its commit timestamp to be bounded.
        if lock.min_commit_ts != 0 && caller != u64::MAX && caller >= lock.min_commit_ts {
            lock.min_commit_ts = caller.saturating_add(1).max(request.current_ts);
            self.put_lock(key, KeyLock::Sole(lock.clone()));
        }
        let passes = caller == u64::MAX || (caller != 0 && lock.min_commit_ts > caller);
        Ok(alive(&lock, if passes { Action::MinCommitTsPushed } else { Action::NoAction }))
    }

    fn status_without_lock(
        &mut self,
        key: &EncodedKey,
        other: Option<KeyLock>,
        request: &CheckTxnStatusRequest,
    ) -> Result<CheckTxnStatusResponse, TxnError> {
        let action = match (request.rollback_if_not_exist, request.resolving_pessimistic_lock) {
            (false, _) => IfMissing::Fail,
            (true, true) => IfMissing::Ignore,
            (true, false) => IfMissing::RollBack(Rollback::Protected),
        };
        let mut response = CheckTxnStatusResponse::default();
        match self.settle_missing(key, other, action)? {
            Missing::Committed(commit_ts) => response.commit_version = commit_ts,
            Missing::RolledBack => {}
            Missing::Unknown if action == IfMissing::Ignore => {
                response.set_action(Action::LockNotExistDoNothing);
            }
            Missing::Unknown => response.set_action(Action::LockNotExistRollback),
        }
        Ok(response)
    }

    /// A secondary key without lock and record is rolled back, so that its late prewrite fails.
    fn check_secondary(&mut self, key: &EncodedKey) -> Secondary {
        let other = match self.lock(key) {
            Some(KeyLock::Sole(lock)) if lock.start_ts == self.start_ts => {
                if !lock.is_pessimistic() {
                    return Secondary::Locked(Box::new(lock.info(key)));
                }
                // Not prewritten: it never will be.
                self.unlock(key.clone(), 0);
                None
            }
            other => other,
        };
        match self.fate(key) {
            Fate::Committed(commit_ts) => Secondary::Committed(commit_ts),
            Fate::RolledBack => Secondary::RolledBack,
            Fate::Unknown { overlapped } => {
                self.remember_rollback(key, other, Rollback::Protected);
                self.put_rollback(key, true, overlapped);
                self.collapse_rollback(key);
                Secondary::RolledBack
            }
        }
    }
}

fn alive(lock: &Lock, action: Action) -> CheckTxnStatusResponse {
    // Whatever key was asked for, the client is told the one that the lock names.
    let primary = EncodedKey::of(&lock.primary);
    CheckTxnStatusResponse {
        lock_ttl: lock.ttl_ms,
        action: action.into(),
        lock_info: Some(lock.info(&primary)),
        ..Default::default()
    }
}
