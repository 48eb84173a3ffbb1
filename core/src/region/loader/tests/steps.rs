use std::time::Duration;

use super::*;
use crate::codec::memcomparable::encode;
use crate::error::ServiceError;
use crate::machine::script::ServiceScript;
use crate::machine::{
    Answer, Completion, Fault, Feedback, Input, Interrupt, ServiceEffect, TicketId, TransportClass,
    TransportFault,
};
use crate::region::loader::{LoaderCommand, LoaderConfig, LoaderEffect, LoaderTimer, RegionLoader};
use crate::types::{Instant, Key};

pub(super) type Loader = ServiceScript<RegionLoader>;

pub(super) fn loader(mode: Mode) -> Loader {
    ServiceScript::given(RegionLoader::new(unswept(mode, 600, 60)))
}

/// A configuration whose loader never sweeps, which most tests are not about.
pub(super) fn unswept(mode: Mode, ttl_s: u64, jitter_s: u64) -> LoaderConfig {
    let mut config = LoaderConfig::new(mode, Duration::from_secs(ttl_s), Duration::from_secs(jitter_s));
    config.sweep_every = Duration::ZERO;
    config
}

#[test]
fn from_the_first_region_on_the_directory_is_swept_round_by_round() {
    let mut s =
        ServiceScript::given(RegionLoader::new(LoaderConfig::new(Mode::Raw, Duration::ZERO, Duration::ZERO)));
    load(&mut s, 1, holding("k"), at(9));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("k"));
    reply(&mut s, ticket, PdReply::Region(Some(region(1, "", ""))));
    reported(&mut s);
    let mut due = armed(&mut s, LoaderTimer::Sweep);
    assert!(s.answered().is_some());
    for _ in 0..3 {
        assert_eq!(due, s.now + Duration::from_secs(10));
        s.now = due;
        s.input(Input::Timer(LoaderTimer::Sweep));
        assert!(matches!(s.effect(), ServiceEffect::Special(LoaderEffect::Sweep { limit: 2048 })));
        due = armed(&mut s, LoaderTimer::Sweep);
    }
    s.expect_nothing();
}

pub(super) fn at(seconds: u64) -> Instant {
    Instant(seconds * 1_000_000_000)
}

pub(super) fn load(s: &mut Loader, n: u32, place: Place, deadline: Instant) {
    let asker = s.asker(n);
    s.command(LoaderCommand::Load { place, asker, deadline });
}

pub(super) fn load_range(s: &mut Loader, n: u32, range: KeyRange, limit: u32) {
    let asker = s.asker(n);
    s.command(LoaderCommand::LoadRange { range, limit, asker, deadline: at(40) });
}

pub(super) fn holding(key: &'static str) -> Place {
    Place::Holding(key.into())
}

fn below(key: &'static str) -> Place {
    Place::Below(key.into())
}

pub(super) fn wire(key: &'static str) -> PdQuery {
    PdQuery::Region { key: Bytes::from_static(key.as_bytes()) }
}

