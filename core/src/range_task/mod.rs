//! What is done to regions as such, not to keys: finding and listing them, their buckets, splitting and scattering.
//!
//! [`Regions`] is what applications call. `find` looks one region up, `list` all of a range, `buckets` asks PD for
//! the buckets of one; `split` splits regions at their leaders, `scatter` has PD spread regions over the stores, `operator` looks
//! what PD is doing to one.
//!
//! client-go: `tikv/split_region.go`; `internal/locate/region_cache.go: LocateKey, LoadRegionsInKeyRange`.

mod buckets;
pub mod calls;
mod find;
mod list;
mod operator;
mod scatter;
mod split;
#[cfg(test)]
mod tests;

pub use buckets::BucketsMachine;
pub use calls::Regions;
pub use find::FindMachine;
pub use list::ListMachine;
pub use operator::OperatorMachine;
pub use scatter::ScatterMachine;
pub use split::SplitMachine;

use crate::machine::Cx;
use crate::types::{KeyRange, Located, Peer, PeerId, RegionId, RegionVersion, StoreId};

/// A region, as PD described it last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionOverview {
    /// Its id and version.
    pub region: RegionVersion,
    /// The keys it holds.
    pub range: KeyRange,
    /// The peer that leads, as far as is known.
    pub leader: PeerId,
    /// The store of that peer.
    pub store: StoreId,
    /// Its replicas that can be talked to; empty when the client has forgotten them already.
    pub peers: Vec<Peer>,
}

impl RegionOverview {
    fn new(to: Located, range: KeyRange, cx: &Cx<'_>) -> Self {
        let peers = cx.replicas(to.region).map(|known| known.peers.as_slice().to_vec());
        Self { region: to.region, range, leader: to.peer, store: to.store, peers: peers.unwrap_or_default() }
    }
}

/// What became of a split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// The regions that came out of it, in no order. A region keeps its id for one of its parts, which is not among them.
    pub regions: Vec<RegionId>,
    /// Regions that could not be scattered, if that was asked for: PD refused them to the end.
    pub unscattered: Vec<RegionId>,
}

/// Whether PD is still scattering a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scattering {
    /// It is.
    Running,
    /// It is not: it was done, given up, or never begun.
    Over,
}
