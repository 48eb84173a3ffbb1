//! The table of region errors, and the region call at its boundary.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use prost::Message;
use tikv_proto::{errorpb, kvrpcpb as pb, metapb};

use super::classify::{Reaction, Situation, classify, classify_transport};
use super::*;
use crate::codec::Mode;
use crate::error::{Error, ErrorKind};
use crate::machine::script::Script;
use crate::machine::{
    Cx, Facts, Feedback, Interrupt, Machine, Place, Question, StaleReason, TransportClass, TransportFault,
    Why,
};
use crate::region::Directory;
use crate::request::{Profile, Request};
use crate::types::{
    Instant, Key, KeyRange, Located, Peer, PeerId, PeerRole, RegionId, RegionInfo, RegionVersion, Replicas,
    StoreId,
};

fn version(id: u64, version: u64) -> RegionVersion {
    RegionVersion { id: RegionId(id), version, conf_ver: 1 }
}

/// A region with a peer on stores 1 to 3, led by the one on `leader`.
fn region(id: u64, v: u64, start: &str, end: &str, leader: u64) -> RegionInfo {
    let peer =
        |store: u64| Peer { id: PeerId(id * 10 + store), store: StoreId(store), role: PeerRole::Voter };
    RegionInfo {
        version: version(id, v),
        range: KeyRange::new(start, end),
        peers: (1..=3).map(peer).collect(),
        leader: Some(PeerId(id * 10 + leader)),
    }
}

/// A directory as facts.
#[derive(Debug)]
struct Regions(Directory, RefCell<Vec<RegionInfo>>);

fn regions(infos: &[RegionInfo]) -> Regions {
    let directory = Directory::new(Mode::Raw);
    for info in infos {
        directory.insert(info.clone(), Instant(0), Instant::FAR);
    }
    Regions(directory, RefCell::default())
}

impl Facts for Regions {
    fn locate(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.locate(key, now)
    }
    fn locate_below(&self, key: &[u8], now: Instant) -> Option<Located> {
        self.0.locate_below(key, now)
    }
    fn span(&self, region: RegionVersion) -> Option<KeyRange> {
        self.0.span(region)
    }
    fn replicas(&self, region: RegionVersion) -> Option<Replicas> {
        self.0.replicas(region)
    }
    fn report(&self, feedback: &Feedback, now: Instant) {
        self.0.apply(feedback, now);
        if let Feedback::Loaded { regions, .. } = feedback {
            self.1.borrow_mut().extend(regions.iter().cloned());
        }
    }
}

/// The call as an operation of its own.
#[derive(Debug)]
struct Alone(RegionCall);

impl Machine for Alone {
    type Output = Result<Reply, Unanswered>;
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.step(cx)
    }
}

fn call(route: Route) -> Alone {
    let message = pb::RawGetRequest { key: "k".into(), ..Default::default() };
    let request = Arc::new(Request::new(&message, Profile::default()));
    Alone(RegionCall::new("test", route, request))
}

fn by_key() -> Alone {
    call(Route::Key(Key::from("k")))
}

fn refused(error: errorpb::Error) -> pb::RawGetResponse {
    pb::RawGetResponse { region_error: Some(Box::new(error)), ..Default::default() }
}

fn not_leader(peer: u64, store: u64) -> errorpb::Error {
    let leader = Some(metapb::Peer { id: peer, store_id: store, ..Default::default() });
    errorpb::Error { not_leader: Some(errorpb::NotLeader { region_id: 1, leader }), ..Default::default() }
}

fn value(text: &str) -> pb::RawGetResponse {
    pb::RawGetResponse { value: text.to_owned().into(), ..Default::default() }
}

fn wire(info: &RegionInfo) -> metapb::Region {
    metapb::Region {
        id: info.version.id.0,
        start_key: info.range.start.clone().into(),
        end_key: info.range.end.clone().into(),
        region_epoch: Some(metapb::RegionEpoch {
            version: info.version.version,
            conf_ver: info.version.conf_ver,
        }),
        peers: (info.peers.iter())
            .map(|peer| metapb::Peer { id: peer.id.0, store_id: peer.store.0, ..Default::default() })
            .collect(),
        ..Default::default()
    }
}

fn epoch_not_match(current: &[RegionInfo]) -> errorpb::Error {
    let current_regions = current.iter().map(wire).collect();
    errorpb::Error { epoch_not_match: Some(errorpb::EpochNotMatch { current_regions }), ..Default::default() }
}

fn situation() -> Situation {
    let to = Located { region: version(1, 5), peer: PeerId(11), store: StoreId(1) };
    Situation { to, mode: Mode::Raw }
}

