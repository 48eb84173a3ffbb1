//! Stores and regions: who serves which key.
//!
//! Keys here are in region form, the form that PD and region errors use: memory-comparable for transactional
//! data, as they are for raw data of API version 1. The topology does not tell the two apart: a bound is bytes.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use tikv_proto::kvrpcpb::LeaderInfo;
use tikv_proto::metapb::RegionEpoch;

use super::conditions::Conditions;

/// Whether a store takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreState {
    /// It serves.
    #[default]
    Up,
    /// It is being removed.
    Offline,
    /// It has been removed; its id is not used again.
    Tombstone,
}

/// A store: one TiKV server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Store {
    /// Its id.
    pub id: u64,
    /// `host:port` of its gRPC, as PD tells it.
    pub address: String,
    /// Whether it takes part.
    pub state: StoreState,
    /// Labels such as `zone`, in their order.
    pub labels: Vec<(String, String)>,
    /// The server's version.
    pub version: String,
    /// When it started, in seconds since the Unix epoch.
    pub started_unix_s: u64,
}

/// What a peer may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerRole {
    /// Votes, may lead.
    #[default]
    Voter,
    /// Receives the log but does not vote.
    Learner,
    /// Votes but has no data to read.
    Witness,
}

/// A replica of a region on one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its id, unique in the cluster.
    pub id: u64,
    /// The store it lives on.
    pub store: u64,
    /// What it may do.
    pub role: PeerRole,
}

/// A range of keys with its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// Its id.
    pub id: u64,
    /// Its first key, in region form.
    pub start: Bytes,
    /// The first key behind it, in region form; empty: it holds the last keys.
    pub end: Bytes,
    /// Counts splits and merges.
    pub version: u64,
    /// Counts changes of the members.
    pub conf_ver: u64,
    /// Its replicas.
    pub peers: Vec<Peer>,
    /// The id of the peer that leads; `None` during an election.
    pub leader: Option<u64>,
    /// Raft's term: counts leaders.
    pub term: u64,
}

impl Region {
    /// Whether `key`, in region form, lies in the region.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.ends_after(key)
    }

    /// Whether the region's end lies behind `key`.
    #[must_use]
    pub fn ends_after(&self, key: &[u8]) -> bool {
        self.end.is_empty() || key < self.end.as_ref()
    }

    /// The replica on `store`.
    #[must_use]
    pub fn peer_on(&self, store: u64) -> Option<Peer> {
        self.peers.iter().copied().find(|peer| peer.store == store)
    }

    /// The peer that leads.
    #[must_use]
    pub fn leader_peer(&self) -> Option<Peer> {
        self.peers.iter().copied().find(|peer| Some(peer.id) == self.leader)
    }

    /// Whether the leader lives on `store`.
    #[must_use]
    pub fn led_by(&self, store: u64) -> bool {
        self.leader_peer().is_some_and(|leader| leader.store == store)
    }
}

/// Why a topology cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The cluster has no such store.
    #[error("no store {store}")]
    NoStore {
        /// The id asked for.
        store: u64,
    },
    /// The cluster has no such region.
    #[error("no region {region}")]
    NoRegion {
        /// The id asked for.
        region: u64,
    },
    /// The region has no fitting replica on the store.
    #[error("region {region} has no peer on store {store} that can do this")]
    NoPeer {
        /// The region.
        region: u64,
        /// The store.
        store: u64,
    },
    /// The region has a replica on the store already.
    #[error("region {region} has a peer on store {store} already")]
    PeerExists {
        /// The region.
        region: u64,
        /// The store.
        store: u64,
    },
    /// A split key lies outside the region.
    #[error("key {} outside region {region}", .key.escape_ascii())]
    KeyOutside {
        /// The region.
        region: u64,
        /// The key, in region form.
        key: Bytes,
    },
    /// No key was given that lies inside the region and is not its start.
    #[error("no key to split region {region} at")]
    NoSplitKey {
        /// The region.
        region: u64,
    },
    /// The two regions do not lie side by side.
    #[error("regions {left} and {right} are not neighbours")]
    NotNeighbours {
        /// The region given as the left one.
        left: u64,
        /// The region given as the right one.
        right: u64,
    },
}

/// The stores and regions of a cluster. The regions cover every key, without gap or overlap.
#[derive(Clone, Debug)]
pub struct Topology {
    pub(super) stores: BTreeMap<u64, Store>,
    pub(super) regions: BTreeMap<u64, Region>,
    /// Region ids by start key.
    pub(super) starts: BTreeMap<Bytes, u64>,
    /// The last id that was given out; stores, regions and peers draw from one sequence, as in PD.
    pub(super) last_id: u64,
    /// What a test has made of stores and replicas.
    pub conditions: Conditions,
    /// Regions whose leader went without handing over what it had in memory, since that was last asked.
    pub(super) crashed: Vec<u64>,
}

