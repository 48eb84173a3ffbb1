//! Adding up what calls cost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::event::{Asked, Call, End};
use super::{At, Event, Observer, Operation, Watch};
use crate::details::{CommitDetails, ExecDetails, RuDetails, SlowRequest, StoreDetails};
use crate::machine::Why;
use crate::request::{Command, Level, response};
use crate::start::{self, Start};
use crate::types::{Instant, RegionId};

/// Adds up what the calls cost that name it: of one call, of a statement, of a transaction.
///
/// ```no_run
/// # async fn f(client: tikv_client_core::client::Client) -> Result<(), tikv_client_core::error::Error> {
/// use tikv_client_core::{observe::Collector, request::RequestOptions};
///
/// let collector = Collector::default();
/// let client = client.with(&RequestOptions::new().observer(collector.clone()));
/// client.raw().get("greeting").await?;
/// println!("{}", collector.exec());
/// # Ok(()) }
/// ```
///
/// Cloning shares it. It costs a short lock for each request of these calls.
///
/// client-go: `util/execdetails.go`: the values of contexts, `ExecDetailsKey`, `CommitDetailCtxKey`, `RUDetailsCtxKey`.
#[derive(Clone, Debug, Default)]
pub struct Collector(Arc<Mutex<Sums>>);

#[derive(Debug, Default)]
struct Sums {
    exec: ExecDetails,
    commit: CommitDetails,
    units: RuDetails,
    requests: Vec<RequestDetail>,
}

/// Requests that are told one by one at the most; further ones only count.
const TOLD: usize = 256;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestDetail {
    /// What was asked.
    pub command: Command,
    /// What it took, where it went, and what the store said of it.
    pub request: SlowRequest,
    /// Whether it was answered.
    pub answered: bool,
}

impl Collector {
    fn with<T>(&self, then: impl FnOnce(&mut Sums) -> T) -> T {
        // Only sums are inside: they are as good as they were when somebody panicked.
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the calls cost so far.
    #[must_use]
    pub fn exec(&self) -> ExecDetails {
        self.with(|sums| sums.exec.clone())
    }

    /// Where the time of commits went so far.
    #[must_use]
    pub fn commit(&self) -> CommitDetails {
        self.with(|sums| sums.commit.clone())
    }

    /// Request units of version 2, as stores counted them so far.
    #[must_use]
    pub fn units(&self) -> RuDetails {
        self.with(|sums| sums.units.clone())
    }

    /// The first 256 requests, in the order in which they ended.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestDetail> {
        self.with(|sums| sums.requests.clone())
    }

    /// Begins anew.
    pub fn clear(&self) {
        self.with(|sums| *sums = Sums::default());
    }
}

impl Observer for Collector {
    fn begins(&self, operation: &Operation<'_>) -> Option<Box<dyn Watch>> {
        let commit = match operation.start {
            Start::Commit(commit) => Some(Commit::of(commit)),
            _ => None,
        };
        Some(Box::new(Collecting { to: self.clone(), commit }))
    }
}

/// The sums of one operation under way.
struct Collecting {
    to: Collector,
    /// Of a commit.
    commit: Option<Commit>,
}

/// The phases of a commit as its requests show them.
#[derive(Debug, Default)]
struct Commit {
    details: CommitDetails,
    prewrites: Phase,
    commits: Phase,
    regions: BTreeSet<RegionId>,
    /// When a lock was first met, while it is in the way.
    resolving: Option<Instant>,
}

/// When the first of some requests was sent, and the last answered.
#[derive(Debug, Default)]
struct Phase {
    began: Option<Instant>,
    ended: Instant,
}

impl Phase {
    fn began(&mut self, at: Instant) {
        self.began.get_or_insert(at);
    }

    fn took(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| self.ended.since(began))
    }
}

impl Commit {
    fn of(commit: &start::Commit) -> Self {
        let mut new = Self::default();
        new.details.write_keys = commit.mutations.len() as u64;
        new.details.write_bytes = commit.mutations.iter().map(|mutation| mutation.size() as u64).sum();
        new
    }

    fn sent(&mut self, call: &Call<'_>, now: Instant) {
        match call.request.command() {
            Command::Prewrite => {
                self.prewrites.began(now);
                self.details.prewrite_requests += 1;
                self.regions.insert(call.attempt.to.region.id);
            }
            Command::Commit => self.commits.began(now),
            Command::CheckTxnStatus | Command::CheckSecondaryLocks | Command::ResolveLock => {
                self.resolving.get_or_insert(now);
            }
            _ => {}
        }
    }

