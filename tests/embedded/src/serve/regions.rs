//! What a test does to regions, their leaders, and the clock of a running cluster.

use std::time::Duration;

use super::cluster::{Cluster, ControlError};
use crate::control::Where;
use crate::model::{TopologyError, key};

impl Cluster {
    /// Splits the region that holds a transactional key, at that key; returns the parts by key.
    ///
    /// # Errors
    /// A region begins there already.
    pub fn split(&self, user_key: impl AsRef<[u8]>) -> Result<Vec<u64>, ControlError> {
        self.split_raw(key::encode(user_key.as_ref()))
    }

    /// Splits the region that holds a key in region form, at that key; returns the parts by key.
    ///
    /// # Errors
    /// A region begins there already.
    pub fn split_raw(&self, key: impl AsRef<[u8]>) -> Result<Vec<u64>, ControlError> {
        let key = bytes::Bytes::copy_from_slice(key.as_ref());
        let parts = self.cluster(|cluster, _| {
            let region = cluster.topology.region_at(&key).map_or(0, |region| region.id);
            cluster.topology.split(region, &[key])
        });
        Ok(parts?)
    }

    /// The id of the region that holds a transactional key.
    #[must_use]
    pub fn region_of(&self, user_key: impl AsRef<[u8]>) -> Option<u64> {
        self.region_of_raw(key::encode(user_key.as_ref()))
    }

    /// The id of the region that holds a key in region form.
    #[must_use]
    pub fn region_of_raw(&self, key: impl AsRef<[u8]>) -> Option<u64> {
        self.cluster(|cluster, _| cluster.topology.region_at(key.as_ref()).map(|region| region.id))
    }

    /// The store that leads `region`.
    #[must_use]
    pub fn leader_of(&self, region: u64) -> Option<u64> {
        self.cluster(|cluster, _| Some(cluster.topology.region(region)?.leader_peer()?.store))
    }

    /// Makes the peer on `store` lead `region`.
    ///
    /// # Errors
    /// No such region, or no peer there that may lead.
    pub fn transfer_leader(&self, region: u64, store: u64) -> Result<(), ControlError> {
        Ok(self.cluster(|cluster, _| cluster.topology.transfer_leader(region, store))?)
    }

    /// Moves every leader away from `store`, to the next peer of its region, as an election does after a store died.
    /// Regions without another voter keep theirs.
    pub fn fail_over(&self, store: u64) {
        self.cluster(|cluster, _| cluster.topology.fail_over(store));
    }

    /// Makes another PD member the leader; `None`: none leads.
    pub fn set_pd_leader(&self, member: Option<usize>) {
        self.cluster(|cluster, _| cluster.pd.set_leader(member));
    }

    /// From now on PD tells the regions as they are now, whatever becomes of them, until [`Self::thaw_regions`].
    pub fn freeze_regions(&self) {
        self.cluster(|cluster, _| {
            let regions = cluster.topology.clone();
            cluster.pd.freeze_regions(Some(regions));
        });
    }

    /// PD knows all regions again.
    pub fn thaw_regions(&self) {
        self.cluster(|cluster, _| cluster.pd.freeze_regions(None));
    }

    /// Moves the cluster's clock forward by `by` against the host's: lock lifetimes and timers see it.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.shift_clock(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX));
    }

    /// Sets the cluster's clock back by `by`; timestamps still grow.
    pub fn set_clock_back(&self, by: Duration) {
        self.shared.shift_clock(i64::try_from(by.as_nanos()).map_or(i64::MIN, |by| -by));
    }

    /// The id of the region that is meant.
    ///
    /// # Errors
    /// There is none.
    pub fn region_where(&self, place: &Where) -> Result<u64, ControlError> {
        let found = match place {
            Where::Region(region) => {
                self.cluster(|cluster, _| cluster.topology.region(*region).map(|at| at.id))
            }
            Where::Key(key) => self.region_of(key),
            Where::Raw(key) => self.region_of_raw(key),
        };
        let region = if let Where::Region(region) = place { *region } else { 0 };
        Ok(found.ok_or(TopologyError::NoRegion { region })?)
    }

    /// Splits the region that holds the key that is meant, at that key; returns the parts by key.
    pub(super) fn split_where(&self, place: &Where) -> Result<Vec<u64>, ControlError> {
        match place {
            Where::Region(region) => Err(TopologyError::NoSplitKey { region: *region }.into()),
            Where::Key(key) => self.split(key),
            Where::Raw(key) => self.split_raw(key),
        }
    }

    /// Sets what a store says of itself to clients that ask how it feels: from 1, healthy, to 100.
    pub fn set_slow_score(&self, store: u64, score: i32) {
        self.cluster(|cluster, _| cluster.set_slow_score(store, score));
    }
}
