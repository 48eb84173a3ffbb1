//! Reads at a timestamp: every read of one [`Snapshot`] sees what was committed up to it, and nothing later.
//!
//! [`Snapshot`] is what applications hold; its [`calls`] are values that can be refined and awaited. [`get`], [`batch_get`] and
//! [`page`] (one page of a scan) are the machines; [`scan`] puts pages together. Each resolves the locks it meets through
//! `MeetLocks` and goes on: `view` holds what a read knows of locks.
//!
//! A transaction reads through the same calls with its own writes laid over them: `overlay`.
//!
//! client-go: `txnkv/txnsnapshot/snapshot.go`, `scan.go`.

pub mod batch_get;
pub mod calls;
pub mod get;
pub(crate) mod overlay;
pub mod page;
pub mod scan;
pub mod scan_call;
#[allow(clippy::module_inception, reason = "the file is named after its subject")]
mod snapshot;
#[cfg(test)]
mod tests;
mod view;

pub use calls::{BatchGet, Get};
pub use scan_call::{Scan, ScanCursor};
pub use snapshot::Snapshot;
