//! `Start`: every operation of the client as data, so that it can be spawned, traced and built again.
//!
//! [`Start`] has a variant an operation. A call makes the machine of its arguments, and with a recorder the data: `Operation` is
//! what it does that with. `raw`, `txn` and `regions` have the arguments of what applications call, each with the one place where its
//! machine is built; a `Start` reaches all of these, and the operations of the background, for who has only the data: the background
//! set and a trace's replay. [`outcome`] says what an operation came to, as a text.

pub mod outcome;
mod raw;
mod regions;
mod txn;

use std::fmt;
use std::task::Poll;

pub use outcome::{Ended, Outcome, Shown, Text};
pub use raw::{RawBatchDelete, RawBatchGet, RawBatchPut, RawDelete, RawDeleteRange, RawGet, RawPut, RawScan};
pub use regions::{FindRegion, ListRegions, RegionBuckets, RegionOrder, ScatterRegions, SplitRegions};
pub use txn::{BatchGet, Commit, Get, Page, Pause, Purpose, Scan, Timestamp};

use crate::lock::{CleanLocks, Cleaning};
use crate::machine::{Cx, Machine};
use crate::txn::{CommitMachine, CommitSecondaries, RollBack};
use crate::types::{self, Key};

/// What machines are built with beside their arguments: it is the same for all of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a trace holds it field by field")]
pub struct Settings {
    /// Whether errors show `?` instead of keys.
    pub redact_keys: bool,
    /// Requests of one operation under way at a time.
    pub concurrency: usize,
    /// Whether keys are those of API v2: PD has raw ones in the same form as transactional ones.
    pub api_v2: bool,
}

/// The arguments of an operation.
pub(crate) trait Operation: Clone + Into<Start> {
    /// What carries it out.
    type Machine: Machine<Output: Outcome>;

    /// The machine.
    fn machine(self, settings: &Settings) -> Self::Machine;
}

/// An operation that is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Read the raw value of one key.
    RawGet(RawGet),
    /// Write the raw value of one key.
    RawPut(RawPut),
    /// Delete one raw key.
    RawDelete(RawDelete),
    /// Read many raw values.
    RawBatchGet(RawBatchGet),
    /// Write many raw values.
    RawBatchPut(RawBatchPut),
    /// Delete many raw keys.
    RawBatchDelete(RawBatchDelete),
    /// Read a range of raw keys.
    RawScan(RawScan),
    /// Delete a range of raw keys.
    RawDeleteRange(RawDeleteRange),
    /// Read one key at a timestamp.
    Get(Get),
    /// Read many keys at a timestamp.
    BatchGet(BatchGet),
    /// Read a range at a timestamp, all at once.
    Scan(Scan),
    /// Read one page of a range at a timestamp.
    Page(Page),
    /// Get a timestamp.
    Timestamp(Timestamp),
    /// Commit a transaction.
    Commit(Commit),
    /// Wait before a transaction is run again.
    Pause(Pause),
    /// Find one region.
    FindRegion(FindRegion),
    /// List the regions of a range.
    ListRegions(ListRegions),
    /// Find the buckets of a region.
    RegionBuckets(RegionBuckets),
    /// Split regions.
    SplitRegions(SplitRegions),
    /// Scatter regions.
    ScatterRegions(ScatterRegions),
    /// See whether a region is being scattered.
    RegionOrder(RegionOrder),
    /// Commit the other keys of a transaction whose primary is committed.
    CommitSecondaries {
        /// The transaction.
        start_ts: types::Timestamp,
        /// When it was committed.
        commit_ts: types::Timestamp,
        /// Its primary.
        primary: Key,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Carry a commit to its end whose caller is gone: the commit of its primary was sent.
    FinishCommit {
        /// The transaction.
        start_ts: types::Timestamp,
        /// The timestamp that was sent: there will be no other.
        commit_ts: types::Timestamp,
        /// Its keys in order, the primary first.
        keys: Vec<Key>,
    },
    /// Roll a transaction back that will never be committed.
    RollBack {
        /// The transaction.
        start_ts: types::Timestamp,
        /// Its keys in order, the primary first.
        keys: Vec<Key>,
    },
    /// Remove the locks of transactions that are decided.
    CleanLocks {
        /// What is to be removed.
        cleanings: Vec<Cleaning>,
    },
}

