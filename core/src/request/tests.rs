//! The table of commands, held against the schema that TiKV is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};

use tikv_proto::kvrpcpb as pb;

use super::*;
use crate::types::{Located, PeerId, RegionId, RegionVersion, StoreId};

const SCHEMA: &[(&str, &str)] = &[
    ("kvrpcpb", include_str!("../../../proto/protos/kvrpcpb.proto")),
    ("coprocessor", include_str!("../../../proto/protos/coprocessor.proto")),
    ("mpp", include_str!("../../../proto/protos/mpp.proto")),
    ("debugpb", include_str!("../../../proto/protos/debugpb.proto")),
    ("tikvpb", include_str!("../../../proto/protos/tikvpb.proto")),
];

/// The types of a command's messages, as `package.message` in the case of Rust.
struct Names;

impl Visitor for Names {
    type Output = (String, String);

    fn visit<Q: Message + Default + Debug, R: Message + Default + Debug>(self) -> (String, String) {
        let short = |name: &str| {
            let mut parts = name.rsplit("::");
            let (message, package) = (parts.next().unwrap(), parts.next().unwrap());
            format!("{package}.{message}")
        };
        (short(std::any::type_name::<Q>()), short(std::any::type_name::<R>()))
    }
}

/// A field of the schema: its type, name and number.
type Declared = (String, String, u32);

/// The fields of every message, by `package.message`, in lower case.
fn schema() -> BTreeMap<String, Vec<Declared>> {
    let mut all = BTreeMap::new();
    for (package, text) in SCHEMA {
        let mut message: Option<(String, Vec<Declared>)> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("message ") {
                let name = rest.split([' ', '{']).next().unwrap();
                message = Some((format!("{package}.{name}").to_lowercase(), Vec::new()));
                if line.ends_with('}') {
                    let (name, fields) = message.take().unwrap();
                    all.insert(name, fields);
                }
            } else if line == "}" {
                all.extend(message.take());
            } else if let Some((_, fields)) = &mut message {
                fields.extend(declared(line));
            }
        }
    }
    all
}

fn declared(line: &str) -> Option<Declared> {
    let (left, right) = line.split_once('=')?;
    let number = right.trim().split([';', ' ']).next()?.parse().ok()?;
    let mut words = left.split_whitespace().rev();
    let (name, of) = (words.next()?, words.next()?);
    Some((of.rsplit('.').next()?.to_owned(), name.to_owned(), number))
}

fn number(fields: &[Declared], wanted: impl Fn(&Declared) -> bool) -> Option<u32> {
    fields.iter().find(|field| wanted(field)).map(|field| field.2)
}

#[test]
fn every_field_of_the_table_stands_where_the_schema_has_it() {
    let schema = schema();
    for &command in Command::ALL {
        let (request, response) = command.visit(Names);
        let request = &schema[&request.to_lowercase()];
        let response = &schema[&response.to_lowercase()];
        let context = number(request, |field| field.1 == "context");
        assert_eq!(command.context_field(), context, "{command:?}: context");
        let region_error = number(response, |field| field.1 == "region_error");
        assert_eq!(command.region_error_field(), region_error, "{command:?}: region error");
        let key_error = number(response, |field| field.0 == "KeyError");
        assert_eq!(command.key_error_field(), key_error, "{command:?}: key error");
        let details = number(response, |field| field.0 == "ExecDetailsV2");
        assert_eq!(command.details_field(), details, "{command:?}: details");
        let names = ["start_version", "start_ts", "max_version", "lock_ts", "version"];
        let start = names.iter().find_map(|name| number(request, |field| field.1 == *name));
        // A flashback's `version` and others are no timestamp of a transaction: the table has fewer, never others.
        if let Some(field) = command.start_ts_field() {
            let declared = request.iter().find(|declared| declared.2 == field).unwrap();
            assert_eq!(declared.0, "uint64", "{command:?}: start timestamp");
            assert!(names.contains(&&*declared.1), "{command:?}: {}", declared.1);
        } else {
            let without = matches!(
                command,
                Command::EstablishMppConnection
                    | Command::DispatchMppTask
                    | Command::CancelMppTask
                    | Command::Compact
                    | Command::TiFlashSystemTable
            );
            let admin = command.level() != Level::Region || command.is_raw();
            assert!(start.is_none() || without || admin, "{command:?} reads at {start:?}");
        }
    }
}

