//! Regions as PD describes them, made into what the directory and the askers get.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::Mode;
use crate::machine::Place;
use crate::types::{KeyRange, Located, PeerRole, RegionId, RegionInfo};

/// A region that has come, in both forms.
#[derive(Clone, Debug)]
pub(super) struct Come {
    /// As PD has it, but for the keys.
    info: RegionInfo,
    /// The user's keys in it; `None` when it holds none.
    pub(super) range: Option<KeyRange>,
    /// Where requests go; `None` when no peer can take one.
    pub(super) located: Option<Located>,
}

impl Come {
    pub(super) fn new(info: RegionInfo, mode: Mode) -> Self {
        let range = mode.ceil_range(info.range.start.as_slice(), info.range.end.as_slice());
        Self { range, located: locate(&info), info }
    }

    /// The bounds as PD has them.
    pub(super) fn wire_range(&self) -> &KeyRange {
        &self.info.range
    }

    pub(super) fn id(&self) -> RegionId {
        self.info.version.id
    }

    /// What the directory is told; `None` for a region that no request can go to.
    pub(super) fn reported(&self) -> Option<RegionInfo> {
        self.located?;
        let range = self.range.clone()?;
        Some(RegionInfo { range, ..self.info.clone() })
    }

    /// Whether this is the region that `place` means.
    pub(super) fn is_at(&self, place: &Place) -> bool {
        match (place, &self.range) {
            (Place::Id(id), _) => *id == self.id(),
            (_, None) => false,
            (Place::Holding(key), Some(range)) => range.contains(key.as_slice()),
            (Place::Below(key), Some(range)) if key.is_empty() => range.end.is_empty(),
            (Place::Below(key), Some(range)) => {
                range.start < *key && (range.end.is_empty() || *key <= range.end)
            }
        }
    }
}

/// The leader; the first voter when PD names none.
///
/// client-go: `internal/locate/region_cache.go: newRegion`.
fn locate(info: &RegionInfo) -> Option<Located> {
    let leads = info.peers.iter().find(|peer| Some(peer.id) == info.leader);
    let peer = leads.or_else(|| info.peers.iter().find(|peer| peer.role == PeerRole::Voter))?;
    Some(Located { region: info.version, peer: peer.id, store: peer.store })
}

/// The regions that cover the keys from `start` to `end` without a hole, in order; `None` when there is a hole.
///
/// When there are `limit` regions, they need not reach `end`. Keys are in PD's form.
///
/// client-go: `internal/locate/region_cache.go: regionsHaveGapInRanges`.
pub(super) fn covering(
    (start, end): (&Bytes, &Bytes),
    limit: u32,
    regions: Vec<RegionInfo>,
) -> Option<Vec<RegionInfo>> {
    let full = u32::try_from(regions.len()).is_ok_and(|count| count >= limit);
    let mut covering: Vec<RegionInfo> = Vec::with_capacity(regions.len());
    let mut from = start.clone();
    for region in regions {
        let bounds = &region.range;
        if bounds.start.0 > from {
            return None;
        }
        let last = bounds.end.is_empty() || (!end.is_empty() && bounds.end.0 >= *end);
        // One that does not lead on is of another time, before a split or merge.
        if last || bounds.end.0 > from {
            from = bounds.end.0.clone();
            covering.push(region);
        }
        // A PD that tells of more than was asked for is not listened to any longer.
        if last || u32::try_from(covering.len()).is_ok_and(|count| count >= limit) {
            return Some(covering);
        }
    }
    (full && !covering.is_empty()).then_some(covering)
}

/// Where requests for the regions go, and the keys of each; fails with one that has no peer to
/// talk to.
pub(super) fn answer(come: &[Come]) -> Result<Arc<[(Located, KeyRange)]>, RegionId> {
    let with_keys = come.iter().filter_map(|come| come.range.as_ref().map(|range| (come, range)));
    with_keys
        .map(|(come, range)| come.located.map(|located| (located, range.clone())).ok_or_else(|| come.id()))
        .collect()
}
