//! Raw commands on single keys and on lists of keys.
//!
//! Spec: `rawkv.md` 2.2, 3, 6. TiKV: `storage/mod.rs: raw_*`. What a request gets wrong by itself (API version, key
//! size, lifetime, column) is told before its region is looked at.

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted};
use super::answer::{Failure, failed_pair};
use super::api::Api;
use super::columns::Column;
use super::error::{MAX_KEY_SIZE, TxnError};
use super::{Engine, Place};
use crate::model::Now;
use crate::model::region_error::max_timestamp_not_synced;

impl Engine {
    pub(super) fn raw_get(&self, at: Place<'_>, request: RawGetRequest) -> Result<RawGetResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "raw_get", [&request.key])?;
        let column = self.api.column(&request.cf)?;
        let place = self.admit(at, context, Access::Read)?;
        let found = self.raw_value(at, &place, column, &request.key)?;
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
        self.api.check_keys(context, "raw_batch_get", &request.keys)?;
        let column = self.api.column(&request.cf)?;
        let place = self.admit(at, context, Access::Read)?;
        let pairs =
            request.keys.into_iter().filter_map(|key| match self.raw_value(at, &place, column, &key) {
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
        self.api.check_keys(context, "raw_put", [&request.key])?;
        check_size(request.for_cas, &request.key)?;
        self.check_ttl(&[request.ttl])?;
        let column = self.api.column(&request.cf)?;
        let place = self.admit_raw_write(at, context)?;
        let key = self.api.raw_key(&request.key);
        place.check_key(&key)?;
        self.columns.put_raw(column, owned(&key), owned(&request.value), expires(at.now, request.ttl));
        Ok(RawPutResponse::default())
    }

    pub(super) fn raw_batch_put(
        &mut self,
        at: Place<'_>,
        request: RawBatchPutRequest,
    ) -> Result<RawBatchPutResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "raw_batch_put", request.pairs.iter().map(|pair| &pair.key))?;
        for pair in &request.pairs {
            check_size(request.for_cas, &pair.key)?;
        }
        let ttls = self.batch_ttls(&request.ttls, request.pairs.len())?;
        let column = self.api.column(&request.cf)?;
        check_not_empty(request.for_cas, request.pairs.is_empty())?;
        let place = self.admit_raw_write(at, context)?;
        let keys: Vec<Bytes> = request.pairs.iter().map(|pair| self.api.raw_key(&pair.key)).collect();
        for key in &keys {
            place.check_key(key)?;
        }
        for ((key, pair), ttl) in keys.iter().zip(&request.pairs).zip(ttls) {
            self.columns.put_raw(column, owned(key), owned(&pair.value), expires(at.now, ttl));
        }
        Ok(RawBatchPutResponse::default())
    }

