//! Optimistic transactions: reads at the begin's timestamp, writes in a buffer, and a commit in two phases.
//!
//! [`Transaction`] is what applications hold; `Client::begin` and `Client::transact` make one (`client`). Its reads are those
//! of [`snapshot`](crate::snapshot) with its own writes laid over them.
//!
//! ```text
//! CommitMachine:  prewrite every batch ──> commit timestamp ──> commit the primary ──> done
//!                   │ (error)                 │ (error)           │ (error)             │
//!                   └────────────────────> RollBack <─────────────┘ never after a       └─> CommitSecondaries
//!                                          (spawned)                lost answer            (spawned)
//! ```
//!
//! * [`mutation`]: what the buffer's entries become; `prewrite`: one batch of them;
//! * [`commit`]: the machine of the whole; `primary`: one request about the primary and its neighbours;
//! * [`background`]: what is left to do when the caller has its answer, run by `spawned`;
//! * [`calls`]: the commit as a value; [`timestamp`]: a timestamp as a machine; [`transact`]: a transaction with its retries.
//!
//! What is not here yet: pessimistic locks, async commit, one-phase commit, heartbeats (so a commit that takes longer than its
//! locks live can be rolled back by others, and then says so), pipelined writes.
//!
//! client-go: `txnkv/transaction/txn.go`, `2pc.go`.

pub mod background;
pub mod calls;
mod client;
pub mod commit;
pub mod mutation;
pub(crate) mod prewrite;
pub(crate) mod primary;
mod spawned;
#[cfg(test)]
mod tests;
pub mod timestamp;
pub mod transact;
mod transaction;

pub use background::{CommitSecondaries, RollBack};
pub use calls::{Begin, Commit};
pub use commit::{CommitInfo, CommitMachine};
pub use transact::{TransactOptions, Transacted};
pub use transaction::Transaction;
