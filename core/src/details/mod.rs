//! What a call cost and where its time went: details as plain values.
//!
//! * What a store says of one request: [`TimeDetail`], [`ScanDetail`], [`WriteDetail`], [`PoolTaskDetails`], together
//!   [`StoreDetails`].
//! * What the client adds up over the requests of one or many calls: [`ExecDetails`] and [`TrafficDetails`], [`CommitDetails`],
//!   [`LockKeysDetails`], [`RuDetails`].
//! * `format` has the texts of durations and sizes.
//!
//! Every kind can be merged with another of its kind; merging is adding up, with the exceptions that each type tells. The texts
//! are those of client-go: programs that read logs parse them.
//!
//! client-go: `util/execdetails.go`.

mod format;
mod pool;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod txn;
mod units;

pub use format::{bytes_text, duration_text};
pub use pool::{PoolTaskDetails, Spread};
pub use store::{ScanDetail, StoreDetails, TimeDetail, WriteDetail};
pub use sums::{ExecDetails, TrafficDetails};
pub use txn::{CommitDetails, CommitLag, LockKeysDetails, SlowRequest};
pub use units::RuDetails;
