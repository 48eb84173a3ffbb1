//! Many keys: what is asked again, and that the layout of regions does not show.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use prost::Message;
use tikv_proto::kvrpcpb as pb;

use crate::error::{Error, TxnError};
use crate::lock::tests::world::{Regions, World, abort, expect, give_ts, keys, lock, locked, not_found, ts};
use crate::machine::script::Script;
use crate::machine::{Answer, Question};
use crate::snapshot::batch_get::BatchGetMachine;
use crate::types::{Key, KeyRange, KvPair, Value};

fn given(of: &[&str], regions: Regions) -> Script<BatchGetMachine> {
    Script::given(BatchGetMachine::new(keys(of), ts(100), 8, false), regions)
}

fn pair(key: &str, value: &str) -> pb::KvPair {
    pb::KvPair { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

fn held(key: &str) -> pb::KvPair {
    let error = locked(lock(key, "p", ts(90), 50));
    pb::KvPair { error: Some(Box::new(error)), ..Default::default() }
}

fn pairs(pairs: Vec<pb::KvPair>) -> pb::BatchGetResponse {
    pb::BatchGetResponse { pairs, ..Default::default() }
}

fn pushed(s: &mut Script<BatchGetMachine>) {
    give_ts(s, ts(110));
    let (call, ..) = expect::<pb::CheckTxnStatusRequest>(s);
    let action = pb::Action::MinCommitTsPushed.into();
    s.reply(call, &pb::CheckTxnStatusResponse { lock_ttl: 50, action, ..Default::default() });
}

#[test]
fn each_region_is_asked_once_for_its_keys_and_keys_given_twice_once() {
    let mut s = given(&["z", "a", "b", "a"], Regions::cut(["m"]));
    let (low, request, _) = expect::<pb::BatchGetRequest>(&mut s);
    assert_eq!(request.keys, ["a", "b"]);
    let (high, request, _) = expect::<pb::BatchGetRequest>(&mut s);
    assert_eq!(request.keys, ["z"]);
    s.reply(high, &pairs(vec![pair("z", "3")]));
    s.reply(low, &pairs(vec![pair("a", "1")]));
    assert_eq!(s.done().0, Ok(vec![("a", "1").into(), ("z", "3").into()]));
}

#[test]
fn no_keys_are_no_request() {
    assert_eq!(given(&[], Regions::cut(["m"])).done().0, Ok(vec![]));
}

#[test]
fn only_locked_keys_are_read_again() {
    let mut s = given(&["a", "b", "c"], Regions::cut([""; 0]));
    let (call, ..) = expect::<pb::BatchGetRequest>(&mut s);
    s.reply(call, &pairs(vec![pair("a", "1"), held("b"), held("c")]));
    pushed(&mut s);
    let (call, request, _) = expect::<pb::BatchGetRequest>(&mut s);
    assert_eq!(request.keys, ["b", "c"]);
    s.reply(call, &pairs(vec![pair("c", "3")]));
    assert_eq!(s.done().0, Ok(vec![("a", "1").into(), ("c", "3").into()]));
}

// client-go: TestBatchGetResponseKeyError.
#[test]
fn an_answer_that_failed_as_a_whole_counts_for_nothing() {
    let mut s = given(&["a", "b"], Regions::cut([""; 0]));
    let (call, ..) = expect::<pb::BatchGetRequest>(&mut s);
    let error = Some(Box::new(locked(lock("b", "p", ts(90), 50))));
    s.reply(call, &pb::BatchGetResponse { error, pairs: vec![pair("a", "old")], ..Default::default() });
    pushed(&mut s);
    let (call, request, _) = expect::<pb::BatchGetRequest>(&mut s);
    assert_eq!(request.keys, ["a", "b"]);
    s.reply(call, &pairs(vec![pair("a", "1"), pair("b", "2")]));
    assert_eq!(s.done().0, Ok(vec![("a", "1").into(), ("b", "2").into()]));
}

#[test]
fn keys_of_a_region_that_was_split_are_grouped_again_and_locks_stay_known() {
    let regions = Regions::cut([""; 0]);
    let mut s = given(&["a", "b", "z"], regions.clone());
    let (call, ..) = expect::<pb::BatchGetRequest>(&mut s);
    s.reply(call, &pairs(vec![pair("a", "1"), held("b"), held("z")]));
    pushed(&mut s);
    let (call, ..) = expect::<pb::BatchGetRequest>(&mut s);
    regions.split("m");
    not_found(&mut s, call);
    let calls = ["b", "z"].map(|key| {
        let (call, request, _) = s.expect_command(crate::request::Command::BatchGet);
        let context = pb::Context { resolved_locks: vec![ts(90).0], ..Default::default() };
        assert_eq!(*request.profile(), crate::request::Profile::new(&context));
        (call, key)
    });
    for (call, key) in calls {
        s.reply(call, &pairs(vec![pair(key, "v")]));
    }
    assert_eq!(s.done().0, Ok(vec![("a", "1").into(), ("b", "v").into(), ("z", "v").into()]));
}

#[test]
fn many_unknown_regions_are_asked_for_at_once() {
    let regions = Regions::cut(["m"]);
    regions.forget();
    let mut s = given(&["a", "z"], regions.clone());
    let range = KeyRange::new("a", Key::from("z").next());
    let ask = s.expect_ask(&Question::Regions { range, limit: 2 });
    let (a, z) = (regions.learn(&"a".into()), regions.learn(&"z".into()));
    let found = vec![(a, KeyRange::new("", "m")), (z, KeyRange::new("m", ""))];
    s.answer(ask, Answer::Regions(found.into()));
    for _ in 0..2 {
        let (call, ..) = expect::<pb::BatchGetRequest>(&mut s);
        s.reply(call, &pairs(vec![]));
    }
    assert_eq!(s.done().0, Ok(vec![]));
}

#[test]
fn the_first_error_ends_the_read_and_cancels_the_rest() {
    let mut s = given(&["a", "z"], Regions::cut(["m"]));
    let (low, ..) = expect::<pb::BatchGetRequest>(&mut s);
    let (high, ..) = expect::<pb::BatchGetRequest>(&mut s);
    let broken = pb::KvPair { error: Some(Box::new(abort("broken"))), ..Default::default() };
    s.reply(low, &pairs(vec![broken]));
    s.expect_cancel(high);
    assert!(matches!(s.done().0, Err(Error::Txn(TxnError::Refused { .. }))));
}

/// A store that has `data`; each key of `locked` is locked until its owner was pushed.
fn store(
    data: BTreeMap<Key, Value>,
    held: BTreeSet<Key>,
) -> impl FnMut(&crate::request::Request, &KeyRange) -> Vec<u8> {
    move |request, span| match request.command() {
        crate::request::Command::BatchGet => {
            let goes_round = *request.profile() != crate::request::Profile::default();
            let message = pb::BatchGetRequest::decode(request.body().clone()).unwrap();
            let answer = |key: bytes::Bytes| {
                assert!(span.contains(&key), "{key:?} is not of {span:?}");
                if held.contains(&Key(key.clone())) && !goes_round {
                    let info = pb::LockInfo { key, ..lock("", "p", ts(90), 50) };
                    return Some(pb::KvPair { error: Some(Box::new(locked(info))), ..Default::default() });
                }
                let value = data.get(&Key(key.clone()))?.clone();
                Some(pb::KvPair { key, value, ..Default::default() })
            };
            pairs(message.keys.into_iter().filter_map(answer).collect()).encode_to_vec()
        }
        crate::request::Command::CheckTxnStatus => {
            let action = pb::Action::MinCommitTsPushed.into();
            pb::CheckTxnStatusResponse { lock_ttl: 50, action, ..Default::default() }.encode_to_vec()
        }
        other => panic!("a read sends no {other:?}"),
    }
}

fn short_keys(most: usize) -> impl Strategy<Value = Vec<Key>> {
    proptest::collection::vec("[a-h]{1,2}".prop_map(Key::from), 0..most)
}

proptest! {
    #[test]
    fn the_layout_of_regions_and_their_splits_do_not_show(
        wanted in short_keys(30),
        stored in short_keys(30),
        held in short_keys(6),
        bounds in short_keys(8),
        splits in short_keys(8),
        known: bool,
        seed: u64,
    ) {
        let data: BTreeMap<Key, Value> =
            stored.into_iter().map(|key| (key.clone(), key.0)).collect();
        let model: Vec<KvPair> = wanted
            .iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter_map(|key| Some((key.clone(), data.get(key)?.clone()).into()))
            .collect();
        let bounds: BTreeSet<Key> = bounds.into_iter().collect();
        let regions = Regions::cut(bounds);
        if !known {
            regions.forget();
        }
        let world = World { regions, answer: store(data, held.into_iter().collect()), splits: splits.into(), seed };
        let (result, spawned) = world.run(BatchGetMachine::new(wanted, ts(100), 3, false));
        prop_assert_eq!(result, Ok(model));
        prop_assert_eq!(spawned, vec![], "live owners' locks stay");
    }
}
