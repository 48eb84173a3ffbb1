//! Stores: which there are, and where each serves.
//!
//! [`registry`] is the service that finds a store's address at PD, has its stream started, and looks again when the store
//! cannot be reached. [`table`] is what all operations read of stores, without a lock; [`score`] says who is slow.

#[cfg(test)]
mod random_tests;
pub mod registry;
pub mod score;
pub mod table;
#[cfg(test)]
mod tests;

pub use registry::{Registry, RegistryCommand, RegistryEffect, RegistryTimer};
pub use table::{StoreMeta, StoreTable};
