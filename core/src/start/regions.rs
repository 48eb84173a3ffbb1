//! Arguments of operations on regions, and their machines.

use super::raw::operation;
use super::{Operation, Settings, Start};
use crate::codec::{KeyspaceError, Mode, Placed, Prefix};
use crate::machine::Place;
use crate::range_task::{
    BucketsMachine, FindMachine, ListMachine, OperatorMachine, ScatterMachine, SplitMachine,
};
use crate::types::{Key, KeyRange, RegionId};

impl Placed for Place {
    fn enter(&mut self, keyspace: Prefix) {
        match self {
            Self::Below(key) if key.is_empty() => *key = Key::from(&keyspace.end()),
            Self::Holding(key) | Self::Below(key) => key.enter(keyspace),
            Self::Id(_) => {}
        }
    }

    fn leave(&mut self, keyspace: Prefix) -> Result<(), KeyspaceError> {
        match self {
            Self::Holding(key) | Self::Below(key) => key.leave(keyspace),
            Self::Id(_) => Ok(()),
        }
    }
}

operation! {
    /// Find one region.
    FindRegion {
        /// Where.
        pub place: Place,
    }
    FindMachine = |_settings| FindMachine::new(place)
}

operation! {
    /// List the regions of a range.
    ListRegions {
        /// The range.
        pub range: KeyRange,
        /// How many at the most.
        pub limit: usize,
    }
    ListMachine = |_settings| ListMachine::new(range, limit)
}

operation! {
    /// Find the buckets of a region.
    RegionBuckets {
        /// A key of the region.
        pub key: Key,
        /// The form of keys at PD.
        pub mode: Mode,
    }
    BucketsMachine = |_settings| BucketsMachine::new(key, mode)
}

operation! {
    /// Split regions.
    SplitRegions {
        /// The keys that regions are to begin with.
        pub keys: Vec<Key>,
        /// The group that the new regions are scattered in, if they are.
        pub scatter: Option<String>,
        /// The form of keys at PD.
        pub mode: Mode,
    }
    SplitMachine = |settings| SplitMachine::new(keys, scatter, mode, settings.concurrency)
}

operation! {
    /// Scatter regions.
    ScatterRegions {
        /// The regions.
        pub regions: Vec<RegionId>,
        /// The group that they are spread among.
        pub group: String,
    }
    ScatterMachine = |_settings| ScatterMachine::new(regions, group)
}

operation! {
    /// See whether a region is being scattered.
    RegionOrder {
        /// The region.
        pub region: RegionId,
        /// Waits until it is not.
        pub waits: bool,
    }
    OperatorMachine = |_settings| OperatorMachine::new(region, waits)
}
