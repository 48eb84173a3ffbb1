//! How a topology changes: splits, merges, leaders, members, stores.
//!
//! Which counter moves, by operation: a split into n + 1 parts raises the version by n; a merge takes the larger
//! version of the two (the source's already raised by one) and adds one; a member change raises `conf_ver`;
//! a new leader raises the term only.
//!
//! TiKV: `components/raftstore/src/store/fsm/apply.rs: exec_batch_split, exec_commit_merge`.

use bytes::Bytes;

use super::region::{Peer, PeerRole, Region, Store, StoreState, Topology, TopologyError};

impl Topology {
    /// Splits `region` at `keys` (in region form, any order, duplicates and the region's own start are dropped).
    ///
    /// Returns the ids of the parts by key: the last part keeps the region's id and peers, the others get new
    /// ones on the same stores, led from the same store. A refused split changes nothing.
    ///
    /// # Errors
    /// No such region, a key outside it, or no key left to split at.
    pub fn split(&mut self, region: u64, keys: &[Bytes]) -> Result<Vec<u64>, TopologyError> {
        let old = self.regions.get(&region).ok_or(TopologyError::NoRegion { region })?.clone();
        if let Some(key) = keys.iter().find(|key| !old.contains(key)) {
            return Err(TopologyError::KeyOutside { region, key: key.clone() });
        }
        let mut keys: Vec<Bytes> = keys.iter().filter(|key| **key != old.start).cloned().collect();
        keys.sort();
        keys.dedup();
        let new_parts = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        let Some(last_key) = keys.last().cloned() else { return Err(TopologyError::NoSplitKey { region }) };
        let version = old.version.saturating_add(new_parts);
        let mut ids = Vec::with_capacity(keys.len() + 1);
        // The right-most part first: it leaves its old start key to the left-most one.
        self.put(Region { start: last_key, version, ..old.clone() });
        let mut start = old.start.clone();
        for end in keys {
            let part = self.part_of(&old, start, end.clone(), version);
            ids.push(part.id);
            self.put(part);
            start = end;
        }
        ids.push(region);
        Ok(ids)
    }

    /// A new region on the stores of `old`, led from the same store.
    fn part_of(&mut self, old: &Region, start: Bytes, end: Bytes, version: u64) -> Region {
        let id = self.next_id();
        let peers: Vec<Peer> = old.peers.iter().map(|peer| Peer { id: self.next_id(), ..*peer }).collect();
        let leader_store = old.leader_peer().map(|peer| peer.store);
        let leader = peers.iter().find(|peer| Some(peer.store) == leader_store).map(|peer| peer.id);
        Region { id, start, end, version, peers, leader, ..old.clone() }
    }

    /// Merges two neighbours: `target` takes the range of `source`, which ends.
    ///
    /// # Errors
    /// A region that is not there, or two that do not lie side by side.
    pub fn merge(&mut self, source: u64, target: u64) -> Result<(), TopologyError> {
        let from = self.regions.get(&source).ok_or(TopologyError::NoRegion { region: source })?.clone();
        let mut into = self.regions.get(&target).ok_or(TopologyError::NoRegion { region: target })?.clone();
        // An empty end is the end of all keys and so nobody's start.
        if !from.end.is_empty() && from.end == into.start {
            into.start = from.start.clone();
        } else if !into.end.is_empty() && into.end == from.start {
            into.end = from.end.clone();
        } else {
            return Err(TopologyError::NotNeighbours { left: source, right: target });
        }
        into.version = into.version.max(from.version.saturating_add(1)).saturating_add(1);
        self.regions.remove(&source);
        self.starts.remove(&from.start);
        self.put(into);
        Ok(())
    }

    /// Makes the peer on `store` the leader of `region`, in a new term.
    ///
    /// # Errors
    /// No such region, or no peer there that may lead.
    pub fn transfer_leader(&mut self, region: u64, store: u64) -> Result<(), TopologyError> {
        let at = self.regions.get_mut(&region).ok_or(TopologyError::NoRegion { region })?;
        let peer = at.peer_on(store).filter(|peer| peer.role == PeerRole::Voter);
        let peer = peer.ok_or(TopologyError::NoPeer { region, store })?;
        if at.leader != Some(peer.id) {
            at.leader = Some(peer.id);
            at.term += 1;
        }
        Ok(())
    }

