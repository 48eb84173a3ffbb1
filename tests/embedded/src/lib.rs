//! PD and TiKV stores in memory: a cluster for tests and for trying things out.
//!
//! [`model`] is the cluster itself, pure: no sockets, no clock, no threads.

pub mod model;
