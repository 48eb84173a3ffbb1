//! Regions by key, by id, by range; splitting through PD.
//!
//! What is not there is an answer without a region, not an error, when the leader answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use tikv_proto::{metapb, pdpb};

use super::{Answer, Asked, HeaderError, Pd, unknown, wire_peer};
use crate::model::region::{Region, Topology};

impl Pd {
    pub(super) fn region_of_key(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetRegionRequest,
    ) -> Answer<pdpb::GetRegionResponse> {
        self.one(asked, |regions| regions.region_at(&request.region_key))
    }

    pub(super) fn region_before_key(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetRegionRequest,
    ) -> Answer<pdpb::GetRegionResponse> {
        self.one(asked, |regions| regions.region_before(&request.region_key))
    }

    pub(super) fn region_of_id(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetRegionByIdRequest,
    ) -> Answer<pdpb::GetRegionResponse> {
        self.one(asked, |regions| regions.region(request.region_id))
    }

    fn one(
        &self,
        asked: &Asked<'_>,
        find: impl FnOnce(&Topology) -> Option<&Region>,
    ) -> Answer<pdpb::GetRegionResponse> {
        if let Some(region) = find(self.known(asked)) {
            let (region, leader) = (Some(wire_region(region)), wire_leader(region));
            return Ok(pdpb::GetRegionResponse { region, leader, ..Default::default() });
        }
        if self.leader == Some(asked.member) {
            return Ok(pdpb::GetRegionResponse::default());
        }
        // A follower may know less than the leader, so it must not answer that there is none.
        Err(HeaderError::Header(pdpb::ErrorType::RegionNotFound, String::new()))
    }

    pub(super) fn query_regions(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::QueryRegionRequest,
    ) -> Answer<pdpb::QueryRegionResponse> {
        let known = self.known(asked);
        let mut regions_by_id = BTreeMap::new();
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
        let mut answer = pdpb::ScanRegionsResponse::default();
        for region in
            in_range(self.known(asked), &request.start_key, &request.end_key).take(limit(request.limit))
        {
            answer.region_metas.push(wire_region(region));
            answer.leaders.push(leader_or_none(region));
            answer.regions.push(extended(region));
        }
        Ok(answer)
    }

    // PD: server/grpc_service.go: BatchScanRegions; pkg/core/region.go: BatchScanRegions
    pub(super) fn batch_scan_regions(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::BatchScanRegionsRequest,
    ) -> Answer<pdpb::BatchScanRegionsResponse> {
        check_ranges(&request.ranges)?;
        let known = self.known(asked);
        let mut found: Vec<&Region> = Vec::new();
        for range in &request.ranges {
            for region in in_range(known, &range.start_key, &range.end_key) {
                // Ranges are sorted, so a region met twice was met last.
                if found.last().is_none_or(|last| last.id != region.id) {
                    found.push(region);
                }
            }
        }
        found.truncate(limit(request.limit));
        Ok(pdpb::BatchScanRegionsResponse {
            header: None,
            regions: found.into_iter().map(extended).collect(),
        })
    }

    pub(super) fn split_regions(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::SplitRegionsRequest,
    ) -> Answer<pdpb::SplitRegionsResponse> {
        let (finished_percentage, regions_id) = split_at(asked.topology, &request.split_keys);
        Ok(pdpb::SplitRegionsResponse { header: None, finished_percentage, regions_id })
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

/// Ranges must be sorted and must not overlap; an empty end is the end of all keys.
fn check_ranges(ranges: &[pdpb::KeyRange]) -> Answer<()> {
    if ranges.iter().any(|range| !range.end_key.is_empty() && range.start_key > range.end_key) {
        return unknown("invalid key range, start key > end key");
    }
    // PD compares only with an end that is there: a range without one hides what follows it.
    let overlaps = |pair: &[pdpb::KeyRange]| matches!(pair, [left, right] if !left.end_key.is_empty() && left.end_key > right.start_key);
    if ranges.windows(2).any(overlaps) {
        return unknown("invalid key range, ranges overlapped");
    }
    Ok(())
}

/// The regions that hold keys of `start..end`; an empty `end` is the end of all keys.
fn in_range<'a>(known: &'a Topology, start: &'a [u8], end: &'a [u8]) -> impl Iterator<Item = &'a Region> {
    let empty = !end.is_empty() && start >= end;
    known
        .regions_from(start)
        .take_while(move |region| !empty && (end.is_empty() || region.start.as_ref() < end))
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

fn wire_leader(region: &Region) -> Option<metapb::Peer> {
    region.leader_peer().as_ref().map(wire_peer)
}

/// A region's leader in a list, where one that has none has a peer with id 0.
fn leader_or_none(region: &Region) -> metapb::Peer {
    wire_leader(region).unwrap_or_default()
}

fn extended(region: &Region) -> pdpb::Region {
    let leader = Some(leader_or_none(region));
    pdpb::Region { region: Some(wire_region(region)), leader, ..Default::default() }
}

fn described(region: &Region) -> pdpb::RegionResponse {
    let (meta, leader) = (Some(wire_region(region)), wire_leader(region));
    pdpb::RegionResponse { region: meta, leader, ..Default::default() }
}
