//! Locks of other transactions: what they are, who decides about them, and how they are put out of the way.
//!
//! Whoever meets a lock (a read below its commit, a prewrite) cannot tell whether its owner lives: only the owner's primary key
//! can. [`classify`](mod@classify) reads a store's key error; a [`Lock`] is what it tells of. `MeetLocks` is the block that
//! readers and writers step until the way is free: it runs `ResolveLocks`, then pauses while owners live.
//!
//! ```text
//! MeetLocks: ResolveLocks ──(an owner lives)──> pause ──> the request again
//! ResolveLocks: timestamp ─> Settle, one a transaction ─> CleanLocks (a writer waits for it, a reader spawns it)
//! Settle: CheckStatus of the primary ─(async commit, out of time)─> Recover from the secondaries
//! ```
//!
//! * [`model`]: a lock, and how long it lives; [`classify`](mod@classify): key errors;
//! * `status`: asks the primary; `recover`: asks the secondaries of an async commit; `settle`: both, for one transaction;
//! * `resolve`: all locks of one answer; [`clean`]: removes locks whose owner is decided; `meet`: the whole, with pauses.
//!
//! What is not here yet: a status cache that operations share (it needs a fact and a report of its own in the kernel), so each
//! operation asks the primary once more; joining of equal questions that are under way.
//!
//! client-go: `txnkv/txnlock/lock_resolver.go`.

pub mod classify;
pub mod clean;
pub(crate) mod meet;
pub mod model;
pub(crate) mod recover;
pub(crate) mod resolve;
pub(crate) mod settle;
pub(crate) mod status;
#[cfg(test)]
pub(crate) mod tests;

pub use classify::{Refusal, classify};
pub use clean::{CleanLocks, Cleaning, Verdict};
pub(crate) use meet::{LockSets, MeetLocks};
pub use model::{Lock, LockKind};
pub(crate) use resolve::Purpose;
