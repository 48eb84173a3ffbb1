//! Raw commands.

use proptest::prelude::*;
use tikv_proto::kvrpcpb::*;

use super::*;

fn raw_put(bench: &mut Bench, key: &str, value: &str, cf: &str) -> String {
    let context = Some(bench.context_at(key.as_bytes()));
    let request = RawPutRequest {
        context,
        key: owned(key),
        value: owned(value),
        cf: cf.to_owned(),
        ..Default::default()
    };
    ask!(bench, RawPut, request).error
}

fn raw_get(bench: &mut Bench, key: &str, cf: &str) -> Option<Bytes> {
    let context = Some(bench.context_at(key.as_bytes()));
    let answer = ask!(bench, RawGet, RawGetRequest { context, key: owned(key), cf: cf.to_owned() });
    assert_eq!((answer.error.as_str(), &answer.region_error), ("", &None));
    (!answer.not_found).then_some(answer.value)
}

fn raw_scan(bench: &mut Bench, start: &str, end: &str, limit: u32, reverse: bool) -> Vec<KvPair> {
    let context = Some(bench.context_at(start.as_bytes()));
    let request = RawScanRequest {
        context,
        start_key: owned(start),
        end_key: owned(end),
        limit,
        reverse,
        ..Default::default()
    };
    ask!(bench, RawScan, request).kvs
}

fn cas(bench: &mut Bench, request: RawCasRequest) -> RawCasResponse {
    let context = Some(bench.context_at(&request.key));
    match bench.send_unary(Unary::RawCompareAndSwap(RawCasRequest { context, ..request })) {
        UnaryAnswer::RawCompareAndSwap(answer) => answer,
        other => panic!("answer to another command: {other:?}"),
    }
}

#[test]
fn an_empty_value_is_a_value() {
    let mut bench = Bench::new();
    assert_eq!(raw_get(&mut bench, "k", ""), None);
    raw_put(&mut bench, "k", "", "");
    assert_eq!(raw_get(&mut bench, "k", ""), Some(Bytes::new()));
}

#[test]
fn columns_are_apart_and_have_three_names() {
    let mut bench = Bench::new();
    for (cf, value) in [("default", "1"), ("write", "2"), ("lock", "3")] {
        assert_eq!(raw_put(&mut bench, "k", value, cf), "");
    }
    assert_eq!(raw_get(&mut bench, "k", "").unwrap(), "1");
    assert_eq!(raw_get(&mut bench, "k", "write").unwrap(), "2");
    assert_eq!(raw_get(&mut bench, "k", "lock").unwrap(), "3");
    for cf in ["raft", "DEFAULT", "nope"] {
        assert_eq!(raw_put(&mut bench, "k", "x", cf), format!("invalid cf name: {cf}"));
    }
}

#[test]
fn a_request_is_refused_before_its_region_is_looked_at() {
    let mut bench = Bench::new();
    let long = "k".repeat(8193);
    let put = |key: &str, ttl, for_cas| RawPutRequest { key: owned(key), ttl, for_cas, ..Default::default() };
    let table = [
        (put(&long, 0, false), "max key size exceeded, size: 8193, limit: 8192"),
        (put("k", 1, false), "ttl is not enabled, but get put request with ttl"),
        (put("k", 1, true), "ttl is not enabled, but get put request with ttl"),
    ];
    for (request, error) in table {
        assert_eq!(ask!(bench, RawPut, request).error, error);
    }
    let version =
        |api_version: ApiVersion| Some(Context { api_version: api_version.into(), ..Default::default() });
    let request = RawGetRequest { context: version(ApiVersion::V2), ..Default::default() };
    let error = ask!(bench, RawGet, request).error;
    assert_eq!(
        error,
        "Api version in request does not match with TiKV storage, cmd: raw_get, storage: V1, request: V2"
    );
    assert_eq!(ask!(bench, RawBatchPut, RawBatchPutRequest::default()).error, "an empty request");
    assert_eq!(ask!(bench, RawBatchDelete, RawBatchDeleteRequest::default()).error, "an empty request");
}

#[test]
fn atomic_writes_do_not_look_at_the_key_size() {
    let mut bench = Bench::new();
    let key = owned(&"k".repeat(8193));
    let context = Some(bench.context_at(&key));
    let request = RawPutRequest { context, key: key.clone(), for_cas: true, ..Default::default() };
    assert_eq!(ask!(bench, RawPut, request), RawPutResponse::default());
    assert!(cas(&mut bench, RawCasRequest { key, ..Default::default() }).succeed);
}

