//! The regions that are looked up, and in which order: the same as peers/client-go/routing.go has.

use tikv_bench_load::{Draw, draws};
use tikv_client_core::region::Found;
use tikv_client_core::types::{
    Key, KeyRange, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, StoreId,
};

/// The first seed of the draws.
pub(super) const SEED: u64 = 7;

/// Runs of draws: together they touch most of a million regions.
const RUNS: u64 = 16;

/// A key as it is looked up: a region's first one and a letter. All lie one behind the other in memory.
pub(super) type Drawn = [u8; 28];

/// The first key of the n-th region.
fn key(number: usize) -> String {
    format!("bench/table/record/{number:08}")
}

/// The n-th of `count` regions, in its `version`.
pub(super) fn region(number: usize, count: usize, version: u64) -> Found {
    let bound =
        |number: usize| if number == 0 || number == count { Key::default() } else { key(number).into() };
    let id = number as u64 + 1;
    let peer =
        |store: u64| Peer { id: PeerId(id * 10 + store), store: StoreId(store), role: PeerRole::Voter };
    Found::from(RegionInfo {
        version: RegionVersion { id: RegionId(id), version, conf_ver: 1 },
        range: KeyRange::new(bound(number), bound(number + 1)),
        peers: (1..=3).map(peer).collect(),
        leader: Some(PeerId(id * 10 + id % 3 + 1)),
    })
}

/// The keys of a run.
pub(super) fn drawn(draw: Draw, count: usize, seed: u64) -> Vec<Drawn> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let numbers = (0..RUNS).flat_map(|run| draws(draw, count, seed + run));
    let bytes = |number: u32| {
        let mut drawn = [b'm'; 28];
        drawn[..27].copy_from_slice(&key(number as usize).as_bytes()[..27]);
        drawn
    };
    numbers.map(bytes).collect()
}
