//! What runs when the caller has its answer.

use super::*;
use crate::lock::tests::world::{abort, not_found, pause};
use crate::machine::TransportClass;
use crate::txn::{CommitSecondaries, RollBack};

fn rest(of: &[&str], regions: &Regions) -> Script<CommitSecondaries> {
    let machine = CommitSecondaries::new(START, COMMIT, "a".into(), keys(of), 8);
    Script::given(machine, regions.clone())
}

#[test]
fn secondaries_are_committed_side_by_side_and_one_failure_stops_no_other() {
    let mut s = rest(&["b", "c", "z"], &two_regions());
    let (low, request, _) = expect::<pb::CommitRequest>(&mut s);
    let wanted = pb::CommitRequest {
        start_version: START.0,
        commit_version: COMMIT.0,
        keys: vec!["b".into(), "c".into()],
        primary_key: "a".into(),
        commit_role: pb::CommitRole::Secondary.into(),
        ..Default::default()
    };
    assert_eq!(request, wanted);
    let (high, ..) = expect::<pb::CommitRequest>(&mut s);
    s.reply(low, &refusal(abort("broken")));
    s.reply(high, &pb::CommitResponse::default());
    assert_eq!(s.done().0, 1);
}

#[test]
fn each_region_gets_its_keys_in_one_request_whatever_their_order() {
    let mut s = rest(&["z", "b", "y", "c"], &two_regions());
    for of in [["b", "c"], ["y", "z"]] {
        let (call, request, _) = expect::<pb::CommitRequest>(&mut s);
        assert_eq!(request.keys, of);
        s.reply(call, &pb::CommitResponse::default());
    }
    assert_eq!(s.done().0, 0);
}

#[test]
fn secondaries_of_a_region_that_was_split_are_committed_in_both() {
    let regions = Regions::cut([""; 0]);
    let mut s = rest(&["b", "z"], &regions);
    let (call, ..) = expect::<pb::CommitRequest>(&mut s);
    regions.split("m");
    not_found(&mut s, call);
    for key in ["b", "z"] {
        let (call, request, _) = expect::<pb::CommitRequest>(&mut s);
        assert_eq!(request.keys, [key]);
        s.reply(call, &pb::CommitResponse::default());
    }
    assert_eq!(s.done().0, 0);
}

fn roll_back(regions: &Regions) -> Script<RollBack> {
    Script::given(RollBack::new(START, keys(&["a", "b", "z"]), 8, false), regions.clone())
}

fn refused() -> pb::BatchRollbackResponse {
    pb::BatchRollbackResponse { error: Some(Box::new(abort("Committed"))), ..Default::default() }
}

#[test]
fn the_primary_is_rolled_back_alone_and_first() {
    let mut s = roll_back(&two_regions());
    let (call, request, _) = expect::<pb::BatchRollbackRequest>(&mut s);
    assert_eq!((request.start_version, request.keys), (START.0, vec!["a".into(), "b".into()]));
    s.expect_nothing();
    s.fail(call, TransportClass::Lost);
    s.expect_report();
    pause(&mut s);
    let (call, ..) = expect::<pb::BatchRollbackRequest>(&mut s);
    s.reply(call, &pb::BatchRollbackResponse::default());
    let (call, request, _) = expect::<pb::BatchRollbackRequest>(&mut s);
    assert_eq!(request.keys, ["z"]);
    s.reply(call, &pb::BatchRollbackResponse::default());
    assert_eq!(s.done().0, Ok(()));
}

#[test]
fn a_primary_that_cannot_be_rolled_back_keeps_the_others_as_they_are() {
    let mut s = roll_back(&two_regions());
    let (call, ..) = expect::<pb::BatchRollbackRequest>(&mut s);
    s.reply(call, &refused());
    assert!(s.done().0.is_err());
}

#[test]
fn a_split_leaves_more_keys_behind_the_primary() {
    let regions = two_regions();
    let mut s = roll_back(&regions);
    let (call, ..) = expect::<pb::BatchRollbackRequest>(&mut s);
    regions.split("b");
    not_found(&mut s, call);
    let (call, request, _) = expect::<pb::BatchRollbackRequest>(&mut s);
    assert_eq!(request.keys, ["a"]);
    s.reply(call, &pb::BatchRollbackResponse::default());
    for key in ["b", "z"] {
        let (call, request, _) = expect::<pb::BatchRollbackRequest>(&mut s);
        assert_eq!(request.keys, [key]);
        s.reply(call, &pb::BatchRollbackResponse::default());
    }
    assert_eq!(s.done().0, Ok(()));
}
