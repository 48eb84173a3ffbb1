//! Raw machines at their boundary: what is sent to which region, and what a region that changes in between does.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use tikv_proto::{errorpb, kvrpcpb as pb, metapb};

use super::batch::BatchMachine;
use super::batches::{BatchDelete, BatchGet, BatchPut};
use super::delete_range::DeleteRangeMachine;
use super::scan::{Scan, ScanMachine};
use super::single::{DeleteMachine, GetMachine, PutMachine};
use crate::codec::Mode;
use crate::error::Error;
use crate::machine::script::Script;
use crate::machine::{Answer, Attempt, Feedback, Place, Question, TicketId};
use crate::region::Directory;
use crate::request::{Command, Request};
use crate::types::{
    Instant, Key, KeyRange, KvPair, Located, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion,
    StoreId,
};

fn region(id: u64, version: u64, start: &str, end: &str) -> RegionInfo {
    let peer = Peer { id: PeerId(id * 10), store: StoreId(id), role: PeerRole::Voter };
    RegionInfo {
        version: RegionVersion { id: RegionId(id), version, conf_ver: 1 },
        range: KeyRange::new(start, end),
        peers: vec![peer],
        leader: Some(peer.id),
    }
}

/// Regions 1, 2, … with bounds between them, each led on the store of its number.
fn layout(bounds: &[&str]) -> Vec<RegionInfo> {
    let starts = std::iter::once("").chain(bounds.iter().copied());
    let ends = bounds.iter().copied().chain(std::iter::once(""));
    starts.zip(ends).zip(1..).map(|((start, end), id)| region(id, 1, start, end)).collect()
}

fn known(regions: &[RegionInfo]) -> Directory {
    let directory = Directory::new(Mode::Raw);
    for info in regions {
        directory.insert(info.clone(), Instant(0), Instant::FAR);
    }
    directory
}

fn located(info: &RegionInfo) -> Located {
    let peer = info.peers[0];
    Located { region: info.version, peer: peer.id, store: peer.store }
}

fn decode<M: Message + Default>(request: &Request) -> M {
    M::decode(request.body().clone()).unwrap()
}

