//! Regions by key, by id, by range; splitting through PD.
//!
//! What is not there is an answer without a region, not an error, when the leader answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use tikv_proto::{metapb, pdpb};

use super::view::View;
use super::{Answer, Asked, HeaderError, Pd, unknown, wire_peer};
use crate::model::region::{Region, Topology};

impl Pd {
    pub(super) fn region_of_key(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetRegionRequest,
    ) -> Answer<pdpb::GetRegionResponse> {
        self.one(asked, request.need_buckets, |known| known.region_at(&request.region_key))
    }

    pub(super) fn region_before_key(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetRegionRequest,
    ) -> Answer<pdpb::GetRegionResponse> {
        self.one(asked, request.need_buckets, |known| known.region_before(&request.region_key))
    }

    pub(super) fn region_of_id(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetRegionByIdRequest,
    ) -> Answer<pdpb::GetRegionResponse> {
        self.one(asked, request.need_buckets, |known| known.region(request.region_id))
    }

    fn one<'a>(
        &'a self,
        asked: &'a Asked<'_>,
        need_buckets: bool,
        find: impl FnOnce(View<'a>) -> Option<&'a Region>,
    ) -> Answer<pdpb::GetRegionResponse> {
        let known = self.view(asked.topology);
        let leads = self.leader == Some(asked.member);
        if let Some(region) = find(known) {
            return Ok(pdpb::GetRegionResponse {
                header: None,
                region: Some(wire_region(region)),
                leader: known.leader(region).as_ref().map(wire_peer),
                down_peers: known.down(region, asked.now),
                pending_peers: known.pending(region),
                // A follower does not learn buckets.
                buckets: known.buckets(region).filter(|_| need_buckets && leads).cloned(),
            });
        }
        if leads {
            return Ok(pdpb::GetRegionResponse::default());
        }
        region_not_found()
    }

    pub(super) fn query_regions(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::QueryRegionRequest,
    ) -> Answer<pdpb::QueryRegionResponse> {
        let known = self.view(asked.topology);
        let need_buckets = request.need_buckets && self.leader == Some(asked.member);
        let mut regions_by_id = BTreeMap::new();
        let described = |region: &Region| pdpb::RegionResponse {
            region: Some(wire_region(region)),
            leader: known.leader(region).as_ref().map(wire_peer),
            down_peers: known.down(region, asked.now),
            pending_peers: known.pending(region),
            buckets: known.buckets(region).filter(|_| need_buckets).cloned(),
        };
        let mut told = |region: Option<&Region>| {
            let Some(region) = region else { return 0 };
            regions_by_id.entry(region.id).or_insert_with(|| described(region));
            region.id
        };
        let key_id_map = request.keys.iter().map(|key| told(known.region_at(key))).collect();
        let prev_key_id_map = request.prev_keys.iter().map(|key| told(known.region_before(key))).collect();
        for id in request.ids.into_iter().filter(|&id| id != 0) {
            let region = known.region(id).map(described).unwrap_or_default();
            regions_by_id.insert(id, region);
        }
        Ok(pdpb::QueryRegionResponse { header: None, key_id_map, prev_key_id_map, regions_by_id })
    }

    pub(super) fn scan_regions(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::ScanRegionsRequest,
    ) -> Answer<pdpb::ScanRegionsResponse> {
        let known = self.view(asked.topology);
        let mut answer = pdpb::ScanRegionsResponse::default();
        for region in known.in_range(&request.start_key, &request.end_key).take(limit(request.limit)) {
            let extended = known.extended(region, asked.now, false);
            answer.region_metas.extend(extended.region.clone());
            answer.leaders.extend(extended.leader);
            answer.regions.push(extended);
        }
        if answer.regions.is_empty() && self.leader != Some(asked.member) {
            return region_not_found();
        }
        Ok(answer)
    }

