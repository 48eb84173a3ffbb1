//! Prewrite, with async commit and commit in one phase.

use tikv_proto::kvrpcpb::write_conflict::Reason;
use tikv_proto::kvrpcpb::*;

use super::*;

/// The one error of an answer, in short; a conflict with its reason.
fn refusal(answer: &PrewriteResponse) -> String {
    let errors = answer.errors.iter().map(|error| match &error.conflict {
        Some(conflict) => format!("{:?}", conflict.reason()),
        None => kind(error),
    });
    errors.collect::<Vec<_>>().join(", ")
}

#[test]
fn what_lies_there_decides() {
    type Before = fn(&mut Bench);
    let none: Before = |_| {};
    let put_20: Before = |bench| bench.write(10, 20, &[put("k", "v")]);
    let delete_20: Before = |bench| bench.write(10, 20, &[op(Op::Del, "k")]);
    let rolled_back_30: Before = |bench| assert_eq!(bench.roll_back(&["k"], 30).error, None);
    let lock_40: Before = |bench| bench.write(35, 40, &[op(Op::Lock, "k")]);
    let locked: Before = |bench| bench.lock(15, &[put("k", "v")]);
    // before, operation, start timestamp, refusal
    let table: [(&[Before], Op, u64, &str); 18] = [
        (&[none], Op::Put, 10, ""),
        (&[put_20], Op::Put, 19, "Optimistic"),
        (&[put_20], Op::Put, 20, ""),
        (&[put_20], Op::Insert, 21, "already_exist"),
        (&[put_20], Op::CheckNotExists, 21, "already_exist"),
        (&[put_20], Op::Insert, 19, "Optimistic"),
        (&[delete_20], Op::Insert, 21, ""),
        (&[delete_20], Op::Del, 19, "Optimistic"),
        (&[put_20, lock_40], Op::Insert, 41, "already_exist"),
        (&[delete_20, lock_40], Op::Insert, 41, ""),
        (&[lock_40], Op::Lock, 39, "Optimistic"),
        (&[rolled_back_30], Op::Put, 30, "SelfRolledBack"),
        (&[rolled_back_30], Op::CheckNotExists, 30, "SelfRolledBack"),
        (&[rolled_back_30], Op::Put, 29, "Optimistic"),
        (&[rolled_back_30], Op::Put, 31, ""),
        (&[put_20, rolled_back_30], Op::Insert, 31, "already_exist"),
        (&[locked], Op::Put, 16, "locked"),
        (&[locked], Op::Put, 15, ""),
    ];
    for (row, (before, op, start_ts, want)) in table.into_iter().enumerate() {
        let mut bench = Bench::new();
        before.iter().for_each(|act| act(&mut bench));
        let mutation = Mutation { op: op.into(), ..put("k", "new") };
        assert_eq!(refusal(&bench.prewrite(start_ts, &[mutation])), want, "row {row}");
    }
}

#[test]
fn a_conflict_names_both_transactions() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "v")]);
    let answer = bench.prewrite(15, &[put("p", "v"), put("k", "v")]);
    let [error] = &answer.errors[..] else { panic!("{answer:?}") };
    let want = WriteConflict {
        start_ts: 15,
        conflict_ts: 10,
        conflict_commit_ts: 20,
        key: owned("k"),
        primary: owned("p"),
        reason: Reason::Optimistic.into(),
    };
    assert_eq!(error.conflict, Some(want));
    assert!(error.retryable.contains("WriteConflict"));
    assert_eq!(bench.stored("p"), "", "nothing is written");
}

#[test]
fn all_locked_keys_are_told_unless_something_worse_is_there() {
    let mut bench = Bench::new();
    bench.lock(5, &[put("c", "v"), put("a", "v")]);
    bench.write(20, 30, &[put("d", "v")]);
    let answer = bench.prewrite(10, &[put("c", "v"), put("b", "v"), put("a", "v")]);
    let keys: Vec<_> = answer.errors.iter().map(|error| error.locked.as_ref().unwrap().key.clone()).collect();
    assert_eq!(keys, ["c", "a"]);
    assert_eq!(refusal(&bench.prewrite(10, &[put("c", "v"), put("d", "v")])), "Optimistic");
    assert_eq!(bench.stored("b"), "");
}

