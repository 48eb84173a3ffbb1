//! Locks that were left behind: ResolveLock and ScanLock.
//!
//! Spec: `cluster.md` 7.12, 7.13. TiKV: `txn/commands/{resolve_lock,resolve_lock_readphase,resolve_lock_lite}.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted};
use super::answer::Failure;
use super::error::TxnError;
use super::key::{EncodedKey, encoded_bound};
use super::locks::{KeyLock, Lock};
use super::txn::{Rollback, Txn};
use super::{Engine, Place};

/// Locks that are resolved at once; what was resolved before a failure stays so.
///
/// TiKV: `resolve_lock.rs: RESOLVE_LOCK_BATCH_SIZE`.
const BATCH: usize = 256;

impl Engine {
    pub(super) fn resolve_lock(
        &mut self,
        at: Place<'_>,
        request: ResolveLockRequest,
    ) -> Result<ResolveLockResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        if request.keys.is_empty() {
            // By start timestamp: the commit timestamp, 0 to roll back.
            let outcomes: BTreeMap<u64, u64> = if request.start_version > 0 {
                BTreeMap::from([(request.start_version, request.commit_version)])
            } else {
                request.txn_infos.iter().map(|info| (info.txn, info.status)).collect()
            };
            self.resolve_region(at, &place, &outcomes)?;
        } else {
            self.resolve_keys(at, &place, &request)?;
        }
        Ok(ResolveLockResponse::default())
    }

    /// The keys that are named, whether they are locked or not.
    fn resolve_keys(
        &mut self,
        at: Place<'_>,
        place: &Admitted<'_>,
        request: &ResolveLockRequest,
    ) -> Result<(), Failure> {
        if request.start_version == 0 {
            return Err(TxnError::Other("resolve lock of keys without start version").into());
        }
        let mut txn = Txn::new(&self.columns, request.start_version);
        for user in &request.keys {
            let key = EncodedKey::of(user);
            place.check_point(key.as_bytes())?;
            if request.commit_version == 0 {
                txn.clean_up(key, 0, Rollback::Collapsing)?;
            } else {
                txn.commit_key(key, request.commit_version, CommitRole::Unknown)?;
            }
        }
        if request.commit_version != 0 {
            txn.note_commit(request.commit_version);
        }
        let effects = txn.into_effects();
        self.apply(at, effects);
        Ok(())
    }

    /// All stored locks of the region that belong to one of the transactions; those in memory are not looked for.
    fn resolve_region(
        &mut self,
        at: Place<'_>,
        place: &Admitted<'_>,
        outcomes: &BTreeMap<u64, u64>,
    ) -> Result<(), Failure> {
        let mut from = place.region.start.clone();
        loop {
            let stored = self.columns.stored_locks(&from, &place.region.end);
            let found: Vec<(EncodedKey, KeyLock)> = stored
                .filter_map(|(key, lock)| {
                    Some((key.clone(), lock.filtered(|lock| outcomes.contains_key(&lock.start_ts))?))
                })
                .take(BATCH)
                .collect();
            let Some((last, _)) = found.last() else { return Ok(()) };
            from = last.successor();
            let mut txn = Txn::new(&self.columns, 0);
            for (key, locks) in &found {
                for lock in locks.holders() {
                    let commit_ts = outcomes.get(&lock.start_ts).copied().unwrap_or_default();
                    txn.resolve(key, lock, commit_ts)?;
                }
            }
            let effects = txn.into_effects();
            self.apply(at, effects);
        }
    }

    pub(super) fn scan_lock(
        &mut self,
        at: Place<'_>,
        request: ScanLockRequest,
    ) -> Result<ScanLockResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        self.raise_max_ts(request.max_version);
        let (start, end) = (encoded_bound(&request.start_key), encoded_bound(&request.end_key));
        if !start.is_empty() {
            place.check_seek(&start)?;
        }
        let (start, end): (Bytes, Bytes) = place.clip(&start, &end);
        let limit = match request.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let old = |(key, lock): (EncodedKey, KeyLock)| {
            Some(lock.filtered(|lock| lock.start_ts <= request.max_version)?.info(&key))
        };
        let locks = self.columns.locks(&start, &end).filter_map(old).take(limit).collect();
        Ok(ScanLockResponse { locks, ..Default::default() })
    }
}

impl Txn<'_> {
    /// Ends the transaction of `lock` on `key`: at `commit_ts`, or by rolling it back if that is 0.
    fn resolve(&mut self, key: &EncodedKey, lock: &Lock, commit_ts: u64) -> Result<(), TxnError> {
        self.start_ts = lock.start_ts;
        if commit_ts == 0 {
            return self.clean_up(key.clone(), 0, Rollback::Collapsing);
        }
        if commit_ts <= lock.start_ts {
            return Err(TxnError::InvalidTxnTso { start_ts: lock.start_ts, commit_ts });
        }
        match self.commit_key(key.clone(), commit_ts, CommitRole::Unknown) {
            Ok(()) => {
                self.note_commit(commit_ts);
                Ok(())
            }
            Err(TxnError::TxnLockNotFound { .. }) if lock.is_pessimistic() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
