//! The state of an operation's retries, and the decision at each setback.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::allowance::{Allowance, Tuning};
use super::exhausted::{Exhausted, Mishap, Tally};
use super::kind::Kind;
use crate::types::Instant;

/// How many of the last errors a budget remembers.
///
/// client-go: `config/retry/backoff.go: MaxRecordBackoffErrCount`.
pub const REMEMBERED: usize = 3;

/// The shortest that a clip makes a sleep.
const SHORTEST: Duration = Duration::from_millis(1);

/// What to do about a setback.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Decision {
    /// Try again after so long.
    Sleep(Duration),
    /// Stop: the budget is spent.
    GiveUp(Box<Exhausted>),
}

/// How often one child was set back, by kind: what its sleeps double with.
///
/// A child of an operation has its own, for as long as it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts([u8; Kind::ALL.len()]);

impl Attempts {
    /// How often `kind` came.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u8 {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    fn advance(&mut self, kind: Kind) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            *count = count.saturating_add(1);
        }
    }
}

/// Time slept by at least one child: sleeps that overlap count once.
///
/// So an operation on a thousand regions has as much patience as one on a single region. For sleeps one
/// after the other it is their sum. They must come in the order in which they begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Meter {
    slept: Duration,
    until: Instant,
}

impl Meter {
    fn add(&mut self, from: Instant, sleep: Duration) {
        let until = from + sleep;
        self.slept += until.since(self.until.max(from));
        self.until = self.until.max(until);
    }
}

/// What a budget knows after the first setback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    /// All sleeps.
    total: Meter,
    /// Those that count.
    counted: Meter,
    /// Those of kinds that do not count.
    excluded: Meter,
    /// By kind, in the order of their first time.
    tallies: Vec<(Kind, u32, Meter)>,
    /// The last few, oldest first.
    mishaps: VecDeque<Mishap>,
    setbacks: u32,
}

impl Record {
    fn add(&mut self, mishap: Mishap, sleep: Duration) {
        let Mishap { kind, at, .. } = mishap;
        self.total.add(at, sleep);
        let pot = if kind.excluded().is_some() { &mut self.excluded } else { &mut self.counted };
        pot.add(at, sleep);
        let known = self.tallies.iter_mut().find(|(known, ..)| *known == kind);
        if let Some((_, times, meter)) = known {
            *times = times.saturating_add(1);
            meter.add(at, sleep);
        } else {
            let mut meter = Meter::default();
            meter.add(at, sleep);
            self.tallies.push((kind, 1, meter));
        }
        if self.mishaps.len() == REMEMBERED {
            self.mishaps.pop_front();
        }
        self.mishaps.push_back(mishap);
        self.setbacks = self.setbacks.saturating_add(1);
    }

    /// The counting kind with the longest sleep; of equals the one that came first.
    ///
    /// client-go: `config/retry/backoff.go: longestSleepCfg`.
    fn longest(&self) -> Option<Kind> {
        let counting = self.tallies.iter().filter(|(kind, ..)| kind.excluded().is_none());
        counting.rev().max_by_key(|(.., meter)| meter.slept).map(|&(kind, ..)| kind)
    }
}

/// How long an operation has slept and may sleep. One an operation; children draw on it.
///
/// Nothing is allocated before the first setback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    limit: Option<Duration>,
    lock_fast_ms: u64,
    record: Option<Box<Record>>,
}

impl Default for Budget {
    /// A budget of [`Allowance::Nothing`].
    fn default() -> Self {
        Self::new(Allowance::Nothing, Tuning::default())
    }
}

impl Budget {
    /// A budget of which nothing is spent.
    #[must_use]
    pub fn new(allowance: Allowance, tuning: Tuning) -> Self {
        Self { limit: allowance.limit(tuning), lock_fast_ms: tuning.lock_fast_ms, record: None }
    }

