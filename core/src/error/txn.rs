//! How a transaction fails.

use std::sync::Arc;

use super::{Error, ErrorKind};
use crate::types::{ShownKey, Timestamp};

/// A transaction did not do what was asked of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TxnError {
    /// Another transaction committed a key after this one began.
    #[error("write conflict at key {key}: transaction {start_ts} meets one that committed at {conflict_commit_ts}")]
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
            Self::WriteConflict { .. } | Self::Locked { .. } | Self::RolledBack { .. } => ErrorKind::Conflict,
            Self::Undetermined { .. } => ErrorKind::Undetermined,
            Self::AlreadyExists { .. } | Self::Over { .. } | Self::Refused { .. } => ErrorKind::Invalid,
        }
    }
}
