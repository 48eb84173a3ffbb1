//! How a transaction fails.

use std::sync::Arc;

use bytes::Bytes;

use super::{Error, ErrorKind, KeyHistory, leave};
use crate::backoff::Exhausted;
use crate::codec::Prefix;
use crate::types::{ShownKey, Timestamp};

/// A transaction did not do what was asked of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TxnError {
    /// Another transaction committed a key after this one began.
    #[error(
        "write conflict at key {key}: transaction {start_ts} meets one that committed at {conflict_commit_ts}{}",
        .reason.text()
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
        /// What found it.
        reason: ConflictReason,
    },
    /// Transactions wait for each other in a circle; this one is the one to give way. Its locks stay until it is rolled back.
    #[error("deadlock at key {key}: transaction {start_ts} and {holder} wait for each other{}", chain_text(.chain))]
    Deadlock {
        /// The key that was to be locked.
        key: ShownKey,
        /// When this transaction began.
        start_ts: Timestamp,
        /// When the transaction began that was to be waited for.
        holder: Timestamp,
        /// Who waits for whom, from the holder on; the last is this transaction. Empty when the store does not say.
        chain: Arc<[WaitsFor]>,
    },
    /// What this transaction said of a key is not so: its data and that of the cluster do not fit together.
    #[error(
        "assertion failed at key {key}: transaction {start_ts} says that it {}, and {}",
        .assertion.says(), existing_text(*.existing_commit_ts)
    )]
    AssertionFailed {
        /// The key.
        key: ShownKey,
        /// When this transaction began.
        start_ts: Timestamp,
        /// What it said.
        assertion: Assertion,
        /// When the transaction began that wrote the version that was found; 0: there is none.
        existing_start_ts: Timestamp,
        /// When that version was committed; 0: there is none.
        existing_commit_ts: Timestamp,
        /// What the store has of the key, when it says so.
        history: Option<Arc<KeyHistory>>,
    },
    /// A shared lock cannot become an exclusive one: another transaction was first to ask for that.
    #[error(
        "the shared lock at key {key} cannot be made exclusive by transaction {start_ts}: {owner} was first"
    )]
    LockUpgrade {
        /// The key.
        key: ShownKey,
        /// When this transaction began.
        start_ts: Timestamp,
        /// When the one began that was first.
        owner: Timestamp,
    },
    /// A shared lock of this transaction is gone.
    #[error("the shared lock at key {key} of transaction {start_ts} is lost")]
    SharedLockLost {
        /// The key.
        key: ShownKey,
        /// When this transaction began.
        start_ts: Timestamp,
    },
    /// The store would have to commit later than the transaction allows.
    #[error("commit timestamp {commit_ts} is too large for transaction {start_ts}")]
    CommitTsTooLarge {
        /// When the transaction began.
        start_ts: Timestamp,
        /// The timestamp that the store would have used.
        commit_ts: Timestamp,
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

/// What found a write conflict.
///
/// kvproto: `kvrpcpb.proto: WriteConflict.Reason`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConflictReason {
    /// The store does not say.
    #[default]
    Unknown,
    /// A prewrite of an optimistic transaction.
    Optimistic,
    /// A pessimistic lock met a newer version: it can be tried again with a newer timestamp.
    PessimisticRetry,
    /// The transaction itself had been rolled back.
    SelfRolledBack,
    /// A read that checks timestamps met a newer version.
    RcCheckTs,
    /// A check that was put off to the prewrite.
    LazyUniquenessCheck,
    /// A pessimistic transaction wrote a key that it had not locked.
    NotLockedKey,
}

impl ConflictReason {
    fn text(self) -> &'static str {
        match self {
            Self::Unknown | Self::Optimistic => "",
            Self::PessimisticRetry => " (pessimistic lock)",
            Self::SelfRolledBack => " (rolled back itself)",
            Self::RcCheckTs => " (read that checks timestamps)",
            Self::LazyUniquenessCheck => " (check put off to the prewrite)",
            Self::NotLockedKey => " (key was not locked)",
        }
    }
}

