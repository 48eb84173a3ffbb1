//! Feedback: what an operation learned and everyone should know.

use std::sync::Arc;
use std::time::Duration;

use crate::region::Buckets;
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
    /// A request to a store failed below the protocol: its other peers are better tried first, and the store is probed.
    Unreachable {
        /// The store.
        store: StoreId,
        /// The region the request was for.
        region: RegionVersion,
    },
    /// A store named the buckets of a region, whose keys are decoded here; older ones than are known change nothing.
    ///
    /// client-go: `internal/locate/region_cache.go: OnBucketVersionNotMatch`, which keeps the keys encoded.
    Buckets {
        /// The region the request was for.
        region: RegionVersion,
        /// Its buckets.
        buckets: Arc<Buckets>,
    },
    /// A store is too busy: a read that came now would wait until then.
    ///
    /// client-go: `internal/locate/store_cache.go: updateServerLoadStats`.
    Busy {
        /// The store.
        store: StoreId,
        /// When a read would be served.
        until: Instant,
    },
    /// A store is slow: it refused for its load, or did not answer.
    ///
    /// client-go: `internal/locate/slow_score.go: markAlreadySlow`.
    Slow {
        /// The store.
        store: StoreId,
    },
    /// A read that may go to any replica took so long; from these times the client's own score of a store comes.
    ///
    /// client-go: `internal/locate/store_cache.go: recordSlowScoreStat`.
    Took {
        /// The store.
        store: StoreId,
        /// From sending to the answer.
        time: Duration,
    },
    /// A store told how slow it is.
    ///
    /// client-go: `internal/locate/region_cache.go: onHealthFeedback`.
    Health {
        /// The store.
        store: StoreId,
        /// From 1, all well, to 100.
        slow_score: u32,
    },
}
