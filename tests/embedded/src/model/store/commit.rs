//! Commit, and the two ways to take a transaction back: BatchRollback and Cleanup.
//!
//! Spec: `cluster.md` 7.5 to 7.7. TiKV: `txn/actions/{commit,cleanup}.rs`.

use tikv_proto::kvrpcpb::*;

use super::admission::Access;
use super::answer::Failure;
use super::error::TxnError;
use super::key::EncodedKey;
use super::mvcc::Fate;
use super::records::Write;
use super::txn::{Rollback, Txn};
use super::{Engine, Place};

impl Engine {
    pub(super) fn commit(
        &mut self,
        at: Place<'_>,
        request: CommitRequest,
    ) -> Result<CommitResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        let (start_ts, commit_ts) = (request.start_version, request.commit_version);
        if commit_ts <= start_ts {
            return Err(TxnError::InvalidTxnTso { start_ts, commit_ts }.into());
        }
        let mut txn = Txn::new(&self.columns, start_ts);
        let role = request.commit_role();
        for user in &request.keys {
            let key = EncodedKey::of(user);
            place.check_point(key.as_bytes())?;
            txn.commit_key(key, commit_ts, role)?;
        }
        txn.note_commit(commit_ts);
        let effects = txn.into_effects();
        self.apply(at, effects);
        Ok(CommitResponse { commit_version: commit_ts, ..Default::default() })
    }

    pub(super) fn batch_rollback(
        &mut self,
        at: Place<'_>,
        request: BatchRollbackRequest,
    ) -> Result<BatchRollbackResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        let mut txn = Txn::new(&self.columns, request.start_version);
        for user in &request.keys {
            let key = EncodedKey::of(user);
            place.check_point(key.as_bytes())?;
            txn.clean_up(key, 0, Rollback::Collapsing)?;
        }
        let effects = txn.into_effects();
        self.apply(at, effects);
        Ok(BatchRollbackResponse::default())
    }

    pub(super) fn cleanup(
        &mut self,
        at: Place<'_>,
        request: CleanupRequest,
    ) -> Result<CleanupResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Write)?;
        // No commit at a computed timestamp may overwrite the record that is written here.
        self.raise_max_ts(request.start_version);
        let key = EncodedKey::of(&request.key);
        place.check_point(key.as_bytes())?;
        let mut txn = Txn::new(&self.columns, request.start_version);
        match txn.clean_up(key, request.current_ts, Rollback::Protected) {
            Ok(()) => {
                let effects = txn.into_effects();
                self.apply(at, effects);
                Ok(CleanupResponse::default())
            }
            Err(TxnError::Committed { commit_ts, .. }) => {
                Ok(CleanupResponse { commit_version: commit_ts, ..Default::default() })
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Txn<'_> {
    /// Commits this transaction on `key`; doing it again changes nothing.
    pub(super) fn commit_key(
        &mut self,
        key: EncodedKey,
        commit_ts: u64,
        role: CommitRole,
    ) -> Result<(), TxnError> {
        let found = self.lock(&key);
        let own = found.as_ref().and_then(|found| Some((found, found.of(self.start_ts)?)));
        let Some((found, lock)) = own else {
            return match self.fate(&key) {
                Fate::Committed(_) => Ok(()),
                Fate::RolledBack | Fate::Unknown { .. } => Err(TxnError::TxnLockNotFound {
                    start_ts: self.start_ts,
                    commit_ts,
                    key: key.user(),
                    // The primary is committed: a secondary cannot have lost its lock.
                    mvcc: (role == CommitRole::Secondary).then(|| Box::new(self.columns.mvcc_info(&key))),
                }),
            };
        };
        if commit_ts < lock.min_commit_ts {
            // The primary's minimum may have been pushed; a secondary is committed where the primary was.
            let is_primary = EncodedKey::of(&lock.primary) == key;
            return Err(TxnError::CommitTsExpired {
                start_ts: self.start_ts,
                commit_ts,
                key: key.user(),
                min_commit_ts: lock.min_commit_ts,
                mvcc: (!is_primary).then(|| Box::new(self.columns.mvcc_info(&key))),
            });
        }
        let Some(write) = Write::commit(lock, commit_ts) else {
            // A pessimistic lock that was never prewritten: it only goes.
            self.give_back(key, found, 0);
            return Ok(());
        };
        self.put_write(key.clone(), commit_ts, write);
        self.give_back(key, found, commit_ts);
        Ok(())
    }
}
