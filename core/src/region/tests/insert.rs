//! Which region replaces which (routing.md 1.4, 1.6), and who leads it then.

use super::*;
use crate::machine::report::Feedback;

fn with_conf(info: RegionInfo, conf_ver: u64) -> RegionInfo {
    RegionInfo { version: RegionVersion { conf_ver, ..info.version }, ..info }
}

// client-go: region_cache.go: insertRegionToCache, rule 1.
#[test]
fn a_region_replaces_itself_unless_either_part_of_its_epoch_goes_back() {
    let table = [
        ((5, 5), true),
        ((6, 5), true),
        ((5, 6), true),
        ((6, 6), true),
        ((4, 5), false),
        ((5, 4), false),
        ((4, 9), false),
        ((9, 4), false),
    ];
    for ((epoch, conf_ver), kept) in table {
        let directory = directory([with_conf(region(1, 5, "a", "c"), 5)]);
        let outcome = put(&directory, with_conf(region(1, epoch, "a", "b"), conf_ver));
        assert_eq!(outcome.is_ok(), kept, "{epoch}.{conf_ver}");
        let now = if kept { version(1, epoch, conf_ver) } else { version(1, 5, 5) };
        assert_eq!(directory.by_id(RegionId(1), T0).unwrap().version(), now);
        if let Err(outcome) = outcome {
            assert!(matches!(outcome, Inserted::Older { than } if than == version(1, 5, 5)));
        }
    }
}

// client-go: region_cache.go: insertRegionToCache, rule 2: the version decides, not the conf_ver.
#[test]
fn a_region_replaces_all_it_overlaps_unless_one_is_newer() {
    let table = [
        // What the new region 9 in version 5 covers, the version of region 2 at [c, e), what stands then.
        ("c", "e", 4, "1 9 3"),
        ("c", "e", 5, "1 9 3"),
        ("c", "e", 6, "1 2 3"),
        ("d", "e", 4, "1 9 3"),
        ("c", "d", 4, "1 9 3"),
        ("b", "f", 4, "9"),
        ("a", "c", 9, "9 2 3"),
        ("e", "", 9, "1 2 9"),
        ("", "", 4, "9"),
        ("", "", 6, "1 2 3"),
    ];
    for (start, end, epoch, expected) in table {
        let directory = directory([
            with_conf(region(1, 4, "a", "c"), 7),
            with_conf(region(2, epoch, "c", "e"), 7),
            with_conf(region(3, 4, "e", "g"), 7),
        ]);
        let kept = put(&directory, region(9, 5, start, end)).is_ok();
        let ids: Vec<String> =
            directory.entries().iter().map(|entry| entry.version().id.to_string()).collect();
        assert_eq!(ids.join(" "), expected, "[{start}, {end}) {epoch}");
        assert_eq!(kept, expected.contains('9'));
    }
}

// client-go: region_cache_test.go: TestRefreshCache pins the opposite: the old region stays below the new one.
#[test]
fn fixes_an_older_region_that_begins_before_the_new_one_is_gone_for_good() {
    let directory = directory([region(1, 1, "", "")]);
    put(&directory, region(2, 2, "m", "p")).unwrap();
    assert_eq!((at(&directory, "a"), at(&directory, "n"), at(&directory, "q")), (None, Some(2), None));
    directory.apply(&Feedback::Stale { region: version(2, 2, 1), why: StaleReason::Other }, T0);
    assert_eq!(at(&directory, "n"), None);
    directory.sweep(&"".into(), 10, T0, |_| false);
    assert_eq!((at(&directory, "n"), directory.len()), (None, 0));
}

