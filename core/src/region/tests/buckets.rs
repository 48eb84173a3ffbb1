//! Buckets: kept and replaced with their regions (routing.md 2.5, 2.6), located and cut (1.7).

use std::sync::Arc;

use super::*;
use crate::machine::report::Feedback;
use crate::types::Key;

fn buckets(version: u64, keys: &[&str]) -> Arc<Buckets> {
    Arc::new(Buckets::new(version, keys.iter().map(|&key| Key::from(key)).collect::<Vec<_>>()))
}

fn known(directory: &Directory, key: &str) -> Option<u64> {
    directory.region(key.as_bytes(), T0).unwrap().buckets().map(|buckets| buckets.version())
}

fn with(info: RegionInfo, version: u64) -> Found {
    Found { buckets: Some(buckets(version, &["", "x"])), ..info.into() }
}

// client-go: region_cache_test.go: TestBuckets.
#[test]
fn buckets_are_kept_unless_newer_ones_come() {
    let directory = directory([]);
    directory.insert(with(region(1, 1, "", "m"), 5), T0, secs(600));
    assert_eq!(known(&directory, "a"), Some(5));
    put(&directory, region(1, 2, "", "m")).unwrap();
    assert_eq!(known(&directory, "a"), Some(5), "a load without buckets keeps them");
    directory.insert(with(region(1, 3, "", "m"), 4), T0, secs(600));
    assert_eq!(known(&directory, "a"), Some(5), "a load with older ones too");
    directory.insert(with(region(1, 3, "", "m"), 6), T0, secs(600));
    assert_eq!(known(&directory, "a"), Some(6));
    let split = Feedback::Regions {
        old: version(1, 3, 1),
        new: [region(1, 4, "", "g"), region(2, 4, "g", "m")].into(),
    };
    directory.apply(&split, T0);
    assert_eq!(
        (known(&directory, "a"), known(&directory, "h")),
        (Some(6), Some(6)),
        "both halves inherit them"
    );
}

// client-go: region_cache_test.go: TestShouldNotRetryFlashback (the part on buckets); OnBucketVersionNotMatch.
#[test]
fn a_store_replaces_older_buckets_of_just_this_version() {
    let directory = directory([region(1, 2, "", "m")]);
    let tell = |region, buckets| directory.apply(&Feedback::Buckets { region, buckets }, T0);
    let table = [(version(1, 1, 1), 9, None), (version(1, 2, 1), 3, Some(3))];
    for (region, new, now) in table {
        tell(region, buckets(new, &["", "x"]));
        assert_eq!(known(&directory, "a"), now);
    }
    for (new, now) in [(3, 3), (2, 3), (4, 4)] {
        tell(version(1, 2, 1), buckets(new, &["", "x"]));
        assert_eq!(known(&directory, "a"), Some(now));
    }
    tell(version(1, 2, 1), buckets(4, &["", "other"]));
    let kept = directory.region(b"a", T0).unwrap().buckets();
    assert_eq!(kept, Some(buckets(4, &["", "x"])), "of one version the first are kept");
}

// client-go: region_cache_test.go: TestLocateBucket, TestBucketClampingToRegion.
#[test]
fn a_key_has_the_bucket_around_it_cut_to_its_region() {
    type Row = (&'static [&'static str], Bounds, &'static str, Option<Bounds>);
    type Bounds = (&'static str, &'static str);
    let table: &[Row] = &[
        // Bounds as wide as the region.
        (&["", "d", "g", ""], ("", ""), "", Some(("", "d"))),
        (&["", "d", "g", ""], ("", ""), "a", Some(("", "d"))),
        (&["", "d", "g", ""], ("", ""), "d", Some(("d", "g"))),
        (&["", "d", "g", ""], ("", ""), "z", Some(("g", ""))),
        (&["b", "d", "g"], ("b", "g"), "f", Some(("d", "g"))),
        // Keys of other regions.
        (&["b", "d", "g"], ("b", "g"), "a", None),
        (&["b", "d", "g"], ("b", "g"), "g", None),
        // No bounds, or one.
        (&[], ("b", "g"), "f", Some(("b", "g"))),
        (&["d"], ("b", "g"), "c", Some(("b", "d"))),
        (&["d"], ("b", "g"), "f", Some(("d", "g"))),
        (&[""], ("b", "g"), "f", Some(("b", "g"))),
        // Holes at both ends.
        (&["c", "d", "e"], ("b", "g"), "b", Some(("b", "c"))),
        (&["c", "d", "e"], ("b", "g"), "e", Some(("e", "g"))),
        (&["c", "d", "e"], ("", ""), "a", Some(("", "c"))),
        (&["c", "d", "e"], ("", ""), "f", Some(("e", ""))),
        // Wider than the region.
        (&["a", "d", "z"], ("b", "g"), "b", Some(("b", "d"))),
        (&["a", "d", "z"], ("b", "g"), "f", Some(("d", "g"))),
        (&["", "z", ""], ("b", "g"), "f", Some(("b", "g"))),
        (&["", ""], ("b", "g"), "f", Some(("b", "g"))),
        // Elsewhere than the region.
        (&["m", "n", "o"], ("b", "g"), "f", Some(("b", "g"))),
        (&["0", "1", "2"], ("b", "g"), "f", Some(("b", "g"))),
        // Out of order: whatever is answered holds the key and is within the region.
        (&["f", "c", "e", "b"], ("b", "g"), "d", Some(("c", "e"))),
    ];
    for (keys, (start, end), key, expected) in table {
        let bucket = buckets(1, keys).locate(key.as_bytes(), &KeyRange::new(*start, *end));
        assert_eq!(bucket, expected.map(|(start, end)| KeyRange::new(start, end)), "{key} in {keys:?}");
    }
}
