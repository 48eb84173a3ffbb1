//! ResolveLock, ScanLock, and deletion of ranges.

use tikv_proto::kvrpcpb::*;

use super::*;

fn resolve(bench: &mut Bench, at: &str, request: ResolveLockRequest) -> ResolveLockResponse {
    let context = bench.context(at.as_bytes());
    ask!(bench, ResolveLock, ResolveLockRequest { context, ..request })
}

fn scan_lock(bench: &mut Bench, start: &str, end: &str, max_version: u64, limit: u32) -> Vec<Bytes> {
    let context = bench.context(start.as_bytes());
    let (start_key, end_key) = (owned(start), owned(end));
    let request = ScanLockRequest { context, max_version, start_key, limit, end_key };
    ask!(bench, ScanLock, request).locks.into_iter().map(|lock| lock.key).collect()
}

#[test]
fn named_keys_are_committed_or_rolled_back_locked_or_not() {
    let mut bench = Bench::new();
    bench.lock(10, &[put("a", "v"), put("b", "v")]);
    let keys = |keys: &[&str]| keys.iter().map(|key| owned(key)).collect::<Vec<_>>();
    let lite = |keys, commit_version| ResolveLockRequest {
        start_version: 10,
        commit_version,
        keys,
        ..Default::default()
    };
    assert_eq!(resolve(&mut bench, "a", lite(keys(&["a"]), 20)).error, None);
    assert_eq!(resolve(&mut bench, "a", lite(keys(&["a"]), 20)).error, None);
    let error = resolve(&mut bench, "a", lite(keys(&["b", "x"]), 20)).error.unwrap();
    assert_eq!(error.txn_lock_not_found.unwrap().key, "x");
    assert_eq!(bench.stored("b"), "lock Put@10", "all or nothing");
    assert_eq!(resolve(&mut bench, "a", lite(keys(&["b", "x"]), 0)).error, None);
    assert_eq!(
        (bench.stored("b").as_str(), bench.stored("x").as_str()),
        ("Rollback@10-10", "Rollback@10-10")
    );
    assert!(resolve(&mut bench, "a", lite(keys(&["a"]), 0)).error.unwrap().abort.contains("Committed"));
    let without_start = ResolveLockRequest { keys: keys(&["a"]), ..Default::default() };
    assert!(resolve(&mut bench, "a", without_start).error.is_some());
}

#[test]
fn a_region_is_resolved_whole_and_alone() {
    let mut bench = Bench::new();
    let region = bench.topology.region_at(b"").unwrap().id;
    let keys: Vec<String> = (0..600).map(|i| format!("k{i:03}")).collect();
    let mutations: Vec<_> = keys.iter().map(|key| put(key, "v")).collect();
    bench.lock(10, &mutations);
    bench.lock(11, &[put("a", "v")]);
    bench.topology.split(region, &[key::encode(b"k550")]).unwrap();
    let commit = ResolveLockRequest { start_version: 10, commit_version: 20, ..Default::default() };
    assert_eq!(resolve(&mut bench, "a", commit), ResolveLockResponse::default());
    assert_eq!(scan_lock(&mut bench, "a", "", u64::MAX, 0), ["a"]);
    assert_eq!(scan_lock(&mut bench, "k550", "", u64::MAX, 0).len(), 50);
    assert_eq!(bench.value("k549", 20).unwrap(), "v");
}

#[test]
fn many_transactions_are_resolved_at_once() {
    let mut bench = Bench::new();
    for (start_ts, key) in [(10, "a"), (11, "b"), (12, "c")] {
        bench.lock(start_ts, &[put(key, "v")]);
    }
    let outcome = |txn, status| TxnInfo { txn, status, ..Default::default() };
    let txn_infos = vec![outcome(10, 20), outcome(11, 0)];
    let request = ResolveLockRequest { txn_infos, ..Default::default() };
    assert_eq!(resolve(&mut bench, "a", request).error, None);
    let stored = ["a", "b", "c"].map(|key| bench.stored(key));
    assert_eq!(stored, ["Put@10-20", "Rollback(p)@11-11", "lock Put@12"]);
    let wrong = ResolveLockRequest { start_version: 12, commit_version: 12, ..Default::default() };
    assert!(resolve(&mut bench, "a", wrong).error.unwrap().abort.contains("InvalidTxnTso"));
}

#[test]
fn locks_are_scanned_by_age_range_and_limit() {
    let mut bench = Bench::new();
    for (start_ts, key) in [(10, "a"), (20, "b"), (15, "c"), (10, "d")] {
        bench.lock(start_ts, &[put(key, "v")]);
    }
    assert_eq!(scan_lock(&mut bench, "", "", u64::MAX, 0), ["a", "b", "c", "d"]);
    assert_eq!(scan_lock(&mut bench, "", "", 15, 0), ["a", "c", "d"]);
    assert_eq!(scan_lock(&mut bench, "", "", 15, 2), ["a", "c"]);
    assert_eq!(scan_lock(&mut bench, "b", "d", u64::MAX, 0), ["b", "c"]);
    // Whoever collects garbage up to a timestamp must not be overtaken by a commit below it.
    assert_eq!(scan_lock(&mut bench, "", "", 99, 1), ["a"]);
    let request = PrewriteRequest { try_one_pc: true, ..bench.prewrite_request(30, &[put("e", "v")]) };
    assert_eq!(ask!(bench, Prewrite, request).one_pc_commit_ts, 100);
}

#[test]
fn a_deleted_range_leaves_neither_versions_nor_locks() {
    let mut bench = Bench::new();
    let long = "v".repeat(300);
    bench.write(5, 6, &[put("a", &long), put("b", &long), put("c", &long)]);
    bench.lock(10, &[put("b", "w"), put("c", "w")]);
    let delete = |bench: &mut Bench, start: &str, end: &str, notify_only| {
        let (start_key, end_key) = (owned(start), owned(end));
        let context = bench.context(b"a");
        let request = DeleteRangeRequest { context, start_key, end_key, notify_only };
        ask!(bench, DeleteRange, request)
    };
    assert_eq!(delete(&mut bench, "b", "c", true), DeleteRangeResponse::default());
    assert!(bench.stored("b").starts_with("lock"));
    assert_eq!(delete(&mut bench, "b", "c", false), DeleteRangeResponse::default());
    assert_eq!(["a", "b", "c"].map(|key| bench.stored(key)), ["Put@5-6", "", "lock Put@10, Put@5-6"]);
    assert_eq!(bench.value("a", 9).unwrap(), long);
    for end in ["a", "b", ""] {
        let error = delete(&mut bench, "b", end, false).region_error.unwrap();
        assert!(error.message.contains("invalid delete range command"));
    }
    let mut destroy = |start: &str, end: &str| {
        let (start_key, end_key) = (owned(start), owned(end));
        let request = UnsafeDestroyRangeRequest { context: None, start_key, end_key };
        match bench.send_unary(Unary::UnsafeDestroyRange(request)) {
            UnaryAnswer::UnsafeDestroyRange(answer) => answer.error.is_empty(),
            other => panic!("answer to another command: {other:?}"),
        }
    };
    assert!(!destroy("", "b") && !destroy("a", ""));
    assert!(destroy("a", "c"));
    assert_eq!(["a", "c"].map(|key| bench.stored(key)), ["", "lock Put@10, Put@5-6"]);
}