impl Start {
    /// The operation's name, for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RawGet(_) => "raw get",
            Self::RawPut(_) => "raw put",
            Self::RawDelete(_) => "raw delete",
            Self::RawBatchGet(_) => "raw batch get",
            Self::RawBatchPut(_) => "raw batch put",
            Self::RawBatchDelete(_) => "raw batch delete",
            Self::RawScan(_) => "raw scan",
            Self::RawDeleteRange(_) => "raw delete range",
            Self::Get(_) => "get",
            Self::BatchGet(_) => "batch get",
            Self::Scan(_) => "scan",
            Self::Page(_) => "scan page",
            Self::Timestamp(timestamp) => timestamp.purpose.name(),
            Self::Commit(_) => "commit",
            Self::Pause(_) => "pause",
            Self::FindRegion(_) => "locate region",
            Self::ListRegions(_) => "list regions",
            Self::RegionBuckets(_) => "buckets",
            Self::SplitRegions(_) => "split regions",
            Self::ScatterRegions(_) => "scatter regions",
            Self::RegionOrder(_) => "wait for a scattered region",
            Self::CommitSecondaries { .. } => "commit secondaries",
            Self::FinishCommit { .. } => "finish commit",
            Self::RollBack { .. } => "roll back",
            Self::CleanLocks { .. } => "clean locks",
        }
    }
}

impl Operation for Start {
    type Machine = AnyMachine;

    fn machine(self, settings: &Settings) -> AnyMachine {
        let &Settings { redact_keys, concurrency, .. } = settings;
        match self {
            Self::RawGet(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RawPut(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RawDelete(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RawBatchGet(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RawBatchPut(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RawBatchDelete(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RawScan(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RawDeleteRange(operation) => AnyMachine::new(operation.machine(settings)),
            Self::Get(operation) => AnyMachine::new(operation.machine(settings)),
            Self::BatchGet(operation) => AnyMachine::new(operation.machine(settings)),
            Self::Scan(operation) => AnyMachine::new(operation.machine(settings)),
            Self::Page(operation) => AnyMachine::new(operation.machine(settings)),
            Self::Timestamp(operation) => AnyMachine::new(operation.machine(settings)),
            Self::Commit(operation) => AnyMachine::new(operation.machine(settings)),
            Self::Pause(operation) => AnyMachine::new(operation.machine(settings)),
            Self::FindRegion(operation) => AnyMachine::new(operation.machine(settings)),
            Self::ListRegions(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RegionBuckets(operation) => AnyMachine::new(operation.machine(settings)),
            Self::SplitRegions(operation) => AnyMachine::new(operation.machine(settings)),
            Self::ScatterRegions(operation) => AnyMachine::new(operation.machine(settings)),
            Self::RegionOrder(operation) => AnyMachine::new(operation.machine(settings)),
            Self::CommitSecondaries { start_ts, commit_ts, primary, keys } => {
                AnyMachine::new(CommitSecondaries::new(start_ts, commit_ts, primary, keys, concurrency))
            }
            Self::FinishCommit { start_ts, commit_ts, keys } => {
                AnyMachine::new(CommitMachine::finishing(start_ts, commit_ts, keys, redact_keys))
            }
            Self::RollBack { start_ts, keys } => {
                AnyMachine::new(RollBack::new(start_ts, keys, concurrency, redact_keys))
            }
            Self::CleanLocks { cleanings } => AnyMachine::new(CleanLocks::new(cleanings, redact_keys)),
        }
    }
}

/// The machine of any operation; its output can only be told.
pub(crate) struct AnyMachine(Box<dyn Machine<Output = AnyOutcome> + Send>);

/// What any operation results in.
pub(crate) type AnyOutcome = Box<dyn Outcome + Send>;

impl AnyMachine {
    fn new<M>(machine: M) -> Self
    where
        M: Machine<Output: Outcome + Send + 'static> + Send + 'static,
    {
        Self(Box::new(Boxed(machine)))
    }
}

impl fmt::Debug for AnyMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Machine for AnyMachine {
    type Output = AnyOutcome;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<AnyOutcome> {
        self.0.step(cx)
    }

    fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.0.abandon(cx);
    }
}

/// A machine whose output is boxed.
#[derive(Debug)]
struct Boxed<M>(M);

impl<M: Machine<Output: Outcome + Send + 'static>> Machine for Boxed<M> {
    type Output = AnyOutcome;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<AnyOutcome> {
        self.0.step(cx).map(|output| Box::new(output) as AnyOutcome)
    }

    fn abandon(&mut self, cx: &mut Cx<'_>) {
        self.0.abandon(cx);
    }
}