    /// Decides about a setback of the child that `attempts` belong to: `kind` is what there is to wait for,
    /// `reason` what was wrong, for people (who writes it redacts its keys).
    ///
    /// Setbacks come in the order of `now`. The sleep is counted at once and in full: who ends it early ends
    /// the operation.
    ///
    /// client-go: `config/retry/backoff.go: Backoff`.
    pub fn next(
        &mut self,
        kind: Kind,
        attempts: &mut Attempts,
        reason: Arc<str>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Decision {
        self.decide(attempts, Mishap { kind, reason, at: now }, Duration::MAX, rng)
    }

    /// As [`next`](Self::next), with this one sleep clipped to `at_most`, but to a millisecond at least:
    /// without any sleep a budget would never end.
    ///
    /// client-go: `config/retry/backoff.go: BackoffWithCfgAndMaxSleep`.
    pub fn next_at_most(
        &mut self,
        kind: Kind,
        attempts: &mut Attempts,
        reason: Arc<str>,
        now: Instant,
        at_most: Duration,
        rng: &mut fastrand::Rng,
    ) -> Decision {
        self.decide(attempts, Mishap { kind, reason, at: now }, at_most.max(SHORTEST), rng)
    }

    fn decide(
        &mut self,
        attempts: &mut Attempts,
        mishap: Mishap,
        at_most: Duration,
        rng: &mut fastrand::Rng,
    ) -> Decision {
        let kind = mishap.kind;
        if self.is_spent(kind) {
            return Decision::GiveUp(Box::new(self.exhausted(mishap)));
        }
        let base_ms = if kind == Kind::TxnLockFast { self.lock_fast_ms } else { kind.law().base_ms };
        let sleep = Duration::from_millis(kind.sleep_ms(base_ms, attempts.of(kind), rng)).min(at_most);
        attempts.advance(kind);
        self.record.get_or_insert_default().add(mishap, sleep);
        Decision::Sleep(sleep)
    }

    /// Begins a next phase of the operation: nothing spent of `allowance`; what happened stays remembered.
    ///
    /// client-go: `config/retry/backoff.go: ResetMaxSleep`.
    pub fn renew(&mut self, allowance: Allowance, tuning: Tuning) {
        self.limit = allowance.limit(tuning);
        self.lock_fast_ms = tuning.lock_fast_ms;
        if let Some(record) = &mut self.record {
            // The ends stay: a sleep of the last phase that is still running is not counted twice.
            record.total.slept = Duration::ZERO;
            record.counted.slept = Duration::ZERO;
            record.excluded.slept = Duration::ZERO;
        }
    }

    /// How long the operation slept in this phase, sleeps that do not count included.
    #[must_use]
    pub fn slept(&self) -> Duration {
        self.record.as_ref().map_or(Duration::ZERO, |record| record.total.slept)
    }

    /// How many setbacks there were in the operation's life.
    #[must_use]
    pub fn setbacks(&self) -> u32 {
        self.record.as_ref().map_or(0, |record| record.setbacks)
    }

    /// What the operation waited for in its life, by kind, in the order of their first time.
    pub fn tallies(&self) -> impl Iterator<Item = Tally> + '_ {
        self.record.iter().flat_map(|record| &record.tallies).map(|&(kind, times, meter)| Tally {
            kind,
            times,
            slept: meter.slept,
        })
    }

    /// The last errors, oldest first.
    pub fn mishaps(&self) -> impl Iterator<Item = &Mishap> {
        self.record.iter().flat_map(|record| &record.mishaps)
    }

    /// Whether `kind` finds the budget spent.
    fn is_spent(&self, kind: Kind) -> bool {
        let Some(limit) = self.limit else { return false };
        let (counted, excluded) = self
            .record
            .as_ref()
            .map_or((Duration::ZERO, Duration::ZERO), |record| (record.counted.slept, record.excluded.slept));
        counted >= limit || kind.excluded().is_some_and(|most| excluded >= most && excluded >= limit)
    }

    fn exhausted(&self, last: Mishap) -> Exhausted {
        let record = self.record.as_deref();
        let excluded = record.map_or(Duration::ZERO, |record| record.excluded.slept);
        Exhausted {
            kind: last.kind,
            longest: record.and_then(Record::longest),
            route: None,
            limit: self.limit.unwrap_or_default(),
            slept: self.slept(),
            excluded,
            tallies: self.tallies().collect(),
            mishaps: self.mishaps().cloned().collect(),
            last,
        }
    }
}