#[test]
fn compare_and_swap_writes_only_over_the_expected_value() {
    struct Case {
        stored: Option<&'static str>,
        expected: Option<&'static str>,
        delete: bool,
        succeeds: bool,
        left: Option<&'static str>,
    }
    let case = |stored, expected, delete, succeeds, left| Case { stored, expected, delete, succeeds, left };
    let table = [
        case(None, None, false, true, Some("new")),
        case(None, Some(""), false, false, None),
        case(None, None, true, true, None),
        case(Some("old"), None, false, false, Some("old")),
        case(Some("old"), Some("other"), false, false, Some("old")),
        case(Some("old"), Some("old"), false, true, Some("new")),
        case(Some("old"), Some("old"), true, true, None),
        case(Some(""), Some(""), false, true, Some("new")),
    ];
    for (row, Case { stored, expected, delete, succeeds, left }) in table.into_iter().enumerate() {
        let mut bench = Bench::new();
        if let Some(stored) = stored {
            raw_put(&mut bench, "k", stored, "");
        }
        let request = RawCasRequest {
            key: owned("k"),
            value: owned("new"),
            previous_not_exist: expected.is_none(),
            previous_value: owned(expected.unwrap_or_default()),
            delete,
            ..Default::default()
        };
        let answer = cas(&mut bench, request);
        assert_eq!(answer.succeed, succeeds, "row {row}");
        assert_eq!(answer.previous_not_exist, stored.is_none(), "row {row}");
        assert_eq!(answer.previous_value, stored.unwrap_or_default(), "row {row}");
        assert_eq!(raw_get(&mut bench, "k", "").as_deref(), left.map(str::as_bytes), "row {row}");
    }
}

#[test]
fn a_scan_is_clipped_to_its_region_and_refuses_to_start_outside() {
    let mut bench = Bench::new();
    for key in ["a", "b", "c", "d"] {
        raw_put(&mut bench, key, key, "");
    }
    let region = bench.topology.region_at(b"a").unwrap().id;
    bench.topology.split(region, &[owned("c")]).unwrap();
    let keys = |pairs: Vec<KvPair>| pairs.into_iter().map(|pair| pair.key).collect::<Vec<_>>();
    assert_eq!(keys(raw_scan(&mut bench, "a", "", 9, false)), ["a", "b"]);
    assert_eq!(keys(raw_scan(&mut bench, "d", "", 9, true)), ["c"]);
    let context = Some(bench.context_at(b"c"));
    let outside = RawScanRequest { context, start_key: owned("a"), limit: 1, ..Default::default() };
    let error = ask!(bench, RawScan, outside).region_error.unwrap();
    assert_eq!(error.key_not_in_region.unwrap().key, "a");
    assert_eq!(error.message, format!("key 61 is not in region key range [63, ) for region {region}"));
}

#[test]
fn a_range_to_delete_must_lie_in_the_region_and_not_be_empty() {
    let mut bench = Bench::new();
    let region = bench.topology.region_at(b"a").unwrap().id;
    bench.topology.split(region, &[owned("c")]).unwrap();
    let mut delete = |start: &str, end: &str| {
        let context = Some(bench.context_at(b"a"));
        let (start_key, end_key) = (owned(start), owned(end));
        let request = RawDeleteRangeRequest { context, start_key, end_key, ..Default::default() };
        ask!(bench, RawDeleteRange, request).region_error
    };
    assert_eq!(delete("a", "c"), None);
    for (start, end) in [("a", "d"), ("a", ""), ("c", "d")] {
        assert!(delete(start, end).unwrap().key_not_in_region.is_some(), "{start} {end}");
    }
    for (start, end) in [("a", "a"), ("b", "a")] {
        let error = delete(start, end).unwrap();
        assert!(error.message.contains("invalid delete range command"), "{}", error.message);
        assert_eq!(error.key_not_in_region, None);
    }
}

#[test]
fn batch_scan_closes_an_open_range_at_the_next_and_refuses_inverted_ones() {
    let mut bench = Bench::new();
    for key in ["a", "b", "c", "d"] {
        raw_put(&mut bench, key, key, "");
    }
    let mut scan = |ranges: &[(&str, &str)], reverse| {
        let context = Some(bench.context_at(b"a"));
        let range = |&(start, end): &(&str, &str)| KeyRange { start_key: owned(start), end_key: owned(end) };
        let ranges = ranges.iter().map(range).collect();
        let request = RawBatchScanRequest { context, ranges, each_limit: 3, reverse, ..Default::default() };
        ask!(bench, RawBatchScan, request).kvs
    };
    let keys = |pairs: Vec<KvPair>| pairs.into_iter().map(|pair| pair.key).collect::<Vec<_>>();
    assert_eq!(keys(scan(&[("a", ""), ("c", "z")], false)), ["a", "b", "c", "d"]);
    assert_eq!(keys(scan(&[("c", "a")], true)), ["b", "a"]);
    for (range, reverse) in [(("c", "a"), false), (("a", "c"), true), (("a", "a"), false)] {
        let pairs = scan(&[range], reverse);
        assert_eq!(kind(pairs[0].error.as_ref().unwrap()), "Error(Other(\"Invalid KeyRanges\"))");
    }
}

