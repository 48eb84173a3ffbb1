//! Pipelined transactions: `cluster.md` 7.14.

use super::*;

fn flush(bench: &mut Bench, start_ts: u64, generation: u64, mutations: &[Mutation]) -> FlushResponse {
    let request = FlushRequest {
        context: bench.context(b"k"),
        mutations: mutations.to_vec(),
        primary_key: owned("p"),
        start_ts,
        generation,
        lock_ttl: TTL_MS,
        ..Default::default()
    };
    ask!(bench, Flush, request)
}

fn buffered(bench: &mut Bench, version: u64, keys: &[&str]) -> Vec<(Bytes, Bytes)> {
    let keys = keys.iter().map(|key| owned(key)).collect();
    let request = BufferBatchGetRequest { context: bench.context(b"k"), keys, version };
    let answer = ask!(bench, BufferBatchGet, request);
    answer.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

#[test]
fn a_newer_flush_takes_the_place_of_an_older_one_and_not_the_other_way_round() {
    let mut bench = Bench::new();
    let long = "x".repeat(300);
    assert_eq!(flush(&mut bench, 10, 2, &[put("k", &long), put("p", "1")]), FlushResponse::default());
    assert_eq!(flush(&mut bench, 10, 1, &[put("k", "late")]), FlushResponse::default());
    assert_eq!(flush(&mut bench, 10, 2, &[put("k", "same")]), FlushResponse::default());
    assert_eq!(
        buffered(&mut bench, 10, &["p", "k", "k", "absent"]),
        [(owned("k"), owned(&long)), (owned("p"), owned("1"))]
    );
    assert_eq!(flush(&mut bench, 10, 3, &[op(Op::Del, "k")]), FlushResponse::default());
    assert_eq!(buffered(&mut bench, 10, &["k"]), [(owned("k"), Bytes::new())]);
    assert_eq!(buffered(&mut bench, 11, &["k"]), [], "nobody else sees it");
    assert!(flush(&mut bench, 10, 0, &[put("k", "")]).errors[0].abort.contains("Other"));
    assert_eq!(bench.commit(&["p", "k"], 10, 20).error, None);
    assert_eq!((bench.value("k", 20), bench.value("p", 20)), (None, Some(owned("1"))));
}

#[test]
fn what_others_have_locked_is_told_and_the_rest_written() {
    let mut bench = Bench::new();
    bench.lock(5, &[put("k", "other")]);
    let answer = flush(&mut bench, 10, 1, &[put("k", "mine"), put("p", "mine")]);
    assert_eq!(answer.errors.iter().map(kind).collect::<Vec<_>>(), ["locked"]);
    assert_eq!(bench.stored("p"), "lock Put@10");
    assert_eq!(bench.stored("k"), "lock Put@5");
}

#[test]
fn an_insert_over_what_was_flushed_fails() {
    let mut bench = Bench::new();
    flush(&mut bench, 10, 1, &[put("k", "v")]);
    let answer = flush(&mut bench, 10, 2, &[op(Op::Insert, "k")]);
    assert_eq!(answer.errors.iter().map(kind).collect::<Vec<_>>(), ["already_exist"]);
    flush(&mut bench, 10, 3, &[op(Op::Del, "k")]);
    assert_eq!(flush(&mut bench, 10, 4, &[op(Op::Insert, "k")]), FlushResponse::default());
}

#[test]
fn a_rollback_of_a_flushed_key_stays() {
    let mut bench = Bench::new();
    flush(&mut bench, 10, 1, &[put("k", "v")]);
    assert_eq!(bench.roll_back(&["k"], 10).error, None);
    assert_eq!(bench.stored("k"), "Rollback(p)@10-10");
    let late = flush(&mut bench, 10, 1, &[put("k", "v")]);
    assert_eq!(late.errors.iter().map(kind).collect::<Vec<_>>(), ["conflict"]);
}
