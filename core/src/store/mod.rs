//! Stores: which there are, and where each serves.
//!
//! [`registry`] is the service that finds a store's address at PD, has its stream started, and looks again when the store
//! cannot be reached.

#[cfg(test)]
mod random_tests;
pub mod registry;
#[cfg(test)]
mod tests;

pub use registry::{Registry, RegistryCommand, RegistryEffect, RegistryTimer};