#[track_caller]
pub(super) fn armed(s: &mut Loader, wanted: LoaderTimer) -> Instant {
    match s.effect() {
        ServiceEffect::Arm(timer, at) if timer == wanted => at,
        other => panic!("wanted {wanted:?} armed, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn asked(s: &mut Loader, wanted: &PdQuery) -> (TicketId, Instant) {
    match s.effect() {
        ServiceEffect::Query { ticket, query, deadline } => {
            assert_eq!(query, *wanted);
            (ticket, deadline)
        }
        other => panic!("wanted {wanted:?}, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn reported(s: &mut Loader) -> (Vec<RegionInfo>, Instant) {
    match s.effect() {
        ServiceEffect::Report(Feedback::Loaded { regions, expires }) => (regions.to_vec(), expires),
        other => panic!("wanted a report, got {other:?}"),
    }
}

pub(super) fn reply(s: &mut Loader, ticket: TicketId, reply: PdReply) {
    s.input(Input::Done(ticket, Completion::Answer(Answer::Pd(reply))));
    s.input(Input::Idle);
}

fn found(s: &mut Loader, ticket: TicketId, info: &RegionInfo) {
    reply(s, ticket, PdReply::Region(Some(info.clone())));
}

pub(super) fn scan(start: &'static str, end: &'static str, limit: u32) -> PdQuery {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    PdQuery::Regions { start: bytes(start), end: bytes(end), limit }
}

pub(super) fn region_answer(n: u32, info: &RegionInfo) -> Option<(u32, Completion)> {
    Some((n, Completion::Answer(Answer::Region(located(info)))))
}

pub(super) fn refused(n: u32, error: ServiceError) -> Option<(u32, Completion)> {
    Some((n, Completion::Fault(Fault::Refused(error))))
}

#[test]
fn a_region_is_reported_before_it_is_answered_and_expires_with_jitter() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, holding("k"), at(40));
    assert_eq!(armed(&mut s, LoaderTimer::Deadline), at(40));
    let (ticket, until) = asked(&mut s, &wire("k"));
    assert_eq!(until, at(40));
    let info = region(3, "a", "z");
    found(&mut s, ticket, &info);
    let (regions, expires) = reported(&mut s);
    assert_eq!(regions, std::slice::from_ref(&info));
    assert!(expires >= at(600) && expires <= at(660));
    assert_eq!(s.answered(), region_answer(1, &info));
    s.expect_nothing();
    assert_eq!(s.service.left(), 0);
}

#[test]
fn transactional_keys_go_to_pd_encoded_and_come_back_decoded() {
    let mut s = loader(Mode::Txn);
    load(&mut s, 1, holding("k"), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &PdQuery::Region { key: encode(b"k").into() });
    found(&mut s, ticket, &region(3, encode(b"a"), encode(b"z")));
    assert_eq!(reported(&mut s).0, [region(3, "a", "z")]);
    assert_eq!(s.answered(), region_answer(1, &region(3, "a", "z")));
    s.expect_nothing();
}

#[test]
fn misses_of_one_key_ask_once_and_misses_of_one_region_are_answered_by_it() {
    let mut s = loader(Mode::Raw);
    for (n, place) in [
        (1, holding("k")),
        (2, holding("k")),
        (3, holding("m")),
        (4, below("z")),
        (5, below("a")),
        (6, Place::Id(RegionId(3))),
        (7, holding("z")),
        (8, below("zz")),
    ] {
        load(&mut s, n, place, at(40));
    }
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("k"));
    let (other, _) = asked(&mut s, &wire("m"));
    for key in ["z", "a"] {
        asked(&mut s, &wire(key));
    }
    asked(&mut s, &PdQuery::RegionById(RegionId(3)));
    asked(&mut s, &wire("z"));
    asked(&mut s, &wire("zz"));
    let info = region(3, "a", "z");
    found(&mut s, ticket, &info);
    assert_eq!(reported(&mut s).0.len(), 1);
    let mut answered: Vec<u32> = std::iter::from_fn(|| s.answered()).map(|(n, _)| n).collect();
    answered.sort_unstable();
    // Not those at its end, nor below its start, nor behind.
    assert_eq!(answered, [1, 2, 3, 4, 6]);
    // A late answer finds nobody, and is not reported: who asked was answered by what is as new.
    found(&mut s, other, &info);
    s.expect_nothing();
}

#[test]
fn the_last_region_answers_what_has_no_end() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, holding("x"), at(40));
    load(&mut s, 2, below("y"), at(40));
    load(&mut s, 3, below(""), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("x"));
    asked(&mut s, &wire("y"));
    asked(&mut s, &PdQuery::Region { key: vec![0xff; 128].into() });
    let info = region(3, "m", "");
    found(&mut s, ticket, &info);
    reported(&mut s);
    let answered: Vec<u32> = std::iter::from_fn(|| s.answered()).map(|(n, _)| n).collect();
    assert_eq!(answered, [1, 2, 3]);
    s.expect_nothing();
    assert_eq!(s.service.left(), 0);
}

