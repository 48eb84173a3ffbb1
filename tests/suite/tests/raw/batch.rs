//! Batches over many regions.

use macro_rules_attribute::apply;
use tikv_client_core::types::Key;

use crate::fixture::{a_key_of_each_region, client, keys, texts};
use crate::runtimes::{Rt, test_on_each_runtime};

#[apply(test_on_each_runtime)]
async fn a_batch_get_answers_in_the_order_it_was_asked(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let mut all = a_key_of_each_region();
    raw.batch_put(all.iter().map(|key| (key.clone(), key.0.clone()))).await.unwrap();
    all.reverse();
    all.swap(2, 6);
    let values = raw.batch_get(&all).await.unwrap();
    assert_eq!(values, all.iter().map(|key| Some(key.0.clone())).collect::<Vec<_>>());
}

#[apply(test_on_each_runtime)]
async fn a_batch_get_answers_each_duplicate_and_none_for_what_is_missing(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    raw.batch_put([("c", "3"), ("z", "26")]).await.unwrap();
    let values = raw.batch_get(["z", "nope", "c", "z", "c", "a", "nope"]).await.unwrap();
    let texts: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
    let (c, z) = (Some(&b"3"[..]), Some(&b"26"[..]));
    assert_eq!(texts, [z, None, c, z, c, None, None]);
}

#[apply(test_on_each_runtime)]
async fn of_two_pairs_with_one_key_the_last_counts(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    raw.batch_put([("k", "1"), ("z", "1"), ("k", "2"), ("a", "1"), ("z", "2"), ("k", "3")]).await.unwrap();
    let found = texts(raw.scan(.., 10).await.unwrap());
    assert_eq!(found, [("a", "1"), ("k", "3"), ("z", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[apply(test_on_each_runtime)]
async fn a_batch_delete_takes_what_it_names_and_nothing_else(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let all = a_key_of_each_region();
    raw.batch_put(all.iter().map(|key| (key.clone(), "v"))).await.unwrap();
    // One of them twice, and one that is not there.
    let gone: Vec<Key> =
        [&all[0], &all[3], &all[3], &all[7], &Key::from("not there")].map(Key::from).to_vec();
    raw.batch_delete(gone).await.unwrap();
    assert_eq!(keys(raw.scan(.., 10).await.unwrap()), ["c1", "e1", "i1", "m1", "r1"]);
}

#[apply(test_on_each_runtime)]
async fn an_empty_batch_is_done_at_once(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    assert!(raw.batch_get::<Key>([]).await.unwrap().is_empty());
    raw.batch_put::<(Key, &str)>([]).await.unwrap();
    raw.batch_delete::<Key>([]).await.unwrap();
}

#[apply(test_on_each_runtime)]
async fn batches_of_thousands_of_keys_cover_every_region(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let key = |n: u32| format!("{}{n:05}", char::from(b'a' + (n % 26) as u8));
    let count = 5_000;
    raw.batch_put((0..count).map(|n| (key(n), n.to_string()))).await.unwrap();
    let values = raw.batch_get((0..count + 10).map(key)).await.unwrap();
    for (n, value) in (0..count + 10).zip(values) {
        assert_eq!(value.is_some(), n < count, "{n}");
        assert!(value.is_none_or(|value| value == n.to_string()), "{n}");
    }
    raw.batch_delete((0..count).filter(|n| n % 2 == 0).map(key)).await.unwrap();
    assert_eq!(raw.scan(.., 10_000).await.unwrap().len(), 2_500);
}

#[apply(test_on_each_runtime)]
async fn a_batch_of_many_megabytes_is_cut_into_requests_that_stores_take(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let value = vec![7_u8; 512 << 10];
    raw.batch_put((0..48).map(|n| (format!("g{n:02}"), value.clone()))).await.unwrap();
    let values = raw.batch_get((0..48).map(|n| format!("g{n:02}"))).await.unwrap();
    assert!(values.iter().flatten().filter(|found| **found == value).count() == 48);
}
