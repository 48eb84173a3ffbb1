//! The region directory: which keys are in which region, and who leads it.
//!
//! One [`Directory`] a client, shared by all operations. Readers take a snapshot: no lock, no allocation.
//!
//! * [`entry`]: a region as it was found, with what changes while it is valid (leader, reason not to use it,
//!   expiry, buckets) in atomics; [`expiry`];
//! * [`directory`]: lookups, [`Feedback`](crate::machine::report::Feedback), and sweeping;
//! * `table`: both orders of the entries, and which region replaces which;
//! * `sorted`: the list underneath, cheap to copy with one change;
//! * [`buckets`]: finer ranges within a region;
//! * [`loader`]: the service that finds at PD what the directory does not have.
//!
//! What an operation learns sets atomics at once. Only a change of which regions there are takes the writer's
//! mutex, which no reader touches, makes a changed copy of the table and swaps it in.
//!
//! Invariants, checked against a naive model in the tests: ranges never overlap; each id is there once; a
//! lookup never answers a region that does not hold the key, is stale, or has expired.
//!
//! What is not here: stores, their health and whether they can be reached (`store/`), choosing a
//! replica (`replica/`).
//!
//! client-go: `internal/locate/region_cache.go`, `sorted_btree.go`.

pub mod buckets;
pub mod directory;
pub mod entry;
#[cfg(test)]
mod facts;
pub mod loader;
mod sorted;
mod table;
#[cfg(test)]
mod tests;

pub use buckets::Buckets;
pub use directory::{Applied, Directory, Inserted, Swept, lags};
pub use entry::{Entry, Found, expiry};