#[test]
fn batched_commands_are_those_of_the_stream() {
    let text = SCHEMA[4].1;
    let cmd = text.split("oneof cmd {").nth(1).unwrap().split('}').next().unwrap();
    let mut stream: BTreeMap<u32, String> =
        cmd.lines().filter_map(|line| declared(line).map(|(of, _, tag)| (tag, of.to_lowercase()))).collect();
    // Of tests, and of an importer that was taken out.
    stream.remove(&255);
    stream.remove(&5);
    let ours: BTreeMap<u32, String> = Command::ALL
        .iter()
        .filter_map(|command| {
            let request = command.visit(Names).0;
            let name = request.rsplit('.').next().unwrap().to_lowercase();
            Some((command.batch_tag()?, name))
        })
        .collect();
    assert_eq!(ours, stream);
}

#[test]
fn numbers_and_names_are_unique_and_a_number_finds_its_command() {
    let numbers: BTreeSet<_> = Command::ALL.iter().map(|command| command.number()).collect();
    let names: BTreeSet<_> = Command::ALL.iter().map(|command| command.name()).collect();
    let paths: BTreeSet<_> = Command::ALL.iter().map(|command| command.path()).collect();
    assert_eq!([numbers.len(), names.len(), paths.len()], [Command::ALL.len(); 3]);
    for &command in Command::ALL {
        assert_eq!(Command::of_number(command.number()), Some(command));
    }
    assert_eq!(Command::of_number(0), None);
}

#[test]
fn the_table_of_commands() {
    let mut table = String::new();
    for &command in Command::ALL {
        let mut marks = String::new();
        for (mark, set) in [
            ("writes ", command.writes()),
            ("once ", !command.repeats_safely()),
            ("to-its-end ", !command.is_interruptible()),
            ("raw ", command.is_raw()),
            ("read ", command.is_read()),
            ("at-ts ", command.reads_at_timestamp()),
        ] {
            if set {
                marks.push_str(mark);
            }
        }
        let (travel, level) = (command.travel(), command.level());
        writeln!(table, "{:<26} {travel:?} {level:?} {}", command.name(), marks.trim_end()).unwrap();
    }
    insta::assert_snapshot!(table);
}

fn attempt(region: u64) -> Attempt {
    let region = RegionVersion { id: RegionId(region), version: 2, conf_ver: 3 };
    let to = Located { region, peer: PeerId(4), store: StoreId(5) };
    Attempt { retry: true, max_execution_ms: 6, ..Attempt::first(to) }
}

/// client-go: `TestAttachContextSetsRequestContext`, `TestTiDB51921`: there the message is changed in place, here each attempt
/// has bytes of its own.
#[test]
fn each_attempt_has_its_context_and_the_request_stays_as_it_was() {
    let message = pb::GetRequest { key: "k".into(), version: 7, ..Default::default() };
    let request = Request::new(&message, Profile::default());
    let before = request.body().clone();
    let (first, second) =
        (request.whole(&Profile::default(), &attempt(8)), request.whole(&Profile::default(), &attempt(9)));
    let region = |whole: Bytes| pb::GetRequest::decode(whole).unwrap().context.unwrap().region_id;
    assert_eq!((region(first), region(second)), (8, 9));
    assert_eq!(*request.body(), before);
}

