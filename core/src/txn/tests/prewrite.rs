//! The first phase: what is sent, what others' locks lead to, and how it fails.

use std::time::Duration;

use tikv_proto::kvrpcpb as pb;

use super::*;
use crate::error::{ErrorKind, TxnError};
use crate::lock::tests::world::{abort, lock, locked, not_found, pause};
use crate::machine::{Question, TransportClass};
use crate::start::Start;

fn errors(errors: Vec<pb::KeyError>) -> pb::PrewriteResponse {
    pb::PrewriteResponse { errors, ..Default::default() }
}

fn rolled_back(s: &mut Script<CommitMachine>, of: &[&str]) {
    assert_eq!(s.expect_spawn(), Start::RollBack { start_ts: START, keys: keys(of) });
}

fn txn_error(s: Script<CommitMachine>) -> TxnError {
    match s.done().0 {
        Err(Error::Txn(error)) => error,
        other => panic!("not a transaction's error: {other:?}"),
    }
}

#[test]
fn a_prewrite_says_all_that_others_need_to_know() {
    let mut s = commit(&["a", "b"], &two_regions());
    let (_, request, _) = prewrite(&mut s, &["a", "b"]);
    let wanted = pb::PrewriteRequest {
        mutations: vec![put("a").message(), put("b").message()],
        primary_lock: "a".into(),
        start_version: START.0,
        lock_ttl: 3000,
        txn_size: 2,
        min_commit_ts: START.0 + 1,
        ..Default::default()
    };
    assert_eq!(request, wanted);
    s.abandon();
}

#[test]
fn all_batches_are_prewritten_side_by_side_and_nothing_is_decided_before_the_last() {
    let mut s = commit(&["a", "b", "z"], &two_regions());
    let (low, request, _) = prewrite(&mut s, &["a", "b"]);
    assert_eq!((request.txn_size, request.primary_lock), (2, "a".into()));
    let (high, request, _) = prewrite(&mut s, &["z"]);
    assert_eq!((request.txn_size, request.primary_lock), (1, "a".into()));
    s.reply(low, &pb::PrewriteResponse::default());
    s.expect_nothing();
    s.reply(high, &pb::PrewriteResponse::default());
    s.expect_ask(&Question::Timestamp);
    s.abandon();
}

#[test]
fn a_regions_batches_are_cut_by_size_and_know_the_whole() {
    let large = |key: &str| Mutation { key: key.into(), op: Op::Put(vec![0; 10 << 10].into()) };
    let machine = CommitMachine::new(plan(vec![large("a"), large("b"), large("c")]));
    let mut s = Script::given(machine, two_regions());
    for of in [&["a", "b"][..], &["c"]] {
        let (_, request, _) = prewrite(&mut s, of);
        assert_eq!(request.txn_size, 3);
    }
    s.abandon();
}

#[test]
fn the_primary_is_the_first_key_that_gets_a_lock() {
    let machine = CommitMachine::new(plan(vec![check("a"), put("b"), put("c")]));
    let mut s = Script::given(machine, two_regions());
    let (call, request, _) = prewrite(&mut s, &["a", "b", "c"]);
    assert_eq!(request.primary_lock, "b");
    s.reply(call, &pb::PrewriteResponse::default());
    give_ts(&mut s, COMMIT);
    let call = decision(&mut s, COMMIT, &["b", "c"]);
    s.reply(call, &pb::CommitResponse::default());
    s.done().0.unwrap();
}

// txn-write.md Q21: client-go counts it as failed and starts a cleanup of nothing.
#[test]
fn a_transaction_that_only_checks_is_over_with_its_prewrite() {
    let mut s = Script::given(CommitMachine::new(plan(vec![check("a")])), two_regions());
    prewritten(&mut s, &["a"]);
    assert_eq!(s.done().0.unwrap().commit_ts, START);
}

#[test]
fn a_transaction_that_writes_nothing_sends_nothing() {
    let s = Script::given(CommitMachine::new(plan(vec![])), two_regions());
    assert_eq!(s.done().0.unwrap().commit_ts, START);
}

#[test]
fn a_conflict_ends_the_commit_cancels_the_rest_and_rolls_back() {
    let mut s = commit(&["a", "z"], &two_regions());
    let (low, ..) = prewrite(&mut s, &["a"]);
    let (high, ..) = prewrite(&mut s, &["z"]);
    let conflict = pb::WriteConflict {
        start_ts: START.0,
        conflict_ts: ts(110).0,
        conflict_commit_ts: ts(120).0,
        key: "a".into(),
        ..Default::default()
    };
    let error = pb::KeyError { conflict: Some(conflict), retryable: "c".into(), ..Default::default() };
    s.reply(low, &errors(vec![error]));
    rolled_back(&mut s, &["a", "z"]);
    s.expect_cancel(high);
    let TxnError::WriteConflict { key, conflict_commit_ts, .. } = txn_error(s) else { panic!("conflict") };
    assert_eq!((key.key().as_slice(), conflict_commit_ts), (&b"a"[..], ts(120)));
}

#[test]
fn a_key_that_was_to_be_new_and_is_not_ends_the_commit() {
    let insert = Mutation { key: "a".into(), op: Op::Insert("v".into()) };
    let mut s = Script::given(CommitMachine::new(plan(vec![insert])), two_regions());
    let (call, ..) = prewrite(&mut s, &["a"]);
    let exists = pb::AlreadyExist { key: "a".into() };
    s.reply(call, &errors(vec![pb::KeyError { already_exist: Some(exists), ..Default::default() }]));
    rolled_back(&mut s, &["a"]);
    assert!(matches!(txn_error(s), TxnError::AlreadyExists { .. }));
}

