//! Scans: what one page asks for, and that a whole scan is the model's range, whatever the regions.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use prost::Message;
use tikv_proto::kvrpcpb as pb;

use crate::lock::tests::world::{Regions, World, expect, give_ts, lock, locked, not_found, ts};
use crate::machine::script::Script;
use crate::request::{Command, Request};
use crate::snapshot::overlay::Overlay;
use crate::snapshot::page::{Page, PageMachine, ScanOptions};
use crate::snapshot::scan::ScanMachine;
use crate::types::{Key, KeyRange, KvPair, Value};

fn options(page: u32) -> ScanOptions {
    ScanOptions { page, ..ScanOptions::default() }
}

fn given(range: KeyRange, options: ScanOptions, regions: Regions) -> Script<PageMachine> {
    Script::given(PageMachine::new(range, ts(100), options, false), regions)
}

fn answer(of: &[&str]) -> pb::ScanResponse {
    let pair =
        |key: &&str| pb::KvPair { key: (*key).to_owned().into(), value: "v".into(), ..Default::default() };
    pb::ScanResponse { pairs: of.iter().map(pair).collect(), ..Default::default() }
}

fn page(s: Script<PageMachine>) -> (Vec<String>, Option<KeyRange>) {
    let Page { pairs, left, .. } = s.done().0.unwrap();
    let text = |pair: KvPair| String::from_utf8(pair.key.0.to_vec()).unwrap();
    (pairs.into_iter().map(text).collect(), left)
}

#[test]
fn a_full_page_goes_on_behind_its_last_key() {
    let mut s = given(KeyRange::new("c", "r"), options(2), Regions::cut(["h", "q"]));
    let (call, request, attempt) = expect::<pb::ScanRequest>(&mut s);
    let wanted = pb::ScanRequest {
        start_key: "c".into(),
        end_key: "h".into(),
        limit: 2,
        version: ts(100).0,
        ..Default::default()
    };
    assert_eq!((request, attempt.to.region.id.0), (wanted, 1));
    s.reply(call, &answer(&["c", "d"]));
    assert_eq!(page(s), (vec!["c".into(), "d".into()], Some(KeyRange::new("d\0", "r"))));
}

#[test]
fn a_page_that_is_not_full_goes_on_in_the_next_region() {
    let mut s = given(KeyRange::new("c", "r"), options(2), Regions::cut(["h", "q"]));
    let (call, ..) = expect::<pb::ScanRequest>(&mut s);
    s.reply(call, &answer(&["c"]));
    assert_eq!(page(s), (vec!["c".into()], Some(KeyRange::new("h", "r"))));
}

#[test]
fn regions_without_pairs_are_passed_by() {
    let mut s = given(KeyRange::new("c", "r"), options(2), Regions::cut(["h", "q"]));
    for bounds in [("c", "h"), ("h", "q"), ("q", "r")] {
        let (call, request, _) = expect::<pb::ScanRequest>(&mut s);
        assert_eq!((request.start_key, request.end_key), (bounds.0.into(), bounds.1.into()));
        s.reply(call, &answer(&[]));
    }
    assert_eq!(page(s), (vec![], None));
}

#[test]
fn a_reverse_page_starts_at_its_upper_bound() {
    let reverse = ScanOptions { reverse: true, ..options(2) };
    let mut s = given(KeyRange::new("c", "r"), reverse, Regions::cut(["h", "q"]));
    let (call, request, attempt) = expect::<pb::ScanRequest>(&mut s);
    assert!(request.reverse);
    assert_eq!((request.start_key, request.end_key, attempt.to.region.id.0), ("r".into(), "q".into(), 3));
    s.reply(call, &answer(&["q"]));
    assert_eq!(page(s), (vec!["q".into()], Some(KeyRange::new("c", "q"))));
}

