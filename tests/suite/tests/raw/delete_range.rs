//! Ranges that are deleted over many regions.

use macro_rules_attribute::apply;
use tikv_client_core::raw::RawClient;
use tikv_client_core::types::KeyRange;
use tikv_embedded::control::Matcher;

use crate::fixture::{client, keys};
use crate::runtimes::{Rt, test_on_each_runtime};

async fn fill(raw: &RawClient) -> Vec<String> {
    let all: Vec<String> = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).collect();
    raw.batch_put(all.iter().map(|key| (key.as_str(), "v"))).await.unwrap();
    all
}

#[apply(test_on_each_runtime)]
async fn deleting_a_range_takes_exactly_its_keys(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let ranges =
        [("a", "b"), ("b", "d"), ("c", "q"), ("d", "d\0"), ("aa", "aaa"), ("y", ""), ("", "c"), ("b", "z")];
    for (start, end) in ranges {
        let all = fill(&raw).await;
        let range = KeyRange::new(start, end);
        raw.delete_range(&range).await.unwrap();
        let left: Vec<String> = all.into_iter().filter(|key| !range.contains(key.as_bytes())).collect();
        assert_eq!(keys(raw.scan(.., 100).await.unwrap()), left, "{range:?}");
    }
}

#[apply(test_on_each_runtime)]
async fn deleting_everything_leaves_no_key_in_any_region(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    fill(&raw).await;
    raw.put(vec![0xff; 100], "v").await.unwrap();
    raw.put(vec![0], "v").await.unwrap();
    raw.delete_range(..).await.unwrap();
    assert!(raw.scan(.., 100).await.unwrap().is_empty());
}

#[apply(test_on_each_runtime)]
async fn an_empty_range_deletes_and_sends_nothing(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let all = fill(&raw).await;
    let sent = cluster.count(Matcher::method("RawDeleteRange"));
    raw.delete_range("m".."m").await.unwrap();
    raw.delete_range(KeyRange::new("z", "a")).await.unwrap();
    assert_eq!(sent.hits(), 0);
    assert_eq!(keys(raw.scan(.., 100).await.unwrap()), all);
}
