//! The write buffer of a transaction: what it put and deleted, in key order, until it commits.
//!
//! [`MemBuf`] is a pure value: it knows limits and sizes, no client. Reads of the transaction look here first; the commit turns
//! it into mutations.
//!
//! What comes here later: staging (the writes of a statement, taken back together), flags for pessimistic locks and
//! assertions, and a tree that is quicker than the standard library's.
//!
//! client-go: `internal/unionstore/memdb.go`.

mod buffer;
#[cfg(test)]
mod tests;

pub use buffer::{Change, Entry, Limits, MemBuf};
