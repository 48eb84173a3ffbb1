//! The directory's tables and laws. What is pinned by client-go names its test.

mod buckets;
mod feedback;
mod insert;
mod life;
mod lookup;
mod model;

use super::*;
use crate::codec::Mode;
use crate::machine::report::StaleReason;
use crate::types::{Instant, KeyRange, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId};

/// The beginning of every test.
const T0: Instant = Instant(0);

fn secs(secs: u64) -> Instant {
    Instant(secs * 1_000_000_000)
}

fn version(id: u64, version: u64, conf_ver: u64) -> RegionVersion {
    RegionVersion { id: RegionId(id), version, conf_ver }
}

fn voter(id: u64, store: u64) -> Peer {
    Peer { id: PeerId(id), store: StoreId(store), role: PeerRole::Voter }
}

fn learner(id: u64, store: u64) -> Peer {
    Peer { role: PeerRole::Learner, ..voter(id, store) }
}

fn witness(id: u64, store: u64) -> Peer {
    Peer { role: PeerRole::Witness, ..voter(id, store) }
}

/// A region of three voters on the stores 1 to 3, led by the first; its peers are 10 times its id and 1 to 3.
fn region(id: u64, epoch: u64, start: &str, end: &str) -> RegionInfo {
    RegionInfo {
        version: version(id, epoch, 1),
        range: KeyRange::new(start, end),
        peers: (1..=3).map(|store| voter(id * 10 + store, store)).collect(),
        leader: Some(PeerId(id * 10 + 1)),
    }
}

fn directory(regions: impl IntoIterator<Item = RegionInfo>) -> Directory {
    let directory = Directory::new(Mode::Raw);
    for info in regions {
        put(&directory, info).unwrap();
    }
    directory
}

/// Puts a region in; what is newer, if it is not taken.
fn put(directory: &Directory, info: RegionInfo) -> Result<std::sync::Arc<Entry>, Inserted> {
    let expires = expiry(info.version, T0);
    match directory.insert(info, T0, expires) {
        Inserted::Kept(entry) => Ok(entry),
        other => Err(other),
    }
}

/// The id of the region that answers for a key.
fn at(directory: &Directory, key: &str) -> Option<u64> {
    directory.locate(key.as_bytes(), T0).map(|located| located.region.id.0)
}

/// The store that a request for a key goes to.
fn store(directory: &Directory, key: &str) -> Option<u64> {
    directory.locate(key.as_bytes(), T0).map(|located| located.store.0)
}

/// All regions in order: id, version, range.
fn listing(directory: &Directory) -> String {
    let table = directory.entries();
    let line = |entry: &std::sync::Arc<Entry>| {
        let RegionVersion { id, version, conf_ver } = entry.version();
        let KeyRange { start, end } = entry.range();
        let stale = entry.stale().map_or(String::new(), |why| format!(" {why:?}"));
        format!("{id} v{version}.{conf_ver} [{start:?}, {end:?}){stale}")
    };
    table.iter().map(line).collect::<Vec<_>>().join("\n")
}
