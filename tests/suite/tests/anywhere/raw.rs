//! Raw calls on keys of one's own.

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::error::{Error, ErrorKind, InputError};
use tikv_client_core::types::Key;

use super::{Keys, anywhere};

const NAMES: [&str; 7] = ["a", "c", "e", "k", "p", "v", "z"];

async fn fill(client: &Client, keys: &Keys) {
    let pairs = NAMES.map(|name| (keys.raw(name), name.repeat(3)));
    client.raw().batch_put(pairs).await.unwrap();
}

async fn left(client: &Client, keys: &Keys) -> Vec<String> {
    keys.names(&client.raw().scan(keys.all_raw(), 100).await.unwrap())
}

#[apply(anywhere)]
async fn a_raw_key_has_the_value_that_was_put_last_until_it_is_deleted(client: Client, keys: Keys) {
    let raw = client.raw();
    for name in NAMES {
        let key = keys.raw(name);
        assert_eq!(raw.get(&key).await.unwrap(), None);
        raw.put(&key, "one").await.unwrap();
        assert_eq!(raw.get(&key).await.unwrap().unwrap(), "one");
        raw.put(&key, "two").await.unwrap();
        assert_eq!(raw.get(&key).await.unwrap().unwrap(), "two");
        raw.delete(&key).await.unwrap();
        assert_eq!(raw.get(&key).await.unwrap(), None);
    }
}

#[apply(anywhere)]
async fn raw_batches_are_whole_over_many_regions(client: Client, keys: Keys) {
    fill(&client, &keys).await;
    let raw = client.raw();
    let asked: Vec<Key> = ["z", "none", "a", "k", "a"].map(|name| keys.raw(name)).into();
    let values = raw.batch_get(&asked).await.unwrap();
    let values: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
    assert_eq!(values, [Some(&b"zzz"[..]), None, Some(b"aaa"), Some(b"kkk"), Some(b"aaa")]);
    raw.batch_delete(["c", "p", "none"].map(|name| keys.raw(name))).await.unwrap();
    assert_eq!(left(&client, &keys).await, ["a", "e", "k", "v", "z"]);
    raw.delete_range(keys.all_raw()).await.unwrap();
}

#[apply(anywhere)]
async fn raw_scans_keep_order_bounds_and_limits_both_ways(client: Client, keys: Keys) {
    fill(&client, &keys).await;
    let raw = client.raw();
    for limit in [0, 1, 3, 7, 100] {
        let found = raw.scan(keys.all_raw(), limit).await.unwrap();
        assert_eq!(keys.names(&found), NAMES[..limit.min(7)]);
        let mut found = keys.names(&raw.scan(keys.all_raw(), limit).reverse().await.unwrap());
        found.reverse();
        assert_eq!(found, NAMES[7 - limit.min(7)..]);
    }
    let some = raw.scan(keys.raw("c")..keys.raw("v"), 100).keys_only().await.unwrap();
    assert_eq!(keys.names(&some), ["c", "e", "k", "p"]);
    assert!(some.iter().all(|pair| pair.value.is_empty()));
    raw.delete_range(keys.all_raw()).await.unwrap();
}

#[apply(anywhere)]
async fn a_raw_range_is_deleted_and_its_neighbours_stay(client: Client, keys: Keys) {
    fill(&client, &keys).await;
    client.raw().delete_range(keys.raw("c")..keys.raw("v")).await.unwrap();
    assert_eq!(left(&client, &keys).await, ["a", "v", "z"]);
    client.raw().delete_range(keys.all_raw()).await.unwrap();
    assert!(left(&client, &keys).await.is_empty());
}

#[apply(anywhere)]
async fn a_value_of_a_mebibyte_comes_back_whole(client: Client, keys: Keys) {
    let value: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    client.raw().put(keys.raw("large"), value.clone()).await.unwrap();
    assert!(client.raw().get(keys.raw("large")).await.unwrap().unwrap() == value);
    client.raw().delete(keys.raw("large")).await.unwrap();
}

#[apply(anywhere)]
async fn a_raw_key_of_no_bytes_is_refused(client: Client, _keys: Keys) {
    let error = client.raw().get("").await.unwrap_err();
    assert_eq!(error, Error::Input(InputError::EmptyKey { operation: "raw get" }));
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
