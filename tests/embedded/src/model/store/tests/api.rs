//! Versions of the storage API: `cluster.md` 4.5, `rawkv.md` 3.3.

use std::time::Duration;

use super::super::Api;
use super::*;

fn bench_of(api: Api) -> Bench {
    let mut bench = Bench::new();
    bench.engine.set_api(api);
    bench
}

fn context(bench: &Bench, version: ApiVersion, key: &[u8]) -> Option<Context> {
    let mut context = bench.context_at(key);
    context.set_api_version(version);
    Some(context)
}

#[test]
fn each_storage_takes_its_own_requests() {
    use ApiVersion::{V1, V1ttl, V2};
    // Storage, request, key; whether a transactional read and a raw read are taken.
    let table = [
        (Api::V1, V1, "k", "", ""),
        (Api::V1, V2, "x", "ApiVersionNotMatched", "Api version"),
        (Api::V1Ttl, V1, "k", "ApiVersionNotMatched", ""),
        (Api::V1Ttl, V1ttl, "k", "ApiVersionNotMatched", "Api version"),
        (Api::V2, V1, "t", "", "Api version"),
        (Api::V2, V1, "k", "InvalidKeyMode", "Api version"),
        (Api::V2, V2, "x", "", "Key mode"),
        (Api::V2, V2, "r", "InvalidKeyMode", ""),
        (Api::V2, V1ttl, "r", "ApiVersionNotMatched", "Api version"),
    ];
    for (row, (api, version, key, txn, raw)) in table.into_iter().enumerate() {
        let mut bench = bench_of(api);
        let context = context(&bench, version, b"k");
        let get = GetRequest { context: context.clone(), key: owned(key), version: 5, ..Default::default() };
        let abort = ask!(bench, Get, get).error.map(|error| error.abort).unwrap_or_default();
        assert!(abort.contains(txn) && abort.is_empty() == txn.is_empty(), "row {row}: {abort}");
        let get = RawGetRequest { context, key: owned(key), ..Default::default() };
        let error = ask!(bench, RawGet, get).error;
        assert!(error.starts_with(raw) && error.is_empty() == raw.is_empty(), "row {row}: {error}");
    }
}

#[test]
fn a_range_of_version_2_stays_in_its_mode() {
    for (start, end, taken) in
        [("r1", "r2", true), ("r", "s", true), ("r", "", false), ("q", "s", false), ("x", "y", false)]
    {
        let mut bench = bench_of(Api::V2);
        let request = RawScanRequest {
            context: context(&bench, ApiVersion::V2, b"r"),
            start_key: owned(start),
            end_key: owned(end),
            limit: 1,
            ..Default::default()
        };
        let kvs = ask!(bench, RawScan, request).kvs;
        let abort = kvs.first().and_then(|pair| pair.error.clone()).map(|error| error.abort);
        assert_eq!(abort.is_none(), taken, "{start}..{end}");
        assert!(abort.is_none_or(|abort| abort.contains("InvalidKeyRangeMode")));
    }
}

#[test]
fn raw_values_end_with_their_lifetime() {
    for (api, version, key) in [(Api::V1Ttl, ApiVersion::V1, "k"), (Api::V2, ApiVersion::V2, "rk")] {
        let mut bench = bench_of(api);
        let at = context(&bench, version, b"r");
        let put = RawPutRequest {
            context: at.clone(),
            key: owned(key),
            value: owned("v"),
            ttl: 10,
            ..Default::default()
        };
        assert_eq!(ask!(bench, RawPut, put), RawPutResponse::default());
        let ttl = |bench: &mut Bench| {
            let request = RawGetKeyTtlRequest { context: at.clone(), key: owned(key), ..Default::default() };
            let UnaryAnswer::RawGetKeyTtl(answer) = bench.send_unary(Unary::RawGetKeyTtl(request)) else {
                panic!("answer to another command");
            };
            (answer.ttl, answer.not_found)
        };
        let scan = RawScanRequest {
            context: at.clone(),
            start_key: owned(&key[..1]),
            end_key: owned("s").slice(..usize::from(api == Api::V2)),
            limit: 9,
            ..Default::default()
        };
        assert_eq!(ttl(&mut bench), (10, false));
        bench.now = bench.now.after(Duration::from_secs(9));
        assert_eq!(ttl(&mut bench), (1, false));
        let pairs = ask!(bench, RawScan, scan.clone()).kvs;
        assert_eq!(pairs.iter().map(|pair| pair.key.clone()).collect::<Vec<_>>(), [owned(key)]);
        bench.now = bench.now.after(Duration::from_secs(1));
        assert_eq!(ttl(&mut bench), (0, true));
        assert_eq!(ask!(bench, RawScan, scan).kvs, []);
        let get = RawGetRequest { context: at.clone(), key: owned(key), ..Default::default() };
        assert!(ask!(bench, RawGet, get).not_found);
    }
}

#[test]
fn a_batch_has_one_lifetime_for_all_or_one_for_each() {
    for (ttls, error) in [
        (vec![], ""),
        (vec![7], ""),
        (vec![7, 0], ""),
        (vec![1, 2, 3], "The length of ttls does not equal to the length of pairs"),
    ] {
        let mut bench = bench_of(Api::V1Ttl);
        let pair = |key: &str| KvPair { key: owned(key), value: owned("v"), ..Default::default() };
        let request = RawBatchPutRequest {
            context: context(&bench, ApiVersion::V1, b"k"),
            pairs: vec![pair("a"), pair("b")],
            ttls,
            ..Default::default()
        };
        assert_eq!(ask!(bench, RawBatchPut, request).error, error);
    }
}

#[test]
fn version_2_has_one_column() {
    let mut bench = bench_of(Api::V2);
    let context = context(&bench, ApiVersion::V2, b"r");
    let get = RawGetRequest { context, key: owned("r"), cf: "write".to_owned() };
    assert_eq!(ask!(bench, RawGet, get).error, "cf is deprecated in API V2, cf name: write");
}

#[test]
fn a_raw_write_of_version_2_needs_a_timestamp() {
    for (api, version, refused) in [(Api::V1Ttl, ApiVersion::V1, false), (Api::V2, ApiVersion::V2, true)] {
        let mut bench = bench_of(api);
        let context = context(&bench, version, b"r");
        let region = context.as_ref().unwrap().region_id;
        bench.topology.conditions.set_max_ts_unsynced(region, true);
        let put = RawPutRequest { context, key: owned("rk"), value: owned("v"), ..Default::default() };
        let error = ask!(bench, RawPut, put).region_error;
        assert_eq!(error.is_some_and(|error| error.max_timestamp_not_synced.is_some()), refused);
    }
}
