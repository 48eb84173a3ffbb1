//! What operations learn (routing.md 2.5, 2.6).

use std::sync::Arc;

use super::*;
use crate::machine::report::Feedback;

fn leader_is(region: RegionVersion, peer: u64, store: u64) -> Feedback {
    Feedback::LeaderIs { region, peer: PeerId(peer), store: StoreId(store) }
}

fn regions(old: RegionVersion, new: impl IntoIterator<Item = RegionInfo>) -> Feedback {
    Feedback::Regions { old, new: new.into_iter().collect() }
}

// client-go: region_cache_test.go: TestUpdateLeader.
#[test]
fn a_hint_moves_the_leader_for_all_ways_to_the_region() {
    let directory = directory([region(1, 1, "", "m")]);
    let v = version(1, 1, 1);
    assert_eq!(directory.apply(&leader_is(v, 12, 2), T0), Applied::Changed);
    assert_eq!(directory.locate(b"a", T0).unwrap().peer, PeerId(12));
    assert_eq!(directory.locate_below(b"m", T0).unwrap().store, StoreId(2));
    assert_eq!(directory.apply(&leader_is(v, 12, 2), T0), Applied::Ignored);
}

// client-go: region_cache_test.go: TestUpdateLeader2.
#[test]
fn a_hint_to_a_peer_that_is_not_known_makes_the_region_stale() {
    for (peer, store) in [(19, 9), (12, 3)] {
        let directory = directory([region(1, 1, "", "m")]);
        assert_eq!(directory.apply(&leader_is(version(1, 1, 1), peer, store), T0), Applied::Changed);
        assert_eq!(at(&directory, "a"), None);
        let info = region(1, 1, "", "m");
        let peers = [info.peers.clone(), vec![voter(19, 9)]].concat();
        put(&directory, RegionInfo { version: version(1, 1, 2), peers, leader: Some(PeerId(19)), ..info })
            .unwrap();
        assert_eq!(self::store(&directory, "a"), Some(9));
    }
}

#[test]
fn feedback_on_another_version_changes_nothing() {
    let directory = directory([region(1, 5, "", "m")]);
    for v in [version(1, 4, 1), version(1, 6, 1), version(1, 5, 0), version(7, 5, 1)] {
        let feedbacks = [
            leader_is(v, 12, 2),
            Feedback::Stale { region: v, why: StaleReason::Other },
            Feedback::Unreachable { store: StoreId(1), region: v },
        ];
        for feedback in feedbacks {
            assert_eq!(directory.apply(&feedback, T0), Applied::Ignored, "{feedback:?}");
        }
    }
    assert_eq!(store(&directory, "a"), Some(1));
}

// client-go: region_cache.go: switchWorkLeaderToPeer mixes up positions among all and among TiKV peers.
#[test]
fn fixes_a_hint_is_right_behind_a_learner_and_to_a_learner() {
    let peers = vec![learner(14, 4), voter(11, 1), voter(12, 2)];
    let info = RegionInfo { peers, ..region(1, 1, "", "") };
    let directory = directory([info]);
    for (peer, at) in [(12, 2), (11, 1), (14, 4)] {
        directory.apply(&leader_is(version(1, 1, 1), peer, at), T0);
        assert_eq!(directory.locate(b"a", T0).map(|to| (to.peer.0, to.store.0)), Some((peer, at)));
    }
}

// client-go: region_cache.go: invalidate.
#[test]
fn the_first_reason_not_to_use_a_region_stays() {
    let reasons = [
        StaleReason::NoLeader,
        StaleReason::RegionNotFound,
        StaleReason::EpochNotMatch,
        StaleReason::StoreNotMatch,
        StaleReason::Other,
    ];
    for why in reasons {
        let directory = directory([region(1, 1, "", "m")]);
        let stale = |why| Feedback::Stale { region: version(1, 1, 1), why };
        assert_eq!(directory.apply(&stale(why), T0), Applied::Changed);
        for again in reasons {
            assert_eq!(directory.apply(&stale(again), T0), Applied::Ignored);
        }
        assert_eq!(directory.exactly(version(1, 1, 1)).unwrap().stale(), Some(why));
        assert_eq!((at(&directory, "a"), directory.len()), (None, 1), "it stays to be replaced");
        assert_eq!(directory.locate_below(b"m", T0), None);
        assert!(directory.region(b"a", T0).is_none() && directory.by_id(RegionId(1), T0).is_none());
    }
}

// client-go: region_cache_test.go: TestPeersLenChange: a failure may come when the region has other peers.
#[test]
fn a_failure_of_a_store_leaves_its_regions_as_they_are() {
    let directory = directory([region(1, 1, "", "m")]);
    let failure = Feedback::Unreachable { store: StoreId(1), region: version(1, 1, 1) };
    assert_eq!((directory.apply(&failure, T0), store(&directory, "a")), (Applied::Ignored, Some(1)));
    let info = RegionInfo { version: version(1, 1, 2), peers: vec![voter(11, 1)], ..region(1, 1, "", "m") };
    put(&directory, info).unwrap();
    assert_eq!((directory.apply(&failure, T0), store(&directory, "a")), (Applied::Ignored, Some(1)));
}

