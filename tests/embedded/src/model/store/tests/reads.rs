//! Transactional reads.

use tikv_proto::kvrpcpb::write_conflict::Reason;
use tikv_proto::kvrpcpb::*;

use super::*;

fn scan(bench: &mut Bench, start: &str, end: &str, change: impl FnOnce(&mut ScanRequest)) -> ScanResponse {
    let context = bench.context(b"");
    let (start_key, end_key) = (owned(start), owned(end));
    let mut request =
        ScanRequest { context, start_key, end_key, limit: 100, version: 100, ..Default::default() };
    change(&mut request);
    ask!(bench, Scan, request)
}

fn pairs(answer: &ScanResponse) -> Vec<String> {
    let show = |pair: &KvPair| match &pair.error {
        Some(error) => kind(error),
        None => format!("{}={}", pair.key.escape_ascii(), pair.value.escape_ascii()),
    };
    answer.pairs.iter().map(show).collect()
}

#[test]
fn a_reader_sees_the_newest_version_not_after_it() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "1")]);
    bench.write(21, 30, &[op(Op::Lock, "k")]);
    bench.write(31, 40, &[put("k", "2")]);
    assert_eq!(bench.roll_back(&["k"], 50).error, None);
    bench.write(51, 60, &[op(Op::Del, "k")]);
    let table = [
        (19, None),
        (20, Some("1")),
        (35, Some("1")),
        (40, Some("2")),
        (55, Some("2")),
        (60, None),
        (u64::MAX, None),
    ];
    for (version, value) in table {
        assert_eq!(bench.value("k", version).as_deref(), value.map(str::as_bytes), "at {version}");
    }
}

#[test]
fn values_live_in_their_record_up_to_255_bytes() {
    let mut bench = Bench::new();
    for len in [0, 1, 255, 256, 70_000] {
        let value = "v".repeat(len);
        let ts = u64::try_from(len).unwrap() * 10;
        bench.write(ts + 1, ts + 2, &[put("k", &value)]);
        assert_eq!(bench.value("k", ts + 2).unwrap(), value, "{len} bytes");
    }
}

#[test]
fn a_lost_long_value_is_an_error() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", &"v".repeat(300))]);
    bench.engine.columns.raw_delete_range(
        super::super::columns::Column::Default,
        &Bytes::new(),
        &Bytes::new(),
    );
    assert!(bench.get("k", 30).error.unwrap().abort.contains("DefaultNotFound"));
}

/// What a read at 30 makes of a lock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meets {
    /// It sees what is committed below.
    Passes,
    Locked,
    Conflict,
    /// It takes the lock's value.
    Through,
}

#[test]
fn who_passes_which_lock() {
    use IsolationLevel::{Rc, RcCheckTs, Si};
    use Meets::{Conflict, Locked, Passes, Through};

    let later =
        |start, min| PrewriteRequest { start_version: start, min_commit_ts: min, ..Default::default() };
    let any = || later(10, 0);
    let none: &[u64] = &[];
    // lock, of which kind, who reads, resolved, committed
    let table = [
        (any(), Op::Put, Si, none, none, Locked),
        (any(), Op::Del, Si, none, none, Locked),
        (any(), Op::Lock, Si, none, none, Passes),
        (any(), Op::Put, Rc, none, none, Passes),
        (any(), Op::Put, RcCheckTs, none, none, Conflict),
        (any(), Op::Lock, RcCheckTs, none, none, Passes),
        (later(40, 0), Op::Put, Si, none, none, Passes),
        (later(40, 0), Op::Put, RcCheckTs, none, none, Conflict),
        (later(10, 31), Op::Put, Si, none, none, Passes),
        (later(10, 31), Op::Put, RcCheckTs, none, none, Conflict),
        (later(10, 30), Op::Put, Si, none, none, Locked),
        (any(), Op::Put, Si, &[10], none, Passes),
        (any(), Op::Put, Si, &[11], none, Locked),
        (any(), Op::Put, RcCheckTs, &[10], none, Passes),
        (any(), Op::Put, Si, none, &[10], Through),
        (any(), Op::Lock, Si, none, &[10], Passes),
        (later(40, 0), Op::Put, Si, none, &[40], Passes),
    ];
    for (row, (lock, op, isolation, resolved, committed, meets)) in table.into_iter().enumerate() {
        let mut bench = Bench::new();
        bench.write(5, 6, &[put("k", "old")]);
        let mutation = Mutation { op: op.into(), ..put("k", "new") };
        let request = PrewriteRequest {
            start_version: lock.start_version,
            min_commit_ts: lock.min_commit_ts,
            ..bench.prewrite_request(0, &[mutation])
        };
        assert_eq!(ask!(bench, Prewrite, request).errors, []);
        let context = Context {
            isolation_level: isolation.into(),
            resolved_locks: resolved.to_vec(),
            committed_locks: committed.to_vec(),
            ..bench.context(b"k").unwrap()
        };
        let get = GetRequest { context: Some(context), key: owned("k"), version: 30, ..Default::default() };
        let answer = ask!(bench, Get, get);
        let got = match &answer.error {
            Some(error) if error.locked.is_some() => Locked,
            Some(error) if error.conflict.as_ref().is_some_and(|it| it.reason() == Reason::RcCheckTs) => {
                Conflict
            }
            Some(error) => panic!("{error:?}"),
            None if answer.value == "new" => Through,
            None => Passes,
        };
        assert_eq!(got, meets, "row {row}");
    }
}

