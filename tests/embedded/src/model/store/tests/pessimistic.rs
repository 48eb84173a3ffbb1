//! Locks before the prewrite: rows of `cluster.md` 7.2 and 7.8.

use super::*;

/// A lock request of `start_ts` for `keys`, which waits for nobody.
pub(super) fn request(bench: &Bench, start_ts: u64, keys: &[&str]) -> PessimisticLockRequest {
    PessimisticLockRequest {
        context: bench.context(keys[0].as_bytes()),
        mutations: keys.iter().map(|key| op(Op::PessimisticLock, key)).collect(),
        primary_lock: owned(keys[0]),
        start_version: start_ts,
        for_update_ts: start_ts,
        lock_ttl: TTL_MS,
        wait_timeout: -1,
        ..Default::default()
    }
}

/// Locks `key` without waiting, with what `change` makes of the request.
fn lock(
    bench: &mut Bench,
    start_ts: u64,
    key: &str,
    change: impl FnOnce(&mut PessimisticLockRequest),
) -> PessimisticLockResponse {
    let mut request = request(bench, start_ts, &[key]);
    change(&mut request);
    ask!(bench, PessimisticLock, request)
}

fn prewrite_locked(
    bench: &mut Bench,
    start_ts: u64,
    for_update_ts: u64,
    mutation: Mutation,
    change: impl FnOnce(&mut PrewriteRequest),
) -> PrewriteResponse {
    let mut request = PrewriteRequest {
        for_update_ts,
        pessimistic_actions: vec![prewrite_request::PessimisticAction::DoPessimisticCheck.into()],
        ..bench.prewrite_request(start_ts, &[mutation])
    };
    change(&mut request);
    ask!(bench, Prewrite, request)
}

fn force(ask: &mut PessimisticLockRequest) {
    ask.set_wake_up_mode(PessimisticLockWakeUpMode::WakeUpModeForceLock);
}

fn errors(answer: &[KeyError]) -> Vec<String> {
    answer.iter().map(kind).collect()
}

#[test]
fn a_lock_keeps_writers_out_and_readers_in() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "v")]);
    assert_eq!(lock(&mut bench, 30, "k", |_| {}), PessimisticLockResponse::default());
    assert_eq!(bench.stored("k"), "lock PessimisticLock@30, Put@10-20");
    assert_eq!(bench.value("k", 40), Some(owned("v")));
    assert_eq!(errors(&bench.prewrite(41, &[put("k", "w")]).errors), ["locked"]);
    assert_eq!(errors(&lock(&mut bench, 42, "k", |_| {}).errors), ["locked"]);
    // The prewrite takes its place; what it has been given stays.
    let before = lock(&mut bench, 30, "k", |ask| (ask.for_update_ts, ask.lock_ttl) = (50, 9000));
    assert!(before.errors.is_empty());
    assert_eq!(prewrite_locked(&mut bench, 30, 30, put("k", "w"), |_| {}), PrewriteResponse::default());
    let info = bench.get("k", 60).error.unwrap().locked.unwrap();
    assert_eq!((info.lock_ttl, info.lock_for_update_ts), (9000, 50));
    assert_eq!(bench.commit(&["k"], 30, 60).error, None);
    assert_eq!(bench.value("k", 60), Some(owned("w")));
}

#[test]
fn what_was_written_since_for_update_ts_is_a_conflict() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "v")]);
    let conflict = lock(&mut bench, 15, "k", |_| {}).errors.remove(0).conflict.unwrap();
    assert_eq!(conflict.reason(), write_conflict::Reason::PessimisticRetry);
    assert_eq!((conflict.conflict_ts, conflict.conflict_commit_ts), (10, 20));
    assert!(lock(&mut bench, 15, "k", |ask| ask.for_update_ts = 20).errors.is_empty());
    // A rollback counts, too.
    bench.roll_back(&["r"], 50);
    assert_eq!(errors(&lock(&mut bench, 40, "r", |_| {}).errors), ["conflict"]);
    let own = lock(&mut bench, 50, "r", |_| {});
    assert!(own.errors[0].abort.contains("PessimisticLockRolledBack"), "{own:?}");
}

#[test]
fn the_value_and_the_presence_are_told_to_those_who_ask() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "v")]);
    let told = lock(&mut bench, 30, "k", |ask| ask.return_values = true);
    assert_eq!((told.values, told.not_founds), (vec![owned("v")], vec![false]));
    let told = lock(&mut bench, 31, "absent", |ask| ask.check_existence = true);
    assert_eq!((told.values, told.not_founds), (vec![], vec![true]));
    // Sent again, it says the same.
    let told = lock(&mut bench, 30, "k", |ask| ask.return_values = true);
    assert_eq!((told.values, told.not_founds), (vec![owned("v")], vec![false]));
    let absent = |ask: &mut PessimisticLockRequest| ask.mutations[0].set_assertion(Assertion::NotExist);
    assert_eq!(errors(&lock(&mut bench, 30, "k", absent).errors), ["already_exist"]);
    // Whoever has read is not written before: the next timestamp that is computed lies above.
    let request = PrewriteRequest { try_one_pc: true, ..bench.prewrite_request(5, &[put("x", "")]) };
    assert_eq!(ask!(bench, Prewrite, request).one_pc_commit_ts, 32);
}

