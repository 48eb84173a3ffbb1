//! Taking a range back to what it was at an older version, in two steps: the first closes the region to all else,
//! takes the locks away and locks the first key that changes; the second writes the old values and commits that key.
//! Both can be sent again.
//!
//! Spec: `cluster.md` 7.16. TiKV: `txn/actions/flashback_to_version.rs`, `txn/commands/flashback_to_version*.rs`.

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted};
use super::answer::Failure;
use super::columns::Columns;
use super::error::TxnError;
use super::key::{EncodedKey, encoded_bound};
use super::locks::{KeyLock, Lock, LockKind};
use super::records::{Write, WriteKind};
use super::txn::{Rollback, Txn};
use super::{Engine, Place};
use crate::model::region_error::flashback_not_prepared;

impl Engine {
    pub(super) fn prepare_flashback(
        &mut self,
        at: Place<'_>,
        request: PrepareFlashbackToVersionRequest,
    ) -> Result<PrepareFlashbackToVersionResponse, Failure> {
        let context = request.context.as_ref();
        let place = self.admit_any_state(at, context)?;
        let (start, end) = range(&place, &request.start_key, &request.end_key);
        self.flashbacks.insert(place.region.id, request.start_ts);
        self.columns.lose_memory_locks(&place.region.start, &place.region.end);
        let mut txn = Txn::new(&self.columns, request.start_ts);
        let locks = self.columns.stored_locks(&start, &end);
        for (key, locks) in locks {
            for lock in locks.holders().filter(|lock| lock.start_ts != request.start_ts) {
                txn.start_ts = lock.start_ts;
                if let Some(left) = txn.lock(key) {
                    txn.roll_back_lock(key.clone(), &left, Rollback::Collapsing);
                }
            }
        }
        let effects = txn.into_effects();
        self.apply(at, effects);
        let first = self.columns.keys_changed_since(request.version, &start, &end).map(|(key, _)| key).next();
        if let Some(key) = first {
            let mut txn = Txn::new(&self.columns, request.start_ts);
            txn.lock_for_flashback(&key, request.version)?;
            let effects = txn.into_effects();
            self.apply(at, effects);
        }
        Ok(PrepareFlashbackToVersionResponse::default())
    }

    pub(super) fn flashback(
        &mut self,
        at: Place<'_>,
        request: FlashbackToVersionRequest,
    ) -> Result<FlashbackToVersionResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Flashback)?;
        let (start_ts, commit_ts) = (request.start_ts, request.commit_ts);
        if commit_ts <= start_ts {
            return Err(TxnError::InvalidTxnTso { start_ts, commit_ts }.into());
        }
        let (start, end) = range(&place, &request.start_key, &request.end_key);
        let mut changed = self.columns.keys_changed_since(request.version, &start, &end);
        if let Some((first, _)) = changed.next()
            && !self.columns.is_flashback_committed(&first, &request, place.region.id)?
        {
            let mut txn = Txn::new(&self.columns, start_ts);
            for (key, newest) in changed {
                // A key that was written at the commit timestamp was taken back when this was sent before.
                if newest < commit_ts {
                    txn.take_back(key, &request)?;
                }
            }
            txn.commit_flashback(first, commit_ts);
            let effects = txn.into_effects();
            self.apply(at, effects);
        }
        self.flashbacks.remove(&place.region.id);
        Ok(FlashbackToVersionResponse::default())
    }

    /// A flashback may be prepared whether or not one is under way.
    fn admit_any_state<'t>(&self, at: Place<'t>, context: Option<&Context>) -> Result<Admitted<'t>, Failure> {
        let named = context.map_or(0, |context| context.region_id);
        let access = if self.flashbacks.contains_key(&named) { Access::Flashback } else { Access::Write };
        Ok(self.admit(at, context, access)?)
    }
}

/// The range of a request, as far as it lies in the region.
fn range(place: &Admitted<'_>, start: &Bytes, end: &Bytes) -> (Bytes, Bytes) {
    place.clip(&encoded_bound(start), &encoded_bound(end))
}