// txn-read.md R7: client-go reads the first region only.
#[test]
fn a_reverse_scan_without_upper_bound_starts_in_the_last_region_above_all_keys() {
    let reverse = ScanOptions { reverse: true, ..options(2) };
    let mut s = given(KeyRange::ALL, reverse, Regions::cut(["h", "q"]));
    let (call, request, attempt) = expect::<pb::ScanRequest>(&mut s);
    assert_eq!((request.end_key, attempt.to.region.id.0), ("q".into(), 3));
    assert!(request.start_key > vec![0xff_u8; 7281], "an empty start would be the empty key to TiKV");
    s.reply(call, &answer(&["z", "y"]));
    assert_eq!(page(s), (vec!["z".into(), "y".into()], Some(KeyRange::new("", "y"))));
}

#[test]
fn nothing_is_below_the_empty_key() {
    let reverse = ScanOptions { reverse: true, ..options(1) };
    let mut s = given(KeyRange::new("", "b"), reverse, Regions::cut([""; 0]));
    let (call, ..) = expect::<pb::ScanRequest>(&mut s);
    s.reply(call, &answer(&[""]));
    assert_eq!(page(s), (vec![String::new()], None));
}

#[test]
fn an_empty_range_is_no_request() {
    for range in [KeyRange::new("b", "b"), KeyRange::new("c", "b")] {
        assert_eq!(page(given(range, options(2), Regions::cut([""; 0]))), (vec![], None));
    }
}

#[test]
fn a_split_between_lookup_and_request_narrows_the_page() {
    let regions = Regions::cut([""; 0]);
    let mut s = given(KeyRange::new("a", "z"), options(9), regions.clone());
    let (call, ..) = expect::<pb::ScanRequest>(&mut s);
    regions.split("m");
    not_found(&mut s, call);
    let (call, request, _) = expect::<pb::ScanRequest>(&mut s);
    assert_eq!((request.start_key, request.end_key), ("a".into(), "m".into()));
    s.reply(call, &answer(&["b"]));
    assert_eq!(page(s), (vec!["b".into()], Some(KeyRange::new("m", "z"))));
}

// txn-read.md R8: client-go sends no sets with scans, and one get for each locked key.
#[test]
fn a_page_with_a_locked_key_is_read_again_round_the_lock_and_the_next_page_knows_it() {
    let held = |key: &str| Some(Box::new(locked(lock(key, "p", ts(90), 50))));
    let one = pb::ScanResponse {
        pairs: vec![
            pb::KvPair { key: "a".into(), value: "1".into(), ..Default::default() },
            pb::KvPair { error: held("b"), ..Default::default() },
        ],
        ..Default::default()
    };
    // client-go: TestScanResponseKeyError.
    let whole = pb::ScanResponse { error: held("b"), ..Default::default() };
    for first in [one, whole] {
        let mut s = given(KeyRange::new("a", "z"), options(2), Regions::cut([""; 0]));
        let (call, ..) = expect::<pb::ScanRequest>(&mut s);
        s.reply(call, &first);
        give_ts(&mut s, ts(110));
        let (call, ..) = expect::<pb::CheckTxnStatusRequest>(&mut s);
        let action = pb::Action::MinCommitTsPushed.into();
        s.reply(call, &pb::CheckTxnStatusResponse { lock_ttl: 50, action, ..Default::default() });
        let (call, request, _) = s.expect_command(Command::Scan);
        assert_ne!(*request.profile(), crate::request::Profile::default());
        s.reply(call, &answer(&["a", "b"]));
        let page = s.done().0.unwrap();
        assert_eq!(page.pairs.len(), 2);
        assert!(page.sets.ignore.contains(&ts(90).0));
    }
}

