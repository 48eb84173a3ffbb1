//! Raw commands on ranges: scans, deletion, checksum.
//!
//! Spec: `rawkv.md` 4.3 to 4.5. TiKV: `storage/mod.rs: raw_scan, raw_batch_scan, raw_delete_range, raw_checksum`.
//! A range is `[start, end)` with an open end when it is empty; a reverse scan names its upper bound as the start.

use bytes::Bytes;
use tikv_proto::kvrpcpb::*;

use super::admission::{Access, Admitted};
use super::answer::Failure;
use super::columns::Column;
use super::crc64::crc64;
use super::error::TxnError;
use super::raw::check_size;
use super::{Engine, Place};
use crate::model::region_error::bare;

/// How a scan goes over its range.
#[derive(Clone, Copy, Debug)]
struct Walk {
    column: Column,
    limit: usize,
    key_only: bool,
    reverse: bool,
}

impl Engine {
    pub(super) fn raw_scan(
        &self,
        at: Place<'_>,
        request: RawScanRequest,
    ) -> Result<RawScanResponse, Failure> {
        let context = request.context.as_ref();
        let (start, end) = (&request.start_key, &request.end_key);
        let range = if request.reverse { (end, start) } else { (start, end) };
        self.api.check_ranges(context, "raw_scan", [range])?;
        let walk = Walk {
            column: self.api.column(&request.cf)?,
            limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
            key_only: request.key_only,
            reverse: request.reverse,
        };
        let place = self.admit(at, context, Access::Read)?;
        let kvs = self.raw_walk(at, &place, walk, &request.start_key, &request.end_key)?;
        Ok(RawScanResponse { kvs, ..Default::default() })
    }

    pub(super) fn raw_batch_scan(
        &self,
        at: Place<'_>,
        request: RawBatchScanRequest,
    ) -> Result<RawBatchScanResponse, Failure> {
        let context = request.context.as_ref();
        let named = request.ranges.iter().map(|range| match request.reverse {
            false => (&range.start_key, &range.end_key),
            true => (&range.end_key, &range.start_key),
        });
        self.api.check_ranges(context, "raw_batch_scan", named)?;
        let walk = Walk {
            column: self.api.column(&request.cf)?,
            limit: usize::try_from(request.each_limit).unwrap_or(usize::MAX),
            key_only: request.key_only,
            reverse: request.reverse,
        };
        let place = self.admit(at, context, Access::Read)?;
        let ranges = closed_ranges(&request.ranges);
        let inverted = |(start, end): &(Bytes, Bytes)| {
            !end.is_empty() && if request.reverse { start <= end } else { start >= end }
        };
        if ranges.iter().any(inverted) {
            return Err(TxnError::InvalidKeyRanges.into());
        }
        let mut kvs = Vec::new();
        for (start, end) in &ranges {
            kvs.extend(self.raw_walk(at, &place, walk, start, end)?);
        }
        Ok(RawBatchScanResponse { kvs, ..Default::default() })
    }

    pub(super) fn raw_delete_range(
        &mut self,
        at: Place<'_>,
        request: RawDeleteRangeRequest,
    ) -> Result<RawDeleteRangeResponse, Failure> {
        let context = request.context.as_ref();
        self.api.check_ranges(context, "raw_delete_range", [(&request.start_key, &request.end_key)])?;
        check_size(false, &request.start_key)?;
        check_size(false, &request.end_key)?;
        let column = self.api.column(&request.cf)?;
        let place = self.admit(at, context, Access::Write)?;
        let (start, end) = (self.api.raw_bound(&request.start_key), self.api.raw_bound(&request.end_key));
        check_delete_range(&place, &start, &end)?;
        let (start, end) = place.clip(&start, &end);
        self.columns.raw_delete_range(column, &start, &end);
        Ok(RawDeleteRangeResponse::default())
    }

