//! The region loader: finds at PD what the directory does not have.
//!
//! [`service`] is the machine, one for each key space: it joins misses, asks PD, tells the directory, and answers whoever
//! waits for what has come. `search` is the way to one region, which may take several questions; `walk` goes through all of them; `cover` the check that
//! PD's regions have no hole, and the form in which they go on.

pub mod config;
mod cover;
mod search;
pub mod service;
#[cfg(test)]
mod tests;
mod walk;

pub use config::LoaderConfig;
pub use service::{LoaderCommand, LoaderEffect, LoaderTimer, RegionLoader};