#[test]
fn checksum_of_pairs_is_that_of_a_real_store() {
    let mut bench = Bench::new();
    for i in 0..5 {
        raw_put(&mut bench, &format!("tconfchk.{i}"), &format!("value{i}"), "");
    }
    let mut sum = |start: &str, end: &str| {
        let context = Some(bench.context_at(b"t"));
        let ranges = vec![KeyRange { start_key: owned(start), end_key: owned(end) }];
        match bench.send_unary(Unary::RawChecksum(RawChecksumRequest {
            context,
            ranges,
            ..Default::default()
        })) {
            UnaryAnswer::RawChecksum(answer) => (answer.checksum, answer.total_kvs, answer.total_bytes),
            other => panic!("answer to another command: {other:?}"),
        }
    };
    // Recorded from TiKV 9.0.0-beta.2.
    assert_eq!(sum("tconfchk.", "tconfchk/"), (2_225_830_250_818_143_958, 5, 80));
    assert_eq!(sum("tconfchk.2", "tconfchk.3"), (6_905_538_664_823_857_878, 1, 16));
    assert_eq!(sum("tconfchk.0", "tconfchk.0"), (0, 0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    DeleteRange(u8, u8),
    Split(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..20_u8;
    prop_oneof![
        6 => (key(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key().prop_map(Step::Delete),
        1 => (key(), key()).prop_map(|(start, end)| Step::DeleteRange(start, end)),
        1 => key().prop_map(Step::Split),
    ]
}

fn name(key: u8) -> String {
    format!("k{key:02}")
}

proptest! {
    /// Whatever the regions, reads give what a map would.
    #[test]
    fn raw_data_is_a_map(steps in prop::collection::vec(step(), 1..60), from in 0..20_u8, limit in 0..9_usize) {
        let mut bench = Bench::new();
        let mut map = std::collections::BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    let value = value.to_string();
                    prop_assert_eq!(raw_put(&mut bench, &name(key), &value, ""), "");
                    map.insert(name(key), value);
                }
                Step::Delete(key) => {
                    let context = Some(bench.context_at(name(key).as_bytes()));
                    let request = RawDeleteRequest { context, key: owned(&name(key)), ..Default::default() };
                    prop_assert_eq!(ask!(bench, RawDelete, request), RawDeleteResponse::default());
                    map.remove(&name(key));
                }
                Step::DeleteRange(start, end) => {
                    // As a client would: no further than the region goes.
                    let region = bench.topology.region_at(name(start).as_bytes()).unwrap().clone();
                    let end = if region.ends_after(name(end).as_bytes()) { owned(&name(end)) } else { region.end };
                    if start_before(&name(start), &end) {
                        let context = Some(bench.context_at(name(start).as_bytes()));
                        let (start_key, end_key) = (owned(&name(start)), end.clone());
                        let request = RawDeleteRangeRequest { context, start_key, end_key, ..Default::default() };
                        prop_assert_eq!(ask!(bench, RawDeleteRange, request), RawDeleteRangeResponse::default());
                        map.retain(|key, _| *key < name(start) || !start_before(key, &end));
                    }
                }
                Step::Split(key) => {
                    let region = bench.topology.region_at(name(key).as_bytes()).unwrap().clone();
                    if region.start != name(key) {
                        bench.topology.split(region.id, &[owned(&name(key))]).unwrap();
                    }
                }
            }
        }
        for key in 0..20 {
            let want = map.get(&name(key)).map(|value| owned(value));
            prop_assert_eq!(raw_get(&mut bench, &name(key), ""), want);
        }
        let from = name(from);
        let region = bench.topology.region_at(from.as_bytes()).unwrap().clone();
        let pairs = raw_scan(&mut bench, &from, "", u32::try_from(limit).unwrap(), false);
        let want = map.range(from..).take_while(|(key, _)| region.ends_after(key.as_bytes())).take(limit);
        let want: Vec<_> = want.map(|(key, value)| (owned(key), owned(value))).collect();
        prop_assert_eq!(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect::<Vec<_>>(), want);
    }
}

fn start_before(start: &str, end: &Bytes) -> bool {
    end.is_empty() || start.as_bytes() < end.as_ref()
}
