//! What cannot be sent is refused before anything is.

use macro_rules_attribute::apply;
use tikv_client_core::config::Config;
use tikv_client_core::error::{Error, ErrorKind, InputError};
use tikv_embedded::control::{Matcher, Node};

use crate::fixture::{client, client_with, in_time};
use crate::runtimes::{Rt, test_on_each_runtime};

fn input(error: Error) -> (InputError, String) {
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!error.is_retryable());
    let text = error.to_string();
    let Error::Input(error) = error else { panic!("{error:?}") };
    (error, text)
}

fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[apply(test_on_each_runtime)]
async fn an_empty_key_is_refused_with_the_name_of_the_call(rt: Rt) {
    let cluster = rt.raw_cluster();
    let raw = client(&cluster).await.raw();
    let sent = cluster.count(Matcher::any().at(Node::AnyStore));
    let errors = [
        ("raw get", in_time(raw.get("")).await.unwrap_err()),
        ("raw put", in_time(raw.put("", "v")).await.unwrap_err()),
        ("raw delete", in_time(raw.delete("")).await.unwrap_err()),
        ("raw batch get", in_time(raw.batch_get(["a", ""])).await.unwrap_err()),
        ("raw batch put", in_time(raw.batch_put([("a", "v"), ("", "v")])).await.unwrap_err()),
        ("raw batch delete", in_time(raw.batch_delete(["a", "", "z"])).await.unwrap_err()),
    ];
    for (name, error) in errors {
        let (error, text) = input(error);
        assert_eq!(error, InputError::EmptyKey { operation: name });
        assert!(text.contains(name), "{text}");
    }
    assert_eq!(sent.hits(), 0);
}

#[apply(test_on_each_runtime)]
async fn a_key_over_the_limit_is_refused_with_its_size(rt: Rt) {
    let cluster = rt.raw_cluster();
    let client = client(&cluster).await;
    let (raw, limit) = (client.raw(), client.config().max_key);
    let sent = cluster.count(Matcher::any().at(Node::AnyStore));
    let long = vec![b'k'; limit + 1];
    let errors = [
        in_time(raw.get(long.clone())).await.unwrap_err(),
        in_time(raw.put(long.clone(), "v")).await.unwrap_err(),
        in_time(raw.delete(long.clone())).await.unwrap_err(),
        in_time(raw.batch_get([long.clone()])).await.unwrap_err(),
        in_time(raw.batch_put([(long.clone(), "v")])).await.unwrap_err(),
        in_time(raw.batch_delete([long.clone()])).await.unwrap_err(),
    ];
    for error in errors {
        let (error, text) = input(error);
        let InputError::KeyTooLarge { size, limit: most, .. } = error else { panic!("{error:?}") };
        assert_eq!((size, most), (limit + 1, limit));
        assert!(text.contains(&hex(b"kkkk")) && text.contains(&limit.to_string()), "no key, no limit");
    }
    assert_eq!(sent.hits(), 0);
}

#[apply(test_on_each_runtime)]
async fn a_value_over_the_limit_is_refused_with_its_key_and_at_the_limit_is_taken(rt: Rt) {
    let cluster = rt.raw_cluster();
    let mut config = Config::default();
    config.max_entry = 1000;
    let raw = client_with(&cluster, config).await.raw();
    raw.put("fits", vec![1; 996]).await.unwrap();
    let sent = cluster.count(Matcher::any().at(Node::AnyStore));
    for error in [
        in_time(raw.put("bulk", vec![1; 997])).await.unwrap_err(),
        in_time(raw.batch_put([("a", vec![1]), ("bulk", vec![1; 997])])).await.unwrap_err(),
    ] {
        let (error, text) = input(error);
        assert!(matches!(error, InputError::EntryTooLarge { size: 1001, limit: 1000, .. }), "{error:?}");
        assert!(text.contains(&hex(b"bulk")), "{text}");
    }
    assert_eq!(sent.hits(), 0);
}

#[apply(test_on_each_runtime)]
async fn with_redaction_on_no_text_shows_a_key(rt: Rt) {
    let cluster = rt.raw_cluster();
    let mut config = Config::default();
    config.redact_keys = true;
    config.max_entry = 100;
    config.max_key = 10;
    let raw = client_with(&cluster, config).await.raw();
    let errors = [
        in_time(raw.put("secret", vec![0; 200])).await.unwrap_err(),
        in_time(raw.get("secretsecret")).await.unwrap_err(),
        in_time(raw.batch_put([("secret", vec![0; 200])])).await.unwrap_err(),
    ];
    for error in errors {
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.contains('?'), "{text}");
            assert!(!text.contains("secret") && !text.contains(&hex(b"secret")), "{text}");
        }
    }
}
