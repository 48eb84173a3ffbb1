//! A transaction with its retries: run again when others were faster, never when nobody knows what became of it.

use std::task::{Poll, ready};
use std::time::Duration;

use super::calls::Begin;
use super::{CommitInfo, Transaction};
use crate::backoff::Allowance;
use crate::client::{Client, Pending, Space, Terms};
use crate::error::{Error, ErrorKind};
use crate::machine::{Cx, Fired, Machine, Ticket, Why};
use crate::start;
use crate::types::Instant;

/// The first pause before a transaction is run again is up to so long, in ms; it doubles with each.
const FIRST_MS: u64 = 4;

/// No pause is longer, in ms.
const LONGEST_MS: u64 = 500;

/// How often and how long a transaction is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactOptions {
    /// Attempts at the most; at least one is made.
    pub attempts: u32,
    /// What all attempts may take together; `None`: the client's default deadline.
    pub deadline: Option<Duration>,
}

impl Default for TransactOptions {
    /// As many attempts as the client's default deadline has time for.
    fn default() -> Self {
        Self { attempts: u32::MAX, deadline: None }
    }
}

impl TransactOptions {
    /// At most so many attempts.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// All attempts together take at most so long.
    #[must_use]
    pub fn deadline(mut self, patience: Duration) -> Self {
        self.deadline = Some(patience);
        self
    }
}

/// A transaction that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transacted<T> {
    /// What its body returned.
    pub value: T,
    /// How often it was run: 1 when nobody was in its way.
    pub attempts: u32,
    /// How it was committed.
    pub commit: CommitInfo,
}

/// Whether a transaction whose commit ended with `error` is run again: only when it is certain that nothing was committed,
/// and likely that another try goes better.
pub(super) fn runs_again(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Retry)
}

/// Waits before the attempt after attempt number `attempt` (from 1), so that those who met each other come apart.
#[derive(Debug)]
pub(crate) struct Pause {
    attempt: u32,
    timer: Option<Ticket<Fired>>,
}

impl Pause {
    pub(crate) fn new(attempt: u32) -> Self {
        Self { attempt, timer: None }
    }
}

impl Machine for Pause {
    type Output = Result<(), Error>;

    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let timer = match &self.timer {
            Some(timer) => timer,
            None => {
                let factor = 1_u64.checked_shl(self.attempt.saturating_sub(1)).unwrap_or(u64::MAX);
                let most = FIRST_MS.saturating_mul(factor).min(LONGEST_MS);
                let pause = Duration::from_micros(cx.rng().u64(0..=most * 1000));
                self.timer.insert(cx.timer(cx.now() + pause, Why::BackOff("transact")))
            }
        };
        Poll::Ready(match ready!(cx.take(timer)) {
            Ok(_) => Ok(()),
            Err(fault) => Err(Error::of_fault("transact", fault)),
        })
    }
}

/// See `Client::transact_with`.
pub(super) async fn transact<T, E: From<Error>>(
    client: &Client,
    options: TransactOptions,
    mut body: impl AsyncFnMut(&mut Transaction) -> Result<T, E>,
) -> Result<Transacted<T>, E> {
    let inner = client.inner();
    let until = inner.clock.now() + options.deadline.unwrap_or(inner.config.deadline);
    let mut attempts = 1;
    loop {
        let mut txn = Begin::new(client.clone(), until).await?;
        let value = body(&mut txn).await?;
        let error = match txn.commit().await {
            Ok(commit) => return Ok(Transacted { value, attempts, commit }),
            Err(error) => error,
        };
        if !runs_again(&error) || attempts >= options.attempts {
            return Err(error.into());
        }
        if pause(client, attempts, until).await.is_err() {
            // No time is left; what was in the way says more than that.
            return Err(error.into());
        }
        attempts = attempts.saturating_add(1);
    }
}

fn pause(client: &Client, attempt: u32, until: Instant) -> Pending<Pause> {
    let terms = Terms {
        deadline: until,
        allowance: Allowance::Unlimited,
        space: Space::Txn,
        options: client.options().clone(),
        background: false,
        manner: client.inner().manner(None),
    };
    Pending::new(client.inner(), terms, start::Pause { attempt })
}
