//! The machines on regions at their boundary.

use std::time::Duration;

use prost::Message;
use tikv_proto::{errorpb, kvrpcpb as pb, metapb};

use super::*;
use crate::codec::Mode;
use crate::error::{Error, ServiceError};
use crate::machine::script::Script;
use crate::machine::{Answer, Completion, Facts, Fault, Feedback, Place, Question, TicketId};
use crate::pd::{BucketsInfo, OrderInfo, PdReply};
use crate::region::Directory;
use crate::request::Command;
use crate::types::{Instant, Key, PeerRole, RegionInfo};

fn region(id: u64, version: u64, start: &str, end: &str) -> RegionInfo {
    let peer = |store| Peer { id: PeerId(id * 10 + store), store: StoreId(store), role: PeerRole::Voter };
    RegionInfo {
        version: RegionVersion { id: RegionId(id), version, conf_ver: 1 },
        range: KeyRange::new(start, end),
        peers: (1..=3).map(peer).collect(),
        leader: Some(PeerId(id * 10 + 1)),
    }
}

fn loaded(regions: &[RegionInfo]) -> Feedback {
    Feedback::Loaded { regions: regions.into(), expires: Instant::FAR }
}

fn known(regions: &[RegionInfo]) -> Directory {
    let known = Directory::new(Mode::Raw);
    known.report(&loaded(regions), Instant::default());
    known
}

fn located(info: &RegionInfo) -> Located {
    Located { region: info.version, peer: info.leader.unwrap(), store: StoreId(1) }
}

fn pd(reply: PdReply) -> Answer {
    Answer::Pd(reply)
}

fn refused(text: &str) -> Completion {
    Completion::Fault(Fault::Refused(ServiceError::Pd { address: "pd:1".into(), message: text.into() }))
}

fn ids(ids: &[u64]) -> Vec<RegionId> {
    ids.iter().copied().map(RegionId).collect()
}

fn metas(infos: &[RegionInfo]) -> pb::SplitRegionResponse {
    let meta = |info: &RegionInfo| metapb::Region {
        id: info.version.id.0,
        region_epoch: Some(metapb::RegionEpoch { conf_ver: 1, version: info.version.version }),
        start_key: info.range.start.0.clone(),
        end_key: info.range.end.0.clone(),
        peers: info
            .peers
            .iter()
            .map(|peer| metapb::Peer { id: peer.id.0, store_id: peer.store.0, ..Default::default() })
            .collect(),
        ..Default::default()
    };
    pb::SplitRegionResponse { regions: infos.iter().map(meta).collect(), ..Default::default() }
}

fn split(keys: &[&str], scatter: Option<&str>, regions: &[RegionInfo]) -> Script<SplitMachine> {
    let keys = keys.iter().map(|&key| Key::from(key)).collect();
    Script::given(SplitMachine::new(keys, scatter.map(str::to_owned), Mode::Raw, 8), known(regions))
}

/// The request to split a region, which must be at `keys`.
#[track_caller]
fn asks_to_split(s: &mut Script<SplitMachine>, region: u64, keys: &[&str]) -> TicketId {
    let (ticket, request, attempt) = s.expect_command(Command::SplitRegion);
    let request = pb::SplitRegionRequest::decode(request.body().clone()).unwrap();
    assert_eq!((attempt.to.region.id, request.is_raw_kv), (RegionId(region), true));
    assert_eq!(request.split_keys, keys.iter().map(|key| key.as_bytes()).collect::<Vec<_>>());
    ticket
}

// client-go: tikv/split_region.go: SplitRegions.
#[test]
fn each_region_is_split_at_its_keys_once_and_all_learn_what_came_out() {
    let mut s = split(&["p", "c", "", "c", "d"], None, &[region(1, 1, "", "m"), region(2, 1, "m", "")]);
    let first = asks_to_split(&mut s, 1, &["c", "d"]);
    let second = asks_to_split(&mut s, 2, &["p"]);
    let parts = [region(3, 2, "m", "p"), region(2, 2, "p", "")];
    s.reply(second, &metas(&parts));
    assert_eq!(
        s.expect_report(),
        Feedback::Regions { old: region(2, 1, "", "").version, new: parts.to_vec().into() }
    );
    let parts = [region(4, 3, "", "c"), region(5, 3, "c", "d"), region(1, 3, "d", "m")];
    s.reply(first, &metas(&parts));
    assert!(matches!(s.expect_report(), Feedback::Regions { .. }));
    assert_eq!(s.done().0, Ok(Split { regions: ids(&[3, 4, 5]), unscattered: Vec::new() }));
}