fn split(new: &[RegionInfo]) -> Option<Box<errorpb::Error>> {
    let wire = |info: &RegionInfo| metapb::Region {
        id: info.version.id.0,
        start_key: info.range.start.clone().into(),
        end_key: info.range.end.clone().into(),
        region_epoch: Some(metapb::RegionEpoch { version: info.version.version, conf_ver: 1 }),
        peers: info
            .peers
            .iter()
            .map(|peer| metapb::Peer { id: peer.id.0, store_id: peer.store.0, ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let current_regions = new.iter().map(wire).collect();
    Some(Box::new(errorpb::Error {
        epoch_not_match: Some(errorpb::EpochNotMatch { current_regions }),
        ..Default::default()
    }))
}

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().map(|&name| name.into()).collect()
}

fn batch_get(names: &[&str], limit: usize) -> BatchMachine<BatchGet> {
    let (batch, keys) = BatchGet::new(keys(names), "", false);
    BatchMachine::new(batch, keys, limit)
}

fn found(names: &[&str]) -> pb::RawBatchGetResponse {
    let pair = |&name: &&str| pb::KvPair {
        key: name.to_owned().into(),
        value: format!("={name}").into(),
        ..Default::default()
    };
    pb::RawBatchGetResponse { pairs: names.iter().map(pair).collect(), ..Default::default() }
}

fn texts(values: Vec<Option<bytes::Bytes>>) -> Vec<Option<String>> {
    values.into_iter().map(|value| value.map(|value| String::from_utf8(value.to_vec()).unwrap())).collect()
}

#[test]
fn a_get_tells_a_missing_key_from_an_empty_answer_and_an_error() {
    let run = |response: pb::RawGetResponse| {
        let mut s = Script::given(GetMachine::new("k".into(), "", false), known(&layout(&[])));
        let (ticket, request, _) = s.expect_command(Command::RawGet);
        assert_eq!(decode::<pb::RawGetRequest>(&request).key, "k");
        s.reply(ticket, &response);
        s.done().0
    };
    let value = pb::RawGetResponse { value: "v".into(), ..Default::default() };
    assert_eq!(run(value), Ok(Some("v".into())));
    assert_eq!(run(pb::RawGetResponse { not_found: true, ..Default::default() }), Ok(None));
    let error = run(pb::RawGetResponse { error: "key is wrong".into(), ..Default::default() }).unwrap_err();
    assert_eq!(error.to_string(), "the store refused raw get at key 6B: key is wrong");
}

#[test]
fn a_redacted_error_shows_no_key() {
    let mut s = Script::given(DeleteMachine::new("secret".into(), "", false, true), known(&layout(&[])));
    let (ticket, ..) = s.expect_command(Command::RawDelete);
    s.reply(ticket, &pb::RawDeleteResponse { error: "no".into(), ..Default::default() });
    assert_eq!(s.done().0.unwrap_err().to_string(), "the store refused raw delete at key ?: no");
}

#[test]
fn a_put_carries_its_ttl_and_its_column_family() {
    let machine = PutMachine::new("k".into(), "v".into(), "lock", 7, true, false);
    let mut s = Script::given(machine, known(&layout(&[])));
    let (ticket, request, _) = s.expect_command(Command::RawPut);
    let sent: pb::RawPutRequest = decode(&request);
    assert_eq!((sent.cf.as_str(), sent.ttl, sent.for_cas), ("lock", 7, true));
    s.reply(ticket, &pb::RawPutResponse::default());
    assert_eq!(s.done().0, Ok(()));
}

#[test]
fn a_batch_asks_its_regions_side_by_side_and_answers_in_the_order_of_its_keys() {
    let mut s = Script::given(batch_get(&["z", "a", "m", "a", "b"], 8), known(&layout(&["m"])));
    let (left, request, _) = s.expect_call(StoreId(1));
    assert_eq!(decode::<pb::RawBatchGetRequest>(&request).keys, ["a", "b"]);
    let (right, request, _) = s.expect_call(StoreId(2));
    assert_eq!(decode::<pb::RawBatchGetRequest>(&request).keys, ["m", "z"]);
    s.reply(right, &found(&["z"]));
    s.reply(left, &found(&["a", "b"]));
    let values = texts(s.done().0.unwrap());
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(values, [some("=z"), some("=a"), None, some("=a"), some("=b")]);
}

#[test]
fn unknown_regions_are_loaded_while_known_ones_are_asked() {
    let regions = layout(&["m"]);
    let mut s = Script::given(batch_get(&["a", "z"], 8), known(&regions[..1]));
    let load = s.expect_ask(&Question::Region(Place::Holding(Key::from("z"))));
    let (left, ..) = s.expect_call(StoreId(1));
    s.facts_report(&Feedback::Loaded { regions: regions.clone().into(), expires: Instant::FAR });
    s.answer(load, Answer::Region(located(&regions[1])));
    let (right, ..) = s.expect_call(StoreId(2));
    s.reply(left, &found(&["a"]));
    s.reply(right, &found(&["z"]));
    assert_eq!(texts(s.done().0.unwrap()), [Some("=a".to_owned()), Some("=z".to_owned())]);
}

#[test]
fn only_the_part_whose_region_split_is_grouped_again() {
    let mut s = Script::given(batch_get(&["a", "n", "z"], 8), known(&layout(&["m"])));
    let (left, ..) = s.expect_call(StoreId(1));
    let (right, ..) = s.expect_call(StoreId(2));
    let now = [region(2, 2, "m", "t"), region(3, 2, "t", "")];
    s.reply(right, &pb::RawBatchGetResponse { region_error: split(&now), ..Default::default() });
    s.expect_report();
    let (n, request, _) = s.expect_call(StoreId(2));
    assert_eq!(decode::<pb::RawBatchGetRequest>(&request).keys, ["n"]);
    let (z, request, _) = s.expect_call(StoreId(3));
    assert_eq!(decode::<pb::RawBatchGetRequest>(&request).keys, ["z"]);
    s.reply(n, &found(&["n"]));
    s.reply(z, &found(&["z"]));
    s.reply(left, &found(&["a"]));
    assert_eq!(texts(s.done().0.unwrap()).iter().flatten().count(), 3);
}

#[test]
fn fixes_an_error_in_the_place_of_a_pair_is_not_a_missing_key() {
    // client-go ignores `pairs[i].error` (rawkv.md 5.1).
    let mut s = Script::given(batch_get(&["a"], 8), known(&layout(&[])));
    let (ticket, ..) = s.expect_command(Command::RawBatchGet);
    let error = Some(Box::new(pb::KeyError { abort: "out of range".into(), ..Default::default() }));
    let pairs = vec![pb::KvPair { error, key: "a".into(), ..Default::default() }];
    s.reply(ticket, &pb::RawBatchGetResponse { pairs, ..Default::default() });
    assert!(matches!(s.done().0, Err(Error::Server { .. })));
}

#[test]
fn fixes_a_part_has_no_more_keys_than_its_bound() {
    // client-go's batches hold one key more than their limit (rawkv.md 4.2).
    let names: Vec<String> = (0..1_025).map(|n| format!("{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut s = Script::given(batch_get(&names, 8), known(&layout(&[])));
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let (ticket, request, _) = s.expect_command(Command::RawBatchGet);
        sizes.push(decode::<pb::RawBatchGetRequest>(&request).keys.len());
        s.reply(ticket, &found(&[]));
    }
    assert!(s.done().0.is_ok());
    assert_eq!(sizes, [512, 512, 1]);
}

#[test]
fn of_two_pairs_with_one_key_the_last_is_put() {
    let pairs = vec![KvPair::from(("a", "1")), KvPair::from(("b", "2")), KvPair::from(("a", "3"))];
    let (batch, pairs) = BatchPut::new(pairs, "", 0, false);
    let mut s = Script::given(BatchMachine::new(batch, pairs, 8), known(&layout(&[])));
    let (ticket, request, _) = s.expect_command(Command::RawBatchPut);
    let sent: pb::RawBatchPutRequest = decode(&request);
    let sent: Vec<_> = sent.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
    assert_eq!(sent, [("a".into(), "3".into()), ("b".into(), "2".into())]);
    s.reply(ticket, &pb::RawBatchPutResponse::default());
    assert_eq!(s.done().0, Ok(()));
}

#[test]
fn the_first_error_ends_a_batch_and_gives_back_what_is_out() {
    let (batch, keys) = BatchDelete::new(keys(&["a", "z"]), "", false);
    let mut s = Script::given(BatchMachine::new(batch, keys, 8), known(&layout(&["m"])));
    let (left, ..) = s.expect_call(StoreId(1));
    let (right, ..) = s.expect_call(StoreId(2));
    s.reply(left, &pb::RawBatchDeleteResponse { error: "no".into(), ..Default::default() });
    s.expect_cancel(right);
    assert!(s.done().0.is_err());
}

#[test]
fn a_batch_of_nothing_sends_nothing() {
    assert_eq!(Script::given(batch_get(&[], 8), known(&[])).done().0, Ok(Vec::new()));
}

fn scan(range: impl Into<KeyRange>, limit: usize, reverse: bool) -> ScanMachine {
    let range = range.into();
    ScanMachine::new(Scan { range, limit, reverse, keys_only: false, cf: "".into(), redacted: false })
}

/// Answers every request of a scan from `data`, as stores of `regions` would; the number of requests.
fn serve(
    machine: ScanMachine,
    regions: &[RegionInfo],
    data: &[&str],
) -> (Vec<String>, Vec<pb::RawScanRequest>) {
    let mut s = Script::given(machine, known(regions));
    let mut sent = Vec::new();
    while !s.is_done() {
        let (ticket, request, attempt): (TicketId, Arc<Request>, Attempt) =
            s.expect_command(Command::RawScan);
        let request: pb::RawScanRequest = decode(&request);
        let span = &regions.iter().find(|info| info.version == attempt.to.region).unwrap().range;
        let (low, high) = if request.reverse {
            (&request.end_key, &request.start_key)
        } else {
            (&request.start_key, &request.end_key)
        };
        let range = KeyRange::new(low.clone(), high.clone());
        let inside = |key: &&&str| span.contains(key.as_bytes()) && range.contains(key.as_bytes());
        let mut hit: Vec<&&str> = data.iter().filter(inside).collect();
        if request.reverse {
            hit.reverse();
        }
        hit.truncate(request.limit as usize);
        let pair = |key: &&&str| pb::KvPair {
            key: (**key).to_owned().into(),
            value: "v".into(),
            ..Default::default()
        };
        let kvs = hit.iter().map(pair).collect();
        sent.push(request);
        s.reply(ticket, &pb::RawScanResponse { kvs, ..Default::default() });
    }
    let pairs = s.done().0.unwrap();
    let names = pairs.iter().map(|pair| String::from_utf8(pair.key.0.to_vec()).unwrap()).collect();
    (names, sent)
}

#[test]
fn a_scan_goes_through_its_regions_and_stops_at_its_limit() {
    let regions = layout(&["d", "m"]);
    let data = ["a", "c", "e", "k", "n"];
    let (names, sent) = serve(scan("b".."z", 3, false), &regions, &data);
    assert_eq!(names, ["c", "e", "k"]);
    assert_eq!(sent.iter().map(|sent| sent.limit).collect::<Vec<_>>(), [3, 2]);
    let (names, sent) = serve(scan(.., 100, false), &regions, &data);
    assert_eq!((names.len(), sent.len()), (5, 3));
}

#[test]
fn a_reverse_scan_goes_down_through_its_regions() {
    let regions = layout(&["d", "m"]);
    let data = ["a", "c", "e", "k", "n"];
    let (names, _) = serve(scan("b".."n", 100, true), &regions, &data);
    assert_eq!(names, ["k", "e", "c"]);
    // From the last key: client-go cannot (rawkv.md 4.3).
    let (names, _) = serve(scan(.., 2, true), &regions, &data);
    assert_eq!(names, ["n", "k"]);
    // The end is a region's start: the region below it is the first.
    let (names, sent) = serve(scan("b".."m", 100, true), &regions, &data);
    assert_eq!((names.len(), sent.len()), (3, 2));
}

#[test]
fn scans_of_nothing_send_nothing() {
    for machine in [scan("b".."b", 9, false), scan("z".."a", 9, true), scan(.., 0, false)] {
        assert_eq!(Script::given(machine, known(&[])).done().0, Ok(Vec::new()));
    }
}

#[test]
fn a_scan_whose_region_splits_reads_on_with_the_new_regions() {
    let mut s = Script::given(scan(.., 9, false), known(&layout(&[])));
    let (ticket, ..) = s.expect_call(StoreId(1));
    let now = [region(1, 2, "m", ""), region(2, 2, "", "m")];
    s.reply(ticket, &pb::RawScanResponse { region_error: split(&now), ..Default::default() });
    s.expect_report();
    let pairs = |names: &[&str]| pb::RawScanResponse { kvs: found(names).pairs, ..Default::default() };
    let (ticket, ..) = s.expect_call(StoreId(2));
    s.reply(ticket, &pairs(&["a"]));
    let (ticket, request, _) = s.expect_call(StoreId(1));
    assert_eq!(decode::<pb::RawScanRequest>(&request).start_key, "m");
    s.reply(ticket, &pairs(&["z"]));
    assert_eq!(s.done().0.unwrap().len(), 2);
}

/// The pieces a range delete asks for.
fn pieces(range: impl Into<KeyRange>, regions: &[RegionInfo]) -> Vec<(String, String)> {
    let mut s = Script::given(DeleteRangeMachine::new(range.into(), ""), known(regions));
    let mut pieces = Vec::new();
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    while !s.is_done() {
        let (ticket, request, _) = s.expect_command(Command::RawDeleteRange);
        let request: pb::RawDeleteRangeRequest = decode(&request);
        pieces.push((text(request.start_key), text(request.end_key)));
        s.reply(ticket, &pb::RawDeleteRangeResponse::default());
    }
    assert_eq!(s.done().0, Ok(()));
    pieces
}

#[test]
fn a_range_delete_is_clipped_to_each_region() {
    let regions = layout(&["d", "m"]);
    let piece = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    assert_eq!(pieces("b".."z", &regions), [piece("b", "d"), piece("d", "m"), piece("m", "z")]);
    assert_eq!(pieces("b".."d", &regions), [piece("b", "d")]);
    assert_eq!(pieces(.., &regions), [piece("", "d"), piece("d", "m"), piece("m", "")]);
    assert_eq!(pieces("z".."b", &regions), []);
}

#[test]
fn a_range_delete_clips_again_when_its_region_split() {
    let mut s = Script::given(DeleteRangeMachine::new(("b".."z").into(), ""), known(&layout(&[])));
    let (ticket, ..) = s.expect_call(StoreId(1));
    let now = [region(1, 2, "m", ""), region(2, 2, "", "m")];
    s.reply(ticket, &pb::RawDeleteRangeResponse { region_error: split(&now), ..Default::default() });
    s.expect_report();
    let (ticket, request, _) = s.expect_call(StoreId(2));
    assert_eq!(decode::<pb::RawDeleteRangeRequest>(&request).end_key, "m");
    s.reply(ticket, &pb::RawDeleteRangeResponse::default());
    let (ticket, ..) = s.expect_call(StoreId(1));
    s.reply(ticket, &pb::RawDeleteRangeResponse::default());
    assert_eq!(s.done().0, Ok(()));
}

proptest! {
    #[test]
    fn a_scan_gives_the_same_whatever_the_layout(
        mut data in proptest::collection::vec("[a-e]{1,3}", 0..20),
        mut bounds in proptest::collection::vec("[a-e]{1,3}", 0..5),
        ends in ("[a-e]{0,3}", "[a-e]{0,3}"), limit in 0usize..12, reverse: bool,
    ) {
        data.sort();
        data.dedup();
        bounds.sort();
        bounds.dedup();
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        let bounds: Vec<&str> = bounds.iter().map(String::as_str).collect();
        let range = KeyRange::new(ends.0.as_str(), ends.1.as_str());
        let mut expected: Vec<&str> = data.iter().copied().filter(|key| range.contains(key.as_bytes())).collect();
        if reverse {
            expected.reverse();
        }
        expected.truncate(limit);
        let (names, _) = serve(scan(range, limit, reverse), &layout(&bounds), &data);
        prop_assert_eq!(names, expected);
    }

    #[test]
    fn a_batch_covers_every_key_once_whatever_the_layout(
        names in proptest::collection::vec("[a-e]{1,3}", 0..30),
        mut bounds in proptest::collection::vec("[a-e]{1,3}", 0..5),
    ) {
        bounds.sort();
        bounds.dedup();
        let bounds: Vec<&str> = bounds.iter().map(String::as_str).collect();
        let given: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut s = Script::given(batch_get(&given, 2), known(&layout(&bounds)));
        let mut asked = Vec::new();
        while !s.is_done() {
            let (ticket, request, _) = s.expect_command(Command::RawBatchGet);
            let keys = decode::<pb::RawBatchGetRequest>(&request).keys;
            let names: Vec<String> = keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect();
            s.reply(ticket, &found(&names.iter().map(String::as_str).collect::<Vec<_>>()));
            asked.extend(names);
        }
        let values = texts(s.done().0.unwrap());
        prop_assert_eq!(values, names.iter().map(|name| Some(format!("={name}"))).collect::<Vec<_>>());
        asked.sort();
        let mut once = names.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(asked, once);
    }
}

/// A machine dropped anywhere gives back what it waits for.
#[test]
fn a_dropped_batch_gives_back_every_ticket() {
    let mut s = Script::given(batch_get(&["a", "n", "z"], 8), known(&layout(&["m"])[..1]));
    // The regions that are not known are asked for together.
    let range = KeyRange { start: "n".into(), end: Key::from("z").next() };
    let load = s.expect_ask(&Question::Regions { range, limit: 2 });
    let (call, ..) = s.expect_call(StoreId(1));
    s.abandon();
    s.expect_cancel(load);
    s.expect_cancel(call);
}