// routing.md 2.6, row 1.
#[test]
fn a_moved_region_without_successors_is_stale() {
    let directory = directory([region(1, 1, "", "m")]);
    assert_eq!(directory.apply(&regions(version(1, 1, 1), []), T0), Applied::Changed);
    assert_eq!(directory.exactly(version(1, 1, 1)).unwrap().stale(), Some(StaleReason::EpochNotMatch));
}

// routing.md 2.6, row 2; client-go: region_cache_test.go: TestRegionEpochAheadOfTiKV.
#[test]
fn a_store_that_lags_behind_changes_nothing() {
    let table =
        [((4, 5), true), ((5, 4), true), ((4, 9), true), ((9, 4), true), ((5, 5), false), ((6, 5), false)];
    for ((epoch, conf_ver), lagging) in table {
        let known = RegionInfo { version: version(1, 5, 5), ..region(1, 5, "", "m") };
        let said = RegionInfo { version: version(1, epoch, conf_ver), ..region(1, 5, "", "m") };
        let other = region(2, 1, "m", "");
        assert_eq!(lags(version(1, 5, 5), &[other.clone(), said.clone()]), lagging, "{epoch}.{conf_ver}");
        let directory = directory([known]);
        let applied = directory.apply(&regions(version(1, 5, 5), [other, said]), T0);
        assert_eq!(applied == Applied::Lags, lagging);
        assert_eq!(at(&directory, "z"), (!lagging).then_some(2));
        assert_eq!(at(&directory, "a"), Some(1));
    }
}

#[test]
fn an_earlier_version_of_another_region_is_not_lagging() {
    assert!(!lags(version(1, 5, 5), &[region(2, 1, "", "")]));
    assert!(!lags(version(1, 5, 5), &[]));
}

// routing.md 2.6, row 3.
#[test]
fn a_split_takes_the_place_of_its_region() {
    let directory = directory([region(1, 1, "", "")]);
    let right = RegionInfo { leader: Some(PeerId(22)), ..region(2, 2, "m", "") };
    let applied = directory.apply(&regions(version(1, 1, 1), [region(1, 2, "", "m"), right]), T0);
    assert_eq!(applied, Applied::Changed);
    assert_eq!((at(&directory, "a"), store(&directory, "a")), (Some(1), Some(1)));
    assert_eq!((at(&directory, "z"), store(&directory, "z")), (Some(2), Some(2)));
    assert_eq!(directory.span(version(1, 1, 1)), None);
}

#[test]
fn a_region_whose_successors_do_not_overlap_it_is_stale() {
    let directory = directory([region(1, 1, "a", "m")]);
    directory.apply(&regions(version(1, 1, 1), [region(2, 9, "m", "")]), T0);
    assert_eq!((at(&directory, "b"), at(&directory, "n")), (None, Some(2)));
    assert_eq!(directory.exactly(version(1, 1, 1)).unwrap().stale(), Some(StaleReason::EpochNotMatch));
}

#[test]
fn a_region_named_in_the_same_version_stays_usable() {
    let directory = directory([region(1, 1, "", "m")]);
    directory.apply(&regions(version(1, 1, 1), [region(1, 1, "", "m")]), T0);
    assert_eq!(at(&directory, "a"), Some(1));
}

// client-go: region_cache_test.go: TestRegionEpochOnTiFlash.
#[test]
fn successors_without_a_named_leader_are_led_by_the_last_known_or_a_voter() {
    let unled = |info: RegionInfo| RegionInfo { leader: None, ..info };
    let mut info = region(1, 1, "", "");
    info.peers.insert(0, learner(14, 4));
    let directory = directory([info.clone()]);
    directory.apply(&leader_is(version(1, 1, 1), 13, 3), T0);
    let left = RegionInfo { version: version(1, 2, 1), range: KeyRange::new("", "m"), ..info };
    let mut right = region(2, 2, "m", "");
    right.peers.insert(0, learner(24, 4));
    directory.apply(&regions(version(1, 1, 1), [unled(left), unled(right)]), T0);
    assert_eq!((store(&directory, "a"), store(&directory, "z")), (Some(3), Some(1)));
}

#[test]
fn old_news_of_a_split_change_nothing() {
    let directory = directory([region(1, 3, "", "g"), region(2, 3, "g", "m"), region(3, 2, "m", "")]);
    let before = listing(&directory);
    let applied =
        directory.apply(&regions(version(1, 1, 1), [region(1, 2, "", "m"), region(3, 2, "m", "")]), T0);
    assert_eq!((applied, listing(&directory)), (Applied::Changed, before), "region 3 is put in again");
}

#[test]
fn loaded_regions_are_put_in() {
    let directory = directory([]);
    let loaded: Arc<[RegionInfo]> = [region(1, 1, "", "m"), region(2, 1, "m", "")].into();
    let feedback = Feedback::Loaded { regions: loaded, expires: secs(10) };
    assert_eq!(directory.apply(&feedback, T0), Applied::Changed);
    assert_eq!((at(&directory, "a"), at(&directory, "z")), (Some(1), Some(2)));
    assert!(directory.locate(b"a", secs(11)).is_none());
    put(&directory, region(9, 2, "", "")).unwrap();
    assert_eq!(directory.apply(&feedback, T0), Applied::Ignored);
}