/// A store that has `data`; each key of `held` is locked until its owner was pushed.
fn store(data: BTreeMap<Key, Value>, held: BTreeSet<Key>) -> impl FnMut(&Request, &KeyRange) -> Vec<u8> {
    move |request, span| match request.command() {
        Command::Scan => {
            let goes_round = *request.profile() != crate::request::Profile::default();
            let message = pb::ScanRequest::decode(request.body().clone()).unwrap();
            let (low, high) = match message.reverse {
                false => (message.start_key, message.end_key),
                true => (message.end_key, message.start_key),
            };
            let range = KeyRange { start: low.into(), end: high.into() };
            assert!(range.start >= span.start, "{range:?} is not of {span:?}");
            assert!(
                span.end.is_empty() || (!range.end.is_empty() && range.end <= span.end),
                "{range:?} {span:?}"
            );
            let pair = |(key, value): (&Key, &Value)| {
                if held.contains(key) && !goes_round {
                    let info = pb::LockInfo { key: key.0.clone(), ..lock("", "p", ts(90), 50) };
                    return pb::KvPair { error: Some(Box::new(locked(info))), ..Default::default() };
                }
                let value = if message.key_only { Value::new() } else { value.clone() };
                pb::KvPair { key: key.0.clone(), value, ..Default::default() }
            };
            let inside = data.iter().filter(|(key, _)| range.contains(key.as_slice()));
            let limit = message.limit as usize;
            let pairs = match message.reverse {
                false => inside.take(limit).map(pair).collect(),
                true => inside.rev().take(limit).map(pair).collect(),
            };
            pb::ScanResponse { pairs, ..Default::default() }.encode_to_vec()
        }
        Command::CheckTxnStatus => {
            let action = pb::Action::MinCommitTsPushed.into();
            pb::CheckTxnStatusResponse { lock_ttl: 50, action, ..Default::default() }.encode_to_vec()
        }
        other => panic!("a read sends no {other:?}"),
    }
}

fn short_keys(most: usize) -> impl Strategy<Value = Vec<Key>> {
    proptest::collection::vec("[a-h]{1,2}".prop_map(Key::from), 0..most)
}

fn bound() -> impl Strategy<Value = Key> {
    "[a-h]{0,2}".prop_map(Key::from)
}

proptest! {
    #[test]
    fn a_scan_is_the_models_range_with_the_own_writes_laid_over(
        stored in short_keys(30),
        own in proptest::collection::vec(("[a-h]{1,2}".prop_map(Key::from), any::<bool>()), 0..12),
        held in short_keys(4),
        (start, end) in (bound(), bound()),
        (bounds, splits) in (short_keys(8), short_keys(8)),
        (page, limit) in (1..6_u32, prop_oneof![Just(usize::MAX), 0..12_usize]),
        (reverse, keys_only, known) in any::<(bool, bool, bool)>(),
        seed: u64,
    ) {
        let range = KeyRange { start, end };
        let data: BTreeMap<Key, Value> = stored.into_iter().map(|key| (key.clone(), key.0)).collect();
        let own: BTreeMap<Key, Option<Value>> =
            own.into_iter().map(|(key, put)| (key, put.then(|| "own".into()))).collect();
        let mut model: BTreeMap<Key, Option<Value>> =
            data.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        model.extend(own.clone());
        let mut model: Vec<KvPair> = model
            .into_iter()
            .filter(|(key, _)| range.contains(key.as_slice()))
            .filter_map(|(key, value)| Some((key, value?).into()))
            .collect();
        if reverse {
            model.reverse();
        }
        if keys_only {
            model.iter_mut().for_each(|pair| pair.value = Value::new());
        }
        model.truncate(limit);
        let mut overlay = Overlay::new(own.into_iter().filter(|(key, _)| range.contains(key.as_slice())));
        if reverse {
            overlay.reverse();
        }
        if keys_only {
            overlay.keys_only();
        }
        let bounds: BTreeSet<Key> = bounds.into_iter().collect();
        let regions = Regions::cut(bounds);
        if !known {
            regions.forget();
        }
        let world = World { regions, answer: store(data, held.into_iter().collect()), splits: splits.into(), seed };
        let options = ScanOptions { reverse, keys_only, page };
        let (result, _) = world.run(ScanMachine::over(range, ts(100), limit, options, overlay, false));
        prop_assert_eq!(result, Ok(model));
    }
}
