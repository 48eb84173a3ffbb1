//! API v2: a client lives in a keyspace and sees nothing else. Stores of API v2 refuse a key without its prefix, so whatever
//! works here was sent with one.

use macro_rules_attribute::apply;
use tikv_client_core::client::Client;
use tikv_client_core::config::{ApiVersion, Config};
use tikv_client_core::error::{Error, ErrorKind, InputError, ServiceError, TxnError};
use tikv_client_core::types::{Key, KeyRange};
use tikv_embedded::Cluster as Embedded;
use tikv_embedded::model::Api;

use crate::fixture::{
    Cluster, ONE_EACH, a_key_of_each_region, all_now, client_with, each, in_time, keys, texts, write,
};
use crate::runtimes::{Rt, test_on_each_runtime};

/// Three stores that speak API v2, with two keyspaces beside the one that is always there.
fn cluster(rt: &Rt) -> Cluster {
    rt.start(Embedded::builder().stores(3).api_version(Api::V2).keyspaces(["one", "two"]))
}

fn config(keyspace: &str) -> Config {
    let mut config = Config::default();
    config.api_version = ApiVersion::V2 { keyspace: keyspace.to_owned() };
    config
}

async fn of(cluster: &Cluster, keyspace: &str) -> Client {
    client_with(cluster, config(keyspace)).await
}

#[apply(test_on_each_runtime)]
async fn raw_calls_of_two_keyspaces_do_not_see_each_other(rt: Rt) {
    let cluster = cluster(&rt);
    let (one, two) = (of(&cluster, "one").await.raw(), of(&cluster, "two").await.raw());
    one.put("k", "of one").await.unwrap();
    assert_eq!(two.get("k").await.unwrap(), None);
    two.put("k", "of two").await.unwrap();
    assert_eq!(one.get("k").await.unwrap().unwrap(), "of one");
    one.batch_put([("a", "1"), ("z", "1"), ("\u{7f}", "1")]).await.unwrap();
    assert_eq!(one.batch_get(["z", "none", "a"]).await.unwrap(), [Some("1".into()), None, Some("1".into())]);
    // A scan of all keys ends where the keyspace does, at either end.
    assert_eq!(keys(one.scan(.., 100).await.unwrap()), ["a", "k", "z", "\u{7f}"]);
    assert_eq!(keys(one.scan(.., 100).reverse().await.unwrap()), ["\u{7f}", "z", "k", "a"]);
    assert_eq!(keys(one.scan("b".., 2).await.unwrap()), ["k", "z"]);
    assert_eq!(keys(one.scan(..="k", 100).reverse().await.unwrap()), ["k", "a"]);
    assert_eq!(texts(two.scan(.., 100).await.unwrap()), [("k".to_owned(), "of two".to_owned())]);
    one.batch_delete(["a"]).await.unwrap();
    one.delete_range(..).await.unwrap();
    assert_eq!(one.scan(.., 100).await.unwrap(), []);
    assert_eq!(two.get("k").await.unwrap().unwrap(), "of two");
    two.delete("k").await.unwrap();
    assert_eq!(two.scan(.., 100).await.unwrap(), []);
}

#[apply(test_on_each_runtime)]
async fn transactions_of_two_keyspaces_do_not_see_each_other(rt: Rt) {
    let cluster = cluster(&rt);
    let (one, two) = (of(&cluster, "one").await, of(&cluster, "two").await);
    in_time(write(&one, &ONE_EACH, "1")).await.unwrap();
    assert_eq!(all_now(&two).await, []);
    in_time(write(&two, &["c1", "zz"], "2")).await.unwrap();
    assert_eq!(all_now(&one).await, each(ONE_EACH, "1"));
    assert_eq!(all_now(&two).await, each(["c1", "zz"], "2"));
    // Own writes lie over what is read, in both directions and page by page.
    let mut txn = one.begin().await.unwrap();
    txn.put("b", "own").unwrap();
    txn.delete("c1").unwrap();
    assert_eq!(txn.get("b").await.unwrap().unwrap(), "own");
    assert_eq!(txn.get("c1").await.unwrap(), None);
    assert_eq!(keys(txn.batch_get(["b", "c1", "a1"]).await.unwrap()), ["a1", "b"]);
    assert_eq!(keys(txn.scan(.."f").await.unwrap()), ["a1", "b", "e1"]);
    assert_eq!(keys(txn.scan("b"..).reverse().limit(2).await.unwrap()), ["z1", "r1"]);
    let mut cursor = txn.scan(..).batch_size(3).cursor();
    let mut paged = Vec::new();
    while let Some(pairs) = cursor.next_batch().await.unwrap() {
        paged.extend(pairs);
    }
    let expected = ["a1", "b", "e1", "g1", "i1", "m1", "r1", "z1"];
    assert_eq!(keys(paged), expected);
    let mut cursor = txn.scan(..).reverse().batch_size(3).cursor();
    let mut paged = Vec::new();
    while let Some(pairs) = cursor.next_batch().await.unwrap() {
        paged.extend(pairs);
    }
    paged.reverse();
    assert_eq!(keys(paged), expected);
    in_time(txn.commit()).await.unwrap();
    assert_eq!(all_now(&two).await, each(["c1", "zz"], "2"));
}

