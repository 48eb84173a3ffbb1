//! The second phase: the decision, and what is certain when it fails.

use tikv_proto::errorpb;
use tikv_proto::kvrpcpb as pb;

use super::*;
use crate::error::{ErrorKind, TxnError};
use crate::lock::tests::world::{abort, not_found, pause};
use crate::machine::TransportClass;
use crate::start::Start;

fn secondaries(s: &mut Script<CommitMachine>, commit_ts: Timestamp, of: &[&str]) {
    let wanted = Start::CommitSecondaries { start_ts: START, commit_ts, primary: "a".into(), keys: keys(of) };
    assert_eq!(s.expect_spawn(), wanted);
}

fn rolled_back(s: &mut Script<CommitMachine>) {
    assert_eq!(s.expect_spawn(), Start::RollBack { start_ts: START, keys: keys(&["a", "z"]) });
}

fn committed(s: Script<CommitMachine>) -> Timestamp {
    s.done().0.unwrap().commit_ts
}

fn txn_error(s: Script<CommitMachine>) -> TxnError {
    match s.done().0 {
        Err(Error::Txn(error)) => error,
        other => panic!("not a transaction's error: {other:?}"),
    }
}

/// The decision got no answer; it is out again.
fn lost(s: &mut Script<CommitMachine>, call: TicketId, class: TransportClass) -> TicketId {
    s.fail(call, class);
    s.expect_report();
    pause(s);
    decision(s, COMMIT, &["a"])
}

#[test]
fn the_primary_is_committed_alone_and_the_caller_does_not_wait_for_the_rest() {
    let (mut s, call) = deciding(&two_regions());
    s.expect_nothing();
    s.reply(call, &pb::CommitResponse::default());
    secondaries(&mut s, COMMIT, &["z"]);
    assert_eq!(committed(s), COMMIT);
}

#[test]
fn keys_of_the_primarys_region_are_committed_with_it() {
    let mut s = commit(&["a", "b"], &two_regions());
    prewritten(&mut s, &["a", "b"]);
    give_ts(&mut s, COMMIT);
    let call = decision(&mut s, COMMIT, &["a", "b"]);
    s.reply(call, &pb::CommitResponse::default());
    assert_eq!(committed(s), COMMIT, "nothing is left to do");
}

#[test]
fn a_region_that_was_split_leaves_more_to_the_background() {
    let regions = Regions::cut([""; 0]);
    let mut s = commit(&["a", "b", "z"], &regions);
    prewritten(&mut s, &["a", "b", "z"]);
    give_ts(&mut s, COMMIT);
    let call = decision(&mut s, COMMIT, &["a", "b", "z"]);
    regions.split("m");
    not_found(&mut s, call);
    let call = decision(&mut s, COMMIT, &["a", "b"]);
    s.reply(call, &pb::CommitResponse::default());
    secondaries(&mut s, COMMIT, &["z"]);
    assert_eq!(committed(s), COMMIT);
}

#[test]
fn a_lost_answer_is_asked_for_again_and_the_commit_may_be_found_there() {
    let (mut s, call) = deciding(&two_regions());
    let call = lost(&mut s, call, TransportClass::Lost);
    s.reply(call, &pb::CommitResponse::default());
    secondaries(&mut s, COMMIT, &["z"]);
    assert_eq!(committed(s), COMMIT);
}

/// The decision is sent again and again until nothing more is tried.
fn never_answered(class: TransportClass) -> Script<CommitMachine> {
    let (mut s, mut call) = deciding(&two_regions());
    loop {
        s.fail(call, class);
        s.expect_report();
        if s.is_done() {
            return s;
        }
        pause(&mut s);
        call = decision(&mut s, COMMIT, &["a"]);
    }
}

#[test]
fn a_store_that_is_gone_behind_the_decision_leaves_it_undetermined_and_nothing_is_rolled_back() {
    for class in [TransportClass::Lost, TransportClass::TimedOut] {
        let error = never_answered(class).done().0.unwrap_err();
        assert!(error.is_undetermined(), "{error}");
        let Error::Txn(TxnError::Undetermined { start_ts, cause }) = error else { panic!("undetermined") };
        assert_eq!((start_ts, cause.kind()), (START, ErrorKind::Unavailable));
    }
}

