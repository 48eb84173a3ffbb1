//! A region's peers, in place as long as they are few.

use super::{Peer, PeerId, PeerRole, RegionVersion, StoreId};

/// As many as have room within an entry: three replicas and one for analysis.
const FEW: usize = 4;

/// A short list of peers. A copy of few allocates nothing, and reading one costs no further fetch from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers(Held);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Few { len: u8, peers: [Peer; FEW] },
    Many(Box<[Peer]>),
}

/// The replicas of a region, as the directory knows them: a plain copy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a fact crosses the trace boundary field by field")]
pub struct Replicas {
    /// The region, in the version the directory has.
    pub region: RegionVersion,
    /// The peer believed to lead.
    pub leader: PeerId,
    /// The replicas that can be talked to, in PD's order; the leader is one of them.
    pub peers: Peers,
}

impl Replicas {
    /// The peer believed to lead.
    #[must_use]
    pub fn leader(&self) -> Option<Peer> {
        self.peers.as_slice().iter().find(|peer| peer.id == self.leader).copied()
    }
}

impl Peers {
    /// The peers in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Peer] {
        match &self.0 {
            Held::Few { len, peers } => peers.get(..usize::from(*len)).unwrap_or_default(),
            Held::Many(peers) => peers,
        }
    }
}

impl FromIterator<Peer> for Peers {
    fn from_iter<I: IntoIterator<Item = Peer>>(peers: I) -> Self {
        let mut few = [Peer { id: PeerId(0), store: StoreId(0), role: PeerRole::Voter }; FEW];
        let mut len = 0;
        let mut peers = peers.into_iter();
        for (to, peer) in few.iter_mut().zip(&mut peers) {
            *to = peer;
            len += 1;
        }
        // `zip` asks `few` first, so no peer is lost when it is full.
        Self(match peers.next() {
            None => Held::Few { len, peers: few },
            Some(next) => Held::Many(few.into_iter().chain([next]).chain(peers).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_peers_are_all_kept_in_order() {
        for count in 0..9 {
            let peer = |id| Peer { id: PeerId(id), store: StoreId(id + 100), role: PeerRole::Voter };
            let all: Vec<Peer> = (0..count).map(peer).collect();
            let peers: Peers = all.iter().copied().collect();
            assert_eq!(peers.as_slice(), all);
            assert_eq!(matches!(peers.0, Held::Few { .. }), count <= 4);
        }
    }
}