#[apply(test_on_each_runtime)]
async fn keys_in_errors_and_conflicts_are_those_of_the_caller(rt: Rt) {
    let cluster = cluster(&rt);
    let one = of(&cluster, "one").await;
    let mut slow = one.begin().await.unwrap();
    slow.put("k", "slow").unwrap();
    in_time(write(&one, &["k"], "fast")).await.unwrap();
    match in_time(slow.commit()).await.unwrap_err() {
        Error::Txn(TxnError::WriteConflict { key, .. }) => assert_eq!(key.key(), &Key::from("k")),
        other => panic!("{other}"),
    }
    let mut again = one.begin().await.unwrap();
    again.insert("k", "new").unwrap();
    match in_time(again.commit()).await.unwrap_err() {
        Error::Txn(TxnError::AlreadyExists { key }) => {
            assert_eq!(key.key(), &Key::from("k"));
            assert_eq!(key.to_string(), "6B");
        }
        other => panic!("{other}"),
    }
}

#[apply(test_on_each_runtime)]
async fn a_key_may_be_as_long_as_the_store_allows_with_its_prefix(rt: Rt) {
    let cluster = cluster(&rt);
    let one = of(&cluster, "one").await;
    let longest = Config::default().max_key - 4;
    assert_eq!(one.config().max_key, longest);
    one.raw().put(vec![b'k'; longest], "v").await.unwrap();
    assert_eq!(one.raw().get(vec![b'k'; longest]).await.unwrap().unwrap(), "v");
    let error = one.raw().put(vec![b'k'; longest + 1], "v").await.unwrap_err();
    assert!(
        matches!(error, Error::Input(InputError::KeyTooLarge { limit, .. }) if limit == longest),
        "{error}"
    );
}

/// What is written in raw form in a region that is split in the middle of the keyspace is found by all.
#[apply(test_on_each_runtime)]
async fn regions_of_a_keyspace_split_and_move_as_others_do(rt: Rt) {
    let cluster = cluster(&rt);
    let (one, two) = (of(&cluster, "one").await, of(&cluster, "two").await);
    for key in a_key_of_each_region() {
        one.raw().put(&key, "before").await.unwrap();
        two.raw().put(&key, "of two").await.unwrap();
    }
    in_time(write(&one, &ONE_EACH, "1")).await.unwrap();
    // Both know where the keys were.
    for mode in [b'r', b'x'] {
        for keyspace in [1_u8, 2] {
            cluster.split([&[mode, 0, 0, keyspace], &b"h"[..]].concat()).unwrap();
        }
    }
    assert_eq!(keys(one.raw().scan(.., 100).await.unwrap()), ONE_EACH);
    for key in a_key_of_each_region() {
        assert_eq!(one.raw().get(&key).await.unwrap().unwrap(), "before");
    }
    assert_eq!(all_now(&one).await, each(ONE_EACH, "1"));
    in_time(write(&one, &ONE_EACH, "2")).await.unwrap();
    assert_eq!(all_now(&one).await, each(ONE_EACH, "2"));
    one.raw().delete_range(KeyRange::ALL).await.unwrap();
    assert_eq!(keys(two.raw().scan(.., 100).await.unwrap()), ONE_EACH);
}

#[apply(test_on_each_runtime)]
async fn without_a_name_the_keyspace_is_the_default_one(rt: Rt) {
    let cluster = cluster(&rt);
    let unnamed = of(&cluster, "").await.raw();
    unnamed.put("k", "v").await.unwrap();
    assert_eq!(of(&cluster, "DEFAULT").await.raw().get("k").await.unwrap().unwrap(), "v");
    assert_eq!(of(&cluster, "one").await.raw().get("k").await.unwrap(), None);
}

/// client-go asks for such a keyspace a hundred times, once a second.
#[apply(test_on_each_runtime)]
async fn fixes_a_keyspace_that_is_not_there_is_an_error_at_once(rt: Rt) {
    let cluster = cluster(&rt);
    let begun = std::time::Instant::now();
    let error = rt.connect(cluster.pd_addresses(), config("none")).await.unwrap_err();
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    assert!(
        matches!(&error, Error::Service(ServiceError::BadKeyspace { name, .. }) if &**name == "none"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "keyspace \"none\": PD does not know it");
    in_time(rt.no_tasks()).await;
}

#[apply(test_on_each_runtime)]
async fn stores_of_another_version_refuse_a_client_and_it_says_so(rt: Rt) {
    let v2 = cluster(&rt);
    let error = client_with(&v2, Config::default()).await.raw().put("k", "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let v1 = rt.start(Embedded::builder().stores(1).keyspace_bounds());
    let error = of(&v1, "DEFAULT").await.raw().put("k", "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

/// Stores whose raw values have lifetimes take the requests of API v1.
#[apply(test_on_each_runtime)]
async fn stores_of_v1_with_lifetimes_serve_a_client_of_v1(rt: Rt) {
    let cluster = rt.start(Embedded::builder().stores(1).api_version(Api::V1Ttl));
    let raw = client_with(&cluster, Config::default()).await.raw();
    raw.put("k", "v").ttl(std::time::Duration::from_secs(100)).await.unwrap();
    assert_eq!(raw.get("k").await.unwrap().unwrap(), "v");
}