/// What a transaction says of a key before it writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Assertion {
    /// Nothing.
    #[default]
    None,
    /// It has a value.
    Exists,
    /// It has none.
    NotExists,
}

impl Assertion {
    fn says(self) -> &'static str {
        match self {
            Self::None => "is anything",
            Self::Exists => "exists",
            Self::NotExists => "does not exist",
        }
    }
}

fn existing_text(commit_ts: Timestamp) -> String {
    if commit_ts == Timestamp(0) {
        "nothing was found".to_owned()
    } else {
        format!("one of {commit_ts} was found")
    }
}

/// One that waits in a deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitsFor {
    /// When the transaction began that waits.
    pub waiter: Timestamp,
    /// When the one began that holds the lock.
    pub holder: Timestamp,
    /// The key to be locked.
    pub key: ShownKey,
    /// What the request that waits said of its statement; any bytes.
    pub resource_group_tag: Bytes,
}

impl WaitsFor {
    /// An edge of a deadlock.
    #[must_use]
    pub fn new(waiter: Timestamp, holder: Timestamp, key: ShownKey, resource_group_tag: Bytes) -> Self {
        Self { waiter, holder, key, resource_group_tag }
    }

    fn leaving(mut self, keyspace: Prefix) -> Self {
        leave(&mut self.key, keyspace);
        self
    }
}

fn chain_text(chain: &[WaitsFor]) -> String {
    let mut text = String::new();
    let mut before = ": ";
    for WaitsFor { waiter, holder, key, .. } in chain {
        text += &format!("{before}{waiter} waits for {holder} at key {key}");
        before = ", ";
    }
    text
}

impl TxnError {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> Option<&ShownKey> {
        match self {
            Self::WriteConflict { key, .. }
            | Self::Deadlock { key, .. }
            | Self::AssertionFailed { key, .. }
            | Self::LockUpgrade { key, .. }
            | Self::SharedLockLost { key, .. }
            | Self::Locked { key, .. }
            | Self::AlreadyExists { key } => Some(key),
            Self::Undetermined { cause, .. } => cause.key(),
            Self::RolledBack { .. }
            | Self::CommitTsTooLarge { .. }
            | Self::Over { .. }
            | Self::TooOld { .. }
            | Self::Retryable { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// See [`Error::leave`].
    pub(super) fn leave(&mut self, keyspace: Prefix) {
        match self {
            Self::WriteConflict { key, .. }
            | Self::Locked { key, .. }
            | Self::AlreadyExists { key }
            | Self::LockUpgrade { key, .. }
            | Self::SharedLockLost { key, .. } => leave(key, keyspace),
            Self::Deadlock { key, chain, .. } => {
                leave(key, keyspace);
                *chain = chain.iter().cloned().map(|edge| edge.leaving(keyspace)).collect();
            }
            Self::AssertionFailed { key, history, .. } => {
                leave(key, keyspace);
                if let Some(history) = history {
                    Arc::make_mut(history).leave(keyspace);
                }
            }
            Self::Undetermined { cause, .. } => cause.leave(keyspace),
            Self::RolledBack { .. }
            | Self::Over { .. }
            | Self::TooOld { .. }
            | Self::CommitTsTooLarge { .. }
            | Self::Retryable { .. }
            | Self::Refused { .. } => {}
        }
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::WriteConflict { .. }
            | Self::Locked { .. }
            | Self::RolledBack { .. }
            | Self::TooOld { .. }
            | Self::Deadlock { .. }
            | Self::LockUpgrade { .. }
            | Self::SharedLockLost { .. }
            | Self::Retryable { .. } => ErrorKind::Conflict,
            Self::Undetermined { .. } => ErrorKind::Undetermined,
            Self::AlreadyExists { .. }
            | Self::AssertionFailed { .. }
            | Self::CommitTsTooLarge { .. }
            | Self::Over { .. }
            | Self::Refused { .. } => ErrorKind::Invalid,
        }
    }
}
