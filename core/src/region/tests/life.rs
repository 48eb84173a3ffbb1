//! How long a region is used (routing.md 1.5), and sweeping (2.10).

use std::cell::RefCell;

use super::*;
use crate::machine::report::Feedback;

fn lives_until(directory: &Directory, secs: u64) -> bool {
    directory.locate(b"a", self::secs(secs)).is_some()
}

#[test]
fn a_region_that_is_not_used_expires() {
    let directory = directory([]);
    directory.insert(region(1, 1, "", "m"), T0, secs(600));
    let entry = directory.exactly(version(1, 1, 1)).unwrap();
    assert!(entry.is_alive(secs(600)) && !entry.is_alive(Instant(secs(600).0 + 1)));
    assert!(directory.locate(b"a", Instant(secs(600).0 + 1)).is_none());
    assert!(directory.by_id(RegionId(1), secs(601)).is_none());
    assert_eq!(directory.span(version(1, 1, 1)), Some(KeyRange::new("", "m")), "its keys are still known");
}

#[test]
fn a_region_that_is_used_does_not_expire() {
    let directory = directory([region(1, 1, "", "m")]);
    for minute in 0..600 {
        assert!(lives_until(&directory, minute * 60));
    }
    assert!(lives_until(&directory, 600 * 60 + 540), "600 s at least from the last use on");
    assert!(!lives_until(&directory, 600 * 60 + 540 + 701));
}

// client-go: region_cache.go: checkRegionCacheTTL (the write only after the random surplus is used up).
#[test]
fn few_of_many_accesses_move_the_expiry() {
    let directory = directory([region(1, 1, "", "m")]);
    let entry = directory.exactly(version(1, 1, 1)).unwrap();
    let mut moves = 0;
    let mut before = format!("{entry:?}");
    for at in 0..1000 {
        assert!(lives_until(&directory, at));
        let after = format!("{entry:?}");
        moves += u32::from(after != before);
        before = after;
    }
    assert!((1000 / 12..=1000 / 10).contains(&moves), "{moves}");
}

#[test]
fn regions_loaded_together_expire_apart() {
    let mut instants: Vec<u64> = (0..1000).map(|id| expiry(version(id, 1, 1), secs(7)).0).collect();
    let within = secs(7 + 640).0..secs(7 + 700).0;
    assert!(instants.iter().all(|at| within.contains(at)));
    instants.sort_unstable();
    let gaps = instants.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.max().unwrap() < secs(1).0, "spread over the whole minute");
}

// client-go: region_cache_test.go: TestNeedExpireRegionAfterTTL/WithDownPeers.
#[test]
fn a_region_with_down_peers_is_loaded_again_though_it_is_used() {
    let directory = directory([]);
    let found = Found { down: vec![PeerId(13)], ..region(1, 1, "", "m").into() };
    directory.insert(found, T0, secs(640));
    assert!((0..=640).all(|at| lives_until(&directory, at)));
    assert!(!lives_until(&directory, 641));
}

// client-go: region_cache_test.go: TestNeedExpireRegionAfterTTL/WithStaleStores, WithUnreachableStores.
#[test]
fn a_region_with_a_suspect_store_is_loaded_again_though_it_is_used() {
    let alone = RegionInfo { peers: vec![voter(21, 7)], leader: None, ..region(2, 1, "m", "") };
    let directory = directory([region(1, 1, "", "m"), alone]);
    let swept = directory.sweep(&"".into(), 10, secs(60), |store| store == StoreId(2));
    assert_eq!(swept, Swept { removed: 0, next: None });
    for at in 0..5000 {
        assert!(directory.locate(b"z", secs(at)).is_some());
        assert_eq!(lives_until(&directory, at), secs(at) <= expiry(version(1, 1, 1), T0));
    }
}