/// Every row of the table, as client-go's field names.
fn rows() -> Vec<(&'static str, errorpb::Error)> {
    let older = [region(1, 4, "", "", 1)];
    let newer = [region(1, 6, "", "m", 1), region(2, 6, "m", "", 1)];
    macro_rules! set {
        ($field:ident) => {
            errorpb::Error { $field: Some(Default::default()), ..Default::default() }
        };
    }
    let text = |text: &str| errorpb::Error { message: text.into(), ..Default::default() };
    vec![
        ("undetermined_result", set!(undetermined_result)),
        ("not_leader, hint", not_leader(12, 2)),
        ("not_leader, no hint", set!(not_leader)),
        ("disk_full", set!(disk_full)),
        ("recovery_in_progress", set!(recovery_in_progress)),
        ("is_witness", set!(is_witness)),
        ("flashback_in_progress", set!(flashback_in_progress)),
        ("flashback_not_prepared", set!(flashback_not_prepared)),
        ("region_not_found", set!(region_not_found)),
        ("key_not_in_region", set!(key_not_in_region)),
        ("epoch_not_match, newer regions", epoch_not_match(&newer)),
        ("epoch_not_match, an older region", epoch_not_match(&older)),
        ("epoch_not_match, no regions", epoch_not_match(&[])),
        ("bucket_version_not_match", set!(bucket_version_not_match)),
        ("server_is_busy", set!(server_is_busy)),
        ("stale_command", set!(stale_command)),
        ("store_not_match", set!(store_not_match)),
        ("raft_entry_too_large", set!(raft_entry_too_large)),
        ("max_timestamp_not_synced", set!(max_timestamp_not_synced)),
        ("region_not_initialized", set!(region_not_initialized)),
        ("read_index_not_ready", set!(read_index_not_ready)),
        ("proposal_in_merging_mode", set!(proposal_in_merging_mode)),
        ("data_is_not_ready", set!(data_is_not_ready)),
        ("mismatch_peer_id", set!(mismatch_peer_id)),
        ("invalid max_ts update", text("invalid max_ts update: 9 exceeds the limit 7")),
        ("anything else", text("TiKV is Closing")),
        ("nothing at all", errorpb::Error::default()),
    ]
}

#[test]
fn the_table_of_region_errors() {
    let mut table = String::new();
    for (name, error) in rows() {
        let verdict = classify(&error, &situation());
        let reports: Vec<_> = verdict.reports.iter().map(report_name).collect();
        table += &format!(
            "{name:<34} {:<36} {:<28} {}\n",
            format!("{:?}", verdict.reaction),
            reports.join(" "),
            verdict.reason
        );
    }
    insta::assert_snapshot!(table);
}

fn report_name(feedback: &Feedback) -> String {
    match feedback {
        Feedback::LeaderIs { store, .. } => format!("leader:{store}"),
        Feedback::Stale { why, .. } => format!("stale:{why:?}"),
        Feedback::Regions { new, .. } => format!("regions:{}", new.len()),
        Feedback::Unreachable { store, .. } => format!("unreachable:{store}"),
        Feedback::Loaded { .. } => "loaded".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn of_two_errors_the_first_in_client_gos_order_counts() {
    let both = errorpb::Error {
        epoch_not_match: Some(errorpb::EpochNotMatch::default()),
        server_is_busy: Some(errorpb::ServerIsBusy::default()),
        ..not_leader(12, 2)
    };
    assert_eq!(classify(&both, &situation()).reaction, Reaction::Again);
    let both = errorpb::Error { not_leader: None, ..both };
    let stale = Feedback::Stale { region: version(1, 5), why: StaleReason::EpochNotMatch };
    assert_eq!(classify(&both, &situation()).reports, [stale]);
}

#[test]
fn the_table_of_transport_faults() {
    let classes = [TransportClass::Unreachable, TransportClass::Lost, TransportClass::TimedOut];
    let codes = (1..=16).map(TransportClass::Rejected);
    let mut table = String::new();
    for class in classes.into_iter().chain(codes) {
        let verdict = classify_transport(&TransportFault::new(class, "store:1"), &situation());
        table += &format!(
            "{:<14} {:?}, {} reports\n",
            format!("{class:?}"),
            verdict.reaction,
            verdict.reports.len()
        );
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_known_region_is_asked_at_once_and_its_answer_is_the_reply() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 2)]));
    let (ticket, _, attempt) = s.expect_call(StoreId(2));
    assert!(!attempt.retry);
    assert_eq!(attempt.to.peer, PeerId(12));
    s.reply(ticket, &value("v"));
    let (reply, _) = s.done();
    let reply = reply.unwrap();
    assert_eq!(reply.from.region, version(1, 5));
    assert_eq!(reply.decode::<pb::RawGetResponse>("test").unwrap().value, "v");
}

