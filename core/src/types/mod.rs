//! The words that every layer speaks: keys and ranges, ids, timestamps, and the core's own clock.
//!
//! Plain values without behaviour of the protocol. [`key`] holds keys, ranges and how a key is shown in
//! an error; [`ids`] the cluster's names for regions, stores and peers; [`time`] instants of the client's
//! own clock and timestamps of PD; [`region`] what is told of a region, [`peers`] of its replicas, [`store`] of a store;
//! `gc_time` how TiDB's garbage collection writes times.

mod gc_time;
pub mod ids;
pub mod key;
pub mod peers;
pub mod region;
pub mod store;
pub mod time;

pub use gc_time::{BadGcTime, gc_time_text, parse_gc_time};
pub use ids::{ClusterId, Located, PeerId, RegionId, RegionVersion, StoreId};
pub use key::{Key, KeyRange, KvPair, ShownKey, Value};
pub use peers::{Peers, Replicas};
pub use region::{Peer, PeerRole, RegionInfo};
pub use store::{Engine, Labels, Liveness, Presence, StoreView};
pub use time::{Instant, Timestamp, WallTime};
