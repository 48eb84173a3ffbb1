//! What workers do: async code on the client's public types, as an application writes it.
//!
//! * here: [`Ctx`], what a worker has, and [`Ctx::call`], which every call goes through: it must be over in time, and may be dropped;
//! * `txn`: a transaction that keeps its books;
//! * `bank`, `lists`, `counter`, `rows`: loads of transactions;
//! * `raw`: loads of raw calls.

mod bank;
mod counter;
mod lists;
mod raw;
mod rows;
mod txn;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind, TxnError};
use tikv_client_core::trace::Recorder;

use crate::digest::{Digest, Mark};
use crate::exec::{Executor, nanos, within};
use crate::ledger::Ledger;
use crate::net::Net;
use crate::plan::{Fault, Load, Plan};
use crate::tally::Tally;
use crate::violation::{Invariant, Verdict};

pub(crate) use counter::PREFIX as COUNTERS;
pub(crate) use lists::PREFIX as LISTS;
pub(crate) use txn::Book;

/// What a call may take beyond its deadline. Time stands still while tasks run, so this is little.
const SLACK: Duration = Duration::from_millis(50);

/// What every part of a run shares.
#[derive(Clone)]
pub(crate) struct Ctx {
    pub(crate) plan: Arc<Plan>,
    pub(crate) executor: Executor,
    pub(crate) net: Net,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Tally,
    pub(crate) verdict: Verdict,
    pub(crate) digest: Digest,
    /// Records what clients do.
    pub(crate) recorder: Option<Recorder>,
    /// The next element of a list, the next raw value.
    pub(crate) unique: Arc<AtomicU32>,
}

/// Why an operation of a worker did not do what it was to do.
#[derive(Debug)]
pub(crate) enum Missed {
    /// The client said so.
    Error(Error),
    /// The worker has dropped the call.
    Dropped,
}

impl Ctx {
    pub(crate) fn unique(&self) -> u32 {
        self.unique.fetch_add(1, Ordering::Relaxed)
    }

    /// Awaits `call`, which must be over within `deadline`. `may_drop` draws whether it is dropped before.
    pub(crate) async fn call<T>(
        &self,
        name: &str,
        deadline: Duration,
        may_drop: Option<&mut Rng>,
        call: impl IntoFuture<Output = Result<T, Error>>,
    ) -> Result<T, Missed> {
        let begun = self.executor.now();
        let last = begun.saturating_add(nanos(deadline + SLACK));
        let patience =
            may_drop.filter(|_| self.plan.has(Fault::DropCall)).and_then(|rng| self.impatience(rng));
        let until = patience.map_or(last, |patience| last.min(begun + patience));
        self.tally.count(&format!("call.{name}"));
        let came = within(&self.executor, until, call.into_future()).await;
        self.digest.add(Mark::Operation, self.executor.now(), 0, name.as_bytes());
        match came {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => {
                self.failed(name, &error);
                Err(Missed::Error(error))
            }
            None if until < last => {
                self.tally.count("fault.drop-call");
                Err(Missed::Dropped)
            }
            None => {
                let story = format!("{name} is not over {SLACK:?} behind its deadline of {deadline:?}");
                self.verdict.violate(Invariant::Deadline, story);
                Err(Missed::Dropped)
            }
        }
    }

    /// One call in ten is dropped after up to 100 ms, most of these soon.
    fn impatience(&self, rng: &mut Rng) -> Option<u64> {
        (rng.u32(..10) == 0).then(|| {
            let most = [200_000, 2_000_000, 100_000_000][rng.usize(..3)];
            rng.u64(0..most)
        })
    }

    /// Counts an error, and checks that it is one that can be here.
    fn failed(&self, name: &str, error: &Error) {
        self.tally.count(&format!("error.{}", kind(error)));
        let wrong = match error.kind() {
            ErrorKind::Conflict | ErrorKind::Retry => false,
            ErrorKind::Undetermined => name != "commit" && name != "transact",
            ErrorKind::Timeout | ErrorKind::Unavailable => self.plan.faults.is_empty(),
            // The stores say of a raw write that nobody knows, and there is no retry that helps.
            ErrorKind::Invalid => {
                !matches!(
                    error,
                    Error::Region { .. } if self.plan.has(Fault::RegionError) || self.plan.has(Fault::RegionErrorAfter)
                ) && !matches!(error, Error::Txn(TxnError::AlreadyExists { .. }))
            }
            _ => true,
        };
        if wrong {
            self.verdict.violate(Invariant::WrongError, format!("{name}: {error:?}"));
        }
    }