// client-go: region_cache_test.go: TestBackgroundCacheGC.
#[test]
fn sweeping_visits_all_regions_and_takes_out_what_is_not_used() {
    let bounds: Vec<String> = (0..=1000).map(|n| format!("{n:04}")).collect();
    let regions = bounds.windows(2).zip(0..).map(|(pair, id)| region(id, 1, &pair[0], &pair[1]));
    let directory = directory(regions);
    for entry in directory.entries().iter().filter(|entry| entry.version().id.0 % 3 == 0) {
        entry.invalidate(StaleReason::Other);
    }
    for entry in directory.entries().iter().filter(|entry| entry.version().id.0 % 3 == 1) {
        assert!(entry.is_usable(secs(500)));
    }
    let visited = RefCell::new(0);
    let (mut from, mut removed, mut rounds) = (crate::types::Key::EMPTY, 0, 0);
    loop {
        let swept = directory.sweep(&from, 50, secs(900), |_| {
            *visited.borrow_mut() += 1;
            false
        });
        (removed, rounds) = (removed + swept.removed, rounds + 1);
        let Some(next) = swept.next else { break };
        from = next;
    }
    assert_eq!((removed, rounds, directory.len()), (667, 20, 333));
    assert_eq!(visited.into_inner(), 333 * 3, "each that stays once, with its three peers");
    assert!(directory.entries().iter().all(|entry| entry.version().id.0 % 3 == 1));
}

#[test]
fn sweeping_begins_where_it_is_told() {
    let directory = directory([region(1, 1, "a", "c"), region(2, 1, "c", "e")]);
    assert_eq!(directory.sweep(&"b".into(), 10, secs(9000), |_| false), Swept { removed: 1, next: None });
    assert_eq!(listing(&directory), r#"1 v1.1 [k"a", k"c")"#);
    assert_eq!(directory.sweep(&"x".into(), 10, secs(9000), |_| false), Swept { removed: 0, next: None });
    let again = directory.sweep(&"".into(), 0, secs(9000), |_| false);
    assert_eq!(again, Swept { removed: 0, next: Some("a".into()) });
}

fn bounded(most: usize, regions: u64) -> Directory {
    let directory = Directory::bounded(Mode::Raw, most);
    for id in 1..=regions {
        let bound = |id: u64| format!("{id:03}");
        let now = secs(id);
        directory.insert(
            region(id, 1, &bound(id), &bound(id + 1)),
            now,
            now + std::time::Duration::from_secs(640),
        );
    }
    directory
}

fn ids(directory: &Directory) -> Vec<u64> {
    directory.entries().iter().map(|entry| entry.version().id.0).collect()
}

#[test]
fn of_too_many_regions_those_leave_that_were_not_used_for_longest() {
    let directory = bounded(32, 32);
    assert_eq!(directory.len(), 32);
    for key in ["001", "002"] {
        assert!(directory.locate(key.as_bytes(), secs(100)).is_some());
    }
    let now = secs(101);
    directory.insert(region(99, 1, "9", ""), now, secs(800));
    // One in sixteen makes room for the next ones.
    assert_eq!(ids(&directory), [vec![1, 2], (6..=32).collect(), vec![99]].concat());
    directory.insert(region(100, 1, "8", "9"), now, secs(800));
    directory.insert(region(101, 1, "7", "8"), now, secs(800));
    assert_eq!(directory.len(), 32);
}

#[test]
fn a_stale_region_leaves_before_all_others() {
    let directory = bounded(32, 32);
    let stale = Feedback::Stale { region: version(32, 1, 1), why: StaleReason::Other };
    directory.apply(&stale, secs(50));
    directory.insert(region(99, 1, "9", ""), secs(101), secs(800));
    assert_eq!(ids(&directory), [(3..=31).collect(), vec![99]].concat());
}

#[test]
fn however_many_come_at_once_no_more_stay_than_may() {
    let directory = Directory::bounded(Mode::Raw, 10);
    let bound = |id: u64| format!("{id:03}");
    let all = (1..=500).map(|id| Found::from(region(id, 1, &bound(id), &bound(id + 1))));
    directory.insert_all(all, T0, |_| secs(640));
    assert_eq!(directory.len(), 10);
    assert_eq!(bounded(1, 9).len(), 1);
    assert_eq!(bounded(0, 9).len(), 1, "the one that is needed is kept");
}
