//! A region's peers, within the entry as long as they are few.

use crate::types::{Peer, PeerId, PeerRole, StoreId};

/// As many as have room within an entry: three replicas and one for analysis.
const FEW: usize = 4;

/// A short list of peers. Reading one of few costs no further fetch from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peers {
    Few { len: u8, peers: [Peer; FEW] },
    Many(Box<[Peer]>),
}

impl Peers {
    pub(super) fn as_slice(&self) -> &[Peer] {
        match self {
            Self::Few { len, peers } => peers.get(..usize::from(*len)).unwrap_or_default(),
            Self::Many(peers) => peers,
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
        match peers.next() {
            None => Self::Few { len, peers: few },
            Some(next) => Self::Many(few.into_iter().chain([next]).chain(peers).collect()),
        }
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
            assert_eq!(matches!(peers, Peers::Few { .. }), count <= 4);
        }
    }
}
