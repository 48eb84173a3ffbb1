//! Feedback: what an operation learned and everyone should know.

use std::sync::Arc;

use crate::types::{Instant, PeerId, RegionInfo, RegionVersion, StoreId};

/// Why a cached region is not to be used any more.
///
/// client-go: `internal/locate/region_cache.go: InvalidReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StaleReason {
    /// The store answered that nobody leads, and said no hint.
    NoLeader,
    /// The store does not have the region.
    RegionNotFound,
    /// The region was split, merged or moved.
    EpochNotMatch,
    /// The address belongs to another store now.
    StoreNotMatch,
    /// Anything else that says "look again".
    Other,
}

/// What an operation learned of the cluster: changes the shared state, the same for every operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feedback {
    /// A store named the leader of a region.
    LeaderIs {
        /// The region the request was for.
        region: RegionVersion,
        /// The peer that leads.
        peer: PeerId,
        /// The store of that peer.
        store: StoreId,
    },
    /// A cached region is out of date: the next lookup loads it again.
    Stale {
        /// The region, in the version that was used.
        region: RegionVersion,
        /// Why.
        why: StaleReason,
    },
    /// A store described the regions that now stand where `old` was.
    Regions {
        /// The region the request was for.
        old: RegionVersion,
        /// The regions as they are now.
        new: Arc<[RegionInfo]>,
    },
    /// PD described regions.
    Loaded {
        /// The regions.
        regions: Arc<[RegionInfo]>,
        /// Until when the directory trusts them if they are not used.
        expires: Instant,
    },
    /// A request to a store failed below the protocol: its other peers are better tried first.
    Unreachable {
        /// The store.
        store: StoreId,
        /// The region the request was for.
        region: RegionVersion,
    },
}
