//! What PD is asked, and what it answers: keys here are in the form PD has them.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::KeyspaceId;
use crate::error::ServiceError;
use crate::machine::Address;
use crate::types::{ClusterId, RegionId, RegionInfo, RegionVersion, StoreId};

/// A question to PD.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PdQuery {
    /// The region that holds a key.
    Region {
        /// The key, in PD's form.
        key: Bytes,
    },
    /// The region before the one that holds a key.
    PreviousRegion {
        /// The key, in PD's form.
        key: Bytes,
    },
    /// A region by its id.
    RegionById(RegionId),
    /// The regions of a range in order.
    Regions {
        /// The first key, in PD's form.
        start: Bytes,
        /// The first key behind the range; empty: to the last region.
        end: Bytes,
        /// How many at the most.
        limit: u32,
    },
    /// A store by its id.
    Store(StoreId),
    /// All stores but those that are gone for good.
    Stores,
    /// Spread regions over the stores.
    Scatter {
        /// The regions.
        regions: Vec<RegionId>,
        /// They are spread among those of this group; empty: among all.
        group: String,
    },
    /// What PD is doing to a region.
    Order(RegionId),
    /// A region's buckets.
    Buckets(RegionId),
    /// A keyspace by its name.
    Keyspace {
        /// The name.
        name: Arc<str>,
    },
    /// The member that leads: the timestamp stream goes there.
    Leader {
        /// A member that was just found not to lead, or not to answer: the members are asked again.
        instead_of: Option<Address>,
    },
}

/// PD's answer. Regions have keys in PD's form and only peers that PD does not hold to be down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PdReply {
    /// The region; `None` when PD knows none.
    Region(Option<RegionInfo>),
    /// The regions in order.
    Regions(Vec<RegionInfo>),
    /// The store; `None` when PD does not know it.
    Store(Option<StoreInfo>),
    /// The stores.
    Stores(Vec<StoreInfo>),
    /// What became of a scattering.
    Scattered {
        /// Of how many regions PD has ordered it, percent.
        percent: u64,
        /// Of which it has not.
        failed: Vec<RegionId>,
    },
    /// What PD is doing to the region; `None`: nothing.
    Order(Option<OrderInfo>),
    /// The region's buckets; `None` when PD does not know the region.
    Buckets(Option<BucketsInfo>),
    /// The keyspace; `None` when PD does not know it.
    Keyspace(Option<KeyspaceInfo>),
    /// The member that leads.
    Leader {
        /// Where it serves, `host:port`.
        address: Address,
        /// The cluster, for the header of requests.
        cluster: ClusterId,
    },
}

/// A keyspace as PD describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built from the wire's KeyspaceMeta field by field")]
pub struct KeyspaceInfo {
    /// Its number; `None`: an identity of API v3, which this client does not speak, or none at all.
    pub id: Option<u32>,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it may be used: PD's word for it, of which `ENABLED` says yes.
    pub state: Arc<str>,
}

impl KeyspaceInfo {
    /// Its id, if clients may use it.
    ///
    /// # Errors
    /// [`ServiceError::BadKeyspace`]: it is not in use, or none of API v2.
    ///
    /// client-go: `internal/locate/pd_codec.go: GetKeyspaceID`; its `GetKeyspaceMeta` does not look at the state.
    pub fn usable(&self) -> Result<KeyspaceId, ServiceError> {
        let bad = |reason: String| ServiceError::BadKeyspace {
            name: Arc::clone(&self.name),
            reason: reason.into(),
        };
        if &*self.state != "ENABLED" {
            return Err(bad(format!("it is {}, not ENABLED", self.state)));
        }
        let id = self.id.ok_or_else(|| bad("it has no id of API v2".to_owned()))?;
        KeyspaceId::new(id).map_err(|error| bad(error.to_string()))
    }
}

/// A store as PD describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built from the wire's Store field by field")]
pub struct StoreInfo {
    /// Its id.
    pub id: StoreId,
    /// Where it serves, `host:port`.
    pub address: Address,
    /// Of TiFlash: where its proxy serves, `host:port`.
    pub peer_address: Address,
    /// Whether it is there.
    pub state: StoreState,
    /// Labels such as `zone` and `engine`, in PD's order.
    pub labels: Vec<(String, String)>,
}

/// Something that PD does, or did last, to a region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built from the wire's GetOperatorResponse field by field")]
pub struct OrderInfo {
    /// What, in PD's words.
    pub description: Bytes,
    /// It is not done yet.
    pub running: bool,
}

/// A region's buckets as PD describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built from the wire's Buckets field by field")]
pub struct BucketsInfo {
    /// The region as PD has it.
    pub region: RegionVersion,
    /// Their version; 0: the region has none.
    pub version: u64,
    /// Their bounds, in PD's form.
    pub keys: Vec<Bytes>,
}

/// Whether a store is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StoreState {
    /// It serves.
    Up,
    /// It gives its regions away and still serves.
    Offline,
    /// It is gone for good; its id is never used again.
    Tombstone,
}
