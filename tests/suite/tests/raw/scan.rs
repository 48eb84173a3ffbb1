//! Scans over eight regions.

use macro_rules_attribute::apply;
use tikv_client_core::types::{Key, KeyRange};
use tikv_embedded::Cluster as Embedded;
use tikv_embedded::control::Matcher;

use crate::fixture::{Cluster, client, keys};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Five keys a letter, `a0` to `z4`.
fn all() -> Vec<String> {
    (b'a'..=b'z').flat_map(|letter| (0..5).map(move |n| format!("{}{n}", char::from(letter)))).collect()
}

async fn filled(rt: &Rt) -> (Cluster, tikv_client_core::raw::RawClient) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    raw.batch_put(all().into_iter().map(|key| (key.clone(), format!("={key}")))).await.unwrap();
    (cluster, raw)
}

fn some(range: std::ops::Range<&str>) -> Vec<String> {
    all().into_iter().filter(|key| range.contains(&key.as_str())).collect()
}

fn backward(mut keys: Vec<String>) -> Vec<String> {
    keys.reverse();
    keys
}

#[apply(test_on_each_runtime)]
async fn a_scan_goes_over_regions_in_order_and_keeps_its_bounds(rt: Rt) {
    let (_cluster, raw) = filled(&rt).await;
    assert_eq!(keys(raw.scan(.., 1000).await.unwrap()), all());
    for (start, end) in [("a", "c"), ("b", "d"), ("c2", "k"), ("a3", "z3"), ("h", "h1"), ("zz", "zzz")] {
        let forward = keys(raw.scan(start..end, 1000).await.unwrap());
        assert_eq!(forward, some(start..end), "{start}..{end}");
        let reverse = keys(raw.scan(start..end, 1000).reverse().await.unwrap());
        assert_eq!(reverse, backward(some(start..end)), "{start}..{end} in reverse");
    }
    assert_eq!(keys(raw.scan("x3".., 1000).await.unwrap()), some("x3".."zz"));
    assert_eq!(keys(raw.scan(.."b2", 1000).await.unwrap()), some("a".."b2"));
    assert_eq!(keys(raw.scan("b1"..="b3", 1000).await.unwrap()), ["b1", "b2", "b3"]);
    assert_eq!(keys(raw.scan(KeyRange::prefix("q"), 1000).await.unwrap()), some("q".."r"));
}

#[apply(test_on_each_runtime)]
async fn a_scan_ends_at_its_limit_wherever_regions_end(rt: Rt) {
    let (_cluster, raw) = filled(&rt).await;
    for limit in [0, 1, 4, 5, 6, 10, 14, 15, 16, 129, 130, 131, usize::MAX] {
        let forward = keys(raw.scan(.., limit).await.unwrap());
        assert_eq!(forward, all().into_iter().take(limit).collect::<Vec<_>>(), "{limit}");
        let reverse = keys(raw.scan(.., limit).reverse().await.unwrap());
        assert_eq!(
            reverse,
            backward(all()).into_iter().take(limit).collect::<Vec<_>>(),
            "{limit} in reverse"
        );
    }
}

#[apply(test_on_each_runtime)]
async fn a_reverse_scan_without_an_end_begins_at_the_last_key(rt: Rt) {
    let (_cluster, raw) = filled(&rt).await;
    let last = vec![0xff; 8 << 10];
    raw.put(last.clone(), "the last key there can be").await.unwrap();
    let found = raw.scan("y".., 3).reverse().await.unwrap();
    assert_eq!(found[0].key, Key::from(last));
    assert_eq!(keys(found[1..].to_vec()), ["z4", "z3"]);
}

#[apply(test_on_each_runtime)]
async fn a_scan_of_keys_leaves_the_values_at_the_stores(rt: Rt) {
    let (_cluster, raw) = filled(&rt).await;
    for pairs in
        [raw.scan("c".."m", 99).keys_only().await, raw.scan("c".."m", 99).keys_only().reverse().await]
    {
        let pairs = pairs.unwrap();
        assert_eq!(pairs.len(), some("c".."m").len());
        assert!(pairs.iter().all(|pair| pair.value.is_empty()));
    }
    let pairs = raw.scan("c".."m", 99).await.unwrap();
    assert!(
        pairs.iter().all(|pair| pair.value == format!("={}", String::from_utf8_lossy(pair.key.as_slice())))
    );
}

