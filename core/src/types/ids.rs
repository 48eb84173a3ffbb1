//! Ids of a cluster: as newtypes, so that a store is never taken for a region.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(clippy::exhaustive_structs, reason = "an id is a number and stays one")]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A region; ids are never used again.
    RegionId
);
id!(
    /// A store, that is one TiKV (or TiFlash) server with its data.
    StoreId
);
id!(
    /// A peer: a region's replica on one store.
    PeerId
);
id!(
    /// A cluster, as PD names it in the header of every answer.
    ClusterId
);

/// A region in one of its versions: splits and merges raise `version`, membership changes `conf_ver`.
///
/// Two values with one id and different versions name different key ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the wire's RegionEpoch has these two counters")]
pub struct RegionVersion {
    /// The region.
    pub id: RegionId,
    /// Counts splits and merges.
    pub version: u64,
    /// Counts changes of the peers.
    pub conf_ver: u64,
}

/// Where a request for a key goes now: the answer of the region directory, a plain copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a fact crosses the trace boundary field by field")]
pub struct Located {
    /// The region, in the version the directory knows.
    pub region: RegionVersion,
    /// The peer to talk to.
    pub peer: PeerId,
    /// The store of that peer.
    pub store: StoreId,
}
