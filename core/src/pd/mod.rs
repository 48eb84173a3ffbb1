//! PD: the members of its cluster, and what the other services ask of it.
//!
//! [`query`] has the questions and answers. [`service`] is the machine that asks: it keeps who leads (`members`), turns a
//! query into a message and back (`wire`), and tries again until the asker's deadline; what a failure means is said once, in
//! `classify`. [`endpoint`] reads addresses, [`config`] has the bounds, `pause` is how long to wait between tries.
//!
//! Keys here are in the form PD has them: who knows the form of a key space (the region loader) encodes and decodes.

pub(crate) mod classify;
pub mod config;
pub mod endpoint;
mod members;
pub(crate) mod pause;
pub mod query;
pub mod service;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod wire;

pub use config::PdConfig;
pub use endpoint::parse_endpoints;
pub use query::{BucketsInfo, KeyspaceInfo, OrderInfo, PdQuery, PdReply, StoreInfo, StoreState};
pub use service::{PdCommand, PdService, PdTimer};
