//! Calls about regions as values: refine one, then await it.

use std::sync::Arc;
use std::time::Duration;

use super::{
    BucketsMachine, FindMachine, ListMachine, OperatorMachine, RegionOverview, ScatterMachine, Scattering,
    Split, SplitMachine,
};
use crate::backoff::Allowance;
use crate::client::{Client, Pending, Space, Terms};
use crate::codec::{Mode, Placed};
use crate::error::Error;
use crate::machine::{Feedback, Place, StaleReason};
use crate::region::Entry;
use crate::start::{
    FindRegion, ListRegions, Operation, RegionBuckets, RegionOrder, ScatterRegions, SplitRegions,
};
use crate::types::{Key, KeyRange, RegionId, RegionVersion};

/// The regions of one key space: see [`Client::regions`].
#[derive(Clone, Debug)]
pub struct Regions {
    client: Client,
    space: Space,
}

/// Declares a call: what it is refined with, and its future.
macro_rules! call {
    ($(#[$doc:meta])* $name:ident($operation:ident) => $machine:ty, $output:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        #[must_use = "a call does nothing until it is awaited"]
        pub struct $name {
            regions: Regions,
            operation: $operation,
            allowance: Allowance,
            patience: Option<Duration>,
        }

        impl $name {
            /// Gives the whole call this much time instead of the default.
            pub fn deadline(mut self, patience: Duration) -> Self {
                self.patience = Some(patience);
                self
            }
        }

        impl IntoFuture for $name {
            type Output = Result<$output, Error>;
            type IntoFuture = Pending<$machine>;

            fn into_future(self) -> Self::IntoFuture {
                self.regions.pending(self.operation, self.allowance, self.patience)
            }
        }
    };
}

call! {
    /// A [`Regions::locate`] to be awaited.
    Locate(FindRegion) => FindMachine, RegionOverview
}
call! {
    /// A [`Regions::list`] to be awaited.
    List(ListRegions) => ListMachine, Vec<RegionOverview>
}
call! {
    /// A [`Regions::buckets`] to be awaited.
    BucketsOf(RegionBuckets) => BucketsMachine, Vec<KeyRange>
}
call! {
    /// A [`Regions::split`] to be awaited.
    SplitAt(SplitRegions) => SplitMachine, Split
}
call! {
    /// A [`Regions::scatter`] to be awaited.
    Scatter(ScatterRegions) => ScatterMachine, Vec<RegionId>
}
call! {
    /// A [`Regions::scattering`] or [`Regions::scattered`] to be awaited.
    Order(RegionOrder) => OperatorMachine, Scattering
}

impl List {
    /// Ends with this many regions.
    pub fn limit(mut self, limit: usize) -> Self {
        self.operation.limit = limit;
        self
    }
}

impl SplitAt {
    /// Scatters the new regions: PD spreads those of one `group` among the stores by themselves; an empty one: as all others.
    pub fn scatter(mut self, group: impl Into<String>) -> Self {
        self.operation.scatter = Some(group.into());
        self
    }
}

impl Scatter {
    /// Spreads the regions among those of `group` only.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.operation.group = group.into();
        self
    }
}

impl Regions {
    pub(crate) fn new(client: Client, space: Space) -> Self {
        Self { client, space }
    }

    fn pending<O: Operation + Placed>(
        &self,
        operation: O,
        allowance: Allowance,
        patience: Option<Duration>,
    ) -> Pending<O::Machine> {
        let inner = self.client.inner();
        let patience = patience.unwrap_or_else(|| {
            // What may pause for longer than a usual call may take is given that time.
            inner.config.deadline.max(allowance.limit(inner.config.backoff).unwrap_or_default())
        });
        let terms = Terms {
            deadline: inner.clock.now() + patience,
            allowance,
            space: self.space,
            options: self.client.options().clone(),
            manner: inner.manner(None),
            background: false,
        };
        Pending::new(inner, terms, operation)
    }

    fn mode(&self) -> Mode {
        self.client.inner().space(self.space).directory.mode()
    }

    /// The region that holds `key`: from the client's memory, or from PD.
    ///
    /// # Errors
    /// PD cannot be asked, or knows no region there, until the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// client-go: `internal/locate/region_cache.go: LocateKey`.
    pub fn locate(&self, key: impl Into<Key>) -> Locate {
        self.find(Place::Holding(key.into()))
    }

    /// The region that holds the keys just below `key`; an empty key means the last region.
    ///
    /// # Errors
    /// As [`locate`](Self::locate).
    ///
    /// # Cancel safety
    /// As [`locate`](Self::locate).
    ///
    /// client-go: `internal/locate/region_cache.go: LocateEndKey`, where an empty key means the first region.
    pub fn locate_below(&self, key: impl Into<Key>) -> Locate {
        self.find(Place::Below(key.into()))
    }

    /// The region of this id, as PD has it now.
    ///
    /// # Errors
    /// As [`locate`](Self::locate); a region that was merged into another one is not found.
    ///
    /// # Cancel safety
    /// As [`locate`](Self::locate).
    ///
    /// client-go: `internal/locate/region_cache.go: LocateRegionByID`.
    pub fn locate_id(&self, id: RegionId) -> Locate {
        self.find(Place::Id(id))
    }

