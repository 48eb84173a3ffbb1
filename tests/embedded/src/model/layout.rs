//! The layout that a cluster starts with.
//!
//! A region bound is bytes, and the same bytes bound raw keys (as they are) and transactional keys (in
//! memory-comparable form). A transactional client decodes the bounds it is told, so those chosen here are the
//! memory-comparable forms of short keys: they decode, and they cut raw keys at the same first bytes.

use bytes::Bytes;

use super::key;
use super::region::{Peer, PeerRole, Region, Topology};

/// How the regions of a new cluster lie.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layout {
    /// Addresses of the stores.
    pub addresses: Vec<String>,
    /// Labels of the stores, by index; missing ones have none.
    pub labels: Vec<Vec<(String, String)>>,
    /// Peers of a region.
    pub replicas: usize,
    /// Where regions end and begin, in region form; in any order.
    pub bounds: Vec<Bytes>,
}

impl Layout {
    /// One region on these stores.
    #[must_use]
    pub fn new(addresses: Vec<String>, replicas: usize) -> Self {
        Self { addresses, labels: Vec::new(), replicas, bounds: Vec::new() }
    }

    /// The topology of this layout: leaders go round the stores by key, and so do the peers when there are more
    /// stores than replicas.
    #[must_use]
    pub fn build(self) -> Topology {
        let mut topology = Topology::empty();
        let mut labels = self.labels.into_iter();
        let stores: Vec<u64> = self
            .addresses
            .into_iter()
            .map(|address| topology.add_store(address, labels.next().unwrap_or_default()))
            .collect();
        let mut bounds = self.bounds;
        bounds.retain(|bound| !bound.is_empty());
        bounds.sort();
        bounds.dedup();
        let replicas = self.replicas.clamp(1, stores.len().max(1));
        let version = 1 + u64::try_from(bounds.len()).unwrap_or(0);
        let mut start = Bytes::new();
        for (turn, end) in bounds.into_iter().chain([Bytes::new()]).enumerate() {
            let id = topology.next_id();
            let on = stores.iter().cycle().skip(turn.checked_rem(stores.len()).unwrap_or(0)).take(replicas);
            let peers: Vec<Peer> =
                on.map(|&store| Peer { id: topology.next_id(), store, role: PeerRole::Voter }).collect();
            let leader = peers.first().map(|peer| peer.id);
            let next = end.clone();
            topology.put(Region { id, start, end, version, conf_ver: 1, peers, leader, term: FIRST_TERM });
            start = next;
        }
        topology
    }
}

/// A region's first leader is elected in the term behind the one that bootstrapping writes.
// TiKV: components/raftstore/src/store/peer_storage.rs: RAFT_INIT_LOG_TERM
const FIRST_TERM: u64 = 6;

/// Where the regions of a new cluster begin: at the bounds of its default keyspace, raw and transactional. A real one
/// was met so: the keys of neither mode lie in its first region or its last.
// PD: pkg/keyspace/util.go: MakeRegionBound
#[must_use]
pub fn default_keyspace() -> Vec<Bytes> {
    [b"r\0\0\0", b"r\0\0\x01", b"x\0\0\0", b"x\0\0\x01"].into_iter().map(|bound| key::encode(bound)).collect()
}

/// How many of the keys that people write begin with this byte, as a weight.
fn weight(byte: u8) -> u64 {
    match byte {
        b'a'..=b'z' => 12,
        b'0'..=b'9' => 8,
        b'A'..=b'Z' => 4,
        b' '..=b'~' => 2,
        _ => 1,
    }
}

/// The most regions that [`spread`] tells apart.
pub const MOST_SPREAD: usize = 50_000;

/// `regions - 1` bounds, spread over printable and binary keys so that each region gets a like share of such keys;
/// at most [`MOST_SPREAD`] regions.
#[must_use]
pub fn spread(regions: usize) -> Vec<Bytes> {
    // So many bytes that neighbouring bounds differ within the weight of the heaviest byte.
    let bytes = match regions {
        0..=32 => 1,
        33..=2_000 => 2,
        _ => 3,
    };
    let regions = u64::try_from(regions.clamp(1, MOST_SPREAD)).unwrap_or(1);
    let total: u64 = (0..=u8::MAX).map(weight).sum();
    (1..regions).map(|n| key::encode(&bound(n * total.pow(bytes) / regions, total, bytes))).collect()
}

/// The `bytes` bytes below which lie `share` of `total.pow(bytes)` keys.
fn bound(share: u64, total: u64, bytes: u32) -> Vec<u8> {
    let mut key = Vec::new();
    let mut share = share;
    for left in (0..bytes).rev() {
        let below = total.pow(left);
        let (byte, into) = byte_at(share / below);
        key.push(byte);
        // What lies within the byte's own weight, as a share of all that begins with it.
        share = (into * below + share % below) / weight(byte);
    }
    key
}

/// The byte in whose weight `share` falls, and how far within.
fn byte_at(share: u64) -> (u8, u64) {
    let mut below = 0;
    for byte in 0..=u8::MAX {
        let weight = weight(byte);
        if share < below + weight {
            return (byte, share - below);
        }
        below += weight;
    }
    (u8::MAX, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_distinct_decode_and_lie_in_order() {
        for regions in [1, 2, 8, 32, 33, 300, 2_000, 2_001, MOST_SPREAD] {
            let bounds = spread(regions);
            assert_eq!(bounds.len(), regions - 1);
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{regions} regions: {bounds:?}");
            assert!(bounds.iter().all(|bound| key::decode(bound).is_some()));
        }
    }

    #[test]
    fn eight_regions_part_printable_and_binary_keys() {
        let firsts: Vec<u8> = spread(8).iter().filter_map(|bound| bound.first().copied()).collect();
        assert_eq!(firsts.iter().filter(|byte| byte.is_ascii_lowercase()).count(), 3, "{firsts:?}");
        assert!(firsts.iter().any(|&byte| byte > 0x7f), "{firsts:?}");
        assert!(firsts.iter().any(u8::is_ascii_digit), "{firsts:?}");
    }

    #[test]
    fn leaders_and_peers_go_round_the_stores() {
        let addresses: Vec<String> = (1..=4).map(|n| format!("127.0.0.1:{n}")).collect();
        let topology = Layout { bounds: spread(8), ..Layout::new(addresses, 3) }.build();
        assert_eq!(topology.regions().count(), 8);
        let leaders: Vec<u64> =
            topology.regions().filter_map(|region| region.leader_peer()).map(|peer| peer.store).collect();
        assert_eq!(leaders, [1, 2, 3, 4, 1, 2, 3, 4]);
        for region in topology.regions() {
            let mut stores: Vec<u64> = region.peers.iter().map(|peer| peer.store).collect();
            stores.sort_unstable();
            stores.dedup();
            assert_eq!(stores.len(), 3, "{region:?}");
        }
    }
}
