//! The catalogue, and the samples that operations make.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use prost::Message;
use tikv_proto::{errorpb, kvrpcpb as pb};

use super::*;
use crate::error::ErrorKind;
use crate::machine::{Attempt, Fault, Feedback, StaleReason, TicketId, TransportClass, TransportFault, Why};
use crate::observe::event::{Asked, Call, End};
use crate::observe::{At, Event, Observer, Operation};
use crate::request::{Profile, Request, RequestOptions, RequestSource, Typed};
use crate::start::{self, Purpose, Start};
use crate::txn::mutation::{Mutation, Op};
use crate::types::{Instant, Located, PeerId, RegionId, RegionVersion, StoreId, Timestamp, WallTime};

#[test]
fn the_catalogue_of_metrics() {
    let mut table = String::new();
    for &metric in Metric::ALL {
        let bounds = metric.buckets().bounds();
        let ends = bounds.first().zip(bounds.last());
        let buckets =
            ends.map_or(String::new(), |(first, last)| format!("{first}..{last:.4} by {}", bounds.len()));
        let (name, kind, labels) = (metric.name(), metric.kind(), metric.labels().join(","));
        writeln!(table, "{name} {kind:?} [{labels}] {buckets}").unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn another_namespace_and_subsystem_leave_indicators_of_the_service_level_as_they_are() {
    assert_eq!(Metric::RequestSeconds.name_in("app", Some("kv")), "app_kv_request_seconds");
    assert_eq!(Metric::RequestSeconds.name_in("", Some("")), "request_seconds");
    assert_eq!(Metric::SmallReadDuration.name_in("app", Some("kv")), "app_sli_tikv_small_read_duration");
}

/// Writes samples down, a line each.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Sink for Lines {
    fn record(&self, sample: &Sample<'_>) {
        let named = sample.metric.labels().iter().zip(sample.labels);
        let labels: Vec<_> = named.map(|(name, value)| format!("{name}={value}")).collect();
        let line = format!("{}{{{}}} {}", sample.metric.short_name(), labels.join(","), sample.value);
        self.0.lock().unwrap().push(line);
    }
}

impl Lines {
    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join("\n")
    }
}

const AT: At = At { now: Instant(0), wall: WallTime(0) };