impl Columns {
    /// The keys of `[start, end)` with the commit timestamps of their newest data, where that is newer than `version`.
    fn keys_changed_since(
        &self,
        version: u64,
        start: &Bytes,
        end: &Bytes,
    ) -> impl Iterator<Item = (EncodedKey, u64)> {
        let mut last: Option<EncodedKey> = None;
        self.versions(start, end).filter_map(move |(key, commit_ts, write)| {
            let data = matches!(write.kind, WriteKind::Put | WriteKind::Delete);
            if !data || last.as_ref() == Some(key) {
                return None;
            }
            last = Some(key.clone());
            (commit_ts > version).then(|| (key.clone(), commit_ts))
        })
    }

    /// Whether the flashback has committed the key that it locked first; an error if it has not even locked it.
    fn is_flashback_committed(
        &self,
        key: &EncodedKey,
        request: &FlashbackToVersionRequest,
        region: u64,
    ) -> Result<bool, Failure> {
        let (start_ts, commit_ts) = (request.start_ts, request.commit_ts);
        match self.lock(key) {
            Some(KeyLock::Sole(lock)) if lock.start_ts == start_ts => return Ok(false),
            Some(_) => {}
            None => {
                let newest = self.writes(key, commit_ts).next();
                if newest.is_some_and(|(at, write)| at == commit_ts && write.start_ts == start_ts) {
                    return Ok(true);
                }
            }
        }
        Err(flashback_not_prepared(region).into())
    }
}

impl Txn<'_> {
    /// Locks the key that is to be committed last, with its old value.
    fn lock_for_flashback(&mut self, key: &EncodedKey, version: u64) -> Result<(), TxnError> {
        if self.lock(key).is_some() {
            return Ok(());
        }
        let old = self.columns.newest_put(key, version, 0).map(|(_, write)| write);
        if let Some(write) = old
            && write.short_value.is_none()
        {
            let value = self.columns.load(key, write.start_ts, None)?;
            self.put_value(key.clone(), value);
        }
        let lock = Lock {
            kind: if old.is_some() { LockKind::Put } else { LockKind::Delete },
            // In this form, as TiKV has it.
            primary: key.as_bytes().clone(),
            start_ts: self.start_ts,
            ttl_ms: 0,
            txn_size: 1,
            txn_source: 0,
            short_value: old.and_then(|write| write.short_value.clone()),
            for_update_ts: 0,
            min_commit_ts: 0,
            async_commit: None,
            rolled_back: Vec::new(),
            generation: 0,
            with_conflict: false,
        };
        self.put_lock(key.clone(), KeyLock::Sole(lock));
        Ok(())
    }

    /// Writes what `key` had at the version of the flashback once more.
    fn take_back(&mut self, key: EncodedKey, request: &FlashbackToVersionRequest) -> Result<(), TxnError> {
        let old = self.columns.newest_put(&key, request.version, 0).map(|(_, write)| write.clone());
        if let Some(write) = &old
            && write.short_value.is_none()
        {
            let value = self.columns.load(&key, write.start_ts, None)?;
            self.put_value(key.clone(), value);
        }
        let kind = if old.is_some() { WriteKind::Put } else { WriteKind::Delete };
        self.put_write(
            key,
            request.commit_ts,
            self.flashback_row(kind, old.and_then(|write| write.short_value)),
        );
        Ok(())
    }

    fn commit_flashback(&mut self, key: EncodedKey, commit_ts: u64) {
        if let Some(KeyLock::Sole(lock)) = self.lock(&key) {
            let kind = if lock.kind == LockKind::Put { WriteKind::Put } else { WriteKind::Delete };
            self.put_write(key.clone(), commit_ts, self.flashback_row(kind, lock.short_value));
            self.unlock(key, commit_ts);
        }
    }

    fn flashback_row(&self, kind: WriteKind, short_value: Option<Bytes>) -> Write {
        Write {
            kind,
            start_ts: self.start_ts,
            short_value,
            txn_source: 0,
            overlapped_rollback: false,
            gc_fence: None,
        }
    }
}