#[test]
fn an_unknown_region_is_loaded_first() {
    let mut s = Script::given(by_key(), regions(&[]));
    let ask = s.expect_ask(&Question::Region(Place::Holding(Key::from("k"))));
    let to = Located { region: version(1, 5), peer: PeerId(11), store: StoreId(1) };
    s.answer(ask, crate::machine::Answer::Region(to));
    let (ticket, ..) = s.expect_call(StoreId(1));
    s.reply(ticket, &value("v"));
    assert!(s.done().0.is_ok());
}

#[test]
fn a_hint_is_followed_at_once_as_a_retry() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    s.reply(ticket, &refused(not_leader(13, 3)));
    s.expect_report();
    let (ticket, _, attempt) = s.expect_call(StoreId(3));
    assert!(attempt.retry);
    s.reply(ticket, &value("v"));
    assert!(s.done().0.is_ok());
}

#[test]
fn fixes_hints_in_a_circle_are_followed_without_a_pause() {
    // client-go: two stores that name each other are asked as fast as they answer (routing.md 7.4, 2).
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    // The first two were not asked before; three times more at once, then a pause.
    for (store, hint) in [(1, 2), (2, 1), (1, 2), (2, 1), (1, 2)] {
        let (ticket, ..) = s.expect_call(StoreId(store));
        s.reply(ticket, &refused(not_leader(10 + hint, hint)));
        s.expect_report();
    }
    let timer = s.expect_timer();
    s.fire(timer);
    let (ticket, ..) = s.expect_call(StoreId(2));
    s.reply(ticket, &value("v"));
    assert!(s.done().0.is_ok());
}

#[test]
fn a_split_is_learned_from_the_store_and_the_key_found_again_without_pd() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    let now = [region(1, 6, "m", "", 1), region(2, 6, "", "m", 1)];
    s.reply(ticket, &refused(epoch_not_match(&now)));
    s.expect_report();
    let (ticket, _, attempt) = s.expect_call(StoreId(1));
    assert_eq!(attempt.to.region, version(2, 6));
    s.reply(ticket, &value("v"));
    assert!(s.done().0.is_ok());
}

#[test]
fn a_request_made_for_a_region_regroups_when_the_region_changed() {
    let route = Route::Region { key: Key::from("k"), region: version(1, 5) };
    let mut s = Script::given(call(route), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    let now = [region(1, 6, "m", "", 1), region(2, 6, "", "m", 1)];
    s.reply(ticket, &refused(epoch_not_match(&now)));
    s.expect_report();
    assert_eq!(s.done().0, Err(Unanswered::Regroup { may_have_happened: false }));
}

#[test]
fn a_request_made_for_a_region_follows_its_leader() {
    let route = Route::Region { key: Key::from("k"), region: version(1, 5) };
    let mut s = Script::given(call(route), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    s.reply(ticket, &refused(not_leader(12, 2)));
    s.expect_report();
    let (ticket, ..) = s.expect_call(StoreId(2));
    s.reply(ticket, &value("v"));
    assert!(s.done().0.is_ok());
}

#[test]
fn a_store_that_cannot_be_reached_is_passed_over_at_once_and_owed_a_pause() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    s.fail(ticket, TransportClass::Unreachable);
    let unreachable = Feedback::Unreachable { store: StoreId(1), region: version(1, 5) };
    assert_eq!(s.expect_report(), unreachable);
    let (ticket, attempt) = s.expect_other_than(StoreId(1));
    assert_eq!(attempt.asked, crate::machine::Asked::Plainly);
    // That one names the first: it is asked again once its pause was served.
    s.reply(ticket, &refused(not_leader(11, 1)));
    s.expect_report();
    let timer = s.expect_timer();
    assert_eq!(timer.2, Why::BackOff("tikvRPC"));
    s.fire(timer);
    let (ticket, ..) = s.expect_call(StoreId(1));
    s.reply(ticket, &value("v"));
    assert!(s.done().0.is_ok());
}

#[test]
fn a_lost_answer_is_remembered_to_the_end() {
    for (class, may_have_happened) in [
        (TransportClass::Unreachable, false),
        (TransportClass::Lost, true),
        (TransportClass::TimedOut, true),
        (TransportClass::Rejected(14), true),
    ] {
        let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
        let (ticket, ..) = s.expect_call(StoreId(1));
        s.fail(ticket, class);
        s.expect_report();
        let (ticket, attempt) = s.expect_other_than(StoreId(1));
        let flashback = errorpb::Error {
            flashback_in_progress: Some(Default::default()),
            message: "region 1 is in flashback".into(),
            ..Default::default()
        };
        s.reply(ticket, &refused(flashback));
        let Err(Unanswered::Failed { error, may_have_happened: got }) = s.done().0 else {
            panic!("a failure")
        };
        assert_eq!(got, may_have_happened, "{class:?}");
        let expected = format!("region 1 on store {}: region 1 is in flashback", attempt.to.store);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn an_interrupt_says_what_went_wrong_before_it() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    let busy = errorpb::Error {
        server_is_busy: Some(Default::default()),
        message: "scheduler is busy".into(),
        ..Default::default()
    };
    s.reply(ticket, &refused(busy));
    assert_eq!(s.expect_report(), Feedback::Slow { store: StoreId(1) });
    let (timer, ..) = s.expect_timer();
    s.interrupt(Interrupt::Deadline);
    s.expect_cancel(timer);
    let Err(Unanswered::Failed { error: Error::Interrupted { last, .. }, .. }) = s.done().0 else {
        panic!("an interrupt")
    };
    assert_eq!(last.as_deref(), Some("region 1 at store 1: scheduler is busy"));
}

#[test]
fn an_interrupt_while_a_request_is_out_says_that_it_may_have_happened() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    s.interrupt(Interrupt::Killed);
    s.expect_cancel(ticket);
    assert!(matches!(s.done().0, Err(Unanswered::Failed { may_have_happened: true, .. })));
}

#[test]
fn an_undetermined_result_may_have_happened() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    let error = errorpb::Error { undetermined_result: Some(Default::default()), ..Default::default() };
    s.reply(ticket, &refused(error));
    assert!(matches!(s.done().0, Err(Unanswered::Failed { may_have_happened: true, .. })));
}