    /// Whether a transaction that is said to be committed is.
    pub(crate) fn check_committed(&self, page: usize, commit_ts: u64) {
        if let Some(start_ts) = self.ledger.change(page, |txn| txn.start_ts) {
            let is = self.net.with(|state, _| state.witness.told(&state.cluster, start_ts, commit_ts));
            self.verdict.check(is);
        }
    }

    /// Whether what a client does not know is explained by what was at the doors.
    pub(crate) fn check_undetermined(&self, error: &Error) {
        if let Error::Txn(TxnError::Undetermined { start_ts, .. }) = error {
            self.tally.count("txn.undetermined");
            if !self.net.with(|state, _| state.witness.explains_undetermined(start_ts.0)) {
                let story = format!("every commit of {start_ts} was answered: {error:?}");
                self.verdict.violate(Invariant::NeedlesslyUndetermined, story);
            }
        }
    }
}

/// The name of an error in totals.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::Input(_) => "input",
        Error::Interrupted { .. } => "interrupted",
        Error::Exhausted { .. } => "exhausted",
        Error::Transport { .. } => "transport",
        Error::Region { .. } => "region",
        Error::Server { .. } => "server",
        Error::Service(_) => "service",
        Error::Txn(TxnError::WriteConflict { .. }) => "write-conflict",
        Error::Txn(TxnError::Locked { .. }) => "locked",
        Error::Txn(TxnError::AlreadyExists { .. }) => "already-exists",
        Error::Txn(TxnError::RolledBack { .. }) => "rolled-back",
        Error::Txn(TxnError::Undetermined { .. }) => "undetermined",
        Error::Txn(TxnError::Over { .. }) => "over",
        Error::Txn(_) => "txn",
        Error::Overloaded { .. } => "overloaded",
        Error::Corrupt { .. } => "corrupt",
        _ => "other",
    }
}

/// A worker: one operation after the other.
pub(crate) struct Worker {
    pub(crate) ctx: Ctx,
    pub(crate) client: Client,
    pub(crate) rng: Rng,
}

impl Worker {
    /// Does so many operations; `left` counts them down.
    pub(crate) async fn run(mut self, left: Arc<AtomicU32>) {
        while left.load(Ordering::Relaxed) > 0 && !self.ctx.verdict.is_broken() {
            left.fetch_sub(1, Ordering::Relaxed);
            let rest = nanos(self.ctx.plan.rest);
            let rest = Duration::from_nanos(self.rng.u64(0..=rest));
            self.ctx.executor.sleep(rest).await;
            let Some(&load) = self.rng.choice(&self.ctx.plan.loads) else { return };
            let done = match load {
                Load::Bank => self.bank().await,
                Load::Lists => self.lists().await,
                Load::Counter => self.counter().await,
                Load::Rows => self.rows().await,
                Load::Raw => self.raw().await,
                Load::RawScan => self.raw_scan().await,
            };
            let end = match done {
                Ok(()) => "done",
                Err(Missed::Error(_)) => "failed",
                Err(Missed::Dropped) => "dropped",
            };
            self.ctx.tally.count(&format!("{}.{end}", load.name()));
        }
    }
}

/// What the loads need to be there before they begin; on a calm network, so none of it may fail.
pub(crate) async fn prepare(ctx: &Ctx, client: &Client) -> Result<(), Missed> {
    let mut worker = Worker { ctx: ctx.clone(), client: client.clone(), rng: Rng::with_seed(1) };
    if ctx.plan.loads.contains(&Load::Bank) {
        worker.open_bank().await?;
    }
    if ctx.plan.loads.contains(&Load::RawScan) {
        worker.put_rows().await?;
    }
    Ok(())
}