#[test]
fn a_key_may_be_locked_only_if_it_exists() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "v")]);
    let only = |ask: &mut PessimisticLockRequest| {
        (ask.lock_only_if_exists, ask.return_values) = (true, true);
    };
    assert_eq!(lock(&mut bench, 30, "absent", only).not_founds, [true]);
    assert_eq!(bench.stored("absent"), "");
    assert_eq!(lock(&mut bench, 30, "k", only).not_founds, [false]);
    assert_eq!(bench.stored("k"), "lock PessimisticLock@30, Put@10-20");
    let refused = lock(&mut bench, 30, "k", |ask| ask.lock_only_if_exists = true);
    assert!(refused.errors[0].abort.contains("LockIfExistsFailed"));
}

#[test]
fn a_forced_lock_is_granted_at_the_newer_version() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "v")]);
    let told = lock(&mut bench, 15, "k", force).results.remove(0);
    assert_eq!(told.r#type(), PessimisticLockKeyResultType::LockResultLockedWithConflict);
    assert_eq!((told.value, told.locked_with_conflict_ts), (owned("v"), 20));
    let again = lock(&mut bench, 15, "k", force).results.remove(0);
    assert_eq!(again.locked_with_conflict_ts, 20);
    // A prewrite that expects another lock does not find it.
    let expected = |expected_for_update_ts| {
        move |ask: &mut PrewriteRequest| {
            ask.for_update_ts_constraints =
                vec![prewrite_request::ForUpdateTsConstraint { index: 0, expected_for_update_ts }];
        }
    };
    let other = prewrite_locked(&mut bench, 15, 15, put("k", "w"), expected(15));
    assert!(other.errors[0].abort.contains("LockForUpdateTsMismatch"), "{other:?}");
    assert!(prewrite_locked(&mut bench, 15, 15, put("k", "w"), expected(20)).errors.is_empty());
    let two = {
        let mut request = request(&bench, 30, &["a", "b"]);
        force(&mut request);
        ask!(bench, PessimisticLock, request)
    };
    assert!(two.errors[0].abort.contains("Other"));
}

#[test]
fn a_lost_lock_is_amended_unless_the_key_was_written() {
    let mut bench = Bench::new();
    bench.write(10, 20, &[put("k", "v")]);
    lock(&mut bench, 30, "k", |_| {});
    let (start, end) = (Bytes::new(), Bytes::new());
    bench.engine.lose_memory_locks(&start, &end);
    assert_eq!(bench.stored("k"), "Put@10-20");
    assert!(prewrite_locked(&mut bench, 30, 30, put("k", "w"), |_| {}).errors.is_empty());
    bench.write(40, 50, &[put("x", "v")]);
    let lost = prewrite_locked(&mut bench, 45, 45, put("x", "w"), |_| {});
    assert!(lost.errors[0].abort.contains("LockMissingAmendFail"), "{lost:?}");
    let taken = prewrite_locked(&mut bench, 60, 60, put("k", "w"), |_| {});
    assert!(taken.errors[0].abort.contains("LockTsMismatch"), "{taken:?}");
}

#[test]
fn a_rollback_takes_the_locks_it_knows_of_and_leaves_no_record() {
    let mut bench = Bench::new();
    let roll_back = |bench: &mut Bench, keys: &[&str], for_update_ts| {
        let request = PessimisticRollbackRequest {
            context: bench.context(b"k"),
            keys: keys.iter().map(|key| owned(key)).collect(),
            start_version: 30,
            for_update_ts,
        };
        ask!(bench, PessimisticRollback, request)
    };
    for key in ["k", "l"] {
        lock(&mut bench, 30, key, |ask| ask.for_update_ts = 35);
    }
    lock(&mut bench, 31, "m", |_| {});
    assert!(roll_back(&mut bench, &["k", "m"], 34).errors.is_empty());
    assert_eq!(bench.stored("k"), "lock PessimisticLock@30");
    assert!(roll_back(&mut bench, &["k", "m"], 35).errors.is_empty());
    assert_eq!((bench.stored("k"), bench.stored("m")), (String::new(), "lock PessimisticLock@31".into()));
    // Without keys: all of the region.
    assert!(roll_back(&mut bench, &[], 35).errors.is_empty());
    assert_eq!(bench.stored("l"), "");
}

#[test]
fn locks_in_memory_are_scanned_but_not_resolved() {
    let mut bench = Bench::new();
    lock(&mut bench, 30, "k", |_| {});
    let context = bench.context(b"k");
    let scan = ScanLockRequest { context: context.clone(), max_version: 40, ..Default::default() };
    assert_eq!(ask!(bench, ScanLock, scan).locks.len(), 1);
    let resolve = ResolveLockRequest { context, start_version: 30, ..Default::default() };
    assert_eq!(ask!(bench, ResolveLock, resolve), ResolveLockResponse::default());
    assert_eq!(bench.stored("k"), "lock PessimisticLock@30");
    // A commit of what was never prewritten only takes the lock away.
    assert_eq!(bench.commit(&["k"], 30, 50).error, None);
    assert_eq!(bench.stored("k"), "");
}

#[test]
fn an_expired_pessimistic_lock_goes_without_record_when_such_locks_are_resolved() {
    for (resolving, action, stored) in [
        (true, Action::TtlExpirePessimisticRollback, ""),
        (false, Action::TtlExpireRollback, "Rollback(p)@30-30"),
    ] {
        let mut bench = Bench::new();
        lock(&mut bench, 30, "k", |_| {});
        let request = CheckTxnStatusRequest {
            context: bench.context(b"k"),
            primary_key: owned("k"),
            lock_ts: 30,
            current_ts: 30 + 2 * TTL_MS * MS,
            resolving_pessimistic_lock: resolving,
            ..Default::default()
        };
        assert_eq!(ask!(bench, CheckTxnStatus, request).action(), action);
        assert_eq!(bench.stored("k"), stored);
    }
}
