//! Choosing the replica that a request goes to.
//!
//! * [`profile`]: what a caller wants of its reads: [`Replica`] and the rest of a [`ReadProfile`];
//! * [`mod@score`]: how good a replica is for one request, as one pure function with its table;
//! * [`walk`]: a request on its way over the replicas of a region: which it asks next, and how, after what it met.
//!
//! A request to the leader that is answered never comes here: the directory names the leader, and the call sends. The
//! first setback, and every read that may go elsewhere, begins a [`Walk`]. Regions and stores are read as facts; what a
//! refusal means is `region_call`'s.
//!
//! client-go: `internal/locate/replica_selector.go`.

pub mod profile;
pub mod score;
#[cfg(test)]
mod tests;
pub mod walk;

pub use profile::{ReadProfile, Replica};
pub use score::{Candidate, Marks, Score, Wanted, score};
pub use walk::{Choice, Chosen, Walk};
