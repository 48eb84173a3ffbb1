//! Categories, options of traces, and what a collector adds up.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tikv_proto::kvrpcpb as pb;

use super::event::{Asked, Call, End};
use super::*;
use crate::details::SlowRequest;
use crate::machine::{Attempt, TicketId, Why};
use crate::request::{Command, Profile, Request, RequestOptions, TraceFlags, TraceId, Typed};
use crate::start::{self, Start};
use crate::txn::mutation::{Mutation, Op};
use crate::types::{Located, PeerId, RegionId, RegionVersion, StoreId, Timestamp};

const MS: Duration = Duration::from_millis(1);

const TICKET: TicketId = TicketId::new(0, 0);

fn at(ms: u64) -> At {
    At { now: Instant(ms * 1_000_000), wall: WallTime(ms) }
}

fn attempt(region: u64) -> Attempt {
    let version = RegionVersion { id: RegionId(region), version: 1, conf_ver: 1 };
    let to = Located { region: version, peer: PeerId(1), store: StoreId(region + 10) };
    Attempt::first(to)
}

fn request<M: Typed>(message: &M) -> Request {
    Request::new(message, Profile::default())
}

/// client-go: `trace/trace_test.go: TestTraceControlExtractor`; a function for the whole process there, options here.
#[test]
fn a_trace_id_asks_for_requests_to_be_traced_unless_flags_say_otherwise() {
    let id = || TraceId::new(&b"\x01\x02"[..]);
    assert_eq!(RequestOptions::new().flags(), TraceFlags::NONE);
    assert_eq!(RequestOptions::new().trace_id(id()).flags(), TraceFlags::REQUEST);
    let both = TraceFlags::IMMEDIATE_LOG | TraceFlags::REQUEST;
    let options = RequestOptions::new().trace_flags(both).trace_id(id());
    assert_eq!(options.flags(), both);
    assert!(
        options.flags().has(TraceFlags::IMMEDIATE_LOG) && !options.flags().has(TraceFlags::WRITE_DETAILS)
    );
    let none = options.trace_flags(TraceFlags::NONE);
    assert_eq!(none.flags(), TraceFlags::NONE);
}

/// client-go: `trace/trace_test.go: TestTraceIDContext`.
#[test]
fn the_innermost_trace_id_counts() {
    let outer = RequestOptions::new().trace_id(TraceId::new(&b"\x01\x02"[..]));
    let inner = RequestOptions::new().trace_id(TraceId::new(&b"\x06\x07"[..]));
    assert_eq!(RequestOptions::new().as_context().trace_id, Bytes::new());
    assert_eq!(outer.as_context().trace_id, &b"\x01\x02"[..]);
    assert_eq!(outer.and(&inner).as_context().trace_id, &b"\x06\x07"[..]);
    assert_eq!(outer.and(&RequestOptions::new()).as_context().trace_id, &b"\x01\x02"[..]);
}

#[test]
fn events_are_sorted_by_what_they_are_about() {
    assert_eq!(Category::of(Command::Prewrite), Category::Commit);
    assert_eq!(Category::of(Command::ResolveLock), Category::Locks);
    assert_eq!(Category::of(Command::RawGet), Category::Requests);
    let asked = Event::Asked(Asked::Region);
    assert_eq!((asked.category(), asked.name()), (Some(Category::Regions), "client.ask"));
    let get = request(&pb::GetRequest::default());
    let to = attempt(1);
    let sent = Event::Sent(Call::new(TICKET, &get, &to));
    assert_eq!((sent.category(), sent.name()), (Some(Category::Requests), "kv.request.send"));
}

fn details(nanos: u64) -> Option<Box<pb::ExecDetailsV2>> {
    Some(Box::new(pb::ExecDetailsV2 {
        time_detail_v2: Some(pb::TimeDetailV2 { process_wall_time_ns: nanos, ..Default::default() }),
        ru_v2: Some(pb::Ruv2 { storage_processed_keys_get: 3, ..Default::default() }),
        ..Default::default()
    }))
}

#[test]
fn a_collector_adds_up_requests_pauses_bytes_and_what_stores_say() {
    let collector = Collector::default();
    let start = Start::Get(start::Get { key: "k".into(), ts: Timestamp(9), own: None });
    let options = RequestOptions::new();
    let get = request(&pb::GetRequest { key: "k".into(), version: 9, ..Default::default() });
    let answer = pb::GetResponse { value: "value".into(), exec_details_v2: details(5), ..Default::default() };
    let answer: Bytes = answer.encode_to_vec().into();
    let to = attempt(7);
    let call = Call::new(TICKET, &get, &to);
    let mut watch = collector.begins(&Operation::new(&start, false, Instant::FAR, &options)).unwrap();
    for (ms, event) in [
        (0, Event::Told { asked: Asked::Region, took: 2 * MS, fault: None }),
        (1, Event::Sent(call)),
        (1, Event::Paused { why: Why::BackOff("tikvRPC"), pause: 4 * MS }),
        (4, Event::Answered { call, took: 3 * MS, answer: Ok(&answer) }),
        (5, Event::Ended { took: 5 * MS, how: End::Done }),
    ] {
        watch.see(&event, at(ms));
    }
    let exec = collector.exec();
    assert_eq!((exec.calls, exec.failed, exec.requests, exec.pauses), (1, 0, 1, 1));
    assert_eq!((exec.time, exec.store_time, exec.pd_time, exec.pause_time), (5 * MS, 3 * MS, 2 * MS, 4 * MS));
    assert_eq!(exec.traffic.sent, get.body().len() as u64);
    assert_eq!(exec.traffic.received, answer.len() as u64);
    assert_eq!(exec.stores.time.process, Duration::from_nanos(5));
    let units = collector.units().take_counters().unwrap();
    assert_eq!((units.storage_processed_keys_get, units.read_rpc_count, units.write_rpc_count), (3, 1, 0));
    let requests = collector.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].command, requests[0].answered), (Command::Get, true));
    assert_eq!(requests[0].request.store, StoreId(17));
    insta::assert_snapshot!(exec.to_string(), @"1 calls (0 failed) in 5ms: 1 requests 3ms, pd 2ms, 1 pauses 4ms, sent 5 Bytes, received 17 Bytes; time_detail: {total_process_time: 5ns}");
    collector.clear();
    assert_eq!(collector.exec().calls, 0);
}

