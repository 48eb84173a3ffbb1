//! Samples of operations, made of what an observer sees of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_proto::kvrpcpb as pb;

use super::{Label, Metric, Sample, Sink};
use crate::machine::{Fault, Feedback, TransportClass, Why};
use crate::observe::event::{Asked, Call, End};
use crate::observe::{At, Event, Observer, Operation, Watch};
use crate::region_call::region_error_name;
use crate::request::{Command, response, source};
use crate::start::Start;
use crate::types::RegionId;

/// Makes the samples of every operation of a client.
#[derive(Debug)]
pub(crate) struct OperationMetrics {
    sink: Arc<dyn Sink>,
}

impl OperationMetrics {
    pub(crate) fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink }
    }
}

impl Observer for OperationMetrics {
    fn begins(&self, operation: &Operation<'_>) -> Option<Box<dyn Watch>> {
        let source = operation.options.request_source();
        let measured = Measured {
            sink: Arc::clone(&self.sink),
            internal: source::is_internal(source),
            source: if source.is_empty() { source::UNKNOWN.into() } else { source.into() },
            kind: Kind::of(operation.start),
            retries: 0,
            pauses: (0, Duration::ZERO),
            regions: [BTreeSet::new(), BTreeSet::new()],
        };
        measured.began(operation.start);
        Some(Box::new(measured))
    }
}

