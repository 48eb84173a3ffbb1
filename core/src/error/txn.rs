//! How a transaction fails.

use std::sync::Arc;

use super::{Error, ErrorKind};
use crate::backoff::Exhausted;
use crate::types::{ShownKey, Timestamp};

/// A transaction did not do what was asked of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TxnError {
    /// Another transaction committed a key after this one began.
    #[error(
        "write conflict at key {key}: transaction {start_ts} meets one that committed at {conflict_commit_ts}"
    )]
    WriteConflict {
        /// The key.
        key: ShownKey,
        /// When this transaction began.
        start_ts: Timestamp,
        /// When the other began.
        conflict_ts: Timestamp,
        /// When the other committed; 0 when the store does not say.
        conflict_commit_ts: Timestamp,
    },
    /// A key is locked by another transaction for longer than this one waits.
    #[error("key {key} is locked by transaction {holder}")]
    Locked {
        /// The key.
        key: ShownKey,
        /// When the holder of the lock began.
        holder: Timestamp,
        /// What was waited for.
        #[source]
        account: Box<Exhausted>,
    },
    /// The key exists, and was to be new.
    #[error("key {key} exists already")]
    AlreadyExists {
        /// The key.
        key: ShownKey,
    },
    /// The transaction was rolled back by another one, which met its locks after their time to live.
    #[error("transaction {start_ts} was rolled back by another one: its locks were too old")]
    RolledBack {
        /// When the transaction began.
        start_ts: Timestamp,
    },
    /// The commit was sent and no answer came: it may have happened or not.
    #[error("transaction {start_ts} may or may not be committed")]
    Undetermined {
        /// When the transaction began.
        start_ts: Timestamp,
        /// Why the answer did not come.
        #[source]
        cause: Box<Error>,
    },
    /// The transaction was committed or rolled back before.
    #[error("transaction {start_ts} is over")]
    Over {
        /// When the transaction began.
        start_ts: Timestamp,
    },
    /// The transaction came to its commit later than TiKV's garbage collection lets it.
    #[error("transaction {start_ts} is too old to commit at {commit_ts}")]
    TooOld {
        /// When the transaction began.
        start_ts: Timestamp,
        /// When it was to be committed.
        commit_ts: Timestamp,
    },
    /// A store asks for the transaction to be run again.
    #[error("the store asks to run transaction {start_ts} again after {operation}: {message}")]
    Retryable {
        /// What was under way.
        operation: &'static str,
        /// When the transaction began.
        start_ts: Timestamp,
        /// What the store said.
        message: Arc<str>,
    },
    /// A store refused a key of the transaction.
    #[error("the store refused {operation} of transaction {start_ts}: {message}")]
    Refused {
        /// What was under way.
        operation: &'static str,
        /// When the transaction began.
        start_ts: Timestamp,
        /// What the store said.
        message: Arc<str>,
    },
}

impl TxnError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WriteConflict { .. }
            | Self::Locked { .. }
            | Self::RolledBack { .. }
            | Self::TooOld { .. }
            | Self::Retryable { .. } => ErrorKind::Conflict,
            Self::Undetermined { .. } => ErrorKind::Undetermined,
            Self::AlreadyExists { .. } | Self::Over { .. } | Self::Refused { .. } => ErrorKind::Invalid,
        }
    }
}