// routing.md 2.3: the region found starts exactly at the key.
#[test]
fn below_a_bound_is_the_region_before() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, below("m"), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("m"));
    found(&mut s, ticket, &region(4, "m", "z"));
    assert_eq!(reported(&mut s).0, [region(4, "m", "z")]);
    let (ticket, _) = asked(&mut s, &PdQuery::PreviousRegion { key: Bytes::from_static(b"m") });
    let info = region(3, "a", "m");
    found(&mut s, ticket, &info);
    reported(&mut s);
    assert_eq!(s.answered(), region_answer(1, &info));
    s.expect_nothing();
}

#[test]
fn regions_without_keys_of_ours_are_passed_over_and_not_reported() {
    let mut s = loader(Mode::Txn);
    load(&mut s, 1, below("m"), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let key = Bytes::from(encode(b"m"));
    let (ticket, _) = asked(&mut s, &PdQuery::Region { key: key.clone() });
    // From the raw key "m" to where "m" begins as an encoded key, there is no encoded key.
    found(&mut s, ticket, &region(5, key.clone(), "x"));
    assert_eq!(reported(&mut s).0, [region(5, "m", "x")]);
    let (ticket, _) = asked(&mut s, &PdQuery::PreviousRegion { key: key.clone() });
    found(&mut s, ticket, &region(4, "m", key));
    let (ticket, _) = asked(&mut s, &PdQuery::PreviousRegion { key: Bytes::from_static(b"m") });
    let info = region(3, "a", "m");
    found(&mut s, ticket, &info);
    assert_eq!(reported(&mut s).0, [region(3, "a", "m")]);
    assert_eq!(s.answered(), region_answer(1, &info));
    s.expect_nothing();
}

#[test]
fn a_region_without_keys_of_ours_is_still_found_by_its_id() {
    let mut s = loader(Mode::Txn);
    load(&mut s, 1, Place::Id(RegionId(4)), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &PdQuery::RegionById(RegionId(4)));
    let info = region(4, "m", encode(b"m"));
    found(&mut s, ticket, &info);
    assert_eq!(s.answered(), region_answer(1, &info));
    s.expect_nothing();
}

#[test]
fn the_last_region_is_walked_to() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, below(""), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &PdQuery::Region { key: vec![0xff; 128].into() });
    let high = vec![0xff; 200];
    found(&mut s, ticket, &region(3, "m", high.clone()));
    reported(&mut s);
    let (ticket, _) = asked(&mut s, &PdQuery::Region { key: high.clone().into() });
    let info = region(4, high, "");
    found(&mut s, ticket, &info);
    reported(&mut s);
    assert_eq!(s.answered(), region_answer(1, &info));
    s.expect_nothing();
}

#[test]
fn the_leader_is_answered_else_the_first_voter() {
    let mut s = loader(Mode::Raw);
    let mut info = region(3, "a", "z");
    info.leader = None;
    info.peers.insert(0, peer(5, PeerRole::Learner));
    info.peers.insert(1, peer(6, PeerRole::Witness));
    load(&mut s, 1, holding("k"), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("k"));
    found(&mut s, ticket, &info);
    reported(&mut s);
    let first = Located { region: info.version, peer: PeerId(31), store: StoreId(1) };
    assert_eq!(s.answered(), Some((1, Completion::Answer(Answer::Region(first)))));

    info.peers.truncate(2);
    load(&mut s, 2, holding("k"), at(40));
    let (ticket, _) = asked(&mut s, &wire("k"));
    found(&mut s, ticket, &info);
    assert_eq!(s.answered(), refused(2, ServiceError::NoPeer { region: RegionId(3) }));
    s.expect_nothing();
}