    fn answered(&mut self, call: &Call<'_>, request: &SlowRequest, now: Instant) {
        match call.request.command() {
            Command::Prewrite => {
                self.prewrites.ended = now;
                self.details.slowest_prewrite.merge(request);
            }
            Command::Commit => {
                self.commits.ended = now;
                self.details.commit_primary.merge(request);
            }
            _ => {}
        }
        if let Some(since) = self.resolving
            && matches!(call.request.command(), Command::Prewrite)
        {
            self.details.resolve_locks += now.since(since);
            self.resolving = None;
        }
    }

    fn paused(&mut self, kind: &'static str, pause: Duration) {
        self.details.pauses += pause;
        let to = if self.commits.began.is_some() {
            &mut self.details.commit_pauses
        } else {
            &mut self.details.prewrite_pauses
        };
        to.push(kind);
    }

    fn ended(mut self) -> CommitDetails {
        self.details.prewrite = self.prewrites.took();
        self.details.commit = self.commits.took();
        self.details.prewrite_regions = u32::try_from(self.regions.len()).unwrap_or(u32::MAX);
        self.details
    }
}

impl Watch for Collecting {
    fn see(&mut self, event: &Event<'_>, at: At) {
        match event {
            Event::Sent(call) => {
                if let Some(commit) = &mut self.commit {
                    commit.sent(call, at.now);
                }
                self.to.with(|sums| {
                    sums.exec.requests += 1;
                    let traffic = &mut sums.exec.traffic;
                    let flash = call.request.command().level() == Level::TiFlash;
                    let sent = if flash { &mut traffic.tiflash_sent } else { &mut traffic.sent };
                    *sent += call.bytes as u64;
                });
            }
            Event::Answered { call, took, answer } => self.answered(call, *took, answer.ok(), at.now),
            Event::Told { asked, took, .. } => {
                if let (Some(commit), Asked::Timestamp) = (&mut self.commit, asked) {
                    commit.details.get_commit_ts += *took;
                }
                self.to.with(|sums| sums.exec.pd_time += *took);
            }
            Event::Paused { why: Why::BackOff(kind), pause } => {
                if let Some(commit) = &mut self.commit {
                    commit.paused(kind, *pause);
                }
                self.to.with(|sums| {
                    sums.exec.pauses += 1;
                    sums.exec.pause_time += *pause;
                });
            }
            Event::Ended { took, how } => {
                let commit = self.commit.take().map(Commit::ended);
                self.to.with(|sums| {
                    sums.exec.calls += 1;
                    sums.exec.failed += u64::from(*how != End::Done);
                    sums.exec.time += *took;
                    if let Some(commit) = commit {
                        sums.commit.merge(&commit);
                    }
                });
            }
            _ => {}
        }
    }
}

impl Collecting {
    fn answered(&mut self, call: &Call<'_>, took: Duration, body: Option<&bytes::Bytes>, now: Instant) {
        let command = call.request.command();
        let message = body.and_then(|body| response::exec_details(command, body).ok().flatten());
        let details = message.as_ref().map(StoreDetails::from).unwrap_or_default();
        let to = call.attempt.to;
        let request = SlowRequest::new(took, to.region.id, to.store, details);
        if let Some(commit) = &mut self.commit {
            commit.answered(call, &request, now);
        }
        self.to.with(|sums| {
            sums.exec.store_time += took;
            sums.exec.stores.merge(&request.details);
            let traffic = &mut sums.exec.traffic;
            let flash = command.level() == Level::TiFlash;
            let received = if flash { &mut traffic.tiflash_received } else { &mut traffic.received };
            *received += body.map_or(0, |body| body.len() as u64);
            if let Some(units) = message.and_then(|message| message.ru_v2) {
                let mut units = units;
                if command.writes() {
                    units.write_rpc_count += 1;
                } else {
                    units.read_rpc_count += 1;
                }
                sums.units.add_counters(&units);
            }
            if sums.requests.len() < TOLD {
                sums.requests.push(RequestDetail { command, request, answered: body.is_some() });
            }
        });
    }
}
