//! CheckTxnStatus, TxnHeartBeat, CheckSecondaryLocks.

use tikv_proto::kvrpcpb::*;

use super::*;

/// The physical millisecond at which the transactions here begin.
const START: u64 = 1000 * MS;

fn status(bench: &mut Bench, change: impl FnOnce(&mut CheckTxnStatusRequest)) -> CheckTxnStatusResponse {
    let mut request = CheckTxnStatusRequest {
        context: bench.context(b"p"),
        primary_key: owned("p"),
        lock_ts: START,
        caller_start_ts: START + 5,
        current_ts: START + 6,
        ..Default::default()
    };
    change(&mut request);
    ask!(bench, CheckTxnStatus, request)
}

/// A lock on `p` with this minimum.
fn locked(min_commit_ts: u64) -> Bench {
    let mut bench = Bench::new();
    let request = PrewriteRequest { min_commit_ts, ..bench.prewrite_request(START, &[put("p", "v")]) };
    assert_eq!(ask!(bench, Prewrite, request).errors, []);
    bench
}

#[test]
fn a_living_transaction_is_pushed_above_the_caller_if_it_can_be() {
    // minimum, caller, current; action, minimum after
    let table = [
        (0, START + 5, START + 6, Action::NoAction, 0),
        (START + 1, START + 5, START + 6, Action::MinCommitTsPushed, START + 6),
        (START + 1, START + 5, START + 9, Action::MinCommitTsPushed, START + 9),
        (START + 8, START + 5, START + 9, Action::MinCommitTsPushed, START + 8),
        (START + 8, 0, START + 9, Action::NoAction, START + 8),
        (START + 1, u64::MAX, START + 9, Action::MinCommitTsPushed, START + 1),
        (0, u64::MAX, START + 9, Action::MinCommitTsPushed, 0),
    ];
    for (row, (min, caller, current, action, after)) in table.into_iter().enumerate() {
        let mut bench = locked(min);
        let answer = status(&mut bench, |ask| (ask.caller_start_ts, ask.current_ts) = (caller, current));
        assert_eq!((answer.action(), answer.lock_ttl), (action, TTL_MS), "row {row}");
        assert_eq!(answer.lock_info.unwrap().min_commit_ts, after, "row {row}");
        let lock = bench.engine.columns.lock(&super::super::key::EncodedKey::of(b"p")).unwrap();
        assert_eq!(lock.sole().unwrap().min_commit_ts, after, "row {row}");
    }
}

#[test]
fn an_expired_transaction_is_rolled_back() {
    let mut bench = locked(0);
    let last = START + TTL_MS * MS;
    assert_eq!(status(&mut bench, |ask| ask.current_ts = last).action(), Action::NoAction);
    let answer = status(&mut bench, |ask| ask.current_ts = last + MS);
    let want = CheckTxnStatusResponse { action: Action::TtlExpireRollback.into(), ..Default::default() };
    assert_eq!(answer, want);
    assert_eq!(bench.stored("p"), format!("Rollback(p)@{START}-{START}"));
    assert_eq!(status(&mut bench, |_| {}), CheckTxnStatusResponse::default());
}

#[test]
fn an_async_commit_is_left_to_its_secondaries_unless_forced() {
    let mut bench = Bench::new();
    let request =
        PrewriteRequest { use_async_commit: true, ..bench.prewrite_request(START, &[put("p", "v")]) };
    let least = ask!(bench, Prewrite, request).min_commit_ts;
    let late = START + 2 * TTL_MS * MS;
    let answer = status(&mut bench, |ask| ask.current_ts = late);
    assert_eq!(answer.action(), Action::NoAction);
    assert_eq!(answer.lock_info.unwrap().min_commit_ts, least);
    let forced = status(&mut bench, |ask| (ask.current_ts, ask.force_sync_commit) = (late, true));
    assert_eq!(forced.action(), Action::TtlExpireRollback);
}

