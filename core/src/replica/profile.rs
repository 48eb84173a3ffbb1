//! What a caller wants of its reads.

use std::sync::Arc;
use std::time::Duration;

use crate::types::{Labels, StoreId};

/// Which replicas a read goes to while all is well. When none of them can be asked, any that has the data is.
///
/// client-go: `kv/store_vars.go: ReplicaReadType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Replica {
    /// The leader.
    #[default]
    Leader,
    /// A follower; the leader when no follower can be asked.
    Follower,
    /// Any: among those with the wanted labels first the leader, without labels whichever.
    Mixed,
    /// A learner (of TiKV: it has a copy of the rows and does not vote); else the leader or a follower.
    Learner,
    /// The leader unless its store is slow.
    PreferLeader,
    /// One in the client's own zone ([`Config::zone`](crate::config::Config)): as [`Mixed`](Self::Mixed) with the label
    /// `zone`. A client that does not know its zone reads anywhere.
    Closest,
}

impl Replica {
    /// Whether such a read may go past the leader while all is well.
    #[must_use]
    pub const fn is_leader(self) -> bool {
        matches!(self, Self::Leader)
    }

    /// Its name: client-go's where it has one.
    ///
    /// client-go: `kv/store_vars.go: ReplicaReadType.String`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Mixed => "mixed",
            Self::Learner => "learner",
            Self::PreferLeader => "prefer-leader",
            Self::Closest => "closest",
        }
    }
}

impl std::fmt::Display for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How reads are done: what many calls have in common, to be named by a client, a snapshot, a transaction or a call.
///
/// The default reads from the leader. A snapshot read from whatever replica sees the same: a follower asks the leader how far
/// it must be. Raw reads have no timestamp: from a follower they see all that was acknowledged before they began.
///
/// ```
/// use std::time::Duration;
/// use tikv_client_core::replica::{ReadProfile, Replica};
///
/// let near = ReadProfile::new().replica(Replica::Closest).busy_threshold(Duration::from_millis(200));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadProfile {
    /// Which replicas are asked.
    pub replica: Replica,
    /// Labels that a store should have.
    pub labels: Labels,
    /// Stores that should be asked; empty: all.
    pub stores: Arc<[StoreId]>,
    /// Reads data as old as the timestamp, without asking the leader; see [`stale`](Self::stale).
    pub stale: bool,
    /// No other replica than the leader is asked, whatever happens.
    pub leader_only: bool,
    /// A store that is busier than this passes the read on; zero: none does.
    pub busy_threshold: Duration,
    /// What the first round over the replicas gives each attempt; `None`: the client's own, 30 s.
    pub attempt: Option<Duration>,
    /// What the whole call may take; `None`: the client's [`Config::deadline`](crate::config::Config).
    pub deadline: Option<Duration>,
}

impl ReadProfile {
    /// Reads of the leader.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads from `replica`.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetReplicaRead`.
    #[must_use]
    pub fn replica(mut self, replica: Replica) -> Self {
        self.replica = replica;
        self
    }

    /// Prefers stores that have all of `labels`.
    ///
    /// client-go: `tikv/region.go: WithMatchLabels`, `txnkv/txnsnapshot/snapshot.go: SetMatchStoreLabels`.
    #[must_use]
    pub fn labels<K: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.labels = Labels::new(labels);
        self
    }

    /// Prefers these stores.
    ///
    /// client-go: `tikv/region.go: WithMatchStores`.
    #[must_use]
    pub fn stores(mut self, stores: impl IntoIterator<Item = StoreId>) -> Self {
        self.stores = stores.into_iter().collect();
        self
    }

    /// Reads what is settled at the snapshot's timestamp without asking the leader: nothing crosses zones while the replica has
    /// it. One that does not have it yet is waited for once, then the leader answers. For timestamps of some seconds ago.
    ///
    /// Raw reads have no timestamp: there this does nothing.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetIsStalenessReadOnly`.
    #[must_use]
    pub fn stale(mut self, stale: bool) -> Self {
        self.stale = stale;
        self
    }

    /// Asks no other replica than the leader, whatever happens.
    ///
    /// client-go: `internal/locate/region_cache.go: WithLeaderOnly`.
    #[must_use]
    pub fn leader_only(mut self) -> Self {
        self.leader_only = true;
        self
    }

    /// Lets a store that would let the read wait longer than this pass it on to another one. Whole milliseconds count.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetLoadBasedReplicaReadThreshold`.
    #[must_use]
    pub fn busy_threshold(mut self, threshold: Duration) -> Self {
        self.busy_threshold = threshold;
        self
    }

    /// Gives each attempt of the first round over the replicas this much time (less than 30 s; more changes nothing). One that
    /// does not answer in it is passed over at once.
    ///
    /// client-go: `txnkv/txnsnapshot/snapshot.go: SetKVReadTimeout`.
    #[must_use]
    pub fn attempt(mut self, time: Duration) -> Self {
        self.attempt = Some(time);
        self
    }

    /// Gives the whole call this much time instead of the client's default.
    #[must_use]
    pub fn deadline(mut self, patience: Duration) -> Self {
        self.deadline = Some(patience);
        self
    }

    /// The profile for a client in `zone`: the closest replicas are those with its label.
    pub(crate) fn in_zone(&self, zone: Option<&str>) -> Self {
        let mut resolved = self.clone();
        if self.replica == Replica::Closest {
            resolved.replica = Replica::Mixed;
            if let Some(zone) = zone.filter(|zone| !zone.is_empty()) {
                let own = self.labels.pairs().iter().filter(|label| label.0 != ZONE).cloned();
                resolved.labels = Labels::new(own.chain([(ZONE.to_owned(), zone.to_owned())]));
            }
        }
        resolved
    }

    /// Whether requests go to the leader as with no profile at all.
    pub(crate) fn is_plain(&self) -> bool {
        self.replica.is_leader()
            && !self.stale
            && !self.leader_only
            && self.busy_threshold.is_zero()
            && self.attempt.is_none()
    }
}

/// The label of a store's zone. client-go: `internal/locate/store_cache.go: DCLabelKey`.
pub const ZONE: &str = "zone";
