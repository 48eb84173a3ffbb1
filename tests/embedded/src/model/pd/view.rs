//! What PD knows of the regions, which can be less than what is true.
//!
//! PD learns of regions by their leaders' heartbeats. A test can make it lag: frozen regions are told as they were,
//! hidden ones not at all (a hole in the key space), and after a restart regions have no leader until their next
//! heartbeat. Peers on stores that are silent are told as pending, and as down after a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tikv_proto::{metapb, pdpb};

use super::regions::wire_region;
use super::{Pd, wire_peer};
use crate::model::clock::Now;
use crate::model::region::{Peer, Region, Topology};

/// A store that has been silent for so long is disconnected, and after the second time down.
// PD: pkg/core/store.go: storeDisconnectDuration; pkg/schedule/config: defaultMaxStoreDownTime
pub(super) const DISCONNECTED_AFTER: Duration = Duration::from_secs(20);
pub(super) const DOWN_AFTER: Duration = Duration::from_secs(30 * 60);
/// A leader tells a peer as down that it has not heard of for so long.
// TiKV: raftstore/src/store/config.rs: max_peer_down_duration
const PEER_DOWN_AFTER: Duration = Duration::from_secs(10 * 60);

/// What keeps PD from knowing everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Lag {
    /// The regions as they were when PD stopped learning, if it has.
    pub(super) frozen: Option<Topology>,
    /// Regions that PD has not heard of.
    pub(super) hidden: BTreeSet<u64>,
    /// Regions whose leader PD does not know.
    pub(super) leaderless: BTreeSet<u64>,
    /// Stores that are silent, and since when.
    pub(super) silent: BTreeMap<u64, Now>,
    /// Buckets that leaders have reported, by region.
    pub(super) buckets: BTreeMap<u64, metapb::Buckets>,
}

/// The regions as PD knows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    topology: &'a Topology,
    lag: &'a Lag,
}

impl<'a> View<'a> {
    fn known(self, region: &'a Region) -> Option<&'a Region> {
        (!self.lag.hidden.contains(&region.id)).then_some(region)
    }

    pub(super) fn region(self, id: u64) -> Option<&'a Region> {
        self.known(self.topology.region(id)?)
    }

    pub(super) fn region_at(self, key: &[u8]) -> Option<&'a Region> {
        self.known(self.topology.region_at(key)?)
    }

    /// The region directly before the one that holds `key`.
    pub(super) fn region_before(self, key: &[u8]) -> Option<&'a Region> {
        let at = self.region_at(key)?;
        self.known(self.topology.left_of(at)?)
    }

    /// The regions left and right of `region`.
    pub(super) fn neighbours(self, region: &Region) -> [Option<&'a Region>; 2] {
        let left = self.topology.left_of(region).and_then(|left| self.known(left));
        let right = if region.end.is_empty() { None } else { self.region_at(&region.end) };
        [left, right]
    }

    /// The regions that hold keys of `start..end`; an empty `end` is the end of all keys.
    pub(super) fn in_range<'k>(
        self,
        start: &'k [u8],
        end: &'k [u8],
    ) -> impl Iterator<Item = &'a Region> + use<'a, 'k> {
        // As in PD, an empty range inside a region gives that region.
        let from = self.topology.regions_from(start);
        from.take_while(move |region| end.is_empty() || region.start.as_ref() < end)
            .filter_map(move |region| self.known(region))
    }

    pub(super) fn regions(self) -> impl Iterator<Item = &'a Region> {
        self.topology.regions().filter_map(move |region| self.known(region))
    }

    /// The peer that leads, if PD knows.
    pub(super) fn leader(self, region: &Region) -> Option<Peer> {
        region.leader_peer().filter(|_| !self.lag.leaderless.contains(&region.id))
    }

    fn silent_for(self, store: u64, now: Now) -> Option<Duration> {
        self.lag.silent.get(&store).map(|since| now.since(*since))
    }

    /// The peers that the leader waits for: those on silent stores, once another store leads.
    pub(super) fn pending(self, region: &Region) -> Vec<metapb::Peer> {
        let leader_lives =
            region.leader_peer().is_some_and(|leader| !self.lag.silent.contains_key(&leader.store));
        let silent = |peer: &&Peer| leader_lives && self.lag.silent.contains_key(&peer.store);
        region.peers.iter().filter(silent).map(wire_peer).collect()
    }

    /// The peers that the leader has not heard of for a long time.
    pub(super) fn down(self, region: &Region, now: Now) -> Vec<pdpb::PeerStats> {
        let down = region.peers.iter().filter_map(|peer| {
            let silent = self.silent_for(peer.store, now).filter(|silent| *silent >= PEER_DOWN_AFTER)?;
            Some(pdpb::PeerStats { peer: Some(wire_peer(peer)), down_seconds: silent.as_secs() })
        });
        if self.pending(region).is_empty() { Vec::new() } else { down.collect() }
    }

    pub(super) fn buckets(self, region: &Region) -> Option<&'a metapb::Buckets> {
        self.lag.buckets.get(&region.id)
    }

    /// A region as lists have it; one without a leader has one with id 0 there.
    pub(super) fn extended(self, region: &Region, now: Now, need_buckets: bool) -> pdpb::Region {
        pdpb::Region {
            region: Some(wire_region(region)),
            leader: Some(self.leader(region).as_ref().map(wire_peer).unwrap_or_default()),
            down_peers: self.down(region, now),
            pending_peers: self.pending(region),
            buckets: self.buckets(region).filter(|_| need_buckets).cloned(),
        }
    }
}