    pub(super) fn raw_delete(
        &mut self,
        at: Place<'_>,
        request: RawDeleteRequest,
    ) -> Result<RawDeleteResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "raw_delete", [&request.key])?;
        check_size(request.for_cas, &request.key)?;
        let column = self.api.column(&request.cf)?;
        let place = self.admit_raw_write(at, context)?;
        let key = self.api.raw_key(&request.key);
        place.check_key(&key)?;
        self.columns.delete_raw(column, &key);
        Ok(RawDeleteResponse::default())
    }

    pub(super) fn raw_batch_delete(
        &mut self,
        at: Place<'_>,
        request: RawBatchDeleteRequest,
    ) -> Result<RawBatchDeleteResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "raw_batch_delete", &request.keys)?;
        for key in &request.keys {
            check_size(request.for_cas, key)?;
        }
        let column = self.api.column(&request.cf)?;
        check_not_empty(request.for_cas, request.keys.is_empty())?;
        let place = self.admit_raw_write(at, context)?;
        let keys: Vec<Bytes> = request.keys.iter().map(|user| self.api.raw_key(user)).collect();
        for key in &keys {
            place.check_key(key)?;
        }
        for key in &keys {
            self.columns.delete_raw(column, key);
        }
        Ok(RawBatchDeleteResponse::default())
    }

    pub(super) fn raw_cas(
        &mut self,
        at: Place<'_>,
        request: RawCasRequest,
    ) -> Result<RawCasResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "raw_compare_and_swap", [&request.key])?;
        let column = self.api.column(&request.cf)?;
        self.check_ttl(&[request.ttl])?;
        let place = self.admit_raw_write(at, context)?;
        let found = self.raw_value(at, &place, column, &request.key)?;
        let expected = (!request.previous_not_exist).then_some(&request.previous_value);
        let succeed = found.as_ref() == expected;
        if succeed {
            let key = self.api.raw_key(&request.key);
            if request.delete {
                self.columns.delete_raw(column, &key);
            } else {
                self.columns.put_raw(
                    column,
                    owned(&key),
                    owned(&request.value),
                    expires(at.now, request.ttl),
                );
            }
        }
        Ok(RawCasResponse {
            succeed,
            previous_not_exist: found.is_none(),
            previous_value: found.unwrap_or_default(),
            ..Default::default()
        })
    }

    /// How long the value of a key lives on, in seconds, 0 for ever; refused where there are no lifetimes. (A TiKV
    /// asked for one there stops its worker.)
    pub(super) fn raw_get_key_ttl(
        &self,
        at: Place<'_>,
        request: RawGetKeyTtlRequest,
    ) -> Result<RawGetKeyTtlResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_keys(context, "raw_get_key_ttl", [&request.key])?;
        let column = self.api.column(&request.cf)?;
        let place = self.admit(at, context, Access::Read)?;
        if !self.api.keeps_ttl() {
            return Err(TxnError::TtlNotEnabled.into());
        }
        let not_found = self.raw_value(at, &place, column, &request.key)?.is_none();
        let key = self.api.raw_key(&request.key);
        let expires = self.columns.raw_expires(column, &key).filter(|_| !not_found);
        let ttl = expires.map_or(0, |at_s| at_s.saturating_sub(at.now.unix_seconds()));
        Ok(RawGetKeyTtlResponse { ttl, not_found, ..Default::default() })
    }

    /// Version 2 gives a write a timestamp, which the leader must be able to take.
    fn admit_raw_write<'t>(&self, at: Place<'t>, context: Option<&Context>) -> Result<Admitted<'t>, Failure> {
        let place = self.admit(at, context, Access::Write)?;
        let region = place.region.id;
        if self.api == Api::V2 && at.topology.conditions.is_max_ts_unsynced(region) {
            let mut error = max_timestamp_not_synced(region);
            error.message =
                format!("RawKV write fails due to potentially stale max timestamp, region_id: {region}");
            return Err(error.into());
        }
        Ok(place)
    }

    fn raw_value(
        &self,
        at: Place<'_>,
        place: &Admitted<'_>,
        column: Column,
        user: &Bytes,
    ) -> Result<Option<Bytes>, TxnError> {
        let key = self.api.raw_key(user);
        place.check_point(&key)?;
        Ok(self.columns.raw_value(column, &key, at.now.unix_seconds()).cloned())
    }

    fn check_ttl(&self, ttls: &[u64]) -> Result<(), TxnError> {
        let refused = !self.api.keeps_ttl() && ttls.iter().any(|&ttl| ttl != 0);
        if refused { Err(TxnError::TtlNotEnabled) } else { Ok(()) }
    }

    /// The lifetime of each of `count` pairs: none is told, one for all, or one for each.
    fn batch_ttls(&self, told: &[u64], count: usize) -> Result<Vec<u64>, TxnError> {
        self.check_ttl(told)?;
        match told {
            [] => Ok(vec![0; count]),
            [one] => Ok(vec![*one; count]),
            // Where there are no lifetimes nobody counts.
            _ if !self.api.keeps_ttl() => Ok(vec![0; count]),
            each if each.len() == count => Ok(each.to_vec()),
            _ => Err(TxnError::TtlLenNotEqualsToPairs),
        }
    }
}

/// When a value with this lifetime, in seconds, ends, in seconds since the Unix epoch; one without lives for ever.
fn expires(now: Now, ttl_s: u64) -> Option<u64> {
    (ttl_s != 0).then(|| now.unix_seconds().saturating_add(ttl_s))
}

/// A copy for the engine: what a request holds is a part of the whole frame that brought it.
pub(super) fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// The limit of TiKV's `storage.max-key-size`, which atomic commands do not look at.
pub(super) fn check_size(atomic: bool, key: &[u8]) -> Result<(), TxnError> {
    if !atomic && key.len() > MAX_KEY_SIZE {
        return Err(TxnError::KeyTooLarge { size: key.len() });
    }
    Ok(())
}

/// A write without changes is refused by TiKV's engine; an atomic one never gets there.
fn check_not_empty(atomic: bool, empty: bool) -> Result<(), TxnError> {
    if empty && !atomic { Err(TxnError::EmptyRequest) } else { Ok(()) }
}
