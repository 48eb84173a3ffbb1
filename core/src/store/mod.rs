//! Stores: which there are, where each serves, and how each is.
//!
//! [`registry`] is the service that lists stores and finds a store's address at PD, has its stream started, probes a store
//! that cannot be reached and looks for it again; `command` is what it is told and wants done, [`config`] its rhythms,
//! `probe` what it asks stores themselves. [`table`] is what all operations read of stores, without a lock; [`score`] says who
//! is slow.
//!
//! client-go: `internal/locate/store_cache.go`, `slow_score.go`; `tikv/kv.go` (safe timestamps).

mod command;
pub mod config;
mod probe;
#[cfg(test)]
mod random_tests;
pub mod registry;
pub mod score;
pub mod table;
#[cfg(test)]
mod tests;

pub use command::{RegistryCommand, RegistryEffect, RegistryTimer};
pub use config::StoreConfig;
pub use registry::Registry;
pub use table::{StoreMeta, StoreTable};
