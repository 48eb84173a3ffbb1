//! What a test does to stores, regions and PD of a running cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tikv_proto::metapb;

use super::builder::MOST_SERVERS;
use super::cluster::{Cluster, ControlError, Server};
use super::place::Order;
use crate::control::Node;
use crate::model::pd::KeyspaceError;
use crate::model::{Conditions, PeerRole, Status, Store, StoreState, TopologyError};

impl Cluster {
    /// Adds a store without regions, at a port of its own; returns its id.
    ///
    /// # Errors
    /// There are as many stores as there can be, no port is to be had, or the cluster is stopped.
    pub fn add_store<K, V>(&self, labels: impl IntoIterator<Item = (K, V)>) -> Result<u64, ControlError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let stores = self.servers().keys().filter(|node| matches!(node, Node::Store(_))).count();
        if stores >= MOST_SERVERS {
            return Err(ControlError::Full { most: MOST_SERVERS });
        }
        // The id first: the address is known once it listens, and PD must not tell of a store that does not.
        let id = self.cluster(|cluster, _| cluster.topology.next_id());
        let node = Node::Store(id);
        let address = self.order(node, Order::Add(node))?;
        self.servers().insert(node, Server::open(address));
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.cluster(|cluster, now| {
            cluster.topology.put_store(Store {
                id,
                address: address.to_string(),
                state: StoreState::Up,
                labels,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_unix_s: now.unix_seconds(),
            });
        });
        Ok(id)
    }

    /// Removes a store as an operator does: it is offline until no region has a peer on it, and a tombstone then. One
    /// without regions is one at once; regions leave when [`Self::move_peer`] moves them.
    ///
    /// # Errors
    /// No such store.
    pub fn remove_store(&self, store: u64) -> Result<(), ControlError> {
        self.cluster(|cluster, _| cluster.pd.remove_store(&mut cluster.topology, store))?;
        Ok(())
    }

    /// Makes PD tell a store as being in this state, whatever is on it.
    ///
    /// # Errors
    /// No such store.
    pub fn set_store_state(&self, store: u64, state: StoreState) -> Result<(), ControlError> {
        let changed =
            self.cluster(|cluster, _| cluster.topology.update_store(store, |store| store.state = state));
        Ok(changed?)
    }

    /// Merges `source` into its neighbour `target`.
    ///
    /// # Errors
    /// A region that is not there, or two that do not lie side by side.
    pub fn merge(&self, source: u64, target: u64) -> Result<(), ControlError> {
        Ok(self.cluster(|cluster, _| cluster.topology.merge(source, target))?)
    }

    /// Adds a peer of `region` on `store`: a voter, a learner or a witness. Returns its id.
    ///
    /// # Errors
    /// No such region or store, or the region has a peer there.
    pub fn add_peer(&self, region: u64, store: u64, role: PeerRole) -> Result<u64, ControlError> {
        Ok(self.cluster(|cluster, _| cluster.topology.add_peer(region, store, role))?)
    }

    /// Removes the peer of `region` on `store`; if it led, the region has no leader then.
    ///
    /// # Errors
    /// No such region, or no peer there.
    pub fn remove_peer(&self, region: u64, store: u64) -> Result<(), ControlError> {
        Ok(self.cluster(|cluster, _| cluster.topology.remove_peer(region, store))?)
    }

    /// Makes the peer of `region` on `store` a voter, a learner or a witness.
    ///
    /// # Errors
    /// No such region, no peer there, or it leads and could not any more.
    pub fn set_peer_role(&self, region: u64, store: u64, role: PeerRole) -> Result<(), ControlError> {
        Ok(self.cluster(|cluster, _| cluster.topology.set_role(region, store, role))?)
    }

    /// Moves the peer of `region` from one store to another, its leadership with it. A store that is being removed becomes a
    /// tombstone with its last peer.
    ///
    /// # Errors
    /// No such region, no peer there, no such target or one that has a peer already.
    pub fn move_peer(&self, region: u64, from: u64, to: u64) -> Result<(), ControlError> {
        let moved = self.cluster(|cluster, _| {
            let topology = &mut cluster.topology;
            let at = topology.region(region).ok_or(TopologyError::NoRegion { region })?;
            let role = at.peer_on(from).ok_or(TopologyError::NoPeer { region, store: from })?.role;
            let led = at.led_by(from);
            topology.add_peer(region, to, role)?;
            if led {
                topology.transfer_leader(region, to)?;
            }
            topology.remove_peer(region, from)?;
            cluster.pd.bury_empty_stores(topology);
            Ok::<(), TopologyError>(())
        });
        Ok(moved?)
    }

    /// Leaves `region` without leader, as during an election.
    ///
    /// # Errors
    /// No such region.
    pub fn drop_leader(&self, region: u64) -> Result<(), ControlError> {
        Ok(self.cluster(|cluster, _| cluster.topology.drop_leader(region))?)
    }

    /// From now on leaders that are stopped are followed by others: PD's after `pd` (a real one's lease is some 3 s),
    /// those of regions after `region` (about 10 s). Without this, leaders change only when the test says so.
    pub fn set_elections(&self, pd: Duration, region: Duration) {
        self.cluster(|cluster, _| cluster.pd.set_elections(pd, region));
    }

    /// From now on each step of an operator of PD (a scatter, a move) takes `step`; nothing at first.
    pub fn set_operator_step(&self, step: Duration) {
        self.cluster(|cluster, _| cluster.pd.set_operator_step(step));
    }

    /// From now on PD has not heard of `region`: its keys are a hole, until [`Self::show_region`].
    pub fn hide_region(&self, region: u64) {
        self.cluster(|cluster, _| cluster.pd.hide_region(region));
    }

    /// PD hears of `region` again.
    pub fn show_region(&self, region: u64) {
        self.cluster(|cluster, _| cluster.pd.show_region(region));
    }

    /// PD forgets who leads the regions, as after a restart, until [`Self::restore_leaders`].
    pub fn forget_leaders(&self) {
        self.cluster(|cluster, _| cluster.pd.forget_leaders(&cluster.topology));
    }

    /// PD hears of all leaders again.
    pub fn restore_leaders(&self) {
        self.cluster(|cluster, _| cluster.pd.hear_of_leaders());
    }

    /// The leader of `region` reports its buckets: `keys` are their bounds, from the region's start to its end.
    pub fn report_buckets<K: AsRef<[u8]>>(
        &self,
        region: u64,
        version: u64,
        keys: impl IntoIterator<Item = K>,
    ) {
        let keys = keys.into_iter().map(|key| Bytes::copy_from_slice(key.as_ref())).collect();
        let buckets = metapb::Buckets { region_id: region, version, keys, ..Default::default() };
        self.cluster(|cluster, _| cluster.pd.report_buckets(buckets));
    }

    /// Stops the physical part of timestamps, or lets it follow the clock again.
    pub fn freeze_timestamps(&self, frozen: bool) {
        self.cluster(|cluster, _| cluster.pd.oracle.set_frozen(frozen));
    }

    /// Moves timestamps ahead by `by`; the clock catches up in time.
    pub fn jump_timestamps(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.cluster(|cluster, now| cluster.pd.oracle.jump(now, ms));
    }

    /// From now on all HTTP requests to PD fail with this status; `None`: they are answered again.
    pub fn fail_http(&self, status: Option<u16>) {
        self.cluster(|cluster, _| cluster.pd.fail_http(status));
    }

    /// What PD tells as the least resolved timestamp of `store`; `None`: the store has reported none.
    pub fn set_min_resolved_ts(&self, store: u64, ts: Option<u64>) {
        self.cluster(|cluster, _| cluster.pd.set_min_resolved_ts(store, ts));
    }

    /// Changes what ails stores and replicas: full disks, busy stores, replicas that lag.
    pub fn conditions<R>(&self, change: impl FnOnce(&mut Conditions) -> R) -> R {
        self.cluster(|cluster, _| change(&mut cluster.topology.conditions))
    }

    /// Creates a keyspace with its region bounds; returns its id.
    ///
    /// # Errors
    /// The name is taken or is none.
    pub fn create_keyspace<K, V>(
        &self,
        name: &str,
        config: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u32, KeyspaceError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let config: BTreeMap<String, String> =
            config.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.cluster(|cluster, now| {
            cluster.pd.create_keyspace(&mut cluster.topology, now, name, config, false)
        })
    }

    /// Sets what a resource group may use a second, and in a burst (0: no more than that, -1: any amount); the group is
    /// made if there is none.
    ///
    /// # Errors
    /// A name that is empty or too long.
    pub fn set_resource_group(&self, name: &str, ru_per_second: u64, burst: i64) -> Result<(), Status> {
        self.cluster(|cluster, _| cluster.pd.set_resource_group(name, ru_per_second, burst))
    }
}
