//! The cluster as a pure model: PD and stores without sockets, clocks, threads or chance.
//!
//! Every door takes the time as an argument ([`Now`]) and answers at once, so the gRPC server of `serve`
//! and a simulator drive the same code.
//!
//! * [`clock`]: the time that is passed in.
//! * [`key`]: the memory-comparable form of keys, in which region bounds of transactional data stand.
//! * [`region`]: [`Topology`], the stores and regions with their epochs, peers and leaders. The only truth
//!   about who serves which key: the stores check requests against it, PD describes it.
//! * [`split`]: how a topology changes: splits, merges, leaders, members.

pub mod clock;
pub mod key;
pub mod region;
pub mod split;
pub mod store;

pub use clock::Now;
pub use region::{Peer, PeerRole, Region, Store, StoreState, Topology, TopologyError};
