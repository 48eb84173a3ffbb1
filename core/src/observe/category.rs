//! What an event is about.

use crate::request::Command;

/// What an event is about: observers can be interested in some only.
///
/// client-go: `trace/trace.go: Category`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Category {
    /// The two phases of a commit.
    Commit,
    /// Finding out about and removing others' locks.
    Locks,
    /// Other requests to stores.
    Requests,
    /// Regions and what PD is asked.
    Regions,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Commit, Self::Locks, Self::Requests, Self::Regions];

    /// The category of a command.
    #[must_use]
    pub const fn of(command: Command) -> Self {
        match command {
            Command::Prewrite
            | Command::Commit
            | Command::Flush
            | Command::BatchRollback
            | Command::PessimisticRollback
            | Command::TxnHeartBeat
            | Command::Cleanup => Self::Commit,
            Command::CheckTxnStatus
            | Command::CheckSecondaryLocks
            | Command::ResolveLock
            | Command::ScanLock
            | Command::BroadcastTxnStatus => Self::Locks,
            _ => Self::Requests,
        }
    }
}
