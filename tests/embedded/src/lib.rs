//! PD and TiKV stores in memory: a cluster for tests and for trying things out.
//!
//! ```
//! use tikv_embedded::Embedded;
//!
//! # fn main() -> Result<(), tikv_embedded::StartError> {
//! let cluster = Embedded::builder().stores(3).regions(8).start()?;
//! let pd = cluster.pd_addresses(); // connect any TiKV client to these
//! assert_eq!(pd.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! * [`model`] is the cluster itself, pure: no sockets, no clock, no threads.
//! * [`control`] are the faults that a test orders.
//! * [`serve`] puts gRPC around it (feature `serve`, on by default): [`Embedded`] is a running cluster.

pub mod control;
pub mod model;
#[cfg(feature = "serve")]
pub mod serve;

#[cfg(feature = "serve")]
pub use serve::{Admin, Builder, ControlError, Embedded, Fault, Outcome, StartError, State};
