//! PD and TiKV stores in memory: a cluster for tests and for trying things out.
//!
//! * [`model`] is the cluster itself, pure: no sockets, no clock, no threads.
//! * [`control`] are the faults that a test orders.

pub mod control;
pub mod model;