#[test]
fn a_hole_is_asked_for_once_more_after_a_pause() {
    for second in [false, true] {
        let mut s = loader(Mode::Raw);
        load(&mut s, 1, holding("k"), at(40));
        armed(&mut s, LoaderTimer::Deadline);
        let (ticket, _) = asked(&mut s, &wire("k"));
        reply(&mut s, ticket, PdReply::Region(None));
        let until = armed(&mut s, LoaderTimer::Retry(1));
        assert!(until >= s.now + Duration::from_millis(100) && until <= s.now + Duration::from_millis(200));
        // Who comes meanwhile joins.
        load(&mut s, 2, holding("k"), at(41));
        s.expect_nothing();
        s.now = until;
        s.input(Input::Timer(LoaderTimer::Retry(1)));
        let (ticket, deadline) = asked(&mut s, &wire("k"));
        assert_eq!(deadline, at(41));
        if second {
            // A region that does not hold the key is as good as none; but it is a region.
            found(&mut s, ticket, &region(3, "a", "b"));
            reported(&mut s);
            let error = ServiceError::NoRegion { place: "key 6B".into() };
            assert_eq!(s.answered(), refused(1, error.clone()));
            assert_eq!(s.answered(), refused(2, error));
        } else {
            let info = region(3, "a", "z");
            found(&mut s, ticket, &info);
            reported(&mut s);
            assert_eq!(s.answered(), region_answer(1, &info));
            assert_eq!(s.answered(), region_answer(2, &info));
        }
        s.expect_nothing();
        assert_eq!(s.service.left(), 0);
    }
}

// routing.md 2.3: by id, "region not found" fails at once.
#[test]
fn an_unknown_id_is_refused_at_once() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, Place::Id(RegionId(9)), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &PdQuery::RegionById(RegionId(9)));
    reply(&mut s, ticket, PdReply::Region(None));
    assert_eq!(s.answered(), refused(1, ServiceError::NoRegion { place: "id 9".into() }));
    s.expect_nothing();
}

#[test]
fn keys_are_shown_as_the_client_says() {
    let mut config = unswept(Mode::Raw, 0, 0);
    config.redact_keys = true;
    config.pause = Duration::ZERO;
    let mut s = ServiceScript::given(RegionLoader::new(config));
    load(&mut s, 1, below("k"), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    for _ in 0..2 {
        let (ticket, _) = asked(&mut s, &wire("k"));
        reply(&mut s, ticket, PdReply::Region(None));
        if s.service.left() > 0 {
            armed(&mut s, LoaderTimer::Retry(1));
            s.input(Input::Timer(LoaderTimer::Retry(1)));
        }
    }
    assert_eq!(s.answered(), refused(1, ServiceError::NoRegion { place: "the keys below ?".into() }));
}

#[test]
fn pd_failing_answers_all_that_waited_with_its_error() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, holding("k"), at(40));
    load(&mut s, 2, holding("k"), at(50));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("k"));
    let error = ServiceError::Pd { address: "a:1".into(), message: "no".into() };
    s.input(Input::Done(ticket, Completion::Fault(Fault::Refused(error.clone()))));
    for n in [1, 2] {
        assert_eq!(s.answered(), refused(n, error.clone()));
    }
    s.expect_nothing();
    assert_eq!(s.service.left(), 0);
}

