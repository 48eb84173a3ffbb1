//! What the secondaries of an async commit decide.

use std::task::Poll;

use proptest::prelude::*;
use tikv_proto::kvrpcpb as pb;

use super::world::{Regions, abort, expect, lock, not_found, ts};
use crate::error::Error;
use crate::lock::recover::{Answered, Recover, Recovered, fold};
use crate::lock::status::AsyncPrimary;
use crate::machine::script::Script;
use crate::machine::{Cx, Machine};
use crate::types::Timestamp;

const START: Timestamp = Timestamp(100);
const PRIMARY: Timestamp = Timestamp(110);

fn held(min_commit_ts: &[u64]) -> Answered {
    let min_commit_ts: Vec<_> = min_commit_ts.iter().copied().map(Timestamp).collect();
    Answered { keys: min_commit_ts.len(), min_commit_ts, plain: false, commit_ts: Timestamp(0) }
}

fn missing(commit_ts: u64) -> Answered {
    Answered { keys: 2, min_commit_ts: vec![], plain: false, commit_ts: Timestamp(commit_ts) }
}

fn plain() -> Answered {
    Answered { plain: true, ..held(&[120]) }
}

fn decide(answers: &[Answered]) -> Result<Recovered, Error> {
    fold(PRIMARY, START, answers)
}

#[test]
fn the_table_of_recoveries() {
    let committed = |ts| Ok(Recovered::Committed(Timestamp(ts)));
    assert_eq!(decide(&[]), committed(110), "no secondaries: the primary alone decides");
    assert_eq!(decide(&[held(&[105, 120]), held(&[115])]), committed(120));
    assert_eq!(decide(&[held(&[105])]), committed(110));
    assert_eq!(decide(&[held(&[120]), missing(0)]), Ok(Recovered::RolledBack));
    assert_eq!(decide(&[held(&[120]), missing(125), missing(125)]), committed(125));
    assert_eq!(decide(&[plain(), held(&[120])]), Ok(Recovered::NotAsync));
    assert_eq!(decide(&[missing(0), plain()]), Ok(Recovered::NotAsync));
}

#[test]
fn answers_that_contradict_each_other_decide_nothing() {
    assert!(decide(&[missing(125), missing(126)]).is_err());
    assert!(decide(&[missing(125), missing(0)]).is_err());
    assert!(decide(&[held(&[130]), missing(125)]).is_err(), "committed below what a lock promised");
    assert!(fold(Timestamp(0), START, &[]).is_err(), "no commit timestamp is not behind the begin");
}

proptest! {
    // txn-read.md R12: client-go's check against the locks depends on which answer came first.
    #[test]
    fn the_order_of_answers_does_not_matter(
        answers in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(101..140_u64, 0..3).prop_map(|ts| held(&ts)),
                prop_oneof![Just(0_u64), Just(125), Just(126)].prop_map(missing),
                Just(plain()),
            ],
            0..5,
        ),
        seed: u64,
    ) {
        let one = decide(&answers);
        let mut turned = answers;
        fastrand::Rng::with_seed(seed).shuffle(&mut turned);
        let other = decide(&turned);
        prop_assert_eq!(one.is_ok(), other.is_ok());
        if let (Ok(one), Ok(other)) = (one, other) {
            prop_assert_eq!(one, other);
        }
    }
}

/// `Recover` as an operation of its own.
#[derive(Debug)]
struct Alone(Recover);

impl Machine for Alone {
    type Output = Result<Recovered, Error>;
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.step(cx)
    }
}

fn given(regions: Regions, secondaries: &[&str]) -> Script<Alone> {
    let primary = AsyncPrimary {
        key: "p".into(),
        min_commit_ts: ts(110),
        secondaries: super::world::keys(secondaries),
    };
    Script::given(Alone(Recover::new(ts(100), primary, false)), regions)
}

fn holds(request: &pb::CheckSecondaryLocksRequest) -> pb::CheckSecondaryLocksResponse {
    let held = |key: &bytes::Bytes| pb::LockInfo {
        key: key.clone(),
        use_async_commit: true,
        min_commit_ts: ts(120).0,
        ..lock("", "p", ts(100), 50)
    };
    pb::CheckSecondaryLocksResponse { locks: request.keys.iter().map(held).collect(), ..Default::default() }
}

// txn-read.md R12, the worst defect of its table: the answer's error is not looked at and reads as a rollback.
#[test]
fn an_answer_that_is_an_error_decides_nothing() {
    let mut s = given(Regions::cut([""; 0]), &["a", "b"]);
    let (call, ..) = expect::<pb::CheckSecondaryLocksRequest>(&mut s);
    let error = Some(Box::new(abort("broken")));
    s.reply(call, &pb::CheckSecondaryLocksResponse { error, ..Default::default() });
    assert!(s.done().0.is_err());
}

#[test]
fn a_lock_of_somebody_else_decides_nothing() {
    let mut s = given(Regions::cut([""; 0]), &["a"]);
    let (call, ..) = expect::<pb::CheckSecondaryLocksRequest>(&mut s);
    let locks = vec![pb::LockInfo { use_async_commit: true, ..lock("a", "p", ts(101), 50) }];
    s.reply(call, &pb::CheckSecondaryLocksResponse { locks, ..Default::default() });
    assert!(s.done().0.is_err());
}

#[test]
fn secondaries_of_a_region_that_was_split_are_asked_again_in_both() {
    let regions = Regions::cut(["m"]);
    let mut s = given(regions.clone(), &["a", "z", "c", "a"]);
    let (below, request, _) = expect::<pb::CheckSecondaryLocksRequest>(&mut s);
    assert_eq!(request.keys, ["a", "c"], "each key once");
    let (above, request, _) = expect::<pb::CheckSecondaryLocksRequest>(&mut s);
    s.reply(above, &holds(&request));
    regions.split("b");
    not_found(&mut s, below);
    let calls = ["a", "c"].map(|key| {
        let (call, request, _) = expect::<pb::CheckSecondaryLocksRequest>(&mut s);
        assert_eq!(request.keys, [key]);
        (call, request)
    });
    for (call, request) in calls {
        s.reply(call, &holds(&request));
    }
    assert_eq!(s.done().0, Ok(Recovered::Committed(ts(120))));
}