    /// Moves every leader on `store`, which has crashed, to the next voter of its region; regions without one keep theirs.
    /// What the leaders had in memory only is lost.
    pub fn fail_over(&mut self, store: u64) {
        for region in self.regions.values_mut().filter(|region| region.led_by(store)) {
            let at = region.peers.iter().position(|peer| peer.store == store).unwrap_or(0);
            let others = region.peers.iter().cycle().skip(at + 1).take(region.peers.len());
            let next = others.filter(|peer| peer.store != store).find(|peer| peer.role == PeerRole::Voter);
            if let Some(next) = next.copied() {
                region.leader = Some(next.id);
                region.term += 1;
                self.crashed.push(region.id);
            }
        }
    }

    /// Sets when all stores started, in seconds since the Unix epoch.
    pub fn set_started(&mut self, unix_s: u64) {
        self.stores.values_mut().for_each(|store| store.started_unix_s = unix_s);
    }

    /// Leaves `region` without leader, as during an election.
    ///
    /// # Errors
    /// No such region.
    pub fn drop_leader(&mut self, region: u64) -> Result<(), TopologyError> {
        self.regions.get_mut(&region).ok_or(TopologyError::NoRegion { region })?.leader = None;
        Ok(())
    }

    /// Adds a peer of `region` on `store`; returns its id.
    ///
    /// # Errors
    /// No such region or store, or the region has a peer there.
    pub fn add_peer(&mut self, region: u64, store: u64, role: PeerRole) -> Result<u64, TopologyError> {
        let at = self.regions.get(&region).ok_or(TopologyError::NoRegion { region })?;
        if at.peer_on(store).is_some() {
            return Err(TopologyError::PeerExists { region, store });
        }
        if !self.stores.contains_key(&store) {
            return Err(TopologyError::NoStore { store });
        }
        let id = self.next_id();
        if let Some(at) = self.regions.get_mut(&region) {
            at.peers.push(Peer { id, store, role });
            at.conf_ver += 1;
        }
        Ok(id)
    }

    /// Gives the peer of `region` on `store` another role; `conf_ver` moves if it is another.
    ///
    /// # Errors
    /// No such region, no peer there, or it leads and could not as what it is to become.
    pub fn set_role(&mut self, region: u64, store: u64, role: PeerRole) -> Result<(), TopologyError> {
        let at = self.regions.get_mut(&region).ok_or(TopologyError::NoRegion { region })?;
        let leader = at.leader;
        let peer = at.peers.iter_mut().find(|peer| peer.store == store);
        let peer = peer.filter(|peer| leader != Some(peer.id) || role == PeerRole::Voter);
        let peer = peer.ok_or(TopologyError::NoPeer { region, store })?;
        if peer.role != role {
            peer.role = role;
            at.conf_ver += 1;
        }
        Ok(())
    }

    /// Removes the peer of `region` on `store`; if it led, the region has no leader then.
    ///
    /// # Errors
    /// No such region, or no peer there.
    pub fn remove_peer(&mut self, region: u64, store: u64) -> Result<(), TopologyError> {
        let at = self.regions.get_mut(&region).ok_or(TopologyError::NoRegion { region })?;
        let peer = at.peer_on(store).ok_or(TopologyError::NoPeer { region, store })?;
        at.peers.retain(|other| other.id != peer.id);
        at.conf_ver += 1;
        if at.leader == Some(peer.id) {
            at.leader = None;
        }
        Ok(())
    }

    /// Adds a store without regions; returns its id.
    pub fn add_store(&mut self, address: String, labels: Vec<(String, String)>) -> u64 {
        let id = self.next_id();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let state = StoreState::Up;
        self.stores.insert(id, Store { id, address, state, labels, version, started_unix_s: 0 });
        id
    }

    /// Registers `store`, or replaces what is known of it.
    pub(crate) fn put_store(&mut self, store: Store) {
        self.last_id = self.last_id.max(store.id);
        self.stores.insert(store.id, store);
    }

    /// Forgets `store`, as PD does when removed stores are cleaned up. Regions keep their peers there.
    pub fn forget_store(&mut self, store: u64) {
        self.stores.remove(&store);
    }

    /// Changes what PD says of `store`.
    ///
    /// # Errors
    /// No such store.
    pub fn update_store(&mut self, store: u64, change: impl FnOnce(&mut Store)) -> Result<(), TopologyError> {
        let at = self.stores.get_mut(&store).ok_or(TopologyError::NoStore { store })?;
        change(at);
        at.id = store;
        Ok(())
    }
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
