//! What the primary's answer means, and how the question is asked again.

use std::task::Poll;

use tikv_proto::kvrpcpb as pb;

use super::world::{Regions, abort, expect, lock, ts};
use crate::error::Error;
use crate::lock::classify::Asked;
use crate::lock::settle::{Fate, Settle, Settled};
use crate::lock::status::{CheckStatus, Status, read_status};
use crate::lock::{Lock, LockKind};
use crate::machine::script::Script;
use crate::machine::{Cx, Machine};
use crate::types::Timestamp;

/// A lock of the transaction that began at 100 ms and lives for 50.
fn met(kind: pb::Op) -> Lock {
    let mut locks = Vec::new();
    Lock::read(pb::LockInfo { lock_type: kind.into(), ..lock("s", "p", ts(100), 50) }, &mut locks);
    locks.remove(0)
}

fn read(response: pb::CheckTxnStatusResponse, lock: &Lock, now: u64, forced: bool) -> Result<Status, Error> {
    let asked = Asked { operation: "test", start_ts: lock.start_ts, redacted: false };
    read_status(response, lock, ts(now), forced, &asked)
}

fn answer(lock_ttl: u64, commit_version: u64, action: pb::Action) -> pb::CheckTxnStatusResponse {
    pb::CheckTxnStatusResponse { lock_ttl, commit_version, action: action.into(), ..Default::default() }
}

fn with_error(error: pb::KeyError) -> pb::CheckTxnStatusResponse {
    pb::CheckTxnStatusResponse { error: Some(Box::new(error)), ..Default::default() }
}

fn not_there() -> pb::CheckTxnStatusResponse {
    with_error(pb::KeyError { txn_not_found: Some(pb::TxnNotFound::default()), ..Default::default() })
}

#[test]
fn the_table_of_statuses() {
    use pb::Action::*;
    let lock = met(pb::Op::Put);
    let alive = |pushed| Status::Alive { ttl_ms: 50, pushed };
    let rows = [
        (answer(50, 0, NoAction), alive(false)),
        (answer(50, 0, MinCommitTsPushed), alive(true)),
        (answer(0, 120, NoAction), Status::Committed(Timestamp(120))),
        (answer(0, 0, NoAction), Status::RolledBack),
        (answer(0, 0, TtlExpireRollback), Status::RolledBack),
        (answer(0, 0, LockNotExistRollback), Status::RolledBack),
        (answer(0, 0, TtlExpirePessimisticRollback), Status::Undecided),
        (answer(0, 0, LockNotExistDoNothing), Status::Undecided),
        (answer(0, 0, MinCommitTsPushed), Status::Undecided),
        (pb::CheckTxnStatusResponse { action: 99, ..Default::default() }, Status::Undecided),
        (not_there(), Status::NotFound),
    ];
    for (response, status) in rows {
        assert_eq!(read(response.clone(), &lock, 120, false), Ok(status), "{response:?}");
    }
}

fn async_primary() -> pb::LockInfo {
    pb::LockInfo {
        use_async_commit: true,
        min_commit_ts: ts(130).0,
        secondaries: vec!["s".into()],
        ..lock("p", "p", ts(100), 50)
    }
}

#[test]
fn an_async_commit_is_for_its_secondaries_to_decide_once_its_time_is_over() {
    let lock = met(pb::Op::Put);
    let response = |ttl| pb::CheckTxnStatusResponse {
        lock_info: Some(async_primary()),
        ..answer(ttl, 0, pb::Action::NoAction)
    };
    let alive = Ok(Status::Alive { ttl_ms: 50, pushed: false });
    assert_eq!(read(response(50), &lock, 149, false), alive);
    assert!(matches!(read(response(50), &lock, 150, false), Ok(Status::Async(_))));
    // It has a lock, so it is not rolled back, however short it lives.
    assert!(matches!(read(response(0), &lock, 101, false), Ok(Status::Async(_))));
    assert_eq!(read(response(50), &lock, 150, true), alive);
}

#[test]
fn a_wrong_primary_is_only_a_pessimistic_locks_business() {
    let mismatch = || {
        with_error(pb::KeyError {
            primary_mismatch: Some(pb::PrimaryMismatch::default()),
            ..Default::default()
        })
    };
    assert_eq!(read(mismatch(), &met(pb::Op::PessimisticLock), 120, false), Ok(Status::Mismatch));
    assert!(read(mismatch(), &met(pb::Op::Put), 120, false).is_err());
}

#[test]
fn an_error_decides_nothing() {
    assert!(read(with_error(abort("broken")), &met(pb::Op::Put), 120, false).is_err());
}

/// `CheckStatus` as an operation of its own.
#[derive(Debug)]
struct Alone(CheckStatus);

impl Machine for Alone {
    type Output = Result<Status, Error>;
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.step(cx)
    }
}

fn check(lock: Lock, now: u64) -> Script<Alone> {
    let check = CheckStatus::new(lock, ts(110), ts(now), false, false);
    Script::given(Alone(check), Regions::cut([""; 0]))
}