#[test]
fn a_store_that_never_got_the_decision_is_a_clear_failure() {
    let mut s = never_answered(TransportClass::Unreachable);
    rolled_back(&mut s);
    assert_eq!(s.done().0.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_primary_that_was_rolled_back_is_certain_also_behind_a_lost_answer() {
    for lose in [false, true] {
        let (mut s, mut call) = deciding(&two_regions());
        if lose {
            call = lost(&mut s, call, TransportClass::Lost);
        }
        s.reply(call, &lock_not_found());
        rolled_back(&mut s);
        assert!(matches!(txn_error(s), TxnError::RolledBack { start_ts: START }));
    }
}

// txn-write.md Q61: client-go forgets the lost copy on any key error.
#[test]
fn any_other_refusal_is_certain_only_when_no_copy_is_under_way() {
    let (mut s, call) = deciding(&two_regions());
    s.reply(call, &refusal(abort("broken")));
    rolled_back(&mut s);
    assert!(matches!(txn_error(s), TxnError::Refused { .. }));

    let (mut s, call) = deciding(&two_regions());
    let call = lost(&mut s, call, TransportClass::Lost);
    s.reply(call, &refusal(abort("broken")));
    assert!(matches!(txn_error(s), TxnError::Undetermined { .. }));
}

#[test]
fn a_lost_copy_is_remembered_when_the_region_changes() {
    let regions = two_regions();
    let (mut s, call) = deciding(&regions);
    s.fail(call, TransportClass::Lost);
    s.expect_report();
    regions.split("b");
    pause(&mut s);
    let call = decision(&mut s, COMMIT, &["a"]);
    s.reply(call, &refusal(abort("broken")));
    assert!(matches!(txn_error(s), TxnError::Undetermined { .. }));
}

#[test]
fn a_lost_copy_is_remembered_when_nothing_else_reaches_a_store_any_more() {
    let regions = two_regions();
    let (mut s, call) = deciding(&regions);
    s.fail(call, TransportClass::Lost);
    s.expect_report();
    regions.split("b");
    while !s.is_done() {
        pause(&mut s);
        let call = decision(&mut s, COMMIT, &["a"]);
        s.fail(call, TransportClass::Unreachable);
        s.expect_report();
    }
    assert!(matches!(txn_error(s), TxnError::Undetermined { .. }));
}

#[test]
fn a_store_that_does_not_know_either_leaves_it_undetermined() {
    let (mut s, call) = deciding(&two_regions());
    let error = errorpb::Error {
        undetermined_result: Some(errorpb::UndeterminedResult::default()),
        ..Default::default()
    };
    s.reply(call, &pb::CommitResponse { region_error: Some(Box::new(error)), ..Default::default() });
    assert!(matches!(txn_error(s), TxnError::Undetermined { .. }));
}

#[test]
fn an_answer_that_nobody_can_read_leaves_it_undetermined() {
    let (mut s, call) = deciding(&two_regions());
    // A key error (field 2) that is no message: the region error before it can be read.
    s.complete(call, crate::machine::Completion::Response(vec![0x12, 0x01, 0xff].into()));
    assert!(matches!(txn_error(s), TxnError::Undetermined { .. }));
}

// client-go: TestRejectCommitTS.
#[test]
fn a_primary_that_a_reader_pushed_is_committed_at_a_newer_timestamp() {
    let (mut s, call) = deciding(&two_regions());
    s.reply(call, &expired("a", ts(250)));
    give_ts(&mut s, ts(260));
    let call = decision(&mut s, ts(260), &["a"]);
    s.reply(call, &pb::CommitResponse::default());
    secondaries(&mut s, ts(260), &["z"]);
    assert_eq!(committed(s), ts(260));
}

#[test]
fn a_push_that_cannot_be_right_is_refused() {
    let hour = 60 * 60 * 1000;
    for answer in [expired("b", ts(250)), expired("a", ts(201 + hour))] {
        let (mut s, call) = deciding(&two_regions());
        s.reply(call, &answer);
        rolled_back(&mut s);
        assert!(matches!(txn_error(s), TxnError::Refused { .. }));
    }
}

#[test]
fn a_lost_copy_that_the_push_refuses_too_is_forgotten() {
    let (mut s, call) = deciding(&two_regions());
    let call = lost(&mut s, call, TransportClass::Lost);
    s.reply(call, &expired("a", ts(250)));
    give_ts(&mut s, ts(260));
    let call = decision(&mut s, ts(260), &["a"]);
    s.reply(call, &refusal(abort("broken")));
    rolled_back(&mut s);
    assert!(matches!(txn_error(s), TxnError::Refused { .. }));
}
