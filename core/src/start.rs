//! `Start`: every operation of the client as data, so that it can be spawned, traced and built again.

use crate::lock::Cleaning;
use crate::types::{Key, Timestamp};

/// An operation that is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Commit the other keys of a transaction whose primary is committed.
    CommitSecondaries {
        /// The transaction.
        start_ts: Timestamp,
        /// When it was committed.
        commit_ts: Timestamp,
        /// Its primary.
        primary: Key,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Carry a commit to its end whose caller is gone: the commit of its primary was sent.
    FinishCommit {
        /// The transaction.
        start_ts: Timestamp,
        /// The timestamp that was sent: there will be no other.
        commit_ts: Timestamp,
        /// Its keys in order, the primary first.
        keys: Vec<Key>,
    },
    /// Roll a transaction back that will never be committed.
    RollBack {
        /// The transaction.
        start_ts: Timestamp,
        /// Its keys in order, the primary first.
        keys: Vec<Key>,
    },
    /// Remove the locks of transactions that are decided.
    CleanLocks {
        /// What is to be removed.
        cleanings: Vec<Cleaning>,
    },
}
