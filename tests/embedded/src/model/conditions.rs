//! What a test has made of stores and replicas: full disks, busy stores, replicas that lag behind.
//!
//! Nothing of this comes about by itself. It is part of the topology, since requests are admitted by it.
//!
//! Spec: `cluster.md` 4.3, 8.6, 19.2.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How full the disk of a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Disk {
    /// There is room.
    #[default]
    Normal,
    /// Only what gives room or locks back is written, and requests that say so.
    AlmostFull,
    /// Only requests that say so are written.
    AlreadyFull,
}

/// The longest log entry of a region, in bytes, unless told otherwise.
// TiKV: `raftstore.raft-entry-max-size`
const ENTRY_LIMIT: usize = 8 << 20;

/// The states that a test orders. Regions, stores and replicas that are not named are well.
#[derive(Clone, Debug)]
pub struct Conditions {
    disks: BTreeMap<u64, Disk>,
    busy: BTreeMap<u64, Duration>,
    /// By region and store.
    lag: BTreeMap<(u64, u64), Duration>,
    safe_ts: BTreeMap<(u64, u64), u64>,
    uninitialised: BTreeSet<(u64, u64)>,
    unsynced: BTreeSet<u64>,
    recovering: BTreeSet<u64>,
    entry_limit: usize,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            disks: BTreeMap::new(),
            busy: BTreeMap::new(),
            lag: BTreeMap::new(),
            safe_ts: BTreeMap::new(),
            uninitialised: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            recovering: BTreeSet::new(),
            entry_limit: ENTRY_LIMIT,
        }
    }
}

fn set<K: Ord>(there: &mut BTreeSet<K>, key: K, on: bool) {
    if on {
        there.insert(key);
    } else {
        there.remove(&key);
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

impl Conditions {
    /// How full the disk of `store` is: writes to regions that it leads are refused accordingly.
    pub fn set_disk(&mut self, store: u64, disk: Disk) {
        put(&mut self.disks, store, (disk != Disk::Normal).then_some(disk));
    }

    /// How long a read on `store` would wait for its turn: requests that do not want to wait as long are refused.
    pub fn set_busy(&mut self, store: u64, wait: Option<Duration>) {
        put(&mut self.busy, store, wait);
    }

    /// How far the replica of `region` on `store` lags behind its leader: its reads wait as long, and what it knows to
    /// be settled is as old.
    pub fn set_lag(&mut self, region: u64, store: u64, lag: Option<Duration>) {
        put(&mut self.lag, (region, store), lag);
    }

    /// Pins the timestamp up to which the replica of `region` on `store` serves stale reads.
    pub fn set_safe_ts(&mut self, region: u64, store: u64, safe_ts: Option<u64>) {
        put(&mut self.safe_ts, (region, store), safe_ts);
    }

    /// Whether the replica of `region` on `store` is still without data.
    pub fn set_uninitialised(&mut self, region: u64, store: u64, on: bool) {
        set(&mut self.uninitialised, (region, store), on);
    }

    /// Whether the leader of `region` does not know yet how high timestamps have come: it computes none.
    pub fn set_max_ts_unsynced(&mut self, region: u64, on: bool) {
        set(&mut self.unsynced, region, on);
    }

    /// Whether `region` is being recovered without its majority.
    pub fn set_recovering(&mut self, region: u64, on: bool) {
        set(&mut self.recovering, region, on);
    }

    /// The longest write, in bytes, that a region takes.
    pub fn set_entry_limit(&mut self, bytes: usize) {
        self.entry_limit = bytes;
    }

    pub(super) fn disk(&self, store: u64) -> Disk {
        self.disks.get(&store).copied().unwrap_or_default()
    }

    pub(super) fn busy(&self, store: u64) -> Option<Duration> {
        self.busy.get(&store).copied()
    }

    pub(super) fn lag(&self, region: u64, store: u64) -> Option<Duration> {
        self.lag.get(&(region, store)).copied()
    }

    pub(super) fn safe_ts(&self, region: u64, store: u64) -> Option<u64> {
        self.safe_ts.get(&(region, store)).copied()
    }

    pub(super) fn is_uninitialised(&self, region: u64, store: u64) -> bool {
        self.uninitialised.contains(&(region, store))
    }

    pub(super) fn is_max_ts_unsynced(&self, region: u64) -> bool {
        self.unsynced.contains(&region)
    }

    pub(super) fn is_recovering(&self, region: u64) -> bool {
        self.recovering.contains(&region)
    }

    pub(super) fn entry_limit(&self) -> usize {
        self.entry_limit
    }
}
