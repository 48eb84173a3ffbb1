//! Raw key-value calls: single keys, batches, scans and range deletes, without transactions.
//!
//! [`RawClient`] is what applications call: each call is a value ([`calls`]) that can be refined and awaited. [`single`] has the
//! machines of one key; [`batch`] goes to many regions side by side, for the batches of [`batches`]; [`scan`] and
//! [`delete_range`] go through a range region by region.
//!
//! client-go: `rawkv/rawkv.go`.

pub mod batch;
pub mod batches;
pub mod calls;
mod client;
pub mod delete_range;
pub mod scan;
pub mod single;
#[cfg(test)]
mod tests;

pub use client::RawClient;
