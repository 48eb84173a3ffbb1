//! PD and TiKV stores in memory: a cluster for tests and for trying things out.
//!
//! A test starts a cluster of its own, gives its addresses to the client under test, does to it what it wants to see
//! survived, and drops it. Nothing is shared: ports are given out by the system, so tests run side by side.
//!
//! ```
//! use std::time::Duration;
//! use tikv_embedded::Cluster;
//! use tikv_embedded::control::{Action, Matcher, Node, Rule};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Three stores; regions begin at `k` and `t` (at raw keys: `raw_split_keys`). It serves when this returns, in less
//! // than a millisecond. In an `async fn`, on any executor: `.start().await?`.
//! let cluster = Cluster::builder().stores(3).regions(&[b"k", b"t"]).start().wait()?;
//! let pd: Vec<String> = cluster.pd_addresses(); // what any TiKV client connects to
//! assert_eq!(pd.len(), 1);
//!
//! // The topology changes under the client.
//! let region = cluster.region_of("m").expect("every key has one");
//! cluster.transfer_leader(region, 2)?;
//! cluster.split("p")?;
//! cluster.stop_store(3)?;
//! cluster.fail_over(3);
//!
//! // Calls go wrong on purpose, here every commit that comes to store 2, until the fault is dropped.
//! let lost = cluster.fault(Rule::new(Matcher::method("KvCommit").at(Node::Store(2)), Action::DropAnswer));
//! // ... the client works here; a test on an executor waits with `lost.hit(1).await` instead ...
//! assert!(!lost.wait(1, Duration::from_millis(1)), "no client has committed");
//! drop(lost);
//!
//! // The same as text, for scripts and other processes.
//! cluster.carry_out(&"lag store=2 by=3s".parse()?)?;
//! # Ok(())
//! # } // dropped: all connections end, all dials are refused
//! ```
//!
//! It works from tokio, smol and blocking code alike: the cluster has a thread and a runtime of its own, no method of
//! [`Cluster`] waits for the network, and [`Fault::hit`] is a future for any executor. As a program, `tikv-embedded
//! --stores 3` prints its addresses on the first line; [`serve::admin`] has what other processes do to it.
//!
//! * [`model`] is the cluster itself, pure: no sockets, no clock, no threads.
//! * [`control`] are the faults that a test orders, and instructions as text.
//! * [`serve`] puts gRPC around it (feature `serve`, on by default): [`Cluster`] is a running cluster.

pub mod control;
pub mod model;
#[cfg(feature = "serve")]
pub mod serve;

#[cfg(feature = "serve")]
pub use serve::{
    Admin, Builder, Cluster, ControlError, Fault, Outcome, Regions, StartError, Starting, State,
};