#[test]
fn the_question_names_the_primary_and_pushes_it_behind_the_caller() {
    let mut s = check(met(pb::Op::Put), 120);
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    let wanted = pb::CheckTxnStatusRequest {
        primary_key: "p".into(),
        lock_ts: ts(100).0,
        caller_start_ts: ts(110).0,
        current_ts: ts(120).0,
        verify_is_primary: true,
        ..Default::default()
    };
    assert_eq!(request, wanted);
    s.reply(call, &answer(50, 0, pb::Action::MinCommitTsPushed));
    assert_eq!(s.done().0, Ok(Status::Alive { ttl_ms: 50, pushed: true }));
}

#[test]
fn a_lock_without_time_to_live_is_judged_at_the_end_of_time() {
    let mut s = check(Lock { ttl_ms: 0, ..met(pb::Op::Put) }, 120);
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    assert_eq!(request.current_ts, u64::MAX);
    s.reply(call, &answer(0, 0, pb::Action::TtlExpireRollback));
    assert_eq!(s.done().0, Ok(Status::RolledBack));
}

#[test]
fn a_primary_of_a_live_owner_that_is_not_there_is_no_status() {
    let mut s = check(met(pb::Op::Put), 120);
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    assert!(!request.rollback_if_not_exist);
    s.reply(call, &not_there());
    assert_eq!(s.done().0, Ok(Status::NotFound));
}

#[test]
fn a_primary_that_is_not_there_when_its_time_is_over_is_rolled_back() {
    let mut s = check(met(pb::Op::Put), 150);
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    assert!(!request.rollback_if_not_exist);
    s.reply(call, &not_there());
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    assert!(request.rollback_if_not_exist);
    s.reply(call, &answer(0, 0, pb::Action::LockNotExistRollback));
    assert_eq!(s.done().0, Ok(Status::RolledBack));
}

// txn-read.md R10: client-go asks again without a pause, with the same old timestamp.
#[test]
fn a_store_that_finds_nothing_and_rolls_nothing_back_is_asked_twice_and_no_more() {
    let mut s = check(met(pb::Op::Put), 150);
    for _ in 0..2 {
        let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
        s.reply(call, &not_there());
    }
    assert_eq!(s.done().0, Ok(Status::NotFound));
}

#[test]
fn the_owner_of_a_live_pessimistic_lock_lives() {
    let mut s = check(met(pb::Op::PessimisticLock), 120);
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    assert!(request.resolving_pessimistic_lock);
    s.reply(call, &not_there());
    assert_eq!(s.done().0, Ok(Status::Alive { ttl_ms: 50, pushed: false }));
}

fn settle() -> Script<Settle> {
    Script::given(Settle::new(met(pb::Op::Put), ts(110), ts(200), false), Regions::cut(["q", "t"]))
}

#[test]
fn an_async_commit_that_fell_back_is_decided_by_its_primary() {
    let mut s = settle();
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    s.reply(
        call,
        &pb::CheckTxnStatusResponse {
            lock_info: Some(async_primary()),
            ..answer(50, 0, pb::Action::NoAction)
        },
    );
    let (call, request, _) = expect::<pb::CheckSecondaryLocksRequest>(&mut s);
    assert_eq!((request.keys, request.start_version), (vec!["s".into()], ts(100).0));
    s.reply(
        call,
        &pb::CheckSecondaryLocksResponse { locks: vec![lock("s", "p", ts(100), 50)], ..Default::default() },
    );
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    assert!(request.force_sync_commit);
    s.reply(call, &answer(0, 0, pb::Action::TtlExpireRollback));
    let settled = s.done().0.unwrap();
    assert_eq!((settled.fate, settled.recovered), (Fate::RolledBack, vec![]));
}

#[test]
fn a_recovered_async_commit_names_all_its_keys_the_primary_with_them() {
    let mut s = settle();
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    let info = pb::LockInfo { secondaries: vec!["s".into(), "z".into()], ..async_primary() };
    s.reply(
        call,
        &pb::CheckTxnStatusResponse { lock_info: Some(info), ..answer(50, 0, pb::Action::NoAction) },
    );
    // Both regions are asked at the same time; the answers come the other way round.
    let calls = [ts(131), ts(129)].map(|min_commit_ts| {
        let (call, request, _) = expect::<pb::CheckSecondaryLocksRequest>(&mut s);
        let key = request.keys[0].clone();
        let held = pb::LockInfo { key, min_commit_ts: min_commit_ts.0, ..async_primary() };
        (call, pb::CheckSecondaryLocksResponse { locks: vec![held], ..Default::default() })
    });
    for (call, response) in calls.into_iter().rev() {
        s.reply(call, &response);
    }
    let Settled { lock, fate, recovered } = s.done().0.unwrap();
    assert_eq!(lock.kind, LockKind::Prewritten);
    assert_eq!(fate, Fate::Committed(ts(131)));
    assert_eq!(recovered, super::world::keys(&["s", "z", "p"]));
}
