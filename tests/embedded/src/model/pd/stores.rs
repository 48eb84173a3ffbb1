//! Stores, and what they report.

use tikv_proto::{metapb, pdpb, replication_modepb};

use super::{Answer, Asked, HeaderError, Pd, unknown};
use crate::model::region::{Store, StoreState, Topology, TopologyError};
use crate::model::status::Status;

impl Pd {
    pub(super) fn store(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetStoreRequest,
    ) -> Answer<pdpb::GetStoreResponse> {
        let id = request.store_id;
        let Some(store) = asked.topology.store(id) else {
            return unknown(format!("invalid store ID {id}, not found"));
        };
        let stats = Some(pdpb::StoreStats { store_id: id, ..Default::default() });
        Ok(pdpb::GetStoreResponse { header: None, store: Some(wire_store(self, store, asked)), stats })
    }

    pub(super) fn stores(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::GetAllStoresRequest,
    ) -> Answer<pdpb::GetAllStoresResponse> {
        let wanted =
            |store: &&Store| !request.exclude_tombstone_stores || store.state != StoreState::Tombstone;
        let stores =
            asked.topology.stores().filter(wanted).map(|store| wire_store(self, store, asked)).collect();
        Ok(pdpb::GetAllStoresResponse { header: None, stores })
    }

    // PD: server/cluster/cluster.go: PutMetaStore, putStoreImpl
    pub(super) fn put_store(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::PutStoreRequest,
    ) -> Answer<pdpb::PutStoreResponse> {
        let Some(store) = request.store else { return unknown("invalid put store <nil>") };
        if store.id == 0 {
            return unknown(format!("invalid put store {}", go_text(&store)));
        }
        let live = |other: &&Store| other.id != store.id && other.state != StoreState::Tombstone;
        let namesake = asked.topology.stores().filter(live).find(|other| other.address == store.address);
        if let Some(other) = namesake {
            let other = go_text(&wire_store(self, other, asked));
            let new = go_text(&store);
            return unknown(format!("duplicated store address: {new}, already registered by {other}"));
        }
        if asked.topology.store(store.id).is_some_and(|old| old.state == StoreState::Tombstone) {
            let message = "store is tombstone".to_owned();
            return Err(HeaderError::Header(pdpb::ErrorType::StoreTombstone, message));
        }
        asked.topology.put_store(Store {
            id: store.id,
            address: store.address,
            state: StoreState::Up,
            labels: store.labels.into_iter().map(|label| (label.key, label.value)).collect(),
            version: store.version,
            started_unix_s: u64::try_from(store.start_timestamp).unwrap_or(0),
        });
        let replication_status = Some(replication_modepb::ReplicationStatus::default());
        Ok(pdpb::PutStoreResponse { header: None, replication_status })
    }

    pub(super) fn report_min_resolved(
        &mut self,
        asked: &mut Asked<'_>,
        request: pdpb::ReportMinResolvedTsRequest,
    ) -> Answer<pdpb::ReportMinResolvedTsResponse> {
        let store = request.store_id;
        if asked.topology.store(store).is_none() {
            return Err(Status::unknown(format!("[PD:core:ErrStoreNotFound]store {store} not found")).into());
        }
        self.min_resolved.insert(store, request.min_resolved_ts);
        Ok(pdpb::ReportMinResolvedTsResponse::default())
    }

    /// The least resolved timestamp that `store` has reported.
    #[must_use]
    pub fn min_resolved_ts(&self, store: u64) -> Option<u64> {
        self.min_resolved.get(&store).copied()
    }
}

impl Pd {
    /// Removes a store as an operator does: it is offline until no region has a peer on it, and a tombstone then; one
    /// without regions is one at once.
    ///
    /// # Errors
    /// No such store.
    pub fn remove_store(&mut self, topology: &mut Topology, store: u64) -> Result<(), TopologyError> {
        let tombstone =
            topology.store(store).ok_or(TopologyError::NoStore { store })?.state == StoreState::Tombstone;
        if !tombstone {
            topology.update_store(store, |store| store.state = StoreState::Offline)?;
            self.bury_empty_stores(topology);
        }
        Ok(())
    }

    /// Makes tombstones of the stores that are being removed and have no peer any more.
    pub fn bury_empty_stores(&mut self, topology: &mut Topology) {
        let offline = topology.stores().filter(|store| store.state == StoreState::Offline);
        let empty: Vec<u64> = offline
            .map(|store| store.id)
            .filter(|&store| topology.regions().all(|region| region.peer_on(store).is_none()))
            .collect();
        for store in empty {
            // It has just been seen.
            drop(topology.update_store(store, |store| store.state = StoreState::Tombstone));
            self.lag.silent.remove(&store);
            self.min_resolved.remove(&store);
        }
    }

    /// What `store` has reported as its least resolved timestamp; `None`: nothing.
    pub fn set_min_resolved_ts(&mut self, store: u64, ts: Option<u64>) {
        match ts {
            Some(ts) => self.min_resolved.insert(store, ts),
            None => self.min_resolved.remove(&store),
        };
    }
}

fn wire_store(pd: &Pd, store: &Store, asked: &Asked<'_>) -> metapb::Store {
    let (state, node_state) = match store.state {
        StoreState::Up => (metapb::StoreState::Up, metapb::NodeState::Serving),
        StoreState::Offline => (metapb::StoreState::Offline, metapb::NodeState::Removing),
        StoreState::Tombstone => (metapb::StoreState::Tombstone, metapb::NodeState::Removed),
    };
    let labels = store.labels.iter().cloned().map(|(key, value)| metapb::StoreLabel { key, value });
    // Stores of this process beat unless they are silent; one that was only registered never did. The beat is told
    // in nanoseconds since the epoch.
    let heard = pd.silent_since(store.id).unwrap_or(asked.now);
    let beat = if store.started_unix_s > 0 { heard.unix_nanos() } else { 0 };
    let own = |address: &str| if store.started_unix_s > 0 { address.to_owned() } else { String::new() };
    metapb::Store {
        id: store.id,
        peer_address: own(&store.address),
        status_address: own(&store.address),
        address: store.address.clone(),
        state: state.into(),
        labels: labels.collect(),
        version: store.version.clone(),
        start_timestamp: i64::try_from(store.started_unix_s).unwrap_or(i64::MAX),
        last_heartbeat: i64::try_from(beat).unwrap_or(i64::MAX),
        node_state: node_state.into(),
        ..Default::default()
    }
}

/// A store the way Go prints a message, which PD puts into error texts.
fn go_text(store: &metapb::Store) -> String {
    format!("id:{} address:\"{}\" version:\"{}\" ", store.id, store.address, store.version)
}