#[test]
fn a_transaction_without_lock_is_what_its_record_says() {
    let mut bench = Bench::new();
    bench.write(START, START + 3, &[put("p", "v")]);
    let committed = CheckTxnStatusResponse { commit_version: START + 3, ..Default::default() };
    assert_eq!(status(&mut bench, |_| {}), committed);

    let mut bench = Bench::new();
    let error = status(&mut bench, |_| {}).error.unwrap();
    assert_eq!(error.txn_not_found, Some(TxnNotFound { start_ts: START, primary_key: owned("p") }));
    let gentle = status(&mut bench, |ask| {
        (ask.rollback_if_not_exist, ask.resolving_pessimistic_lock) = (true, true);
    });
    assert_eq!((gentle.action(), bench.stored("p").as_str()), (Action::LockNotExistDoNothing, ""));
    let answer = status(&mut bench, |ask| ask.rollback_if_not_exist = true);
    assert_eq!(answer.action(), Action::LockNotExistRollback);
    assert_eq!(bench.stored("p"), format!("Rollback(p)@{START}-{START}"));
    assert_eq!(status(&mut bench, |_| {}), CheckTxnStatusResponse::default());
}

#[test]
fn a_lock_that_names_another_primary_is_told_if_asked() {
    let mut bench = Bench::new();
    bench.lock(START, &[put("other", "v"), put("p", "v")]);
    let error = status(&mut bench, |ask| ask.verify_is_primary = true).error.unwrap();
    assert_eq!(error.primary_mismatch.unwrap().lock_info.unwrap().primary_lock, "other");
    assert_eq!(status(&mut bench, |_| {}).lock_info.unwrap().key, "other");
}

#[test]
fn asking_raises_the_floor_of_computed_commits() {
    let mut bench = locked(0);
    status(&mut bench, |ask| (ask.caller_start_ts, ask.current_ts) = (u64::MAX, START + 50));
    let request = PrewriteRequest { try_one_pc: true, ..bench.prewrite_request(START + 1, &[put("q", "v")]) };
    assert_eq!(ask!(bench, Prewrite, request).one_pc_commit_ts, START + 51);
}

#[test]
fn a_heart_beat_prolongs_and_never_shortens() {
    let mut bench = locked(0);
    let mut beat = |primary: &str, start_version, advise_lock_ttl| {
        let context = bench.context(b"p");
        let primary_lock = owned(primary);
        let request = TxnHeartBeatRequest {
            context,
            primary_lock,
            start_version,
            advise_lock_ttl,
            ..Default::default()
        };
        ask!(bench, TxnHeartBeat, request)
    };
    assert_eq!(beat("p", START, 9000).lock_ttl, 9000);
    assert_eq!(beat("p", START, 5000).lock_ttl, 9000);
    for (key, start_ts) in [("p", START + 1), ("q", START)] {
        let error = beat(key, start_ts, 9000).error.unwrap();
        assert_eq!(error.txn_not_found, Some(TxnNotFound { start_ts, primary_key: owned(key) }));
    }
}

fn secondaries(bench: &mut Bench, keys: &[&str], start_version: u64) -> CheckSecondaryLocksResponse {
    let context = bench.context(b"p");
    let keys = keys.iter().map(|key| owned(key)).collect();
    ask!(bench, CheckSecondaryLocks, CheckSecondaryLocksRequest { context, keys, start_version })
}

#[test]
fn secondaries_tell_locks_until_one_decides() {
    let mut bench = Bench::new();
    bench.lock(10, &[put("a", "v"), put("b", "v"), put("c", "v")]);
    let keys = |answer: &CheckSecondaryLocksResponse| {
        answer.locks.iter().map(|lock| lock.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&secondaries(&mut bench, &["b", "a", "b"], 10)), ["b", "a", "b"]);
    // A missing key is rolled back and stops the request.
    let answer = secondaries(&mut bench, &["a", "x", "y"], 10);
    assert_eq!(answer, CheckSecondaryLocksResponse::default());
    assert_eq!((bench.stored("x").as_str(), bench.stored("y").as_str()), ("Rollback(p)@10-10", ""));
    assert_eq!(bench.commit(&["b"], 10, 20).commit_version, 20);
    let answer = secondaries(&mut bench, &["a", "b"], 10);
    assert_eq!(answer, CheckSecondaryLocksResponse { commit_ts: 20, ..Default::default() });
    assert!(bench.prewrite(10, &[put("x", "v")]).errors[0].conflict.is_some(), "a late prewrite fails");
}