/// What an operation counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A transactional call.
    Txn(&'static str),
    /// A raw call.
    Raw(&'static str),
    /// A cleanup of the background.
    Cleanup(&'static str),
    /// None that is counted.
    Other,
}

impl Kind {
    fn of(start: &Start) -> Self {
        match start {
            Start::Get(_) => Self::Txn("get"),
            Start::BatchGet(_) => Self::Txn("batch_get"),
            Start::Commit(_) => Self::Txn("commit"),
            Start::RollBack { .. } => Self::Txn("rollback"),
            Start::CommitSecondaries { .. } => Self::Cleanup("commit"),
            Start::CleanLocks { .. } => Self::Cleanup("rollback"),
            Start::RawGet(_) => Self::Raw("get"),
            // client-go counts a put as a batch of one.
            Start::RawPut(_) | Start::RawBatchPut(_) => Self::Raw("batch_put"),
            Start::RawDelete(_) => Self::Raw("delete"),
            Start::RawBatchGet(_) => Self::Raw("batch_get"),
            Start::RawBatchDelete(_) => Self::Raw("batch_delete"),
            Start::RawScan(scan) if scan.reverse => Self::Raw("raw_reverse_scan"),
            Start::RawScan(_) => Self::Raw("raw_scan"),
            Start::RawDeleteRange(_) => Self::Raw("delete_range"),
            _ => Self::Other,
        }
    }
}

/// One operation.
struct Measured {
    sink: Arc<dyn Sink>,
    internal: bool,
    source: Arc<str>,
    kind: Kind,
    /// Attempts that were not the first of their request.
    retries: u32,
    pauses: (u32, Duration),
    /// Regions that reads or prewrites went to, and commits.
    regions: [BTreeSet<RegionId>; 2],
}

impl Measured {
    fn record(&self, metric: Metric, labels: &[Label], value: f64) {
        self.sink.record(&Sample::new(metric, labels, value));
    }

    fn seconds(&self, metric: Metric, labels: &[Label], time: Duration) {
        self.record(metric, labels, time.as_secs_f64());
    }

    fn count(&self, metric: Metric, labels: &[Label]) {
        self.record(metric, labels, 1.0);
    }

    fn scope(&self) -> Label {
        Label::Word(if self.internal { "internal" } else { "general" })
    }

    fn began(&self, start: &Start) {
        match start {
            Start::RawPut(put) => {
                self.record(Metric::RawkvSize, &["key".into()], put.key.len() as f64);
                self.record(Metric::RawkvSize, &["value".into()], put.value.len() as f64);
            }
            Start::Commit(commit) => {
                let bytes: usize = commit.mutations.iter().map(crate::txn::mutation::Mutation::size).sum();
                self.record(Metric::TxnWriteKvNum, &[self.scope()], commit.mutations.len() as f64);
                self.record(Metric::TxnWriteSize, &[self.scope()], bytes as f64);
            }
            _ => {}
        }
    }

    fn sent(&mut self, call: &Call<'_>) {
        self.retries += u32::from(call.attempt.retry);
        let region = call.attempt.to.region.id;
        match call.request.command() {
            Command::Prewrite | Command::Get | Command::BatchGet | Command::Scan => {
                self.regions[0].insert(region);
            }
            Command::Commit => {
                self.regions[1].insert(region);
            }
            Command::CheckTxnStatus => self.count(Metric::LockResolverActions, &["query_txn_status".into()]),
            Command::CheckSecondaryLocks => {
                self.count(Metric::LockResolverActions, &["query_check_secondary_locks".into()]);
            }
            Command::ResolveLock => {
                let lite = pb::ResolveLockRequest::decode(call.request.body().clone())
                    .is_ok_and(|request| !request.keys.is_empty());
                let action = if lite { "query_resolve_lock_lite" } else { "query_resolve_locks" };
                self.count(Metric::LockResolverActions, &[action.into()]);
            }
            _ => {}
        }
    }

    fn answered(&self, call: &Call<'_>, took: Duration, answer: Result<&Bytes, &Fault>) {
        let (command, store) = (call.request.command(), Label::from(call.attempt.to.store));
        let stale = call.attempt.asked == crate::machine::Asked::StaleRead;
        let (kind, stale) = (Label::Word(command.name()), Label::from(stale));
        let of_request = [kind, store, stale, self.internal.into(), Label::Name(Arc::clone(&self.source))];
        self.seconds(Metric::RequestSeconds, &of_request[..4], took);
        self.seconds(Metric::SourceRequestSeconds, &of_request, took);
        let [_, store, ..] = of_request;
        match answer {
            Ok(body) => self.answer(command, store, took, body),
            Err(fault) => self.count(Metric::RpcErrors, &[fault_name(fault).into(), store]),
        }
    }

    fn answer(&self, command: Command, store: Label, took: Duration, body: &Bytes) {
        if let Ok(Some(error)) = response::region_error(command, body) {
            self.count(Metric::RegionErrors, &[region_error_name(&error).into(), store]);
            return;
        }
        if let Ok(Some(details)) = response::exec_details(command, body) {
            let coarse = details.time_detail.map(|time| time.total_rpc_wall_time_ns);
            let nanos = details.time_detail_v2.map(|time| time.total_rpc_wall_time_ns).or(coarse);
            if let Some(nanos) = nanos.filter(|nanos| *nanos > 0) {
                let net = took.saturating_sub(Duration::from_nanos(nanos));
                self.seconds(Metric::RpcNetLatency, &[store, self.internal.into()], net);
            }
        }
        match command {
            Command::Prewrite => {
                let errors = pb::PrewriteResponse::decode(body.clone()).map(|answer| answer.errors);
                for _ in errors.unwrap_or_default().iter().filter(|error| error.conflict.is_some()) {
                    self.count(Metric::TxnWriteConflict, &[]);
                }
            }
            Command::CheckTxnStatus => self.status(body),
            _ => {}
        }
    }

    /// What a transaction whose lock was met has come to.
    fn status(&self, body: &Bytes) {
        let Ok(answer) = pb::CheckTxnStatusResponse::decode(body.clone()) else { return };
        let action = match (answer.error, answer.lock_ttl, answer.commit_version) {
            (None, 0, 0) => "query_txn_status_rolled_back",
            (None, 0, _) => "query_txn_status_committed",
            _ => return,
        };
        self.count(Metric::LockResolverActions, &[action.into()]);
    }

    fn told(&self, asked: Asked, took: Duration, failed: bool) {
        let name = match asked {
            Asked::Timestamp => {
                self.seconds(Metric::TsFutureWait, &[], took);
                return;
            }
            // Answered by PD as it is: no region comes into the directory.
            Asked::Pd => return,
            Asked::Region => "get_region_when_miss",
            Asked::RegionById => "get_region_by_id",
            Asked::Regions => "scan_regions",
        };
        self.seconds(Metric::LoadRegionCache, &[name.into()], took);
        self.cache(name, failed);
    }

    fn cache(&self, operation: &'static str, failed: bool) {
        let result = if failed { "err" } else { "ok" };
        self.count(Metric::RegionCacheOperations, &[operation.into(), result.into()]);
    }

    fn ended(&self, took: Duration, how: End) {
        if self.retries > 0 {
            self.record(Metric::RequestRetryTimes, &[], f64::from(self.retries));
        }
        match self.kind {
            Kind::Txn(name) => {
                self.seconds(Metric::TxnCmdDuration, &[name.into(), self.scope()], took);
                self.txn_ended(name, how);
            }
            Kind::Raw(name) => {
                let failed = name == "delete_range" && how != End::Done;
                let name = if failed { "delete_range_error" } else { name };
                self.seconds(Metric::RawkvCmd, &[name.into()], took);
            }
            Kind::Cleanup(name) => {
                if how != End::Done {
                    self.count(Metric::LockCleanupTasks, &[name.into()]);
                }
            }
            Kind::Other => {}
        }
    }

    fn txn_ended(&self, name: &'static str, how: End) {
        let [first, commits] = [self.regions[0].len(), self.regions[1].len()];
        let regions = |kind: &'static str, count: usize| {
            if count > 0 {
                self.record(Metric::TxnRegionsNum, &[kind.into(), self.scope()], count as f64);
            }
        };
        if name != "commit" {
            return regions("snapshot", first);
        }
        regions("2pc_prewrite", first);
        regions("2pc_commit", commits);
        let result = if how == End::Done { "ok" } else { "err" };
        self.count(Metric::CommitTxn, &[result.into()]);
        if self.pauses.0 > 0 {
            self.record(Metric::TxnCommitBackoffCount, &[], f64::from(self.pauses.0));
            self.seconds(Metric::TxnCommitBackoffSeconds, &[], self.pauses.1);
        }
    }
}

/// A request that got no answer, as a label.
///
/// client-go: `internal/locate/region_request.go: onSendFail` (the texts of its errors).
fn fault_name(fault: &Fault) -> &'static str {
    match fault {
        Fault::Transport(fault) | Fault::Late(fault) => match fault.class {
            TransportClass::Unreachable => "unreachable",
            TransportClass::Lost => "lost",
            TransportClass::TimedOut => "read-timeout",
            TransportClass::Rejected(1) => "grpc-canceled",
            TransportClass::Rejected(_) => "rejected",
        },
        Fault::Interrupted(_) => "context-canceled",
        Fault::Overloaded => "overloaded",
        Fault::Refused(_) => "refused",
    }
}

impl Watch for Measured {
    fn see(&mut self, event: &Event<'_>, _: At) {
        match event {
            Event::Sent(call) => self.sent(call),
            Event::Answered { call, took, answer } => self.answered(call, *took, *answer),
            Event::Told { asked, took, fault } => self.told(*asked, *took, fault.is_some()),
            Event::Paused { why: Why::BackOff(kind), pause } => {
                self.pauses.0 += 1;
                self.pauses.1 += *pause;
                self.seconds(Metric::BackoffSeconds, &[(*kind).into()], *pause);
            }
            Event::Learned(Feedback::Stale { .. }) => self.cache("invalidate_region_from_cache", false),
            Event::Learned(Feedback::Unreachable { .. }) => self.cache("send_fail", false),
            Event::Ended { took, how } => self.ended(*took, *how),
            _ => {}
        }
    }
}
