//! The error of a spent budget: what a person needs who reads it in a log.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::kind::{Kind, Verdict};
use crate::explain::Explanation;
use crate::types::Instant;

/// Something that went wrong on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mishap {
    /// What was waited for after it.
    pub kind: Kind,
    /// What it was, for people.
    pub reason: Arc<str>,
    /// When it was.
    pub at: Instant,
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, reason, at } = self;
        let at = Duration::from_nanos(at.0);
        write!(f, "{kind} at {}.{:03} s: {reason}", at.as_secs(), at.subsec_millis())
    }
}

/// How often and how long a kind was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// The kind.
    pub kind: Kind,
    /// How often.
    pub times: u32,
    /// How long; sleeps of children at the same time count once.
    pub slept: Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, times, slept } = self;
        let uncounted = if kind.excluded().is_some() { ", not counted" } else { "" };
        write!(f, "{kind} {times}x ({} ms{uncounted})", slept.as_millis())
    }
}

/// The budget is spent: the operation gives up.
///
/// What it means is [`verdict`](Self::verdict): that of the kind that took the longest, not of the last.
/// Instants are those of the client's clock, from its start on.
///
/// client-go: `config/retry/backoff.go: BackoffWithCfgAndMaxSleep`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exhausted {
    /// What there was no budget left to wait for.
    pub kind: Kind,
    /// The kind that took the longest, if any counted.
    pub longest: Option<Kind>,
    /// How long the operation might have slept.
    pub limit: Duration,
    /// The attempts that failed of the request that found the budget spent, if it was a region's.
    pub route: Option<Box<Explanation>>,
    /// How long it slept, with what does not count; it can exceed `limit` by one sleep.
    pub slept: Duration,
    /// How much of that does not count.
    pub excluded: Duration,
    /// What it waited for, in the order of the first time.
    pub tallies: Vec<Tally>,
    /// The last errors before the last, oldest first.
    pub mishaps: Vec<Mishap>,
    /// The error that found the budget spent.
    pub last: Mishap,
}

impl Exhausted {
    /// What giving up means.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self.longest {
            Some(kind) => kind.law().verdict,
            None => self.kind.law().verdict,
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verdict, last) = (self.verdict(), &self.last);
        if self.tallies.is_empty() {
            return write!(f, "{verdict}: no retry allowed: {last}");
        }
        let (slept, limit) = (self.slept.as_millis(), self.limit.as_millis());
        write!(f, "{verdict}: gave up after {slept} ms of waiting")?;
        if !self.excluded.is_zero() {
            write!(f, " ({} ms not counted)", self.excluded.as_millis())?;
        }
        write!(f, ", limit {limit} ms")?;
        let mut before = ": ";
        for tally in &self.tallies {
            write!(f, "{before}{tally}")?;
            before = ", ";
        }
        if let Some(longest) = self.longest {
            write!(f, "; longest {longest}")?;
        }
        write!(f, "; last error {last}")?;
        before = "; before it ";
        for mishap in self.mishaps.iter().rev() {
            write!(f, "{before}{mishap}")?;
            before = ", ";
        }
        Ok(())
    }
}

impl Error for Exhausted {}