#[test]
fn a_newer_region_that_begins_before_keeps_an_older_one_out() {
    let directory = directory([region(1, 3, "a", "m")]);
    assert!(
        matches!(put(&directory, region(2, 2, "c", "z")), Err(Inserted::Older { than }) if than.id.0 == 1)
    );
    assert_eq!(listing(&directory), r#"1 v3.1 [k"a", k"m")"#);
}

// client-go: region_cache_test.go: TestInsertStaleRegion, TestStaleGetRegion.
#[test]
fn an_answer_from_before_a_split_does_not_replace_the_halves() {
    let directory = directory([region(1, 1, "", "")]);
    put(&directory, region(1, 2, "", "m")).unwrap();
    put(&directory, region(2, 2, "m", "")).unwrap();
    assert!(matches!(put(&directory, region(1, 1, "", "")), Err(Inserted::Older { .. })));
    assert_eq!((at(&directory, "a"), at(&directory, "z")), (Some(1), Some(2)));
}

#[test]
fn a_stale_region_still_keeps_older_ones_out_until_it_is_swept() {
    let directory = directory([region(1, 3, "a", "m")]);
    directory.apply(&Feedback::Stale { region: version(1, 3, 1), why: StaleReason::Other }, T0);
    assert!(put(&directory, region(2, 2, "a", "m")).is_err());
    directory.sweep(&"".into(), 10, T0, |_| false);
    assert!(put(&directory, region(2, 2, "a", "m")).is_ok());
}

// client-go: region_cache_test.go: TestRemoveIntersectingRegions, TestMerge.
#[test]
fn a_merged_region_replaces_what_it_covers_the_open_end_too() {
    let directory = directory([
        region(1, 1, "", "b"),
        region(2, 1, "b", "c"),
        region(3, 1, "c", "d"),
        region(4, 1, "d", "e"),
        region(5, 1, "e", ""),
    ]);
    put(&directory, region(2, 2, "b", "d")).unwrap();
    put(&directory, region(5, 2, "d", "")).unwrap();
    insta::assert_snapshot!(listing(&directory), @r#"
    1 v1.1 [k"", k"b")
    2 v2.1 [k"b", k"d")
    5 v2.1 [k"d", k"")
    "#);
    assert!(directory.by_id(RegionId(3), T0).is_none() && directory.by_id(RegionId(4), T0).is_none());
}

// client-go: region_cache_test.go: TestRegionCacheValidAfterLoading.
#[test]
fn loading_again_makes_an_unusable_region_usable() {
    let directory = directory([region(1, 1, "a", "m")]);
    put(&directory, region(1, 1, "a", "m")).unwrap();
    assert_eq!(at(&directory, "b"), Some(1));
    directory.apply(&Feedback::Stale { region: version(1, 1, 1), why: StaleReason::RegionNotFound }, T0);
    assert_eq!(at(&directory, "b"), None);
    put(&directory, region(1, 1, "a", "m")).unwrap();
    assert_eq!(at(&directory, "b"), Some(1));
}

#[test]
fn a_region_without_keys_is_refused() {
    let directory = directory([]);
    for (start, end) in [("b", "b"), ("c", "b")] {
        assert!(matches!(put(&directory, region(1, 1, start, end)), Err(Inserted::NoKeys)));
    }
    assert!(directory.is_empty());
}

// client-go: region_cache_test.go: TestFilterDownPeersOrPeersOnTombstoneOrDroppedStores, TestPeersLenChangedByWitness.
#[test]
fn down_peers_and_witnesses_that_do_not_lead_are_left_out() {
    let peers = vec![voter(11, 1), witness(12, 2), voter(13, 3), learner(14, 4)];
    let table = [
        (Some(11), vec![], vec![11, 13, 14], Some(11)),
        (Some(12), vec![], vec![11, 12, 13, 14], Some(12)),
        (Some(11), vec![11], vec![13, 14], Some(13)),
        (Some(13), vec![11, 14], vec![13], Some(13)),
        (None, vec![11], vec![13, 14], Some(13)),
        // Without a voter it is better to ask someone than no one.
        (None, vec![11, 13], vec![14], Some(14)),
        (Some(11), vec![11, 13, 14], vec![], None),
    ];
    for (leader, down, left, led) in table {
        let info = RegionInfo { peers: peers.clone(), leader: leader.map(PeerId), ..region(1, 1, "", "") };
        let down = down.into_iter().map(PeerId).collect();
        let directory = directory([]);
        let inserted = directory.insert(Found { down, ..info.into() }, T0, secs(600));
        let Some(entry) = inserted.kept() else {
            assert!(matches!(inserted, Inserted::NoPeers) && left.is_empty());
            continue;
        };
        assert_eq!(entry.peers().iter().map(|peer| peer.id.0).collect::<Vec<_>>(), left);
        assert_eq!(entry.leader().map(|peer| peer.id.0), led);
    }
}

// client-go: region_cache.go: regionStore.clone drops them.
#[test]
fn fixes_pending_peers_stay_when_the_leader_changes() {
    let directory = directory([]);
    let found = Found { pending: vec![PeerId(13)], ..region(1, 1, "", "").into() };
    directory.insert(found, T0, secs(600));
    let hint = Feedback::LeaderIs { region: version(1, 1, 1), peer: PeerId(12), store: StoreId(2) };
    directory.apply(&hint, T0);
    assert_eq!(store(&directory, "a"), Some(2));
    assert_eq!(directory.region(b"a", T0).unwrap().pending(), [PeerId(13)]);
}

fn led_by(leader: Option<u64>) -> RegionInfo {
    RegionInfo { leader: leader.map(PeerId), ..region(1, 1, "", "") }
}

// client-go: region_cache_test.go: TestSwitchPeerWhenNoLeader, TestSendFailedInHibernateRegion.
#[test]
fn after_no_leader_the_next_peer_is_asked_around_the_end() {
    let directory = directory([led_by(Some(11))]);
    for expected in [2, 3, 1, 2] {
        directory.apply(&Feedback::Stale { region: version(1, 1, 1), why: StaleReason::NoLeader }, T0);
        // PD has not heard of an election: it names who has just said that he does not lead, or no one.
        let asked = directory.exactly(version(1, 1, 1)).unwrap().leader().unwrap().id;
        let named = (expected != 3).then_some(asked);
        put(&directory, RegionInfo { leader: named, ..region(1, 1, "", "") }).unwrap();
        assert_eq!(store(&directory, "a"), Some(expected));
    }
}

// client-go: region_cache.go: insertRegionToCache turns to the next peer whoever leads, and whatever region the
// first one replaced was.
#[test]
fn fixes_a_leader_that_pd_names_anew_is_asked_after_no_leader() {
    let directory = directory([led_by(Some(11))]);
    directory.apply(&Feedback::Stale { region: version(1, 1, 1), why: StaleReason::NoLeader }, T0);
    put(&directory, led_by(Some(13))).unwrap();
    assert_eq!(store(&directory, "a"), Some(3));
}

#[test]
fn fixes_another_region_without_leader_does_not_turn_the_one_that_replaces_it() {
    let directory = directory([region(1, 1, "", "m"), region(2, 1, "m", "")]);
    directory.apply(&Feedback::Stale { region: version(1, 1, 1), why: StaleReason::NoLeader }, T0);
    put(&directory, region(2, 2, "", "")).unwrap();
    assert_eq!(store(&directory, "a"), Some(1));
}

// client-go: region_cache.go: insertRegionToCache divides by the number of TiKV peers.
#[test]
fn fixes_a_region_without_voters_has_no_next_peer_and_does_not_panic() {
    let info = || RegionInfo { peers: vec![learner(14, 4)], leader: None, ..region(1, 1, "", "") };
    let directory = directory([info()]);
    directory.apply(&Feedback::Stale { region: version(1, 1, 1), why: StaleReason::NoLeader }, T0);
    put(&directory, info()).unwrap();
    assert_eq!(store(&directory, "a"), Some(4));
}

#[test]
fn without_a_named_leader_the_last_one_known_is_asked_then_the_first_voter() {
    let unled = |peers: Vec<Peer>| RegionInfo { peers, leader: None, ..region(1, 1, "", "") };
    let peers = || vec![learner(14, 4), voter(11, 1), voter(12, 2)];
    let directory = directory([unled(peers())]);
    assert_eq!(store(&directory, "a"), Some(1), "a learner does not lead");
    let hint = Feedback::LeaderIs { region: version(1, 1, 1), peer: PeerId(12), store: StoreId(2) };
    directory.apply(&hint, T0);
    put(&directory, unled(peers())).unwrap();
    assert_eq!(store(&directory, "a"), Some(2));
    put(&directory, unled(vec![learner(14, 4), voter(11, 1)])).unwrap();
    assert_eq!(store(&directory, "a"), Some(1));
}