#[test]
fn a_lock_is_told_as_it_is() {
    let mut bench = Bench::new();
    let request = PrewriteRequest {
        txn_size: 7,
        min_commit_ts: 12,
        use_async_commit: true,
        secondaries: vec![owned("s")],
        ..bench.prewrite_request(10, &[op(Op::Del, "k")])
    };
    assert_eq!(ask!(bench, Prewrite, request).errors, []);
    let want = LockInfo {
        primary_lock: owned("k"),
        lock_version: 10,
        key: owned("k"),
        lock_ttl: TTL_MS,
        txn_size: 7,
        lock_type: Op::Del.into(),
        use_async_commit: true,
        min_commit_ts: 12,
        secondaries: vec![owned("s")],
        ..Default::default()
    };
    assert_eq!(bench.get("k", 20).error.unwrap().locked, Some(Box::new(want)));
}

#[test]
fn an_assertion_is_checked_as_far_as_its_level_says() {
    use Assertion::{Exist, NotExist};
    use AssertionLevel::{Fast, Off, Strict};

    // there is a value, assertion, level, constraints are skipped, refused
    let table = [
        (true, NotExist, Off, false, false),
        (true, NotExist, Fast, false, true),
        (true, NotExist, Strict, false, true),
        (true, NotExist, Fast, true, false),
        (true, NotExist, Strict, true, true),
        (true, Exist, Strict, false, false),
        (false, Exist, Fast, false, true),
        (false, Exist, Strict, true, true),
        (false, NotExist, Strict, true, false),
    ];
    for (row, (there, assertion, level, skip, refused)) in table.into_iter().enumerate() {
        let mut bench = Bench::new();
        if there {
            bench.write(5, 6, &[put("k", "v")]);
            bench.write(7, 8, &[op(Op::Lock, "k")]);
        }
        let mutation = Mutation { assertion: assertion.into(), ..put("k", "new") };
        let request = PrewriteRequest {
            assertion_level: level.into(),
            skip_constraint_check: skip,
            ..bench.prewrite_request(10, &[mutation])
        };
        let answer = ask!(bench, Prewrite, request);
        assert_eq!(refusal(&answer), if refused { "assertion_failed" } else { "" }, "row {row}");
        if refused {
            let failed = answer.errors[0].assertion_failed.as_ref().unwrap();
            let existing = if there { (5, 6) } else { (0, 0) };
            assert_eq!((failed.existing_start_ts, failed.existing_commit_ts), existing, "row {row}");
        }
    }
}

#[test]
fn an_assertion_gives_way_to_conflicts_but_not_to_locks() {
    let mut bench = Bench::new();
    bench.write(20, 30, &[put("newer", "v")]);
    bench.lock(5, &[put("locked", "v")]);
    let wrong = Mutation { assertion: Assertion::Exist.into(), ..put("k", "v") };
    let mut prewrite = |mutations: &[Mutation], skip| {
        let request = PrewriteRequest {
            assertion_level: AssertionLevel::Strict.into(),
            skip_constraint_check: skip,
            ..bench.prewrite_request(10, mutations)
        };
        refusal(&ask!(bench, Prewrite, request))
    };
    assert_eq!(prewrite(&[wrong.clone(), put("newer", "v")], false), "Optimistic");
    assert_eq!(prewrite(&[wrong, put("locked", "v")], false), "assertion_failed");
    // The key's own conflict, which the request did not want to know, explains the assertion.
    let wrong = Mutation { assertion: Assertion::NotExist.into(), ..put("newer", "v") };
    assert_eq!(prewrite(&[wrong], true), "Optimistic");
}

#[test]
fn a_key_may_have_8192_bytes_encoded() {
    let mut bench = Bench::new();
    // 910 groups of 9 bytes are 8190.
    let longest = "k".repeat(910 * 8 - 1);
    assert_eq!(refusal(&bench.prewrite(10, &[put(&longest, "")])), "");
    let answer = bench.prewrite(10, &[put(&"k".repeat(910 * 8), "")]);
    assert!(refusal(&answer).contains("KeyTooLarge"));
}

