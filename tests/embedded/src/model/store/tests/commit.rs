//! Commit, rollback, cleanup, and the records that rollbacks leave.

use tikv_proto::kvrpcpb::*;

use super::*;

fn cleanup(bench: &mut Bench, key: &str, start_version: u64, current_ts: u64) -> CleanupResponse {
    let context = bench.context(key.as_bytes());
    ask!(bench, Cleanup, CleanupRequest { context, key: owned(key), start_version, current_ts })
}

#[test]
fn a_commit_is_done_once_and_may_be_repeated() {
    let mut bench = Bench::new();
    bench.lock(10, &[put("a", "v"), put("b", "v")]);
    for _ in 0..2 {
        assert_eq!(
            bench.commit(&["a", "b"], 10, 20),
            CommitResponse { commit_version: 20, ..Default::default() }
        );
    }
    assert_eq!(bench.stored("a"), "Put@10-20");
}

#[test]
fn a_commit_without_its_lock_changes_nothing() {
    let mut bench = Bench::new();
    bench.lock(10, &[put("a", "v")]);
    let error = bench.commit(&["a", "missing"], 10, 20).error.unwrap();
    assert_eq!(error.txn_lock_not_found.as_ref().unwrap().key, "missing");
    assert!(error.retryable.contains("TxnLockNotFound") && error.debug_info.is_none());
    assert_eq!(bench.stored("a"), "lock Put@10");
    let request = CommitRequest {
        context: bench.context(b"a"),
        keys: vec![owned("missing")],
        start_version: 10,
        commit_version: 20,
        commit_role: CommitRole::Secondary.into(),
        ..Default::default()
    };
    let info = ask!(bench, Commit, request).error.unwrap().debug_info.unwrap();
    assert_eq!(info.mvcc_info[0].key, "missing");
}

#[test]
fn a_commit_lies_after_its_start_and_not_below_the_minimum() {
    let mut bench = Bench::new();
    let request =
        PrewriteRequest { min_commit_ts: 20, ..bench.prewrite_request(10, &[put("a", "v"), put("b", "v")]) };
    assert_eq!(ask!(bench, Prewrite, request).errors, []);
    for commit_ts in [9, 10] {
        assert!(bench.commit(&["a"], 10, commit_ts).error.unwrap().abort.contains("InvalidTxnTso"));
    }
    let told = |bench: &mut Bench, key: &str| {
        let error = bench.commit(&[key], 10, 19).error.unwrap();
        (error.commit_ts_expired.unwrap(), error.debug_info.is_some())
    };
    let expired =
        CommitTsExpired { start_ts: 10, attempted_commit_ts: 19, key: owned("a"), min_commit_ts: 20 };
    assert_eq!(told(&mut bench, "a"), (expired.clone(), false));
    assert_eq!(told(&mut bench, "b"), (CommitTsExpired { key: owned("b"), ..expired }, true));
    assert_eq!(bench.commit(&["a"], 10, 20).commit_version, 20);
}

#[test]
fn a_rollback_leaves_a_record_protected_on_the_primary() {
    let mut bench = Bench::new();
    bench.lock(10, &[put("a", &"v".repeat(300)), put("b", "v")]);
    for _ in 0..2 {
        assert_eq!(bench.roll_back(&["a", "b", "missing"], 10).error, None);
    }
    assert_eq!(bench.stored("a"), "Rollback(p)@10-10");
    assert_eq!(bench.stored("b"), "Rollback@10-10");
    assert_eq!(bench.stored("missing"), "Rollback@10-10");
    let default = super::super::columns::Column::Default;
    let open = Bytes::new();
    assert_eq!(bench.engine.columns.raw_rows(default, &open, &open, 0).count(), 0, "the value is gone");
    bench.write(20, 30, &[put("a", "v")]);
    assert!(bench.roll_back(&["a"], 20).error.unwrap().abort.contains("Committed"));
}

#[test]
fn unprotected_rollbacks_collapse_into_the_newest() {
    let mut bench = Bench::new();
    for start_ts in [10, 20, 30] {
        assert_eq!(bench.roll_back(&["k"], start_ts).error, None);
    }
    assert_eq!(bench.stored("k"), "Rollback@30-30");
    assert_eq!(cleanup(&mut bench, "k", 40, 0), CleanupResponse::default());
    assert_eq!(bench.stored("k"), "Rollback(p)@40-40, Rollback@30-30");
    assert_eq!(bench.roll_back(&["k"], 50).error, None);
    assert_eq!(bench.stored("k"), "Rollback@50-50, Rollback(p)@40-40, Rollback@30-30");
}

#[test]
fn a_rollback_at_a_commit_is_a_mark_on_it_if_protected() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "v")]);
    assert_eq!(bench.roll_back(&["k"], 20).error, None);
    assert_eq!(bench.stored("k"), "Put@10-20");
    bench.write(25, 30, &[put("k", "w")]);
    assert_eq!(cleanup(&mut bench, "k", 20, 0), CleanupResponse::default());
    assert_eq!(bench.stored("k"), "Put@25-30, Put@10-20+rollback|30");
    // The fence hides the older version from those who could see the newer one.
    assert_eq!(bench.value("k", 29).unwrap(), "v");
    let again = bench.prewrite(20, &[put("k", "x")]);
    assert!(again.errors[0].conflict.is_some());
    assert_eq!(cleanup(&mut bench, "k", 20, 0), CleanupResponse::default());
}

#[test]
fn a_protected_rollback_is_remembered_by_an_async_lock_it_could_collide_with() {
    let mut bench = Bench::new();
    let request = PrewriteRequest { use_async_commit: true, ..bench.prewrite_request(10, &[put("k", "v")]) };
    let least = ask!(bench, Prewrite, request).min_commit_ts;
    assert_eq!(least, 11);
    assert_eq!(cleanup(&mut bench, "k", 15, 0), CleanupResponse::default());
    assert_eq!(bench.stored("k"), "lock Put@10, Rollback(p)@15-15");
    assert_eq!(bench.commit(&["k"], 10, 15).commit_version, 15);
    assert_eq!(bench.stored("k"), "Put@10-15+rollback");
    assert_eq!(refused_at(&mut bench, 15), "SelfRolledBack");
}

fn refused_at(bench: &mut Bench, start_ts: u64) -> String {
    let answer = bench.prewrite(start_ts, &[put("k", "v")]);
    format!("{:?}", answer.errors[0].conflict.as_ref().unwrap().reason())
}

#[test]
fn cleanup_spares_the_living() {
    let mut bench = Bench::new();
    let start_ts = 1000 * MS;
    bench.lock(start_ts, &[put("k", "v")]);
    let alive = start_ts + TTL_MS * MS;
    assert!(cleanup(&mut bench, "k", start_ts, alive).error.unwrap().locked.is_some());
    assert_eq!(cleanup(&mut bench, "k", start_ts, alive + MS), CleanupResponse::default());
    assert_eq!(bench.stored("k"), format!("Rollback(p)@{start_ts}-{start_ts}"));
    bench.write(start_ts + 1, start_ts + 2, &[put("k", "v")]);
    assert_eq!(cleanup(&mut bench, "k", start_ts + 1, 0).commit_version, start_ts + 2);
}

#[test]
fn no_computed_commit_overwrites_a_protected_rollback() {
    let mut bench = Bench::new();
    assert_eq!(cleanup(&mut bench, "k", 50, 0), CleanupResponse::default());
    let request = PrewriteRequest { try_one_pc: true, ..bench.prewrite_request(49, &[put("l", "v")]) };
    assert_eq!(ask!(bench, Prewrite, request).one_pc_commit_ts, 51);
}
