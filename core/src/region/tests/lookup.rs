//! Who answers for a key.

use super::*;

// client-go: region_cache_test.go: TestContains, TestContainsByEnd.
#[test]
fn a_region_answers_for_its_start_and_not_for_its_end() {
    let directory = directory([region(1, 1, "b", "d"), region(2, 1, "f", "")]);
    let table = [
        ("", None, Some(2)),
        ("a", None, None),
        ("b", Some(1), None),
        ("c", Some(1), Some(1)),
        ("d", None, Some(1)),
        ("d\0", None, None),
        ("e", None, None),
        ("f", Some(2), None),
        ("z", Some(2), Some(2)),
    ];
    for (key, holding, below) in table {
        assert_eq!(at(&directory, key), holding, "{key}");
        let located = directory.locate_below(key.as_bytes(), T0).map(|located| located.region.id.0);
        assert_eq!(located, below, "below {key}");
    }
}

#[test]
fn an_empty_directory_answers_nothing() {
    let directory = directory([]);
    assert_eq!((at(&directory, ""), directory.locate_below(b"", T0)), (None, None));
    assert!(directory.is_empty() && directory.cover(&KeyRange::ALL, T0, 10).is_empty());
}

// client-go's LocateEndKey answers the first region for the open end (routing.md 2.1).
#[test]
fn fixes_the_open_end_means_the_last_region() {
    let directory = directory([region(1, 1, "", "m"), region(2, 1, "m", "")]);
    assert_eq!(directory.locate_below(b"", T0).unwrap().region.id, RegionId(2));
    assert_eq!(directory.region_below(b"", T0).unwrap().version().id, RegionId(2));
}

#[test]
fn the_last_known_region_is_not_the_last_if_it_ends() {
    assert_eq!(directory([region(1, 1, "", "m")]).locate_below(b"", T0), None);
}

// client-go: region_cache_test.go: TestSplit (the end key at a split gives the left half).
#[test]
fn the_key_of_a_split_is_of_the_right_half_and_above_the_left() {
    let directory = directory([region(1, 2, "", "m"), region(2, 2, "m", "")]);
    assert_eq!(at(&directory, "m"), Some(2));
    assert_eq!(directory.locate_below(b"m", T0).unwrap().region.id, RegionId(1));
}

#[test]
fn a_region_is_found_by_id_and_by_its_exact_version() {
    let directory = directory([region(1, 5, "a", "c")]);
    assert_eq!(directory.by_id(RegionId(1), T0).unwrap().version(), version(1, 5, 1));
    assert_eq!(directory.span(version(1, 5, 1)), Some(KeyRange::new("a", "c")));
    for other in [version(1, 4, 1), version(1, 6, 1), version(1, 5, 2), version(2, 5, 1)] {
        assert_eq!(directory.span(other), None, "{other:?}");
        assert!(directory.exactly(other).is_none(), "{other:?}");
    }
}

// client-go: region_cache_test.go: TestRegionCacheStartNonEmpty, TestBatchScanRegions (the part from the cache).
#[test]
fn cover_ends_at_the_first_hole() {
    let directory = directory([
        region(1, 1, "b", "d"),
        region(2, 1, "d", "f"),
        region(3, 1, "g", "k"),
        region(4, 1, "k", ""),
    ]);
    let cover = |start: &str, end: &str, limit| {
        let covered = directory.cover(&KeyRange::new(start, end), T0, limit);
        covered.iter().map(|entry| entry.version().id.0).collect::<Vec<_>>()
    };
    assert_eq!(cover("a", "z", 9), []);
    assert_eq!(cover("b", "z", 9), [1, 2]);
    assert_eq!(cover("c", "d", 9), [1]);
    assert_eq!(cover("c", "d\0", 9), [1, 2]);
    assert_eq!(cover("e", "e", 9), []);
    assert_eq!(cover("h", "", 9), [3, 4]);
    assert_eq!(cover("h", "", 1), [3]);
    directory.exactly(version(2, 1, 1)).unwrap().invalidate(StaleReason::Other);
    assert_eq!(cover("b", "z", 9), [1]);
}

#[test]
fn keys_that_share_a_long_beginning_are_told_apart() {
    let shared = "t_0000000000000000000000000000000000000001_r";
    let bounds: Vec<String> = (0..1000).map(|n| format!("{shared}{n:04}")).collect();
    let regions = bounds.windows(2).zip(1..).map(|(pair, id)| region(id, 1, &pair[0], &pair[1]));
    let directory = directory(regions);
    for (bound, id) in bounds.iter().zip(1..1000) {
        assert_eq!(at(&directory, bound), Some(id));
        assert_eq!(at(&directory, &format!("{bound}5")), Some(id));
    }
    assert_eq!((at(&directory, "t"), at(&directory, "u"), at(&directory, shared)), (None, None, None));
}