#[test]
fn a_lock_has_no_commit_timestamp_to_read() {
    let mut bench = Bench::new();
    bench.write(5, 6, &[put("k", "old")]);
    let mut get = |committed_locks: Vec<u64>, version| {
        let context = Some(Context { committed_locks, ..bench.context(b"k").unwrap() });
        let request = GetRequest { context, key: owned("k"), version, need_commit_ts: true };
        ask!(bench, Get, request)
    };
    assert_eq!(get(vec![], 9).commit_ts, 6);
    bench.lock(10, &[put("k", "new")]);
    let mut get = |committed_locks: Vec<u64>, version| {
        let context = Some(Context { committed_locks, ..bench.context(b"k").unwrap() });
        let request = GetRequest { context, key: owned("k"), version, need_commit_ts: true };
        ask!(bench, Get, request)
    };
    assert_eq!(get(vec![10], 9).commit_ts, 6);
    assert!(get(vec![10], 10).error.unwrap().locked.is_some());
}

#[test]
fn the_newest_of_a_primary_key_is_read_past_a_two_phase_lock_only() {
    let mut bench = Bench::new();
    bench.lock(10, &[put("p", "1"), put("s", "1")]);
    assert!(bench.get("p", u64::MAX).not_found);
    assert!(bench.get("s", u64::MAX).error.unwrap().locked.is_some());
    let request = PrewriteRequest { use_async_commit: true, ..bench.prewrite_request(20, &[put("q", "1")]) };
    assert_eq!(ask!(bench, Prewrite, request).errors, []);
    assert!(bench.get("q", u64::MAX).error.unwrap().locked.is_some());
}

#[test]
fn a_checking_read_refuses_any_newer_record() {
    for mutation in [put("k", "2"), op(Op::Del, "k"), op(Op::Lock, "k")] {
        let mut bench = Bench::new();
        bench.write(5, 6, &[put("k", "1")]);
        bench.write(10, 20, &[mutation]);
        let isolation_level = IsolationLevel::RcCheckTs.into();
        let mut get = |version| {
            let context = Some(Context { isolation_level, ..bench.context(b"k").unwrap() });
            ask!(bench, Get, GetRequest { context, key: owned("k"), version, ..Default::default() })
        };
        assert_eq!(get(20).error, None);
        let conflict = get(19).error.unwrap().conflict.unwrap();
        let row = [&key::encode(b"k")[..], &(!20_u64).to_be_bytes()].concat();
        assert_eq!((&conflict.key[..], conflict.conflict_commit_ts), (&row[..], 20));
        assert_eq!((conflict.conflict_ts, &conflict.primary[..]), (0, &b""[..]));
    }
}

#[test]
fn a_batch_answers_in_its_own_order_and_only_what_there_is() {
    let mut bench = Bench::new();
    bench.write(5, 6, &[put("a", "1"), put("c", "3")]);
    bench.lock(10, &[put("b", "2")]);
    let context = bench.context(b"a");
    let keys = ["c", "x", "b", "a", "c"].map(owned).to_vec();
    let answer = ask!(bench, BatchGet, BatchGetRequest { context, keys, version: 20, ..Default::default() });
    let show = |pair: &KvPair| match &pair.error {
        Some(error) => kind(error),
        None => format!("{}={}", pair.key.escape_ascii(), pair.value.escape_ascii()),
    };
    assert_eq!(answer.pairs.iter().map(show).collect::<Vec<_>>(), ["c=3", "locked", "a=1", "c=3"]);
}

#[test]
fn a_scan_goes_over_locks_and_counts_them() {
    let mut bench = Bench::new();
    bench.write(5, 6, &[put("a", "1"), put("b", "2"), put("d", "4")]);
    bench.lock(10, &[put("b", "9"), put("c", "9")]);
    assert_eq!(pairs(&scan(&mut bench, "", "", |_| {})), ["a=1", "locked", "locked", "d=4"]);
    assert_eq!(pairs(&scan(&mut bench, "", "", |scan| scan.limit = 2)), ["a=1", "locked"]);
    assert_eq!(pairs(&scan(&mut bench, "", "", |scan| scan.limit = 0)), [""; 0]);
    assert_eq!(pairs(&scan(&mut bench, "", "", |scan| scan.version = 9)), ["a=1", "b=2", "d=4"]);
    let keys = scan(&mut bench, "", "", |scan| scan.key_only = true);
    assert_eq!(pairs(&keys), ["a=", "locked", "locked", "d="]);
    let back = scan(&mut bench, "d", "a", |scan| scan.reverse = true);
    assert_eq!(pairs(&back), ["locked", "locked", "a=1"]);
    assert_eq!(pairs(&scan(&mut bench, "b", "d", |_| {})), ["locked", "locked"]);
    assert_eq!(pairs(&scan(&mut bench, "d", "b", |_| {})), [""; 0]);
}

#[test]
fn a_sampling_scan_keeps_every_nth() {
    let mut bench = Bench::new();
    let keys: Vec<String> = (0..12).map(|i| format!("k{i:02}")).collect();
    let mutations: Vec<_> = keys.iter().map(|key| put(key, "")).collect();
    bench.write(5, 6, &mutations);
    let sampled = scan(&mut bench, "", "", |scan| scan.sample_step = 5);
    assert_eq!(pairs(&sampled), ["k00=", "k05=", "k10="]);
    let back = scan(&mut bench, "l", "", |scan| (scan.reverse, scan.sample_step) = (true, 5));
    assert_eq!(pairs(&back), ["k11=", "k06=", "k01="]);
}
