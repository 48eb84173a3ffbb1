//! The loader at its boundary: [`steps`] one by one, [`ranges`] likewise, [`random`] against a layout of regions it must find its way in.

mod random;
mod ranges;
mod steps;
mod walk;

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::Mode;
use crate::machine::Place;
use crate::pd::{PdQuery, PdReply};
use crate::types::{KeyRange, Located, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId};

pub(super) fn peer(id: u64, role: PeerRole) -> Peer {
    Peer { id: PeerId(id), store: StoreId(id % 10), role }
}

/// A region with two voters, of whom the second leads.
pub(super) fn region(id: u64, start: impl Into<Bytes>, end: impl Into<Bytes>) -> RegionInfo {
    RegionInfo {
        version: RegionVersion { id: RegionId(id), version: 1, conf_ver: 1 },
        range: KeyRange::new(start.into(), end.into()),
        peers: vec![peer(id * 10 + 1, PeerRole::Voter), peer(id * 10 + 2, PeerRole::Voter)],
        leader: Some(PeerId(id * 10 + 2)),
    }
}

pub(super) fn located(info: &RegionInfo) -> Located {
    let peer = info.peers.iter().find(|peer| Some(peer.id) == info.leader).unwrap();
    Located { region: info.version, peer: peer.id, store: peer.store }
}

/// PD's regions: from the first key to the last, cut at `bounds`.
#[derive(Debug)]
pub(super) struct Layout(pub(super) Vec<RegionInfo>);

impl Layout {
    pub(super) fn new(mut bounds: Vec<Bytes>) -> Self {
        bounds.retain(|bound| !bound.is_empty());
        bounds.sort();
        bounds.dedup();
        let starts = std::iter::once(Bytes::new()).chain(bounds.iter().cloned());
        let ends = bounds.iter().cloned().chain([Bytes::new()]);
        Self((1..).zip(starts.zip(ends)).map(|(id, (start, end))| region(id, start, end)).collect())
    }

    fn index(&self, key: &[u8]) -> usize {
        self.0.iter().position(|region| region.range.contains(key)).unwrap()
    }

    /// What PD answers.
    pub(super) fn answer(&self, query: &PdQuery) -> PdReply {
        match query {
            PdQuery::Region { key } => PdReply::Region(Some(self.0[self.index(key)].clone())),
            PdQuery::PreviousRegion { key } => {
                PdReply::Region(self.index(key).checked_sub(1).map(|at| self.0[at].clone()))
            }
            PdQuery::RegionById(id) => {
                PdReply::Region(self.0.iter().find(|region| region.version.id == *id).cloned())
            }
            PdQuery::Regions { start, end, limit } => {
                let within = |region: &&RegionInfo| end.is_empty() || region.range.start.0 < *end;
                let from = self.0[self.index(start)..].iter().take_while(within);
                PdReply::Regions(from.take(usize::try_from(*limit).unwrap()).cloned().collect())
            }
            other => panic!("the loader asks {other:?}"),
        }
    }

    /// The region that a place means, by looking at each.
    pub(super) fn truth(&self, place: &Place, mode: Mode) -> Option<&RegionInfo> {
        let range =
            |info: &RegionInfo| mode.ceil_range(info.range.start.as_slice(), info.range.end.as_slice());
        self.0.iter().find(|info| match place {
            Place::Id(id) => info.version.id == *id,
            Place::Holding(key) => info.range.contains(&mode.encode_key(key)),
            Place::Below(key) if key.is_empty() => info.range.end.is_empty(),
            Place::Below(key) => range(info)
                .is_some_and(|range| range.start < *key && (range.end.is_empty() || *key <= range.end)),
        })
    }
}

pub(super) fn regions(infos: &[RegionInfo]) -> Arc<[(Located, KeyRange)]> {
    infos.iter().map(|info| (located(info), info.range.clone())).collect()
}