/// client-go: `internal/locate/metrics_collector_test.go: TestNetworkCollectorOnReq, TestNetworkCollectorOnResp`.
#[test]
fn traffic_of_tiflash_is_counted_by_itself() {
    let collector = Collector::default();
    let start = Start::Get(start::Get { key: "k".into(), ts: Timestamp(9), own: None });
    let options = RequestOptions::new();
    let task = request(&tikv_proto::mpp::DispatchTaskRequest { timeout: 5, ..Default::default() });
    let to = attempt(7);
    let call = Call::new(TICKET, &task, &to);
    let answer = Bytes::from_static(&[0; 9]);
    let mut watch = collector.begins(&Operation::new(&start, false, Instant::FAR, &options)).unwrap();
    watch.see(&Event::Sent(call), at(0));
    watch.see(&Event::Answered { call, took: MS, answer: Ok(&answer) }, at(1));
    let traffic = collector.exec().traffic;
    assert_eq!((traffic.tiflash_sent, traffic.tiflash_received), (task.body().len() as u64, 9));
    assert_eq!((traffic.sent, traffic.received), (0, 0));
}

#[test]
fn a_collector_tells_the_phases_of_a_commit() {
    let mutations = vec![Mutation { key: "a".into(), op: Op::Put("value".into()) }];
    let commit = start::Commit { start_ts: Timestamp(1), begun: Instant(0), mutations };
    let (start, options) = (Start::Commit(commit), RequestOptions::new());
    let (prewrite, commit) =
        (request(&pb::PrewriteRequest::default()), request(&pb::CommitRequest::default()));
    let status = request(&pb::CheckTxnStatusRequest::default());
    let (one, two) = (attempt(1), attempt(2));
    let slow: Bytes =
        pb::PrewriteResponse { exec_details_v2: details(9), ..Default::default() }.encode_to_vec().into();
    let quick = Bytes::new();
    let (p1, p2) = (Call::new(TICKET, &prewrite, &one), Call::new(TICKET, &prewrite, &two));
    let (check, c1) = (Call::new(TICKET, &status, &one), Call::new(TICKET, &commit, &one));
    let collector = Collector::default();
    let mut watch = collector.begins(&Operation::new(&start, false, Instant::FAR, &options)).unwrap();
    for (ms, event) in [
        (0, Event::Sent(p1)),
        (1, Event::Sent(p2)),
        (2, Event::Answered { call: p2, took: MS, answer: Ok(&quick) }),
        (3, Event::Sent(check)),
        (4, Event::Answered { call: check, took: MS, answer: Ok(&quick) }),
        (5, Event::Paused { why: Why::BackOff("txnLock"), pause: 2 * MS }),
        (9, Event::Answered { call: p1, took: 9 * MS, answer: Ok(&slow) }),
        (11, Event::Told { asked: Asked::Timestamp, took: 2 * MS, fault: None }),
        (11, Event::Sent(c1)),
        (12, Event::Paused { why: Why::BackOff("tikvRPC"), pause: MS }),
        (15, Event::Answered { call: c1, took: 4 * MS, answer: Ok(&quick) }),
        (15, Event::Ended { took: 15 * MS, how: End::Done }),
    ] {
        watch.see(&event, at(ms));
    }
    let told = collector.commit();
    assert_eq!((told.prewrite, told.get_commit_ts, told.commit), (9 * MS, 2 * MS, 4 * MS));
    assert_eq!((told.resolve_locks, told.pauses), (6 * MS, 3 * MS));
    assert_eq!((told.prewrite_pauses, told.commit_pauses), (vec!["txnLock"], vec!["tikvRPC"]));
    assert_eq!((told.write_keys, told.write_bytes), (1, 6));
    assert_eq!((told.prewrite_regions, told.prewrite_requests), (2, 2));
    let of = |request: &SlowRequest| (request.time, request.region, request.store);
    assert_eq!(of(&told.slowest_prewrite), (9 * MS, RegionId(1), StoreId(11)));
    assert_eq!(told.slowest_prewrite.details.time.process, Duration::from_nanos(9));
    assert_eq!(of(&told.commit_primary), (4 * MS, RegionId(1), StoreId(11)));
}