#[test]
fn hostile_bytes_are_a_corrupt_answer() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    let hostile = bytes::Bytes::from_static(b"\x0a\xff\xff\xff");
    s.complete(ticket, crate::machine::Completion::Response(hostile));
    let Err(Unanswered::Failed { error, .. }) = s.done().0 else { panic!("a failure") };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn retries_end_with_the_budget_and_its_account() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let mut sent = 0;
    let error = loop {
        if s.is_done() {
            s.read_reports();
            break s.done().0.unwrap_err().into_error("test");
        }
        let ticket = match s.next_wanted() {
            crate::machine::script::Wanted::Call(ticket) => ticket,
            crate::machine::script::Wanted::Timer(timer) => {
                s.fire(timer);
                continue;
            }
            crate::machine::script::Wanted::Other => continue,
            crate::machine::script::Wanted::Region(ticket) => {
                // Every peer failed: PD is asked, and knows no others.
                let loaded = [region(1, 5, "", "", 1)].into();
                s.facts_report(&Feedback::Loaded { regions: loaded, expires: Instant::FAR });
                let to = Located { region: version(1, 5), peer: PeerId(11), store: StoreId(1) };
                s.answer(ticket, crate::machine::Answer::Region(to));
                continue;
            }
        };
        sent += 1;
        s.fail(ticket, TransportClass::Unreachable);
    };
    assert!(sent < 150, "{sent} requests within 40 s, three a round");
    let Error::Exhausted { account, .. } = error else { panic!("{error}") };
    assert!(account.to_string().contains("tikvRPC"), "{account}");
    let route = account.route.expect("the attempts that failed");
    assert_eq!(route.attempts(), sent);
    assert_eq!(route.hops.len(), crate::explain::OF_AN_ERROR);
}