impl Topology {
    /// No store and no region; [`super::layout`] fills it.
    pub(super) fn empty() -> Self {
        Self {
            stores: BTreeMap::new(),
            regions: BTreeMap::new(),
            starts: BTreeMap::new(),
            last_id: 0,
            conditions: Conditions::default(),
            crashed: Vec::new(),
        }
    }

    /// One region over all keys with a peer on each of the first `replicas` stores, led by the first store.
    ///
    /// `addresses` are the stores'; they get the ids from 1 on.
    #[must_use]
    pub fn new(addresses: &[String], replicas: usize) -> Self {
        super::layout::Layout::new(addresses.to_vec(), replicas).build()
    }

    /// The next id of the cluster.
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Draws `count` ids; the last of them is returned.
    pub fn next_ids(&mut self, count: u32) -> u64 {
        self.last_id = self.last_id.saturating_add(u64::from(count));
        self.last_id
    }

    /// The store `id`.
    #[must_use]
    pub fn store(&self, id: u64) -> Option<&Store> {
        self.stores.get(&id)
    }

    /// All stores by id, removed ones too.
    pub fn stores(&self) -> impl DoubleEndedIterator<Item = &Store> {
        self.stores.values()
    }

    /// The region `id`.
    #[must_use]
    pub fn region(&self, id: u64) -> Option<&Region> {
        self.regions.get(&id)
    }

    /// Of these regions, by their ids, those that `store` has, too, and knows to be led so.
    // TiKV: raftstore/src/store/worker/check_leader.rs: check_leader
    pub(super) fn agreed_leaders(&self, store: u64, leaders: &[LeaderInfo]) -> Vec<u64> {
        let agreed = leaders.iter().filter(|told| {
            let known = self.regions.get(&told.region_id).filter(|region| region.peer_on(store).is_some());
            known.is_some_and(|region| {
                let epoch = RegionEpoch { conf_ver: region.conf_ver, version: region.version };
                region.leader == Some(told.peer_id)
                    && region.term == told.term
                    && told.region_epoch == Some(epoch)
            })
        });
        agreed.map(|told| told.region_id).collect()
    }

    /// The region that holds `key`, in region form.
    #[must_use]
    pub fn region_at(&self, key: &[u8]) -> Option<&Region> {
        self.regions_from(key).next()
    }

    /// The region directly before the one that holds `key`; none for the first region.
    #[must_use]
    pub fn region_before(&self, key: &[u8]) -> Option<&Region> {
        let at = self.region_at(key)?;
        self.left_of(at)
    }

    /// The region left of `region`.
    #[must_use]
    pub fn left_of(&self, region: &Region) -> Option<&Region> {
        self.starts.range(..region.start.clone()).next_back().and_then(|(_, id)| self.regions.get(id))
    }

    /// The regions by key, from the one that holds `key` on.
    pub fn regions_from(&self, key: &[u8]) -> impl Iterator<Item = &Region> {
        let bounds = (Bound::Unbounded, Bound::Included(key));
        let first = self.starts.range::<[u8], _>(bounds).next_back().map(|(start, _)| start.as_ref());
        let from = first.map_or(Bound::Unbounded, Bound::Included);
        self.starts
            .range::<[u8], _>((from, Bound::Unbounded))
            .filter_map(|(_, id)| self.regions.get(id))
            .skip_while(move |region| !region.ends_after(key))
    }

    /// All regions by key.
    pub fn regions(&self) -> impl DoubleEndedIterator<Item = &Region> {
        self.starts.values().filter_map(|id| self.regions.get(id))
    }

    /// What `EpochNotMatch` tells of `region` to one who knows it `behind` versions ago: the region itself, then
    /// as many left neighbours, walking left, since splits leave the region its right end.
    ///
    /// Measured, see `conformance/topology.md` section 2.
    pub fn epoch_siblings<'a>(&'a self, region: &'a Region, behind: u64) -> impl Iterator<Item = &'a Region> {
        let behind = usize::try_from(behind).unwrap_or(usize::MAX);
        std::iter::successors(Some(region), |at| self.left_of(at)).take(behind.saturating_add(1))
    }

    /// Puts `region` in the place of whatever has its id.
    pub(super) fn put(&mut self, region: Region) {
        if let Some(old) = self.regions.get(&region.id)
            && self.starts.get(&old.start) == Some(&region.id)
        {
            self.starts.remove(&old.start.clone());
        }
        self.starts.insert(region.start.clone(), region.id);
        self.regions.insert(region.id, region);
    }
}