    fn find(&self, place: Place) -> Locate {
        let operation = FindRegion { place };
        Locate { regions: self.clone(), operation, allowance: Allowance::LOCATE, patience: None }
    }

    /// All regions that hold keys of `range`, in order, as PD has them now. The client remembers them: so it is warmed up, too.
    ///
    /// # Errors
    /// PD cannot be asked, or tells of regions with a hole between them, until the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind but what the client remembers.
    ///
    /// client-go: `internal/locate/region_cache.go: LoadRegionsInKeyRange, BatchLoadRegionsWithKeyRange`.
    pub fn list(&self, range: impl Into<KeyRange>) -> List {
        let operation = ListRegions { range: range.into(), limit: usize::MAX };
        List { regions: self.clone(), operation, allowance: Allowance::LOCATE, patience: None }
    }

    /// The buckets of the region that holds `key`, in order: TiKV's finer ranges of about one size, cut to the region. The
    /// region itself, where TiKV keeps none.
    ///
    /// # Errors
    /// As [`locate`](Self::locate).
    ///
    /// # Cancel safety
    /// As [`locate`](Self::locate).
    ///
    /// client-go: `internal/locate/region_cache.go: LocateBucket, UpdateBucketsIfNeeded`.
    pub fn buckets(&self, key: impl Into<Key>) -> BucketsOf {
        let operation = RegionBuckets { key: key.into(), mode: self.mode() };
        BucketsOf { regions: self.clone(), operation, allowance: Allowance::BUCKETS, patience: None }
    }

    /// Splits regions so that each of `keys` begins one. Keys that begin one already change nothing.
    ///
    /// # Errors
    /// A region's leader cannot be reached or refuses, or it takes too long. What is split then stays so.
    ///
    /// # Cancel safety
    /// Dropping the future leaves done what was asked for.
    ///
    /// client-go: `tikv/split_region.go: SplitRegions`.
    pub fn split<K: Into<Key>>(&self, keys: impl IntoIterator<Item = K>) -> SplitAt {
        let keys: Vec<Key> = keys.into_iter().map(Into::into).collect();
        let allowance = Allowance::split(keys.len());
        let operation = SplitRegions { keys, scatter: None, mode: self.mode() };
        SplitAt { regions: self.clone(), operation, allowance, patience: None }
    }

    /// Has PD spread regions over the stores; those that it refused to the end are returned. [`scattered`](Self::scattered)
    /// waits until one is where it is to be.
    ///
    /// # Errors
    /// PD cannot be asked.
    ///
    /// # Cancel safety
    /// As [`split`](Self::split).
    ///
    /// client-go: `tikv/split_region.go: scatterRegion`.
    pub fn scatter(&self, regions: impl IntoIterator<Item = RegionId>) -> Scatter {
        let operation = ScatterRegions { regions: regions.into_iter().collect(), group: String::new() };
        Scatter { regions: self.clone(), operation, allowance: Allowance::LOCATE, patience: None }
    }

    /// Whether PD is scattering a region now.
    ///
    /// # Errors
    /// PD cannot be asked, or answers with an error.
    ///
    /// # Cancel safety
    /// As [`locate`](Self::locate).
    ///
    /// client-go: `tikv/split_region.go: CheckRegionInScattering`.
    pub fn scattering(&self, region: RegionId) -> Order {
        let operation = RegionOrder { region, waits: false };
        Order { regions: self.clone(), operation, allowance: Allowance::LOCATE, patience: None }
    }

    /// Waits until PD is not scattering a region any more.
    ///
    /// # Errors
    /// As [`scattering`](Self::scattering); or it takes longer than four minutes.
    ///
    /// # Cancel safety
    /// As [`locate`](Self::locate).
    ///
    /// client-go: `tikv/split_region.go: WaitScatterRegionFinish`.
    pub fn scattered(&self, region: RegionId) -> Order {
        let operation = RegionOrder { region, waits: true };
        Order { regions: self.clone(), operation, allowance: Allowance::WAIT_SCATTER, patience: None }
    }

    /// What the client remembers of the region that holds `key`, if it may be used; asks nobody.
    ///
    /// client-go: `internal/locate/region_cache.go: TryLocateKey`.
    #[must_use]
    pub fn known(&self, key: &[u8]) -> Option<Arc<Entry>> {
        let inner = self.client.inner();
        inner.space(self.space).directory.region(key, inner.clock.now())
    }

    /// How many regions of this key space the client remembers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.client.inner().space(self.space).directory.len()
    }

    /// Has the client ask PD again before it uses a region, if it remembers it in just this version.
    ///
    /// client-go: `internal/locate/region_cache.go: InvalidateCachedRegion`.
    pub fn forget(&self, region: RegionVersion) {
        let inner = self.client.inner();
        let stale = Feedback::Stale { region, why: StaleReason::Other };
        inner.space(self.space).directory.apply(&stale, inner.clock.now());
    }
}
