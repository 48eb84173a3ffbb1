//! Raw commands on single keys and on lists of keys.
//!
//! Spec: `rawkv.md` 2.2, 3, 6. TiKV: `storage/mod.rs: raw_*`. What a request gets wrong by itself (API version, key
//! size, lifetime, column) is told before its region is looked at.

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted, admit, check_api_version};
use super::answer::{Failure, failed_pair};
use super::columns::Column;
use super::error::{MAX_KEY_SIZE, TxnError};
use super::{Engine, Place};

impl Engine {
    pub(super) fn raw_get(&self, at: Place<'_>, request: RawGetRequest) -> Result<RawGetResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "raw_get")?;
        let column = column(&request.cf)?;
        let place = admit(at.topology, at.store, context, Access::Read)?;
        let found = self.raw_value(&place, column, &request.key)?;
        Ok(RawGetResponse {
            not_found: found.is_none(),
            value: found.unwrap_or_default(),
            ..Default::default()
        })
    }

    pub(super) fn raw_batch_get(
        &self,
        at: Place<'_>,
        request: RawBatchGetRequest,
    ) -> Result<RawBatchGetResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "raw_batch_get")?;
        let column = column(&request.cf)?;
        let place = admit(at.topology, at.store, context, Access::Read)?;
        let pairs = request.keys.into_iter().filter_map(|key| match self.raw_value(&place, column, &key) {
            Ok(value) => Some(KvPair { key, value: value?, ..Default::default() }),
            Err(error) => Some(failed_pair(error)),
        });
        Ok(RawBatchGetResponse { pairs: pairs.collect(), ..Default::default() })
    }

    pub(super) fn raw_put(
        &mut self,
        at: Place<'_>,
        request: RawPutRequest,
    ) -> Result<RawPutResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "raw_put")?;
        check_size(request.for_cas, &request.key)?;
        check_ttl(&[request.ttl])?;
        let column = column(&request.cf)?;
        let place = admit(at.topology, at.store, context, Access::Write)?;
        place.check_key(&request.key)?;
        self.columns.raw_mut(column).insert(owned(&request.key), owned(&request.value));
        Ok(RawPutResponse::default())
    }

    pub(super) fn raw_batch_put(
        &mut self,
        at: Place<'_>,
        request: RawBatchPutRequest,
    ) -> Result<RawBatchPutResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "raw_batch_put")?;
        for pair in &request.pairs {
            check_size(request.for_cas, &pair.key)?;
        }
        check_ttl(&request.ttls)?;
        let column = column(&request.cf)?;
        check_not_empty(request.for_cas, request.pairs.is_empty())?;
        let place = admit(at.topology, at.store, context, Access::Write)?;
        for pair in &request.pairs {
            place.check_key(&pair.key)?;
        }
        let rows = self.columns.raw_mut(column);
        rows.extend(request.pairs.iter().map(|pair| (owned(&pair.key), owned(&pair.value))));
        Ok(RawBatchPutResponse::default())
    }

    pub(super) fn raw_delete(
        &mut self,
        at: Place<'_>,
        request: RawDeleteRequest,
    ) -> Result<RawDeleteResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "raw_delete")?;
        check_size(request.for_cas, &request.key)?;
        let column = column(&request.cf)?;
        let place = admit(at.topology, at.store, context, Access::Write)?;
        place.check_key(&request.key)?;
        self.columns.raw_mut(column).remove(&request.key);
        Ok(RawDeleteResponse::default())
    }

    pub(super) fn raw_batch_delete(
        &mut self,
        at: Place<'_>,
        request: RawBatchDeleteRequest,
    ) -> Result<RawBatchDeleteResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "raw_batch_delete")?;
        for key in &request.keys {
            check_size(request.for_cas, key)?;
        }
        let column = column(&request.cf)?;
        check_not_empty(request.for_cas, request.keys.is_empty())?;
        let place = admit(at.topology, at.store, context, Access::Write)?;
        for key in &request.keys {
            place.check_key(key)?;
        }
        let rows = self.columns.raw_mut(column);
        for key in &request.keys {
            rows.remove(key);
        }
        Ok(RawBatchDeleteResponse::default())
    }

    pub(super) fn raw_cas(
        &mut self,
        at: Place<'_>,
        request: RawCasRequest,
    ) -> Result<RawCasResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "raw_compare_and_swap")?;
        let column = column(&request.cf)?;
        check_ttl(&[request.ttl])?;
        let place = admit(at.topology, at.store, context, Access::Write)?;
        let found = self.raw_value(&place, column, &request.key)?;
        let expected = (!request.previous_not_exist).then_some(&request.previous_value);
        let succeed = found.as_ref() == expected;
        if succeed {
            let rows = self.columns.raw_mut(column);
            if request.delete {
                rows.remove(&request.key);
            } else {
                rows.insert(owned(&request.key), owned(&request.value));
            }
        }
        Ok(RawCasResponse {
            succeed,
            previous_not_exist: found.is_none(),
            previous_value: found.unwrap_or_default(),
            ..Default::default()
        })
    }

    /// Always refused: storage of version 1 keeps no lifetimes. (A TiKV asked for one stops its worker.)
    pub(super) fn raw_get_key_ttl(
        &self,
        at: Place<'_>,
        request: RawGetKeyTtlRequest,
    ) -> Result<RawGetKeyTtlResponse, Failure> {
        let context = request.context.as_ref();
        check_api_version(context, "raw_get_key_ttl")?;
        column(&request.cf)?;
        admit(at.topology, at.store, context, Access::Read)?;
        Err(TxnError::TtlNotEnabled.into())
    }

    fn raw_value(
        &self,
        place: &Admitted<'_>,
        column: Column,
        key: &Bytes,
    ) -> Result<Option<Bytes>, TxnError> {
        place.check_point(key)?;
        Ok(self.columns.raw(column).get(key).cloned())
    }
}

/// A copy for the engine: what a request holds is a part of the whole frame that brought it.
pub(super) fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// The column that a raw request names.
pub(super) fn column(name: &str) -> Result<Column, TxnError> {
    match name {
        "" | "default" => Ok(Column::Default),
        "lock" => Ok(Column::Lock),
        "write" => Ok(Column::Write),
        other => Err(TxnError::InvalidCf(other.to_owned())),
    }
}

/// The limit of TiKV's `storage.max-key-size`, which atomic commands do not look at.
pub(super) fn check_size(atomic: bool, key: &[u8]) -> Result<(), TxnError> {
    if !atomic && key.len() > MAX_KEY_SIZE {
        return Err(TxnError::KeyTooLarge { size: key.len() });
    }
    Ok(())
}

fn check_ttl(ttls: &[u64]) -> Result<(), TxnError> {
    if ttls.iter().any(|&ttl| ttl != 0) { Err(TxnError::TtlNotEnabled) } else { Ok(()) }
}

/// A write without changes is refused by TiKV's engine; an atomic one never gets there.
fn check_not_empty(atomic: bool, empty: bool) -> Result<(), TxnError> {
    if empty && !atomic { Err(TxnError::EmptyRequest) } else { Ok(()) }
}
