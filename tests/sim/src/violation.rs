//! What must hold, by name, and how a run says that it did not.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What must hold in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Invariant {
    /// A transaction that was said to be committed is, at every key, with its values.
    LostCommit,
    /// A transaction that was said to have failed is not committed, and never comes to be.
    FailedCommitted,
    /// A transaction is committed at all of its keys, at one timestamp, or at none.
    Atomicity,
    /// A read sees what was committed up to its timestamp, and nothing else.
    SnapshotRead,
    /// Of two transactions that write one key one begins after the other has committed.
    FirstCommitterWins,
    /// Who begins after a commit has returned sees it.
    ExternalConsistency,
    /// No timestamp is given to two.
    UniqueTimestamp,
    /// No secondary is committed before its primary is.
    PrimaryFirst,
    /// No lock is removed as rolled back while its transaction can still commit.
    LivingLock,
    /// A commit is undetermined only when an answer to it is missing.
    NeedlesslyUndetermined,
    /// Every append is in its list once, in an order that some serial run has.
    Serializable,
    /// No money comes or goes.
    Balance,
    /// A counter is as high as it was counted.
    Counter,
    /// A scan gives every key of its range once.
    ScanCoverage,
    /// A raw key behaves as one register.
    Linearizable,
    /// Every call is over by its deadline.
    Deadline,
    /// Every operation ends.
    Hang,
    /// No lock stays once all is healed and read.
    LockLeft,
    /// Nothing is left behind in a client that is closed.
    Leak,
    /// An error is one that the troubles explain.
    WrongError,
    /// Two runs of a seed are the same.
    Determinism,
    /// What clients did can be done again from what they recorded.
    Replay,
    /// Nothing panics.
    Panic,
}

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a name and its story")]
pub struct Violation {
    /// What.
    pub invariant: Invariant,
    /// What was seen.
    pub story: String,
}

impl Violation {
    /// A breach of `invariant`.
    pub fn new(invariant: Invariant, story: impl Into<String>) -> Self {
        Self { invariant, story: story.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.story)
    }
}

/// Where a run's parts report; the first report counts. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<Violation>>>);

impl Verdict {
    pub(crate) fn report(&self, violation: Violation) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(violation);
    }

    pub(crate) fn violate(&self, invariant: Invariant, story: impl Into<String>) {
        self.report(Violation::new(invariant, story));
    }

    /// Reports what a checker found.
    pub(crate) fn check(&self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.report(violation);
        }
    }

    pub(crate) fn get(&self) -> Option<Violation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