fn wish(bench: &Bench, start_ts: u64, mutations: &[Mutation]) -> PrewriteRequest {
    PrewriteRequest { use_async_commit: true, ..bench.prewrite_request(start_ts, mutations) }
}

#[test]
fn an_async_commit_comes_after_all_reads() {
    let mut bench = Bench::new();
    assert!(bench.get("x", 100).not_found);
    let request = wish(&bench, 10, &[put("k", "v"), put("l", "v")]);
    assert_eq!(ask!(bench, Prewrite, request.clone()).min_commit_ts, 101);
    // Repeated, it is answered from the locks.
    assert!(bench.get("x", 200).not_found);
    assert_eq!(ask!(bench, Prewrite, request).min_commit_ts, 101);
    let least = |bench: &mut Bench, min_commit_ts, mutation| {
        let request = PrewriteRequest { min_commit_ts, ..wish(bench, 10, &[mutation]) };
        ask!(bench, Prewrite, request).min_commit_ts
    };
    assert_eq!(least(&mut bench, 300, put("m", "v")), 300);
    assert_eq!(least(&mut bench, 0, op(Op::CheckNotExists, "n")), 11);
    assert_eq!(bench.value("n", u64::MAX), None);
    assert_eq!(least(&mut bench, 0, put("n", "v")), 201, "the newest is read at no timestamp");
}

#[test]
fn what_would_be_committed_too_late_falls_back_to_two_phases() {
    let mut bench = Bench::new();
    assert!(bench.get("x", 100).not_found);
    for one_phase in [false, true] {
        let key = if one_phase { "k" } else { "l" };
        let request = PrewriteRequest {
            max_commit_ts: 100,
            try_one_pc: one_phase,
            ..wish(&bench, 10, &[put(key, "v")])
        };
        let answer = ask!(bench, Prewrite, request);
        assert_eq!(answer, PrewriteResponse::default());
        let lock = bench.get(key, 200).error.unwrap().locked.unwrap();
        assert!(!lock.use_async_commit);
        assert_eq!(bench.commit(&[key], 10, 11).commit_version, 11);
    }
}

#[test]
fn one_phase_leaves_no_lock() {
    let mut bench = Bench::new();
    let long = "v".repeat(300);
    bench.write(5, 6, &[put("c", "old")]);
    let mutations = [put("a", "v"), put("b", &long), op(Op::Del, "c"), op(Op::Lock, "d")];
    let request = PrewriteRequest { try_one_pc: true, ..bench.prewrite_request(10, &mutations) };
    let answer = ask!(bench, Prewrite, request.clone());
    assert_eq!(answer, PrewriteResponse { one_pc_commit_ts: 11, ..Default::default() });
    assert_eq!(bench.value("b", 11).unwrap(), long);
    assert_eq!(bench.value("c", 11), None);
    assert_eq!(bench.stored("d"), "Lock@10-11");
    // A repeated request finds its own commit.
    assert_eq!(ask!(bench, Prewrite, request).one_pc_commit_ts, 11);
}

#[test]
fn one_phase_that_meets_a_lock_writes_nothing() {
    let mut bench = Bench::new();
    bench.lock(5, &[put("b", "v")]);
    let mutations = [put("a", "v"), put("b", "v")];
    let request = PrewriteRequest { try_one_pc: true, ..bench.prewrite_request(10, &mutations) };
    let answer = ask!(bench, Prewrite, request);
    assert_eq!((refusal(&answer).as_str(), answer.one_pc_commit_ts), ("locked", 0));
    assert_eq!(bench.stored("a"), "");
}

#[test]
fn a_key_locked_for_two_phases_before_makes_all_two_phase() {
    let mut bench = Bench::new();
    bench.lock(10, &[put("b", "v")]);
    let mutations = [put("a", "v"), put("b", "v"), put("c", "v")];
    let request = PrewriteRequest { try_one_pc: true, ..bench.prewrite_request(10, &mutations) };
    assert_eq!(ask!(bench, Prewrite, request), PrewriteResponse::default());
    for key in ["a", "b", "c"] {
        assert_eq!(bench.stored(key), "lock Put@10");
    }
}
