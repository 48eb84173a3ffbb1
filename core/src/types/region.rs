//! What PD and the stores say of a region: its version, range and peers.

use super::{KeyRange, PeerId, RegionVersion, StoreId};

/// What a peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PeerRole {
    /// Votes, may lead.
    Voter,
    /// Receives the log but does not vote (TiFlash replicas are learners).
    Learner,
    /// Votes but has no data to read.
    Witness,
}

/// A replica of a region on one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "built from the wire's Peer field by field")]
pub struct Peer {
    /// The peer's id, unique in the cluster.
    pub id: PeerId,
    /// The store it lives on.
    pub store: StoreId,
    /// What it may do.
    pub role: PeerRole,
}

/// A region as PD or a store describes it, keys already decoded to the user's form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built from the wire's Region field by field")]
pub struct RegionInfo {
    /// Its id and epoch.
    pub version: RegionVersion,
    /// The keys it holds.
    pub range: KeyRange,
    /// Its replicas.
    pub peers: Vec<Peer>,
    /// The leader, when the one who answered knows it.
    pub leader: Option<PeerId>,
}