// client-go: TestPrewriteEncountersLargerTsLock.
#[test]
fn a_lock_of_a_younger_transaction_is_a_conflict_and_left_alone() {
    let mut s = commit(&["a"], &two_regions());
    let (call, ..) = prewrite(&mut s, &["a"]);
    s.reply(call, &errors(vec![locked(lock("a", "p", ts(101), 50))]));
    rolled_back(&mut s, &["a"]);
    let TxnError::WriteConflict { conflict_ts, conflict_commit_ts, .. } = txn_error(s) else { panic!() };
    assert_eq!((conflict_ts, conflict_commit_ts), (ts(101), Timestamp(0)));
}

/// The prewrite of "a" meets an older lock, whose primary says this of its owner.
fn met(answer: pb::CheckTxnStatusResponse) -> Script<CommitMachine> {
    let mut s = commit(&["a"], &two_regions());
    let (call, ..) = prewrite(&mut s, &["a"]);
    s.reply(call, &errors(vec![locked(lock("a", "p", ts(50), 5000))]));
    give_ts(&mut s, ts(120));
    let (call, request, _) = expect::<pb::CheckTxnStatusRequest>(&mut s);
    assert_eq!((request.lock_ts, request.caller_start_ts), (ts(50).0, START.0));
    s.reply(call, &answer);
    s
}

fn status(lock_ttl: u64, commit_version: u64, action: pb::Action) -> pb::CheckTxnStatusResponse {
    pb::CheckTxnStatusResponse { lock_ttl, commit_version, action: action.into(), ..Default::default() }
}

#[test]
fn an_older_lock_is_removed_before_the_prewrite_goes_on() {
    let dead = status(0, 0, pb::Action::TtlExpireRollback);
    let gone = status(0, 0, pb::Action::NoAction);
    for (answer, commit_version) in
        [(dead, 0), (gone, 0), (status(0, ts(60).0, pb::Action::NoAction), ts(60).0)]
    {
        let mut s = met(answer);
        let (call, request, _) = expect::<pb::ResolveLockRequest>(&mut s);
        assert_eq!((request.start_version, request.commit_version), (ts(50).0, commit_version));
        assert_eq!(request.keys, ["a"]);
        s.expect_nothing();
        s.reply(call, &pb::ResolveLockResponse::default());
        prewritten(&mut s, &["a"]);
        give_ts(&mut s, COMMIT);
        let call = decision(&mut s, COMMIT, &["a"]);
        s.reply(call, &pb::CommitResponse::default());
        s.done().0.unwrap();
    }
}

// txn-write.md Q25: client-go sends the same request again, whose lock would live shorter than it should.
#[test]
fn a_live_lock_is_waited_for_and_the_own_lock_lives_on_from_then() {
    let mut s = met(status(5000, 0, pb::Action::NoAction));
    pause(&mut s);
    let waited = s.now().since(Instant(0));
    assert!(waited >= Duration::from_millis(5));
    let (call, request, attempt) = prewrite(&mut s, &["a"]);
    assert_eq!(u128::from(request.lock_ttl), 3000 + waited.as_millis());
    assert!(attempt.retry, "an earlier copy may have left something");
    s.reply(call, &errors(vec![]));
    s.expect_ask(&Question::Timestamp);
    s.abandon();
}

#[test]
fn an_error_that_is_no_lock_counts_more_than_the_locks_beside_it() {
    let mut s = commit(&["a", "b"], &two_regions());
    let (call, ..) = prewrite(&mut s, &["a", "b"]);
    s.reply(call, &errors(vec![locked(lock("a", "p", ts(50), 50)), abort("KeyTooLarge")]));
    rolled_back(&mut s, &["a", "b"]);
    assert!(matches!(txn_error(s), TxnError::Refused { .. }));
}

// client-go: TestPrewriteTxnSize.
#[test]
fn a_region_that_was_split_is_prewritten_in_two_and_nobody_trusts_its_size_any_more() {
    let regions = Regions::cut([""; 0]);
    let mut s = commit(&["a", "b", "z"], &regions);
    let (call, ..) = prewrite(&mut s, &["a", "b", "z"]);
    regions.split("m");
    not_found(&mut s, call);
    for of in [&["a", "b"][..], &["z"]] {
        let (call, request, attempt) = prewrite(&mut s, of);
        assert_eq!(request.txn_size, u64::MAX);
        // The one before may have been executed in part of the region.
        assert!(attempt.retry);
        s.reply(call, &pb::PrewriteResponse::default());
    }
    s.expect_ask(&Question::Timestamp);
    s.abandon();
}

#[test]
fn a_lost_prewrite_is_sent_again_and_marked_so() {
    let mut s = commit(&["a"], &two_regions());
    let (call, _, attempt) = prewrite(&mut s, &["a"]);
    assert!(!attempt.retry);
    s.fail(call, TransportClass::Lost);
    s.expect_report();
    pause(&mut s);
    let (call, _, attempt) = prewrite(&mut s, &["a"]);
    assert!(attempt.retry);
    s.reply(call, &pb::PrewriteResponse::default());
    s.expect_ask(&Question::Timestamp);
    s.abandon();
}

#[test]
fn a_prewrite_that_cannot_be_sent_ends_in_a_clear_error_even_when_answers_were_lost() {
    let mut s = commit(&["a"], &two_regions());
    while !s.is_done() {
        let (call, ..) = prewrite(&mut s, &["a"]);
        s.fail(call, TransportClass::Lost);
        s.expect_report();
        if !s.is_done() {
            pause(&mut s);
        }
        if s.is_done() {
            break;
        }
    }
    rolled_back(&mut s, &["a"]);
    let error = s.done().0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
