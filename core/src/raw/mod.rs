//! Raw key-value calls: single keys, batches, scans and range deletes, without transactions.
//!
//! [`client`] is what applications call: each call is a value ([`calls`]) that can be refined and awaited. [`single`] is the
//! machine of one key; `batch`, `scan` and `delete_range` are made of the same region calls.
//!
//! client-go: `rawkv/rawkv.go`.

pub mod calls;
mod client;
pub mod single;

pub use client::RawClient;