#[test]
fn a_split_at_no_key_or_where_regions_begin_asks_nobody() {
    let regions = [region(1, 1, "", "m"), region(2, 1, "m", "")];
    assert_eq!(split(&[""], Some(""), &regions).done().0, Ok(Split::default()));
    assert_eq!(split(&["m"], None, &regions).done().0, Ok(Split::default()));
}

#[test]
fn keys_of_a_region_that_has_changed_are_grouped_again() {
    let mut s = split(&["c", "p"], None, &[region(1, 1, "", "")]);
    let ask = asks_to_split(&mut s, 1, &["c", "p"]);
    let now = [region(3, 2, "", "m"), region(1, 2, "m", "")];
    let error = errorpb::Error {
        epoch_not_match: Some(errorpb::EpochNotMatch { current_regions: metas(&now).regions }),
        ..Default::default()
    };
    let refused = pb::SplitRegionResponse { region_error: Some(error.into()), ..Default::default() };
    s.reply(ask, &refused);
    assert!(matches!(s.expect_report(), Feedback::Regions { .. }));
    let (first, second) = (asks_to_split(&mut s, 3, &["c"]), asks_to_split(&mut s, 1, &["p"]));
    s.reply(first, &metas(&[region(4, 3, "", "c"), region(3, 3, "c", "m")]));
    s.expect_report();
    s.reply(second, &metas(&[region(5, 3, "m", "p"), region(1, 3, "p", "")]));
    s.expect_report();
    assert_eq!(s.done().0, Ok(Split { regions: ids(&[4, 5]), unscattered: Vec::new() }));
}

