//! All regions, asked for before they are needed and from time to time.

use std::time::Duration;

use super::steps::{Loader, asked, load, reply, reported, unswept};
use super::*;
use crate::machine::script::ServiceScript;
use crate::machine::{Answer, Completion, Fault, Input, ServiceEffect};
use crate::region::loader::{LoaderCommand, LoaderTimer, RegionLoader};
use crate::types::Key;

fn loader(preload: bool, refresh_s: u64) -> Loader {
    let mut config = unswept(Mode::Raw, 600, 0);
    (config.preload, config.refresh_every, config.regions) = (preload, Duration::from_secs(refresh_s), 2);
    let mut s = ServiceScript::given(RegionLoader::new(config));
    s.command(LoaderCommand::Begin);
    s
}

fn page(from: &'static str) -> PdQuery {
    PdQuery::Regions { start: from.into(), end: Bytes::new(), limit: 2 }
}

#[track_caller]
fn refresh_armed(s: &mut Loader, after_s: u64) {
    match s.effect() {
        ServiceEffect::Arm(LoaderTimer::Refresh, at) => assert_eq!(at, s.now + Duration::from_secs(after_s)),
        other => panic!("wanted the next refresh, got {other:?}"),
    }
}

// client-go: region_cache_test.go: TestRefreshCache.
#[test]
fn all_regions_are_asked_for_page_by_page_and_again_from_time_to_time() {
    let mut s = loader(true, 60);
    for _ in 0..2 {
        let (ticket, _) = asked(&mut s, &page(""));
        reply(&mut s, ticket, PdReply::Regions(vec![region(1, "", "d"), region(2, "d", "m")]));
        assert_eq!(reported(&mut s).0.len(), 2);
        let (ticket, _) = asked(&mut s, &page("m"));
        reply(&mut s, ticket, PdReply::Regions(vec![region(3, "m", "")]));
        assert_eq!(reported(&mut s).0.len(), 1);
        refresh_armed(&mut s, 60);
        s.expect_nothing();
        s.now = s.now + Duration::from_secs(60);
        s.input(Input::Timer(LoaderTimer::Refresh));
    }
}

// client-go: region_cache.go: refreshRegionIndex [Q]: after a failed first scan the first lookup panics.
#[test]
fn fixes_a_preload_that_fails_leaves_a_loader_that_works() {
    for answer in
        [Completion::Fault(Fault::Overloaded), Completion::Answer(Answer::Pd(PdReply::Regions(vec![])))]
    {
        let mut s = loader(true, 0);
        let (ticket, _) = asked(&mut s, &page(""));
        s.input(Input::Done(ticket, answer));
        s.expect_nothing();
        load(&mut s, 1, Place::Holding(Key::from("k")), steps::at(9));
        assert!(matches!(s.effect(), ServiceEffect::Arm(LoaderTimer::Deadline, _)));
        let (ticket, _) = asked(&mut s, &PdQuery::Region { key: "k".into() });
        reply(&mut s, ticket, PdReply::Region(Some(region(1, "", ""))));
        reported(&mut s);
        assert!(matches!(s.answered(), Some((1, Completion::Answer(Answer::Region(_))))));
    }
}

#[test]
fn who_waits_for_a_region_of_a_page_is_answered_with_it() {
    let mut s = loader(true, 0);
    load(&mut s, 1, Place::Holding(Key::from("a")), steps::at(9));
    let (walk, _) = asked(&mut s, &page(""));
    assert!(matches!(s.effect(), ServiceEffect::Arm(LoaderTimer::Deadline, _)));
    asked(&mut s, &PdQuery::Region { key: "a".into() });
    reply(&mut s, walk, PdReply::Regions(vec![region(1, "", "")]));
    reported(&mut s);
    assert!(matches!(s.answered(), Some((1, Completion::Answer(Answer::Region(_))))));
    s.expect_nothing();
}

#[test]
fn without_the_wish_nobody_is_asked() {
    loader(false, 0).expect_nothing();
    refresh_armed(&mut loader(false, 7), 7);
}
