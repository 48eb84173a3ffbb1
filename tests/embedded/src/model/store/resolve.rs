//! Locks that were left behind: ResolveLock and ScanLock.
//!
//! Spec: `cluster.md` 7.12, 7.13. TiKV: `txn/commands/{resolve_lock,resolve_lock_readphase,resolve_lock_lite}.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted, admit};
use super::answer::Failure;
use super::error::TxnError;
use super::key::{EncodedKey, encoded_bound};
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
        let place = admit(at.topology, at.store, request.context.as_ref(), Access::Write)?;
        if request.keys.is_empty() {
            // By start timestamp: the commit timestamp, 0 to roll back.
            let outcomes: BTreeMap<u64, u64> = if request.start_version > 0 {
                BTreeMap::from([(request.start_version, request.commit_version)])
            } else {
                request.txn_infos.iter().map(|info| (info.txn, info.status)).collect()
            };
            self.resolve_region(&place, &outcomes)?;
        } else {
            self.resolve_keys(&place, &request)?;
        }
        Ok(ResolveLockResponse::default())
    }

    /// The keys that are named, whether they are locked or not.
    fn resolve_keys(&mut self, place: &Admitted<'_>, request: &ResolveLockRequest) -> Result<(), Failure> {
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
        let changes = txn.into_changes();
        self.columns.apply(changes);
        Ok(())
    }

    /// All locks of the region that belong to one of the transactions.
    fn resolve_region(&mut self, place: &Admitted<'_>, outcomes: &BTreeMap<u64, u64>) -> Result<(), Failure> {
        let mut from = place.region.start.clone();
        loop {
            let found = self.columns.locks(&from, &place.region.end);
            let found: Vec<(EncodedKey, u64, u64)> = found
                .filter_map(|(key, lock)| Some((key.clone(), lock.start_ts, *outcomes.get(&lock.start_ts)?)))
                .take(BATCH)
                .collect();
            let Some((last, ..)) = found.last() else { return Ok(()) };
            from = last.successor();
            let mut changes = Vec::new();
            for (key, start_ts, commit_ts) in found {
                let mut txn = Txn::new(&self.columns, start_ts);
                if commit_ts == 0 {
                    txn.clean_up(key, 0, Rollback::Collapsing)?;
                } else if commit_ts > start_ts {
                    txn.commit_key(key, commit_ts, CommitRole::Unknown)?;
                } else {
                    return Err(TxnError::InvalidTxnTso { start_ts, commit_ts }.into());
                }
                changes.extend(txn.into_changes());
            }
            self.columns.apply(changes);
        }
    }

    pub(super) fn scan_lock(
        &mut self,
        at: Place<'_>,
        request: ScanLockRequest,
    ) -> Result<ScanLockResponse, Failure> {
        let place = admit(at.topology, at.store, request.context.as_ref(), Access::Write)?;
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
        let locks = self.columns.locks(&start, &end);
        let old = locks.filter(|(_, lock)| lock.start_ts <= request.max_version);
        let locks = old.take(limit).map(|(key, lock)| lock.info(key)).collect();
        Ok(ScanLockResponse { locks, ..Default::default() })
    }
}