    pub(super) fn raw_checksum(
        &self,
        at: Place<'_>,
        request: RawChecksumRequest,
    ) -> Result<RawChecksumResponse, Failure> {
        let context = request.context.as_ref();
        let named = request.ranges.iter().map(|range| (&range.start_key, &range.end_key));
        self.api.check_ranges(context, "raw_checksum", named)?;
        if ChecksumAlgorithm::try_from(request.algorithm) != Ok(ChecksumAlgorithm::Crc64Xor) {
            return Err(TxnError::UnknownChecksum(request.algorithm).into());
        }
        let place = self.admit(at, context, Access::Read)?;
        let mut sum = RawChecksumResponse::default();
        for range in &request.ranges {
            let (start, end) = (self.api.raw_bound(&range.start_key), self.api.raw_bound(&range.end_key));
            place.check_seek(&start)?;
            let (start, end) = place.clip(&start, &end);
            for (key, value) in self.columns.raw_rows(Column::Default, &start, &end, at.now.unix_seconds()) {
                let key = self.api.user_key(key);
                sum.checksum ^= crc64(&[&key, value]);
                sum.total_kvs += 1;
                sum.total_bytes += u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX);
            }
        }
        Ok(sum)
    }

    fn raw_walk(
        &self,
        at: Place<'_>,
        place: &Admitted<'_>,
        walk: Walk,
        start: &Bytes,
        end: &Bytes,
    ) -> Result<Vec<KvPair>, Failure> {
        if walk.limit == 0 {
            return Ok(Vec::new());
        }
        let (start, end) = (&self.api.raw_bound(start), &self.api.raw_bound(end));
        place.check_seek(start)?;
        let now_s = at.now.unix_seconds();
        let pair = |(key, value): (&Bytes, &Bytes)| {
            let value = if walk.key_only { Bytes::new() } else { value.clone() };
            KvPair { key: self.api.user_key(key), value, ..Default::default() }
        };
        if walk.reverse {
            // Nothing lies before the empty key, which as an upper bound would be open.
            if start.is_empty() {
                return Ok(Vec::new());
            }
            let (lower, upper) = place.clip(end, start);
            let rows = self.columns.raw_rows(walk.column, &lower, &upper, now_s).rev();
            return Ok(rows.take(walk.limit).map(pair).collect());
        }
        let (lower, upper) = place.clip(start, end);
        Ok(self.columns.raw_rows(walk.column, &lower, &upper, now_s).take(walk.limit).map(pair).collect())
    }
}

/// The ranges with their ends: one that is open goes up to the start of the next.
fn closed_ranges(ranges: &[KeyRange]) -> Vec<(Bytes, Bytes)> {
    let next_starts = ranges.iter().skip(1).map(|range| range.start_key.clone()).chain([Bytes::new()]);
    let close = |(range, next): (&KeyRange, Bytes)| {
        let end = if range.end_key.is_empty() { next } else { range.end_key.clone() };
        (range.start_key.clone(), end)
    };
    ranges.iter().zip(next_starts).map(close).collect()
}

/// Refuses a range to delete, in region form, that is empty or goes beyond the region.
///
/// TiKV: `fsm/apply.rs: handle_delete_range`.
pub(super) fn check_delete_range(place: &Admitted<'_>, start: &Bytes, end: &Bytes) -> Result<(), Failure> {
    if !end.is_empty() && start >= end {
        let (start, end) = (start.to_vec(), end.to_vec());
        let text = format!("invalid delete range command, start_key: {start:?}, end_key: {end:?}");
        let message = format!("[components/raftstore/src/store/fsm/apply.rs:2096]: {text}");
        return Err(bare(format!("{message:?}")).into());
    }
    place.check_key(start)?;
    if end.is_empty() && !place.region.end.is_empty() {
        return Err(place.outside(end).into());
    }
    if !end.is_empty() {
        place.check_seek(end)?;
    }
    Ok(())
}