/// The samples of an operation that begins so and to which this happens.
fn samples(start: &Start, options: &RequestOptions, events: &[Event<'_>]) -> String {
    let lines = Lines::default();
    let metrics = OperationMetrics::new(Arc::new(lines.clone()));
    let operation = Operation::new(start, false, Instant::FAR, options);
    let mut watch = metrics.begins(&operation).unwrap();
    events.iter().for_each(|event| watch.see(event, AT));
    lines.take()
}

fn attempt(region: u64, store: u64, retry: bool) -> Attempt {
    let region = RegionVersion { id: RegionId(region), version: 1, conf_ver: 1 };
    let to = Located { region, peer: PeerId(1), store: StoreId(store) };
    Attempt { retry, ..Attempt::first(to) }
}

fn request<M: Typed>(message: &M) -> Request {
    Request::new(message, Profile::default())
}

const MS: Duration = Duration::from_millis(1);

const TICKET: TicketId = TicketId::new(0, 0);

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

#[test]
fn a_raw_get_that_is_sent_twice_counts_its_error_its_pause_and_its_retry() {
    let start = Start::RawGet(start::RawGet { key: "k".into(), cf: "".into() });
    let get = request(&pb::RawGetRequest::default());
    let (first, second) = (attempt(7, 1, false), attempt(7, 2, true));
    let not_leader = errorpb::Error { not_leader: Some(errorpb::NotLeader::default()), ..Default::default() };
    let refused = pb::RawGetResponse { region_error: Some(Box::new(not_leader)), ..Default::default() };
    let (refused, found) = (encoded(&refused), encoded(&pb::RawGetResponse::default()));
    let (first, second) = (Call::new(TICKET, &get, &first), Call::new(TICKET, &get, &second));
    let stale = Feedback::Stale { region: second.attempt.to.region, why: StaleReason::NoLeader };
    let text = samples(
        &start,
        &RequestOptions::new(),
        &[
            Event::Asked(Asked::Region),
            Event::Told { asked: Asked::Region, took: MS, fault: None },
            Event::Sent(first),
            Event::Answered { call: first, took: MS, answer: Ok(&refused) },
            Event::Learned(&stale),
            Event::Paused { why: Why::BackOff("regionScheduling"), pause: 2 * MS },
            Event::Sent(second),
            Event::Answered { call: second, took: 3 * MS, answer: Ok(&found) },
            Event::Ended { took: 9 * MS, how: End::Done },
        ],
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_commit_counts_what_it_writes_its_regions_its_conflicts_and_how_it_ends() {
    let mutations = vec![
        Mutation { key: "a".into(), op: Op::Put("value".into()) },
        Mutation { key: "b".into(), op: Op::Delete },
    ];
    let commit = start::Commit { start_ts: Timestamp(1), begun: Instant(0), mutations };
    let (start, options) =
        (Start::Commit(commit), RequestOptions::new().source(RequestSource::internal("stats")));
    let prewrite = request(&pb::PrewriteRequest::default());
    let (one, two) = (attempt(7, 1, false), attempt(8, 1, false));
    let conflict = pb::KeyError { conflict: Some(pb::WriteConflict::default()), ..Default::default() };
    let timed = pb::ExecDetailsV2 {
        time_detail_v2: Some(pb::TimeDetailV2 { total_rpc_wall_time_ns: 1_000_000, ..Default::default() }),
        ..Default::default()
    };
    let refused = pb::PrewriteResponse {
        errors: vec![conflict],
        exec_details_v2: Some(Box::new(timed)),
        ..Default::default()
    };
    let refused = encoded(&refused);
    let (one, two) = (Call::new(TICKET, &prewrite, &one), Call::new(TICKET, &prewrite, &two));
    let lost = Fault::Transport(TransportFault::new(TransportClass::Lost, "gone"));
    let text = samples(
        &start,
        &options,
        &[
            Event::Sent(one),
            Event::Sent(two),
            Event::Answered { call: one, took: 3 * MS, answer: Ok(&refused) },
            Event::Answered { call: two, took: MS, answer: Err(&lost) },
            Event::Paused { why: Why::BackOff("tikvRPC"), pause: 2 * MS },
            Event::Ended { took: 9 * MS, how: End::Failed(ErrorKind::Conflict) },
        ],
    );
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_done_about_locks_is_counted() {
    let start = Start::Get(start::Get { key: "k".into(), ts: Timestamp(9), own: None });
    let check = request(&pb::CheckTxnStatusRequest::default());
    let secondaries = request(&pb::CheckSecondaryLocksRequest::default());
    let lite = request(&pb::ResolveLockRequest { keys: vec!["k".into()], ..Default::default() });
    let whole = request(&pb::ResolveLockRequest::default());
    let to = attempt(7, 1, false);
    let committed = encoded(&pb::CheckTxnStatusResponse { commit_version: 5, ..Default::default() });
    let gone = encoded(&pb::CheckTxnStatusResponse::default());
    let lives = encoded(&pb::CheckTxnStatusResponse { lock_ttl: 5, ..Default::default() });
    let mut events = Vec::new();
    for answer in [&committed, &gone, &lives] {
        let call = Call::new(TICKET, &check, &to);
        events.push(Event::Sent(call));
        events.push(Event::Answered { call, took: MS, answer: Ok(answer) });
    }
    events.extend([&secondaries, &lite, &whole].map(|request| Event::Sent(Call::new(TICKET, request, &to))));
    let text = samples(&start, &RequestOptions::new(), &events);
    let actions: Vec<_> = text.lines().filter(|line| line.starts_with("lock_resolver")).collect();
    insta::assert_snapshot!(actions.join("\n"));
}

#[test]
fn a_timestamp_counts_as_a_wait_for_one_and_a_range_delete_that_fails_as_one_that_failed() {
    let start = Start::Timestamp(start::Timestamp { purpose: Purpose::Current });
    let told = Event::Told { asked: Asked::Timestamp, took: MS, fault: None };
    let text = samples(&start, &RequestOptions::new(), &[told]);
    assert_eq!(text, "ts_future_wait_seconds{} 0.001");
    let range = start::RawDeleteRange { range: ("a".."b").into(), cf: "".into() };
    let ended = Event::Ended { took: MS, how: End::Dropped };
    let text = samples(&Start::RawDeleteRange(range), &RequestOptions::new(), &[ended]);
    assert_eq!(text, "rawkv_cmd_seconds{type=delete_range_error} 0.001");
}

/// client-go: `metrics/metrics.go: ObserveReadSLI`.
#[test]
fn a_programs_read_counts_by_its_time_when_small_and_else_by_its_throughput() {
    let lines = Lines::default();
    observe_read(&lines, 20, 10 * MS, (1 << 20) - 1);
    observe_read(&lines, 21, 500 * MS, 1000);
    observe_read(&lines, 1, 500 * MS, 1 << 20);
    observe_read(&lines, 0, MS, 9);
    observe_read(&lines, 1, Duration::ZERO, 9);
    let expected =
        "tikv_small_read_duration{} 0.01\ntikv_read_throughput{} 2000\ntikv_read_throughput{} 2097152";
    assert_eq!(lines.take(), expected);
}

/// client-go observes the time of a checksum into the histogram of sizes.
#[test]
fn fixes_times_in_the_histogram_of_sizes() {
    let scan =
        start::RawScan { range: ("a".."b").into(), limit: 1, reverse: true, keys_only: false, cf: "".into() };
    let ended = Event::Ended { took: MS, how: End::Done };
    let text = samples(&Start::RawScan(scan), &RequestOptions::new(), &[ended]);
    assert_eq!(text, "rawkv_cmd_seconds{type=raw_reverse_scan} 0.001");
    assert!(!text.contains("rawkv_kv_size_bytes"));
}

#[cfg(feature = "metrics")]
mod facade {
    use std::collections::BTreeMap;

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
        SharedString, Unit,
    };

    use super::*;

    /// A recorder that keeps sums by series.
    #[derive(Clone, Default)]
    struct Sums(Arc<Mutex<BTreeMap<String, f64>>>);

    struct Series(Sums, String);

    impl Series {
        fn add(&self, value: f64) {
            *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
        }
    }

    impl CounterFn for Series {
        fn increment(&self, value: u64) {
            self.add(value as f64);
        }
        fn absolute(&self, _: u64) {}
    }

    impl GaugeFn for Series {
        fn increment(&self, _: f64) {}
        fn decrement(&self, _: f64) {}
        fn set(&self, value: f64) {
            self.add(value);
        }
    }

    impl HistogramFn for Series {
        fn record(&self, value: f64) {
            self.add(value);
        }
    }

    impl Sums {
        fn series(&self, key: &Key) -> Arc<Series> {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Series(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
        }
    }

    impl Recorder for Sums {
        fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
            self.0.lock().unwrap().insert(format!("described {}", key.as_str()), 0.0);
        }
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.series(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.series(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.series(key))
        }
    }

    /// client-go: `metrics/metrics.go: InitMetricsWithConstLabels`.
    #[test]
    fn a_recorder_gets_names_labels_and_the_programs_own_constant_labels() {
        let sums = Sums::default();
        let facade = Facade::named(sums.clone(), "app", "kv", [("zone".to_owned(), "z1".to_owned())]);
        let labels = [Label::Word("not_leader"), Label::Store(StoreId(4))];
        for _ in 0..3 {
            facade.record(&Sample::new(Metric::RegionErrors, &labels, 1.0));
        }
        Facade::new(sums.clone()).record(&Sample::new(Metric::TsFutureWait, &[], 0.5));
        let sums = sums.0.lock().unwrap();
        assert_eq!(sums["app_kv_region_err_total{type=not_leader,store=4,zone=z1}"], 3.0);
        assert_eq!(sums["tikv_client_go_ts_future_wait_seconds{}"], 0.5);
        assert!(sums.contains_key("described app_kv_commit_txn_counter"));
    }
}