// routing.md 6.2 [Q]: one key more than the limit goes through in client-go.
#[test]
fn fixes_a_request_to_split_has_no_more_keys_than_its_limit() {
    let keys: Vec<String> = (0..2049).map(|n| format!("k{n:04}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut s = split(&keys, None, &[region(1, 1, "", "")]);
    asks_to_split(&mut s, 1, &keys[..2048]);
    asks_to_split(&mut s, 1, &keys[2048..]);
}

#[test]
fn new_regions_are_scattered_and_those_that_pd_does_not_know_yet_are_tried_again() {
    let mut s = split(&["m"], Some("group"), &[region(1, 1, "", "")]);
    let ask = asks_to_split(&mut s, 1, &["m"]);
    s.reply(ask, &metas(&[region(7, 2, "", "m"), region(1, 2, "m", "")]));
    s.expect_report();
    let scatter = Question::Scatter { regions: ids(&[7]), group: "group".into() };
    let ask = s.expect_ask(&scatter);
    s.complete(ask, refused("region 7 not found"));
    let timer = s.expect_timer();
    s.fire(timer);
    let ask = s.expect_ask(&scatter);
    s.answer(ask, pd(PdReply::Scattered { percent: 100, failed: Vec::new() }));
    assert_eq!(s.done().0, Ok(Split { regions: ids(&[7]), unscattered: Vec::new() }));
}

#[test]
fn regions_that_pd_refuses_to_the_end_are_told() {
    let mut s = Script::given(ScatterMachine::new(ids(&[7, 8]), String::new()), known(&[]));
    while !s.is_done() {
        let left = if s.now() == Instant::default() { ids(&[7, 8]) } else { ids(&[8]) };
        let ask = s.expect_ask(&Question::Scatter { regions: left, group: String::new() });
        s.answer(ask, pd(PdReply::Scattered { percent: 50, failed: ids(&[8]) }));
        if !s.is_done() {
            let timer = s.expect_timer();
            s.fire(timer);
        }
    }
    assert_eq!(s.done().0, Ok(ids(&[8])));
}

fn order(description: &'static str, running: bool) -> Answer {
    pd(PdReply::Order(Some(OrderInfo { description: description.into(), running })))
}

// client-go: tikv/split_region.go: WaitScatterRegionFinish, CheckRegionInScattering.
#[test]
fn only_a_running_scattering_is_waited_for() {
    let begin = |waits| {
        let mut s = Script::given(OperatorMachine::new(RegionId(7), waits), known(&[]));
        let ask = s.expect_ask(&Question::Order(RegionId(7)));
        (s, ask)
    };
    for over in [order("scatter-region", false), order("balance-leader", true), pd(PdReply::Order(None))] {
        for waits in [false, true] {
            let (mut s, ask) = begin(waits);
            s.answer(ask, over.clone());
            assert_eq!(s.done().0, Ok(Scattering::Over));
        }
    }
    let (mut s, ask) = begin(false);
    s.answer(ask, order("scatter-region", true));
    assert_eq!(s.done().0, Ok(Scattering::Running));
    let (mut s, ask) = begin(true);
    s.answer(ask, order("scatter-region", true));
    let timer = s.expect_timer();
    s.fire(timer);
    let ask = s.expect_ask(&Question::Order(RegionId(7)));
    s.answer(ask, order("scatter-region", false));
    assert_eq!(s.done().0, Ok(Scattering::Over));
}

// routing.md 6.2 [Q]: client-go takes an answer with an error for the end.
#[test]
fn fixes_an_error_of_pd_is_not_the_end_of_a_scattering() {
    let mut s = Script::given(OperatorMachine::new(RegionId(7), false), known(&[]));
    let ask = s.expect_ask(&Question::Order(RegionId(7)));
    s.complete(ask, refused("cluster is not ready"));
    let error = s.done().0.unwrap_err();
    assert!(error.to_string().contains("cluster is not ready"), "{error}");

    let mut s = Script::given(OperatorMachine::new(RegionId(7), true), known(&[]));
    let ask = s.expect_ask(&Question::Order(RegionId(7)));
    s.complete(ask, refused("cluster is not ready"));
    let timer = s.expect_timer();
    s.fire(timer);
    let ask = s.expect_ask(&Question::Order(RegionId(7)));
    s.answer(ask, order("scatter-region", false));
    assert_eq!(s.done().0, Ok(Scattering::Over));
}

fn overview(info: &RegionInfo, peers: &[Peer]) -> RegionOverview {
    let (region, range) = (info.version, info.range.clone());
    let leader = info.leader.unwrap();
    RegionOverview { region, range, leader, store: StoreId(1), peers: peers.to_vec() }
}

#[test]
fn a_list_goes_on_behind_the_last_region_until_the_end_of_the_range() {
    let all = [region(1, 1, "", "d"), region(2, 1, "d", "m"), region(3, 1, "m", "")];
    let mut s = Script::given(ListMachine::new(KeyRange::new("a", "k"), usize::MAX), known(&[]));
    for (info, from) in all.iter().zip(["a", "d"]) {
        let ask = s.expect_ask(&Question::Regions { range: KeyRange::new(from, "k"), limit: 1024 });
        s.facts_report(&loaded(std::slice::from_ref(info)));
        s.answer(ask, Answer::Regions([(located(info), info.range.clone())].into()));
    }
    let expected: Vec<_> = all[..2].iter().map(|info| overview(info, &info.peers)).collect();
    assert_eq!(s.done().0, Ok(expected));
}

#[test]
fn a_list_of_a_limit_or_of_no_keys_ends_there() {
    let all = [region(1, 1, "", "d"), region(2, 1, "d", "m")];
    let mut s = Script::given(ListMachine::new(KeyRange::ALL, 2), known(&[]));
    let ask = s.expect_ask(&Question::Regions { range: KeyRange::ALL, limit: 2 });
    s.answer(ask, Answer::Regions(all.iter().map(|info| (located(info), info.range.clone())).collect()));
    assert_eq!(s.done().0.unwrap().len(), 2);
    assert_eq!(Script::given(ListMachine::new(KeyRange::new("b", "a"), 9), known(&[])).done().0, Ok(vec![]));
}

#[test]
fn a_region_that_is_known_is_found_without_pd() {
    let info = region(1, 1, "", "");
    let place = Place::Holding(Key::from("k"));
    let (output, _) = Script::given(FindMachine::new(place), known(std::slice::from_ref(&info))).done();
    assert_eq!(output, Ok(overview(&info, &info.peers)));
}

// client-go: region_cache_test.go: TestGetRegionByIDFromCache (the part on newer versions).
#[test]
fn a_region_by_id_is_as_pd_has_it_unless_that_is_older_than_what_is_known() {
    let (old, new) = (region(1, 1, "", ""), region(1, 2, "", "m"));
    let mut s = Script::given(FindMachine::new(Place::Id(RegionId(1))), known(std::slice::from_ref(&new)));
    let ask = s.expect_ask(&Question::Region(Place::Id(RegionId(1))));
    s.answer(ask, Answer::Region(located(&old)));
    let timer = s.expect_timer();
    s.fire(timer);
    let ask = s.expect_ask(&Question::Region(Place::Id(RegionId(1))));
    s.answer(ask, Answer::Region(located(&new)));
    assert_eq!(s.done().0, Ok(overview(&new, &new.peers)));
}

fn buckets(info: &RegionInfo, version: u64, keys: &[&'static str]) -> Answer {
    let keys = keys.iter().map(|key| bytes::Bytes::from_static(key.as_bytes())).collect();
    pd(PdReply::Buckets(Some(BucketsInfo { region: info.version, version, keys })))
}

// client-go: region_cache_test.go: TestBuckets.
#[test]
fn buckets_are_told_to_all_and_cut_to_the_region() {
    let info = region(1, 1, "b", "m");
    let machine = || BucketsMachine::new(Key::from("c"), Mode::Raw);
    let mut s = Script::given(machine(), known(std::slice::from_ref(&info)));
    let ask = s.expect_ask(&Question::Buckets(RegionId(1)));
    s.answer(ask, buckets(&info, 5, &["a", "d", "z"]));
    let told = Feedback::Buckets {
        region: info.version,
        buckets: std::sync::Arc::new(crate::region::Buckets::new(5, ["a", "d", "z"].map(Key::from))),
    };
    assert_eq!(s.expect_report(), told);
    assert_eq!(s.done().0, Ok(vec![KeyRange::new("b", "d"), KeyRange::new("d", "m")]));

    let mut s = Script::given(machine(), known(std::slice::from_ref(&info)));
    let ask = s.expect_ask(&Question::Buckets(RegionId(1)));
    s.answer(ask, buckets(&info, 0, &[]));
    assert_eq!(s.done().0, Ok(vec![info.range]), "TiKV keeps none");
}

#[test]
fn buckets_of_another_version_are_asked_for_again_after_a_pause() {
    let (old, new) = (region(1, 1, "", ""), region(1, 2, "", "m"));
    let mut s =
        Script::given(BucketsMachine::new(Key::from("c"), Mode::Raw), known(std::slice::from_ref(&old)));
    let ask = s.expect_ask(&Question::Buckets(RegionId(1)));
    s.answer(ask, buckets(&new, 5, &["", "c", "m"]));
    let why = crate::machine::StaleReason::Other;
    assert_eq!(s.expect_report(), Feedback::Stale { region: old.version, why });
    let timer = s.expect_timer();
    assert!(timer.1 - s.now() <= Duration::from_millis(2));
    s.fire(timer);
    let ask = s.expect_ask(&Question::Region(Place::Holding(Key::from("c"))));
    s.facts_report(&loaded(std::slice::from_ref(&new)));
    s.answer(ask, Answer::Region(located(&new)));
    let ask = s.expect_ask(&Question::Buckets(RegionId(1)));
    s.answer(ask, buckets(&new, 5, &["", "c", "m"]));
    let buckets = crate::region::Buckets::new(5, ["", "c", "m"].map(Key::from));
    let told = Feedback::Buckets { region: new.version, buckets: std::sync::Arc::new(buckets) };
    assert_eq!(s.expect_report(), told);
    assert_eq!(s.done().0, Ok(vec![KeyRange::new("", "c"), KeyRange::new("c", "m")]));
}

#[test]
fn an_answer_to_another_question_is_corrupt() {
    let mut s = Script::given(ScatterMachine::new(ids(&[1]), String::new()), known(&[]));
    let ask = s.expect_ask(&Question::Scatter { regions: ids(&[1]), group: String::new() });
    s.answer(ask, pd(PdReply::Order(None)));
    assert!(matches!(s.done().0, Err(Error::Corrupt { .. })));
}