proptest! {
    /// Whatever set of answers a cluster repeats for ever, it is not stormed: departure 3 of routing.md 7.4.
    #[test]
    fn no_repeated_answers_make_a_hot_loop(which in proptest::collection::vec(0usize..27, 1..4)) {
        let all = rows();
        let facts = regions(&[region(1, 5, "", "", 1)]);
        let mut s = Script::given(by_key(), facts);
        let mut sent = 0u32;
        'run: for turn in 0..2_000usize {
            loop {
                if s.is_done() {
                    break 'run;
                }
                match s.next_wanted() {
                    crate::machine::script::Wanted::Call(ticket) => {
                        sent += 1;
                        s.reply(ticket, &refused(all[which[turn % which.len()]].1.clone()));
                        break;
                    }
                    crate::machine::script::Wanted::Timer(timer) => s.fire(timer),
                    crate::machine::script::Wanted::Region(ticket) => {
                        // PD answers as fast as it is asked.
                        s.facts_report(&Feedback::Loaded { regions: [region(1, 5, "", "", 1)].into(), expires: Instant::FAR });
                        let to = Located { region: version(1, 5), peer: PeerId(11), store: StoreId(1) };
                        s.answer(ticket, crate::machine::Answer::Region(to));
                    }
                    crate::machine::script::Wanted::Other => {}
                }
            }
        }
        let seconds = s.now().since(Instant(0)).as_secs_f64();
        // Between two pauses the region is located anew at most AT_ONCE times, and each time three replicas are asked that were
        // not asked before: twelve requests. Pauses of one kind are 2, 4, 8, ... 500 ms: the first second sees the most.
        let most = 120.0 + 24.0 * seconds;
        prop_assert!(f64::from(sent) <= most, "{sent} requests in {seconds} s");
    }

    #[test]
    fn any_bytes_in_a_region_error_are_borne(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(error) = errorpb::Error::decode(bytes.as_slice()) {
            let txn = Situation { mode: Mode::Txn, ..situation() };
            prop_assert!(classify(&error, &txn).reports.len() <= 2);
        }
    }
}

#[test]
fn a_region_of_an_open_end_stays_open() {
    let verdict = classify(&epoch_not_match(&[region(7, 9, "", "", 1)]), &situation());
    let [Feedback::Regions { new, .. }] = &verdict.reports[..] else { panic!("{verdict:?}") };
    assert_eq!(new[0].range, KeyRange::ALL);
}

#[test]
fn pauses_go_on_where_the_call_before_stopped() {
    let mut first = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = first.expect_call(StoreId(1));
    let missing = || errorpb::Error { region_not_found: Some(Default::default()), ..Default::default() };
    first.reply(ticket, &refused(missing()));
    first.expect_report();
    let pause = first.expect_timer().1;
    assert_eq!(pause, Instant(0) + Duration::from_millis(2));
    let attempts = first.machine().0.attempts().clone();
    let mut second = Script::given(Alone(by_key().0.resume(attempts)), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = second.expect_call(StoreId(1));
    second.reply(ticket, &refused(missing()));
    second.expect_report();
    assert_eq!(second.expect_timer().1, Instant(0) + Duration::from_millis(4));
}

/// The search as an operation of its own.
#[derive(Debug)]
struct Search(FindRegion);

impl Machine for Search {
    type Output = Result<(Located, KeyRange), crate::machine::Fault>;
    fn step(&mut self, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.step(cx)
    }
}

#[test]
fn pd_that_knows_less_than_the_directory_is_asked_again_after_growing_pauses() {
    let place = Place::Holding(Key::from("k"));
    let mut s = Script::given(Search(FindRegion::new(place.clone())), regions(&[]));
    let to = Located { region: version(1, 4), peer: PeerId(11), store: StoreId(1) };
    for pause in [2, 4, 8] {
        let ask = s.expect_ask(&Question::Region(place.clone()));
        // An answer that the directory does not take in.
        s.answer(ask, crate::machine::Answer::Region(to));
        let timer = s.expect_timer();
        assert_eq!(timer.1.since(s.now()), Duration::from_millis(pause));
        s.fire(timer);
    }
    let ask = s.expect_ask(&Question::Region(place));
    let now = region(1, 6, "a", "z", 1);
    s.facts_report(&Feedback::Loaded { regions: [now.clone()].into(), expires: Instant::FAR });
    s.answer(ask, crate::machine::Answer::Region(to));
    let (found, span) = s.done().0.unwrap();
    assert_eq!((found.region, span), (now.version, now.range));
}

#[test]
fn a_removed_store_is_passed_over_like_one_that_cannot_be_reached() {
    let mut s = Script::given(by_key(), regions(&[region(1, 5, "", "", 1)]));
    let (ticket, ..) = s.expect_call(StoreId(1));
    let gone = crate::error::ServiceError::StoreRemoved { store: StoreId(1) };
    s.complete(ticket, crate::machine::Completion::Fault(crate::machine::Fault::Refused(gone)));
    let unreachable = Feedback::Unreachable { store: StoreId(1), region: version(1, 5) };
    assert_eq!(s.expect_report(), unreachable);
    let (ticket, attempt) = s.expect_other_than(StoreId(1));
    s.reply(ticket, &value("v"));
    let Located { region, peer, store } = attempt.to;
    assert_eq!(s.expect_report(), Feedback::LeaderIs { region, peer, store }, "it answers as a leader does");
    assert!(s.done().0.is_ok());
}