#[apply(test_on_each_runtime)]
async fn empty_and_inverted_ranges_hold_nothing_and_send_nothing(rt: Rt) {
    let (cluster, raw) = filled(&rt).await;
    let scans = cluster.count(Matcher::method("RawScan"));
    for (start, end) in [("c", "c"), ("m", "c"), ("z", "a")] {
        assert!(raw.scan(KeyRange::new(start, end), 10).await.unwrap().is_empty());
        assert!(raw.scan(KeyRange::new(start, end), 10).reverse().await.unwrap().is_empty());
    }
    assert!(raw.scan(.., 0).await.unwrap().is_empty());
    assert_eq!(scans.hits(), 0);
}

#[apply(test_on_each_runtime)]
async fn regions_without_keys_are_passed_over(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    assert!(raw.scan(.., 10).await.unwrap().is_empty());
    raw.batch_put([("a", "1"), ("z", "2")]).await.unwrap();
    assert_eq!(keys(raw.scan(.., 10).await.unwrap()), ["a", "z"]);
    assert_eq!(keys(raw.scan(.., 10).reverse().await.unwrap()), ["z", "a"]);
    assert_eq!(keys(raw.scan("b".., 10).await.unwrap()), ["z"]);
    assert_eq!(keys(raw.scan(.."t", 10).reverse().await.unwrap()), ["a"]);
}

#[apply(test_on_each_runtime)]
async fn a_region_of_more_than_a_page_is_read_in_pages(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    // A page is 10,240 pairs; all of these are in one region.
    let count = 2 * 10_240 + 3;
    raw.batch_put((0..count).map(|n| (format!("i{n:06}"), "v"))).await.unwrap();
    raw.batch_put([("a", "first"), ("z", "last")]).await.unwrap();
    let scans = cluster.count(Matcher::method("RawScan"));
    let found = keys(raw.scan("i".."j", usize::MAX).keys_only().await.unwrap());
    assert!(found.iter().map(String::as_str).eq((0..count).map(|n| format!("i{n:06}")).collect::<Vec<_>>()));
    assert_eq!(scans.hits(), 3, "two full pages and the rest");
    let found = keys(raw.scan(.., usize::MAX).reverse().keys_only().await.unwrap());
    assert_eq!((found.len(), found[0].as_str(), found[count + 1].as_str()), (count + 2, "z", "a"));
    assert!(found.windows(2).all(|pair| pair[0] > pair[1]));
    assert_eq!(keys(raw.scan("i".., 10_241).keys_only().await.unwrap()).len(), 10_241);
}

#[apply(test_on_each_runtime)]
async fn ranges_read_the_same_however_regions_lie(rt: Rt) {
    let cluster = rt.start(Embedded::builder());
    let raw = client(&cluster).await.raw();
    raw.batch_put(["k1", "k3", "k5", "k7"].map(|key| (key, "v"))).await.unwrap();
    let ranges: [(&str, &str, usize, &[&str]); 10] = [
        ("", "", 1, &["k1"]),
        ("k1", "", 2, &["k1", "k3"]),
        ("", "", 10, &["k1", "k3", "k5", "k7"]),
        ("k2", "", 2, &["k3", "k5"]),
        ("k2", "", 3, &["k3", "k5", "k7"]),
        ("", "k1", 1, &[]),
        ("k1", "k3", 2, &["k1"]),
        ("k1", "k5", 10, &["k1", "k3"]),
        ("k1", "k5\0", 10, &["k1", "k3", "k5"]),
        ("k5\0", "k5\0\0", 10, &[]),
    ];
    // From the upper bound down: the bounds are those of a range, the upper one not in it.
    let reverse: [(&str, &str, usize, &[&str]); 9] = [
        ("", "z", 1, &["k7"]),
        ("", "z", 2, &["k7", "k5"]),
        ("", "z", 10, &["k7", "k5", "k3", "k1"]),
        ("", "k2", 10, &["k1"]),
        ("", "k6", 2, &["k5", "k3"]),
        ("", "k5", 1, &["k3"]),
        ("", "k5\0", 1, &["k5"]),
        ("k3", "z", 10, &["k7", "k5", "k3"]),
        ("k3\0", "k7", 10, &["k5"]),
    ];
    for split in ["", "k2", "k5"] {
        if !split.is_empty() {
            cluster.split_raw(split).unwrap();
        }
        for (start, end, limit, wanted) in ranges {
            let found = keys(raw.scan(KeyRange::new(start, end), limit).await.unwrap());
            assert_eq!(found, wanted, "{start:?}..{end:?}, {limit}");
        }
        for (start, end, limit, wanted) in reverse {
            let found = keys(raw.scan(KeyRange::new(start, end), limit).reverse().await.unwrap());
            assert_eq!(found, wanted, "{start:?}..{end:?} in reverse, {limit}");
        }
    }
}
