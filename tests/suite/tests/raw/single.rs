//! Get, put and delete of one key.

use std::time::Duration;

use bytes::Bytes;
use macro_rules_attribute::apply;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind};

use crate::fixture::{a_key_of_each_region, client, client_with, in_time, texts};
use crate::runtimes::{Rt, test_on_each_runtime};

#[apply(test_on_each_runtime)]
async fn a_key_has_the_value_that_was_put_last_until_it_is_deleted(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    for key in a_key_of_each_region() {
        assert_eq!(raw.get(&key).await.unwrap(), None);
        raw.put(&key, "one").await.unwrap();
        assert_eq!(raw.get(&key).await.unwrap().unwrap(), "one");
        raw.put(&key, "two").await.unwrap();
        assert_eq!(raw.get(&key).await.unwrap().unwrap(), "two");
        raw.delete(&key).await.unwrap();
        assert_eq!(raw.get(&key).await.unwrap(), None);
        raw.delete(&key).await.unwrap();
    }
}

#[apply(test_on_each_runtime)]
async fn keys_and_values_are_any_bytes(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let keys: [&[u8]; 7] = [b"\0", b"\0\0", b"a\0b", b"b\0", b"\xff", b"\xff\xff\xff", b"\x80\x00\xfe"];
    for key in keys {
        let value: Bytes = key.iter().rev().chain(&[0, 255]).copied().collect();
        raw.put(key, value).await.unwrap();
    }
    for key in keys {
        let value: Vec<u8> = key.iter().rev().chain(&[0, 255]).copied().collect();
        assert_eq!(raw.get(key).await.unwrap().unwrap(), value, "{key:?}");
    }
}

#[apply(test_on_each_runtime)]
async fn a_value_of_no_bytes_is_a_value(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    raw.put("m", "").await.unwrap();
    raw.batch_put([("a", ""), ("z", "v")]).await.unwrap();
    assert_eq!(raw.get("m").await.unwrap().unwrap(), "");
    let values = raw.batch_get(["a", "b", "m", "z"]).await.unwrap();
    let values: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
    assert_eq!(values, [Some(&b""[..]), None, Some(&b""[..]), Some(&b"v"[..])]);
    let wanted = [("a", ""), ("m", ""), ("z", "v")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(texts(raw.scan(.., 10).await.unwrap()), wanted);
    let mut reverse = texts(raw.scan(.., 10).reverse().await.unwrap());
    reverse.reverse();
    assert_eq!(reverse, wanted);
    raw.delete("m").await.unwrap();
    assert_eq!(raw.get("m").await.unwrap(), None);
}

#[apply(test_on_each_runtime)]
async fn what_the_store_refuses_is_told_with_its_words_and_the_key(rt: Rt) {
    // The embedded cluster has no time to live enabled, as TiKV by default.
    let cluster = rt.raw_cluster();
    for redact in [false, true] {
        let mut config = Config::default();
        config.redact_keys = redact;
        let raw = client_with(&cluster, config).await.raw();
        let error = in_time(raw.put("m", "v").ttl(Duration::from_secs(9))).await.unwrap_err();
        assert!(matches!(error, Error::Server { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains("ttl is not enabled"), "{text}");
        assert!(text.contains(if redact { "key ?:" } else { "key 6D:" }), "{text}");
        let error = in_time(raw.batch_put([("a", "v")]).ttl(Duration::from_secs(9))).await.unwrap_err();
        assert!(matches!(error, Error::Server { .. }), "{error:?}");
        assert_eq!(raw.get("m").await.unwrap(), None);
    }
}

#[apply(test_on_each_runtime)]
async fn a_value_of_megabytes_comes_back_whole(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let value: Bytes = (0..5_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    raw.put("large", value.clone()).await.unwrap();
    assert!(raw.get("large").await.unwrap().unwrap() == value);
}

#[apply(test_on_each_runtime)]
async fn the_longest_key_can_be_written(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    let raw = client.raw();
    let key = vec![b'x'; client.config().max_key];
    raw.put(key.clone(), "value").await.unwrap();
    assert_eq!(raw.get(key).await.unwrap().unwrap(), "value");
}

#[apply(test_on_each_runtime)]
async fn column_families_keep_their_own_values(rt: Rt) {
    let cluster = rt.raw_cluster();
    let default = client(&cluster).await.raw();
    let write = default.clone().column_family("write");
    default.put("key", "default").await.unwrap();
    write.put("key", "write").await.unwrap();
    assert_eq!(default.get("key").await.unwrap().unwrap(), "default");
    assert_eq!(write.get("key").await.unwrap().unwrap(), "write");
    assert_eq!(default.clone().column_family("default").get("key").await.unwrap().unwrap(), "default");
    write.batch_put([("a", "1"), ("z", "2")]).await.unwrap();
    assert_eq!(default.batch_get(["a", "z"]).await.unwrap(), [None, None]);
    assert_eq!(write.scan(.., 10).await.unwrap().len(), 3);
    write.delete_range(..).await.unwrap();
    assert_eq!(write.get("key").await.unwrap(), None);
    assert_eq!(default.get("key").await.unwrap().unwrap(), "default");
}

#[apply(test_on_each_runtime)]
async fn many_calls_at_once_get_their_own_answers(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    let tasks = (0..64_u32).map(|n| {
        let raw = client.raw();
        rt.spawn(async move {
            for round in 0..20 {
                let key = format!("{}{n:03}/{round}", char::from(b'a' + (n % 26) as u8));
                raw.put(key.clone(), format!("{n}:{round}")).await.unwrap();
                assert_eq!(raw.get(key).await.unwrap().unwrap(), format!("{n}:{round}"));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        in_time(task).await.unwrap();
    }
}
