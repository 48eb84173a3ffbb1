use super::steps::*;
use super::*;
use crate::error::ServiceError;
use crate::machine::{Answer, Completion, Input};
use crate::region::loader::LoaderTimer;
use crate::region::loader::cover::covering;

#[test]
fn the_regions_of_a_range_come_in_order_and_answer_who_waits_in_it() {
    let mut s = loader(Mode::Raw);
    load(&mut s, 1, holding("c"), at(40));
    armed(&mut s, LoaderTimer::Deadline);
    asked(&mut s, &wire("c"));
    load_range(&mut s, 2, KeyRange::new("a", "z"), 10);
    let (ticket, _) = asked(&mut s, &scan("a", "z", 10));
    let both = [region(3, "", "c"), region(4, "c", "")];
    reply(&mut s, ticket, PdReply::Regions(both.to_vec()));
    assert_eq!(reported(&mut s).0, both);
    assert_eq!(s.answered(), region_answer(1, &both[1]));
    assert_eq!(s.answered(), Some((2, Completion::Answer(Answer::Regions(regions(&both))))));
    s.expect_nothing();
    assert_eq!(s.service.left(), 0);
}

#[test]
fn nothing_is_asked_for_a_range_of_nothing() {
    let mut s = loader(Mode::Raw);
    load_range(&mut s, 1, KeyRange::new("b", "a"), 10);
    load_range(&mut s, 2, KeyRange::ALL, 0);
    for n in [1, 2] {
        assert_eq!(s.answered(), Some((n, Completion::Answer(Answer::Regions(Arc::default())))));
    }
    s.expect_nothing();
}

// routing.md 2.3, `regionsHaveGapInRanges`; client-go: TestRangesAreCoveredCheck.
#[test]
fn holes_in_a_range_are_seen() {
    let [a, b, c] = [region(3, "", "c"), region(4, "c", "f"), region(5, "f", "")];
    let early = region(6, "b", "c");
    let covered = [
        (vec![a.clone(), b.clone(), c.clone()], 10, 3),
        (vec![a.clone(), b.clone()], 2, 2),
        // So are those behind as many as were asked for.
        (vec![a.clone(), b.clone(), c.clone()], 2, 2),
        // Regions of another time that do not lead on are left out.
        (vec![a.clone(), early, b.clone(), c.clone()], 10, 3),
    ];
    for (all, limit, count) in covered {
        let ends = (&Bytes::from_static(b"a"), &Bytes::new());
        assert_eq!(covering(ends, limit, all).map(|all| all.len()), Some(count));
    }
    let holes = [
        (vec![], 10),
        (vec![b.clone(), c.clone()], 10),
        (vec![a.clone(), c.clone()], 10),
        (vec![a.clone(), b.clone()], 10),
        (vec![a.clone(), c], 2),
        (vec![a.clone(), a, b], 10),
    ];
    for (all, limit) in holes {
        let mut s = loader(Mode::Raw);
        load_range(&mut s, 1, KeyRange::new("a", ""), limit);
        armed(&mut s, LoaderTimer::Deadline);
        let (ticket, _) = asked(&mut s, &scan("a", "", limit));
        reply(&mut s, ticket, PdReply::Regions(all.clone()));
        s.now = armed(&mut s, LoaderTimer::Retry(1));
        s.input(Input::Timer(LoaderTimer::Retry(1)));
        let (ticket, _) = asked(&mut s, &scan("a", "", limit));
        reply(&mut s, ticket, PdReply::Regions(all));
        let place = "the keys from 61 to ".into();
        assert_eq!(s.answered(), refused(1, ServiceError::NoRegion { place }));
        s.expect_nothing();
    }
}
