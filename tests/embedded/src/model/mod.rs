//! The cluster as a pure model: PD and stores without sockets, clocks, threads or chance.
//!
//! Every door takes the time as an argument ([`Now`]) and answers at once, so the gRPC server of `serve`
//! and a simulator drive the same code.
//!
//! * [`clock`]: the time that is passed in.
//! * [`layout`]: the regions that a cluster starts with.
//! * [`key`]: the memory-comparable form of keys, in which region bounds of transactional data stand.
//! * [`region`]: [`Topology`], the stores and regions with their epochs, peers and leaders. The only truth
//!   about who serves which key: the stores check requests against it, PD describes it. `region_error`: how a store
//!   says that it does not serve.
//! * [`cluster`]: [`Cluster`], all of it behind one door, with the faults that a test orders.
//! * [`conditions`]: what a test has made of stores and replicas.
//! * [`command`]: what a store is asked and answers, in a batch or alone (`key_refused`: answers that a rule orders). [`frame`]: a batch of them as bytes.
//! * [`pd`]: PD. [`store`]: the data and the commands on it. `store_split`: a split asked of a store.
//! * [`status`]: how a call fails as a whole. `health`: how servers say that they serve.
//! * [`split`]: how a topology changes: splits, merges, leaders, members.

pub mod clock;
pub mod cluster;
pub mod command;
pub mod conditions;
pub mod frame;
mod health;
pub mod key;
mod key_refused;
pub mod layout;
pub mod pd;
pub mod region;
pub(crate) mod region_error;
pub mod split;
pub mod status;
pub mod store;
mod store_split;

pub use clock::Now;
pub use cluster::{Call, Cluster, Met, Reply, Token};
pub use command::{Answer, Command};
pub use conditions::{Conditions, Disk};
pub use layout::Layout;
pub use pd::{Member, Pd};
pub use region::{Peer, PeerRole, Region, Store, StoreState, Topology, TopologyError};
pub use status::{Code, Status};
pub use store::Api;