impl Pd {
    /// The regions as PD knows them.
    pub(super) fn view<'a>(&'a self, topology: &'a Topology) -> View<'a> {
        View { topology: self.lag.frozen.as_ref().unwrap_or(topology), lag: &self.lag }
    }

    /// From now on PD describes `regions` as they are here, whatever becomes of them; `None`: it knows all again.
    pub fn freeze_regions(&mut self, regions: Option<Topology>) {
        self.lag.frozen = regions;
    }

    /// From now on PD has not heard of `region`: its keys are a hole.
    pub fn hide_region(&mut self, region: u64) {
        self.lag.hidden.insert(region);
    }

    /// PD hears of `region` again.
    pub fn show_region(&mut self, region: u64) {
        self.lag.hidden.remove(&region);
    }

    /// PD forgets who leads the regions, as after a restart, until each has its next heartbeat
    /// ([`Self::hear_of_leader`]).
    pub fn forget_leaders(&mut self, topology: &Topology) {
        self.lag.leaderless = topology.regions().map(|region| region.id).collect();
    }

    /// The leader of `region` sends its heartbeat.
    pub fn hear_of_leader(&mut self, region: u64) {
        self.lag.leaderless.remove(&region);
    }

    /// All leaders send their heartbeat.
    pub fn hear_of_leaders(&mut self) {
        self.lag.leaderless.clear();
    }

    /// `store` sends no heartbeat from `now` on. PD goes on telling it as up; its HTTP API tells it as disconnected
    /// after 20 s.
    pub fn silence_store(&mut self, store: u64, now: Now) {
        self.lag.silent.entry(store).or_insert(now);
    }

    /// `store` sends heartbeats again.
    pub fn hear_of_store(&mut self, store: u64) {
        self.lag.silent.remove(&store);
        // Regions that had no majority may have one now.
        self.look_after_all();
    }

    /// Since when `store` has been silent.
    #[must_use]
    pub fn silent_since(&self, store: u64) -> Option<Now> {
        self.lag.silent.get(&store).copied()
    }

    /// The leader of a region reports its buckets: their bounds, from the region's start to its end.
    pub fn report_buckets(&mut self, buckets: metapb::Buckets) {
        self.lag.buckets.insert(buckets.region_id, buckets);
    }
}