#[test]
fn a_request_to_a_store_names_no_region_and_one_without_context_gets_none() {
    let store = Request::new(&pb::UnsafeDestroyRangeRequest::default(), Profile::default());
    let whole = pb::UnsafeDestroyRangeRequest::decode(store.whole(&Profile::default(), &attempt(0))).unwrap();
    let context = whole.context.unwrap();
    assert_eq!((context.region_id, context.region_epoch, context.peer), (0, None, None));
    assert!(context.is_retry_request);
    let bare = pb::StoreSafeTsRequest { key_range: Some(pb::KeyRange::default()) };
    let request = Request::new(&bare, Profile::default());
    assert_eq!(
        pb::StoreSafeTsRequest::decode(request.whole(&Profile::default(), &attempt(0))).unwrap(),
        bare
    );
}

/// client-go leaves the context of these two empty: what belongs in it (the source, the resource group's tag) gets lost.
#[test]
fn fixes_a_broadcast_and_a_health_check_without_context() {
    let profile = Profile::new(&pb::Context { request_source: "external_test".into(), ..Default::default() });
    let broadcast = Request::new(&pb::BroadcastTxnStatusRequest::default(), profile.clone());
    let health = Request::new(&pb::GetHealthFeedbackRequest::default(), profile);
    let broadcast =
        pb::BroadcastTxnStatusRequest::decode(broadcast.whole(&Profile::default(), &attempt(0))).unwrap();
    let health =
        pb::GetHealthFeedbackRequest::decode(health.whole(&Profile::default(), &attempt(0))).unwrap();
    assert_eq!(broadcast.context.unwrap().request_source, "external_test");
    assert_eq!(health.context.unwrap().request_source, "external_test");
}

/// client-go counts request units of these as if they read.
#[test]
fn fixes_raw_writes_that_were_counted_as_reads() {
    for command in [Command::RawBatchDelete, Command::RawDeleteRange, Command::RawCompareAndSwap] {
        assert!(command.writes() && command.is_raw());
    }
}

#[test]
fn the_start_timestamp_is_read_from_the_encoded_request() {
    let of = |request: Request| request.start_ts().0;
    let none = Profile::default;
    let get = pb::GetRequest { key: "k".into(), version: 7, ..Default::default() };
    assert_eq!(of(Request::new(&get, none())), 7);
    let status = pb::CheckTxnStatusRequest { lock_ts: 8, caller_start_ts: 9, ..Default::default() };
    assert_eq!(of(Request::new(&status, none())), 8);
    let scan = pb::ScanLockRequest { max_version: 10, limit: 3, ..Default::default() };
    assert_eq!(of(Request::new(&scan, none())), 10);
    let cop = coprocessor::Request { start_ts: 11, tp: 104, ..Default::default() };
    assert_eq!(of(Request::coprocessor_stream(&cop, none())), 11);
    assert_eq!(of(Request::new(&pb::RawGetRequest { key: "k".into(), ..Default::default() }, none())), 0);
}

#[test]
fn region_errors_and_details_are_found_at_each_commands_own_place() {
    let error = tikv_proto::errorpb::Error { message: "gone".into(), ..Default::default() };
    let details = pb::ExecDetailsV2 {
        time_detail_v2: Some(pb::TimeDetailV2 { wait_wall_time_ns: 5, ..Default::default() }),
        ..Default::default()
    };
    let cop = coprocessor::Response {
        region_error: Some(Box::new(error.clone())),
        exec_details_v2: Some(Box::new(details)),
        ..Default::default()
    };
    let cop: Bytes = cop.encode_to_vec().into();
    assert_eq!(response::region_error(Command::Coprocessor, &cop), Ok(Some(error)));
    assert_eq!(response::exec_details(Command::Coprocessor, &cop), Ok(Some(details)));
    // A raw answer's first field is its region error, its second a text: neither is a detail.
    let raw: Bytes = pb::RawPutResponse { error: "no".into(), ..Default::default() }.encode_to_vec().into();
    assert_eq!(response::exec_details(Command::RawPut, &raw), Ok(None));
}
