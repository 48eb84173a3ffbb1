//! Arguments of transactional operations, and their machines.

use super::raw::operation;
use super::{Operation, Settings, Start};
use crate::codec::{KeyspaceError, Placed, Prefix, keyless};
use crate::lock::LockSets;
use crate::snapshot::batch_get::BatchGetMachine;
use crate::snapshot::get::GetMachine;
use crate::snapshot::overlay::Overlay;
use crate::snapshot::page::{PageMachine, ScanOptions};
use crate::snapshot::scan::ScanMachine;
use crate::txn::commit::{CommitMachine, CommitPlan};
use crate::txn::mutation::Mutation;
use crate::txn::timestamp::TimestampMachine;
use crate::txn::transact;
use crate::types::{self, Instant, Key, KeyRange, Value};

operation! {
    /// Read one key at a timestamp.
    Get {
        /// The key.
        pub key: Key,
        /// The timestamp.
        pub ts: types::Timestamp,
        /// What the transaction itself wrote there: a value, or that there is none.
        pub own: Option<Option<Value>>,
    }
    GetMachine = |settings| {
        let get = GetMachine::new(key, ts, settings.redact_keys);
        match own {
            Some(value) => get.known(value),
            None => get,
        }
    }
}

operation! {
    /// Read many keys at a timestamp.
    BatchGet {
        /// The keys to be read from the stores.
        pub keys: Vec<Key>,
        /// The timestamp.
        pub ts: types::Timestamp,
        /// What the transaction itself wrote at others.
        pub own: Vec<types::KvPair>,
    }
    BatchGetMachine = |settings| {
        let read = BatchGetMachine::new(keys, ts, settings.concurrency, settings.redact_keys);
        read.known(own)
    }
}

operation! {
    /// Read a range at a timestamp, all at once.
    Scan {
        /// The range.
        pub range: KeyRange,
        /// The timestamp.
        pub ts: types::Timestamp,
        /// Pairs at the most.
        pub limit: usize,
        /// How it is read.
        pub options: ScanOptions,
        /// The transaction's own writes.
        pub(crate) overlay: Overlay,
    }
    ScanMachine = |settings| ScanMachine::over(range, ts, limit, options, overlay, settings.redact_keys)
}

operation! {
    /// Read one page of a range at a timestamp.
    Page {
        /// The range.
        pub range: KeyRange,
        /// The timestamp.
        pub ts: types::Timestamp,
        /// How it is read.
        pub options: ScanOptions,
        /// The locks to go round from the start.
        pub(crate) sets: LockSets,
    }
    PageMachine = |settings| PageMachine::going_round(range, ts, options, sets, settings.redact_keys)
}

/// What a timestamp is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A transaction begins with it.
    Begin,
    /// The caller asked for it.
    Current,
}

impl Purpose {
    /// What errors name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Current => "current timestamp",
        }
    }
}

keyless!(Purpose);

operation! {
    /// Get a timestamp.
    Timestamp {
        /// What it is for.
        pub purpose: Purpose,
    }
    TimestampMachine = |_settings| TimestampMachine::new(purpose.name())
}

operation! {
    /// Commit a transaction.
    Commit {
        /// When the transaction began: its name in the cluster.
        pub start_ts: types::Timestamp,
        /// The same on the client's clock.
        pub begun: Instant,
        /// What it writes, sorted by key and each key once.
        pub mutations: Vec<Mutation>,
    }
    CommitMachine = |settings| {
        let &Settings { concurrency: limit, redact_keys: redacted, .. } = settings;
        CommitMachine::new(CommitPlan { start_ts, begun, mutations, limit, redacted })
    }
}

operation! {
    /// Wait before a transaction is run again.
    Pause {
        /// How often it was run.
        pub attempt: u32,
    }
    transact::Pause = |_settings| transact::Pause::new(attempt)
}