    // PD: server/grpc_service.go: BatchScanRegions; pkg/core/region.go: BatchScanRegions, scanRegion
    pub(super) fn batch_scan_regions(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::BatchScanRegionsRequest,
    ) -> Answer<pdpb::BatchScanRegionsResponse> {
        check_ranges(&request.ranges)?;
        let known = self.view(asked.topology);
        let limit = limit(request.limit);
        let mut found: Vec<&Region> = Vec::new();
        for range in merged(&request.ranges) {
            let regions: Vec<&Region> =
                known.in_range(&range.start_key, &range.end_key).take(limit).collect();
            if request.contain_all_key_range
                && let Some(hole) = hole(&range, &regions, regions.len() >= limit)
            {
                let kind = pdpb::ErrorType::RegionsNotContainAllKeyRange;
                return Err(HeaderError::Header(kind, hole));
            }
            // Ranges are sorted, so a region met twice was met last.
            let twice = found.last().zip(regions.first()).is_some_and(|(last, first)| last.id == first.id);
            found.extend(regions.into_iter().skip(usize::from(twice)));
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        let buckets = request.need_buckets && self.leader == Some(asked.member);
        let regions: Vec<_> =
            found.into_iter().map(|region| known.extended(region, asked.now, buckets)).collect();
        if regions.is_empty() && self.leader != Some(asked.member) {
            return region_not_found();
        }
        Ok(pdpb::BatchScanRegionsResponse { header: None, regions })
    }
}

/// Splits at all of `keys`; returns how many per cent of them were no boundary yet, and the new regions.
pub(super) fn split_at(topology: &mut Topology, keys: &[Bytes]) -> (u64, Vec<u64>) {
    if keys.is_empty() {
        return (0, Vec::new());
    }
    let mut new = Vec::new();
    for key in keys {
        let Some(region) = topology.region_at(key).map(|region| region.id) else { continue };
        if let Ok(parts) = topology.split(region, std::slice::from_ref(key)) {
            new.extend(parts.into_iter().filter(|&part| part != region));
        }
    }
    let percent = 100 * new.len() / keys.len();
    (u64::try_from(percent).unwrap_or(100), new)
}

/// What a follower answers instead of nothing: it may know less than the leader.
fn region_not_found<T>() -> Answer<T> {
    Err(HeaderError::Header(pdpb::ErrorType::RegionNotFound, "region not found".to_owned()))
}

/// Ranges must be sorted and must not overlap; an empty end is the end of all keys.
fn check_ranges(ranges: &[pdpb::KeyRange]) -> Answer<()> {
    let mut last: Option<&pdpb::KeyRange> = None;
    for range in ranges {
        // PD compares only with an end that is there: a range without one hides what follows it.
        if last.is_some_and(|last| range.start_key < last.end_key) {
            return unknown("invalid key range, ranges overlapped");
        }
        if !range.end_key.is_empty() && range.start_key > range.end_key {
            return unknown("invalid key range, start key > end key");
        }
        last = Some(range);
    }
    Ok(())
}

/// Ranges that touch become one.
// PD: pkg/utils/keyutil/keyrange.go: Merge
fn merged(ranges: &[pdpb::KeyRange]) -> Vec<pdpb::KeyRange> {
    let mut merged: Vec<pdpb::KeyRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if !last.end_key.is_empty() && last.end_key == range.start_key => {
                last.end_key = range.end_key.clone();
            }
            _ => merged.push(range.clone()),
        }
    }
    merged
}

/// Where `regions` leave keys of `range` out, in PD's words; what a limit has cut off is no hole.
fn hole(range: &pdpb::KeyRange, regions: &[&Region], cut: bool) -> Option<String> {
    let whole =
        format!("[PD:region:ErrRegionNotAdjacent]key range[{:x}, {:x})", range.start_key, range.end_key);
    let nothing = Bytes::new();
    let (mut last_start, mut last_end) = (&nothing, &range.start_key);
    for region in regions {
        if !last_end.is_empty() && !region.start.is_empty() && region.start > *last_end {
            return Some(format!(
                "{whole} found a hole region between region[{last_start:x}, {last_end:x}) and region[{:x}, {:x})",
                region.start, region.end
            ));
        }
        (last_start, last_end) = (&region.start, &region.end);
    }
    let ends = !range.end_key.is_empty() && !last_end.is_empty() && *last_end < range.end_key;
    (ends && !cut).then(|| {
        format!(
            "{whole} found a hole region in the last, the last scanned region is [{last_start:x}, {last_end:x}), [{last_end:x}, {:x}) is missing",
            range.end_key
        )
    })
}

/// A limit of none or less means all.
fn limit(limit: i32) -> usize {
    usize::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX)
}

/// A region as the wire has it.
#[must_use]
pub fn wire_region(region: &Region) -> metapb::Region {
    metapb::Region {
        id: region.id,
        start_key: region.start.clone(),
        end_key: region.end.clone(),
        region_epoch: Some(metapb::RegionEpoch { conf_ver: region.conf_ver, version: region.version }),
        peers: region.peers.iter().map(wire_peer).collect(),
        ..Default::default()
    }
}