#[test]
fn each_waits_to_its_own_deadline_and_learns_pd_s_reason() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, holding("k"), at(40));
    assert_eq!(armed(&mut s, LoaderTimer::Deadline), at(40));
    let (ticket, until) = asked(&mut s, &wire("k"));
    assert_eq!(until, at(40));
    load(&mut s, 2, holding("k"), at(50));
    load(&mut s, 3, holding("k"), at(30));
    assert_eq!(armed(&mut s, LoaderTimer::Deadline), at(30));
    s.now = at(30);
    s.input(Input::Timer(LoaderTimer::Deadline));
    assert_eq!(s.answered(), Some((3, Completion::Fault(Fault::Interrupted(Interrupt::Deadline)))));
    assert_eq!(armed(&mut s, LoaderTimer::Deadline), at(40));
    s.expect_nothing();
    // At its deadline the first gets what PD's service says of it, the other one is asked for again.
    s.now = at(40);
    s.input(Input::Timer(LoaderTimer::Deadline));
    assert_eq!(armed(&mut s, LoaderTimer::Deadline), at(50));
    s.expect_nothing();
    let error = ServiceError::PdUnreachable { addresses: "a:1".into(), last: "refused".into() };
    s.input(Input::Done(ticket, Completion::Fault(Fault::Refused(error.clone()))));
    assert_eq!(s.answered(), refused(1, error));
    let (_, until) = asked(&mut s, &wire("k"));
    assert_eq!(until, at(50));
    s.expect_nothing();
}

#[test]
fn the_deadline_ends_a_pause() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, holding("k"), Instant(50_000_000));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("k"));
    reply(&mut s, ticket, PdReply::Region(None));
    let retry = armed(&mut s, LoaderTimer::Retry(1));
    s.now = Instant(50_000_000);
    s.input(Input::Timer(LoaderTimer::Deadline));
    assert_eq!(s.answered(), Some((1, Completion::Fault(Fault::Interrupted(Interrupt::Deadline)))));
    s.now = retry;
    s.input(Input::Timer(LoaderTimer::Retry(1)));
    s.expect_nothing();
    assert_eq!(s.service.left(), 0);
}

#[test]
fn questions_under_way_are_bounded_and_the_rest_joins() {
    let mut config = unswept(Mode::Raw, 0, 0);
    (config.at_work, config.most) = (1, 3);
    let mut s = ServiceScript::given(RegionLoader::new(config));
    for (n, key) in [(1, "k"), (2, "l"), (3, "x"), (4, "y")] {
        load(&mut s, n, holding(key), at(40));
    }
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("k"));
    assert_eq!(s.answered(), Some((4, Completion::Fault(Fault::Overloaded))));
    s.expect_nothing();
    let info = region(3, "a", "m");
    found(&mut s, ticket, &info);
    reported(&mut s);
    // "l" was never asked for.
    let (..) = asked(&mut s, &wire("x"));
    assert_eq!(s.answered(), region_answer(1, &info));
    assert_eq!(s.answered(), region_answer(2, &info));
    s.expect_nothing();
}

#[test]
fn withdrawing_leaves_nothing_behind() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, holding("k"), at(40));
    load(&mut s, 2, holding("k"), at(40));
    load_range(&mut s, 3, KeyRange::ALL, 5);
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire("k"));
    let (scan, _) = asked(&mut s, &scan("", "", 5));
    for n in [1, 3] {
        let who = s.withdrawn(n);
        s.command(LoaderCommand::Withdraw(who));
    }
    let info = region(3, "a", "z");
    found(&mut s, ticket, &info);
    reported(&mut s);
    assert_eq!(s.answered(), region_answer(2, &info));
    reply(&mut s, scan, PdReply::Regions(vec![info]));
    s.expect_nothing();
    assert_eq!(s.service.left(), 0);
}

#[test]
fn an_answer_to_another_question_is_corrupt() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, Place::Holding(Key::EMPTY), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    let (ticket, _) = asked(&mut s, &wire(""));
    reply(&mut s, ticket, PdReply::Store(None));
    let Some((1, Completion::Fault(Fault::Refused(ServiceError::Corrupt { .. })))) = s.answered() else {
        panic!("not refused")
    };
    load(&mut s, 2, Place::Holding(Key::EMPTY), at(40));
    let (ticket, _) = asked(&mut s, &wire(""));
    let fault = Fault::Transport(TransportFault::new(TransportClass::Lost, "x"));
    s.input(Input::Done(ticket, Completion::Fault(fault.clone())));
    assert_eq!(s.answered(), Some((2, Completion::Fault(fault))));
    s.expect_nothing();
}
