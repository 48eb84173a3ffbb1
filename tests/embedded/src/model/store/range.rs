//! Maintenance of transactional data: deletion of ranges, and a look at all versions of a key.
//!
//! Spec: `cluster.md` 7.16. TiKV: `storage/mod.rs: delete_range`, `txn/actions/mvcc.rs`.

use tikv_proto::kvrpcpb::*;

use super::admission::Access;
use super::answer::Failure;
use super::columns::Columns;
use super::error::TxnError;
use super::key::{EncodedKey, encoded_bound};
use super::raw_range::check_delete_range;
use super::{Engine, Place};

impl Engine {
    pub(super) fn delete_range(
        &mut self,
        at: Place<'_>,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_ranges(context, "delete_range", [(&request.start_key, &request.end_key)])?;
        let place = self.admit(at, context, Access::Write)?;
        // Both ends are keys here: an empty end is the empty key, not an open one.
        let start = EncodedKey::of(&request.start_key);
        let end = EncodedKey::of(&request.end_key);
        check_delete_range(&place, start.as_bytes(), end.as_bytes())?;
        // Otherwise the request only leaves a mark in the log.
        if !request.notify_only {
            self.columns.delete_range(start.as_bytes(), end.as_bytes());
        }
        Ok(DeleteRangeResponse::default())
    }

    /// Destroys a range on the whole store; no region is asked.
    pub(super) fn unsafe_destroy_range(
        &mut self,
        request: UnsafeDestroyRangeRequest,
    ) -> Result<UnsafeDestroyRangeResponse, Failure> {
        // A real store stops on such a request.
        if request.start_key.is_empty() || request.end_key.is_empty() {
            return Err(TxnError::Other("unsafe destroy range needs both ends").into());
        }
        self.columns.delete_range(&encoded_bound(&request.start_key), &encoded_bound(&request.end_key));
        Ok(UnsafeDestroyRangeResponse::default())
    }

    pub(super) fn mvcc_get_by_key(
        &self,
        at: Place<'_>,
        request: MvccGetByKeyRequest,
    ) -> Result<MvccGetByKeyResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Read)?;
        let key = EncodedKey::of(&request.key);
        place.check_point(key.as_bytes())?;
        Ok(MvccGetByKeyResponse { info: Some(self.columns.mvcc_info(&key)), ..Default::default() })
    }

    /// All that is stored of a transactional key, whoever leads its region: a look from outside, no request.
    #[must_use]
    pub fn history(&self, key: &[u8]) -> MvccInfo {
        self.columns.mvcc_info(&EncodedKey::of(key))
    }

    /// The first key of the region that has a record of the transaction; its locks do not count.
    pub(super) fn mvcc_get_by_start_ts(
        &self,
        at: Place<'_>,
        request: MvccGetByStartTsRequest,
    ) -> Result<MvccGetByStartTsResponse, Failure> {
        let place = self.admit(at, request.context.as_ref(), Access::Read)?;
        let mut versions = self.columns.versions(&place.region.start, &place.region.end);
        let found = versions.find(|(_, _, write)| write.start_ts == request.start_ts);
        Ok(match found {
            None => MvccGetByStartTsResponse { info: Some(MvccInfo::default()), ..Default::default() },
            Some((key, _, _)) => MvccGetByStartTsResponse {
                key: key.user(),
                info: Some(self.columns.mvcc_info(key)),
                ..Default::default()
            },
        })
    }
}

impl Columns {
    /// All that is stored of `key`.
    pub(super) fn mvcc_info(&self, key: &EncodedKey) -> MvccInfo {
        let value = |(start_ts, value): (u64, &bytes::Bytes)| MvccValue { start_ts, value: value.clone() };
        MvccInfo {
            lock: self.lock(key).as_ref().and_then(super::locks::KeyLock::mvcc),
            writes: self.writes(key, u64::MAX).map(|(commit_ts, write)| write.mvcc(commit_ts)).collect(),
            values: self.values(key).map(value).collect(),
        }
    }
}
